"""docs/sources.md names every source, and its examples are configs."""

import re
from pathlib import Path

import pytest
import yaml

from ogacli.config import parse_config
from ogacli.data import sources as data_sources
from ogacli.models import sources as model_sources

PAGE = (Path(__file__).parents[1] / "docs" / "sources.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("registry", [data_sources.sources, model_sources.sources], ids=["data", "models"])
def test_every_source_is_named(registry):
    section = PAGE.partition("## Models")[0 if registry is data_sources.sources else 2]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.M) for name in re.findall(r"`(\w+)`", row)
    }
    assert named == set(registry.names())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.partition("}")[0])
def test_an_example_is_a_config(example):
    sections = {"data": {"source": "digits"}, "model": {"source": "logistic"}} | yaml.safe_load(example)
    parse_config(yaml.safe_dump(sections))


def test_there_are_examples():
    assert len(EXAMPLES) > 6
