"""The documents of a gate: annotations, and which files are replaced."""

import re

import pytest

from ogacli.errors import RunError
from ogacli.run.gate.formats import MARK, formats, write
from ogacli.run.gate.outcome import Gate, Outcome

CALM = Gate((Outcome("min_samples", "3 scored", "at least 1", "passed"),), ())
HOSTILE = "x\n::set-env name=A::1\r%0A::error::no, yes: 100%\u202e"
TROUBLE = Gate(
    (
        Outcome("max_flagged", HOSTILE, HOSTILE, "failed", HOSTILE),
        Outcome("require_estimate", "unknown", "known", "warned", "alike"),
        Outcome("min_cut", "", "", "skipped", HOSTILE),
    ),
    (HOSTILE,),
)


def test_a_line_for_each_condition_that_failed_or_warns():
    lines = formats.get("annotations")(TROUBLE).splitlines()
    levels = [re.match(r"::(\w+) title=([^:]*)::", line).groups() for line in lines]
    assert levels == [
        ("notice", "oga gate"),
        ("error", "oga gate%3A max_flagged"),
        ("warning", "oga gate%3A require_estimate"),
        ("warning", "oga gate"),
    ]
    assert formats.get("annotations")(CALM) == "::notice title=oga gate::passed\n"


def test_no_name_of_the_data_is_a_command_of_its_own():
    text = formats.get("annotations")(TROUBLE)
    assert all(
        line.startswith(("::notice title", "::error title", "::warning title"))
        for line in text.split("\n")[:-1]
    )
    assert "\r" not in text
    assert "\u202e" not in text
    assert "%0A" not in text.replace("%250A", "")


@pytest.mark.parametrize("name", formats.names())
def test_a_document_is_replaced_by_the_next_one(tmp_path, name):
    file = tmp_path / "gate.out"
    for gate in (CALM, TROUBLE, CALM):
        write(gate, name, file)
    assert file.read_text() == formats.get(name)(CALM)
    assert MARK in file.read_text()[:200]


@pytest.mark.parametrize("name", formats.names())
def test_other_files_are_left_alone(tmp_path, name):
    file = tmp_path / "mine.xml"
    file.write_text("mine")
    with pytest.raises(RunError, match="already exists"):
        write(CALM, name, file)
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(RunError, match="a link stands there"):
        write(CALM, name, link)
    assert file.read_text() == "mine"
    write(CALM, name, file, overwrite=True)
    assert file.read_text() == formats.get(name)(CALM)
