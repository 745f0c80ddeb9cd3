"""The reference pages are those that the code makes, and leave nothing out."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from ogacli.config.commands import scan
from ogacli.run import issues
from ogacli.verdict.reasons import MEANINGS
from small_scans import make_place

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_those_of_the_code(reference):
    for name, page in reference.pages().items():
        written = (DOCS / "reference" / name).read_text(encoding="utf-8")
        assert written == page, f"run `python docs/reference.py`: {name} differs"


@pytest.mark.parametrize("name", ["config.md", "policy.md"])
def test_every_key_has_a_meaning(name):
    rows = re.findall(r"^\| (`\w+`) \|.*\| ([^|]*) \|$", (DOCS / "reference" / name).read_text(), re.M)
    assert len(rows) > 5
    assert [key for key, meaning in rows if not meaning.strip()] == []


def test_every_column_is_described(tmp_path):
    """A run of several detectors with a truth has all but ``wrong``, which classes do without."""
    place = make_place(tmp_path, detector=["latent_label", "l2"])
    place.write_config(
        look_for=["near_duplicates", "far"], against=yaml.safe_load(place.config_file.read_text())["data"]
    )
    place.new_weights()
    run = scan(place.config())
    page = (DOCS / "reference" / "columns.md").read_text()
    described = set(re.findall(r"^\| `([\w<>]+)` \|", page, re.M))
    columns = {"score_<name>" if name.startswith("score_") else name for name in run.scores.column_names}
    assert described == columns | {"wrong", "picture"} | set(MEANINGS)
    for reason, meaning in MEANINGS.items():
        assert f"| `{reason}` | {meaning} |" in page


def test_every_column_and_reason_of_issues_is_described():
    page = (DOCS / "reference" / "issues.md").read_text()
    described = re.findall(r"^\| `([\w ]+)` \|", page, re.M)
    assert described == [*issues.ISSUE_COLUMNS, *issues.MEANINGS]
