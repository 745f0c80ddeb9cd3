"""Whatever bytes come in: an ``OgaError``, or a result. ``tests/fuzzing.py`` says how they are made."""

import importlib.util
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fuzzing

QUICK = {"run": 12, "config": 40, "checkpoint": 60, "decisions": 60, "mask": 40}
"""Executions of the slower targets in the fast tests; of the others ``USUAL``."""
USUAL, LONG = 150, 20_000

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.dates()
    | st.binary(max_size=8)
)
KEYS = st.text(max_size=8) | st.sampled_from(
    [
        "data",
        "model",
        "source",
        "name",
        "path",
        "detector",
        "budget",
        "review",
        "limits",
        "max_flagged",
        "label",
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
"""Values of YAML and of JSON."""
LIMITS = st.sampled_from(["max_flagged", "min_samples", "max_quarantined"])
QUICKER = sorted(set(fuzzing.TARGETS) - {"run", "config"})
RELAXED = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("target", fuzzing.TARGETS)
def test_what_the_corpus_holds(target: str) -> None:
    taken = [fuzzing.survives(fuzzing.TARGETS[target], content) for content in fuzzing.seeds(target)]
    assert any(taken) or target == "config", "a mutation of what is refused reaches little"


@pytest.mark.parametrize("target", fuzzing.TARGETS)
def test_mutations_of_the_corpus(target: str) -> None:
    for content in islice(fuzzing.inputs(target, 0), QUICK.get(target, USUAL)):
        fuzzing.survives(fuzzing.TARGETS[target], content)


@pytest.mark.slow
@pytest.mark.parametrize("target", fuzzing.TARGETS)
def test_many_mutations_of_the_corpus(target: str) -> None:
    for content in islice(fuzzing.inputs(target, 1), LONG // 20 if target in QUICK else LONG):
        fuzzing.survives(fuzzing.TARGETS[target], content)


def test_inputs_are_the_same_for_one_seed() -> None:
    first, again, other = (list(islice(fuzzing.inputs("table", seed), 30)) for seed in (0, 0, 1))
    assert first == again != other


@RELAXED
@given(values=VALUES)
def test_any_values_as_a_config(values: Any) -> None:
    text = yaml.safe_dump(values, allow_unicode=True)
    fuzzing.survives(fuzzing.config, text.encode(errors="surrogatepass"))


@RELAXED
@given(values=st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_values_as_a_section(values: dict[str, Any]) -> None:
    sections = {"data": {"source": "digits"} | values, "model": "logistic"} | values
    fuzzing.survives(fuzzing.config, yaml.safe_dump(sections).encode(errors="surrogatepass"))


@RELAXED
@given(
    values=st.dictionaries(st.sampled_from(["max_flagged", "min_samples", "max_quarantined"]) | KEYS, VALUES)
)
def test_any_values_as_a_policy(values: dict[str, Any]) -> None:
    fuzzing.survives(fuzzing.policy, yaml.safe_dump(values).encode(errors="surrogatepass"))


@RELAXED
@given(
    text=st.text(max_size=60),
    key=st.sampled_from(["data", "detector.0", "data.limit", "a.b.c", "", "detector.9"]),
)
def test_any_text_after_set(text: str, key: str) -> None:
    fuzzing.survives(fuzzing.override, f"{key}={text}".encode(errors="surrogatepass"))


@RELAXED
@given(
    content=st.binary(max_size=200), target=st.sampled_from(sorted(set(fuzzing.TARGETS) - {"run", "config"}))
)
def test_any_bytes(content: bytes, target: str) -> None:
    fuzzing.survives(fuzzing.TARGETS[target], content)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("target", ["values", "document", "archive", "shard"])
def test_guided_by_coverage(target: str, tmp_path: Path) -> None:
    """Atheris looks for bytes that reach other lines of the code."""
    script = Path(fuzzing.__file__).with_name("fuzzing_guided.py")
    command = [sys.executable, str(script), target, "-runs=20000", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1_200)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert re.search(r"Done 20000 runs", done.stderr)
