"""docs/scores.md tells of every detector, with the default that is one."""

from pathlib import Path

import pytest

from ogacli import detectors
from ogacli.detectors import detectors as registry

PAGE = (Path(__file__).parents[1] / "docs" / "scores.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", registry.names())
def test_every_detector_is_in_a_table(name):
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert any(f"`{name}`" in row.split("|")[1] for row in rows), f"docs/scores.md says nothing of {name}"


def test_the_default_is_marked():
    assert f"`{detectors.DEFAULT}` (default)" in PAGE
    assert {detectors.DEFAULT, detectors.WITHOUT_CLASSES, detectors.ATTRIBUTING} <= set(registry.names())
