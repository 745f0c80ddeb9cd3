"""The policy file that ``oga gate --init`` writes, and its page in the docs."""

from pathlib import Path

import pytest
import yaml

from ogacli.run.gate.policy import load_policy, policy_class
from ogacli.run.gate.starter import starter, write_starter

PAGE = (Path(__file__).parents[3] / "docs" / "gate.md").read_text(encoding="utf-8")


def test_as_it_is_it_means_the_same_as_no_policy(tmp_path):
    write_starter(tmp_path / "gate.yaml")
    assert load_policy(tmp_path / "gate.yaml") == load_policy()


def test_every_key_is_there_with_a_comment():
    text = starter()
    assert list(yaml.safe_load(text)) == list(policy_class().model_fields)
    lines = text.splitlines()
    for name in policy_class().model_fields:
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{name}:"))
        assert lines[at - 1].startswith("# "), name


@pytest.mark.parametrize("name", policy_class().model_fields)
def test_every_key_is_in_the_docs(name):
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}`")]
    assert len(rows) == 1, f"docs/gate.md needs one row on `{name}`"


@pytest.mark.parametrize("name", policy_class().model_fields)
def test_every_key_can_be_set_on_the_command_line(name):
    default = yaml.safe_load(starter())[name]
    assert load_policy(overrides=[f"{name}={yaml.safe_dump(default).split(chr(10))[0]}"]) == load_policy()
