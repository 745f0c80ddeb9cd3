"""Reading a run imports no torch; to judge and to report it imports no pandas, which pyarrow would."""

import subprocess
import sys

import pytest

from synthetic_runs import example

ROOMS = ["directory", "summary", "scores", "compare", "gate", "gate.formats", "reports", "trim"]


def without(libraries: set[str], code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nassert not {libraries} & sys.modules.keys()"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return example().write(tmp_path_factory.mktemp("runs") / "run").path


def test_every_part_of_the_room():
    without({"torch"}, "\n".join(f"import ogacli.run.{name}" for name in ROOMS))


def test_a_run_is_opened_judged_and_reported(run):
    code = f"""
from ogacli.run.directory import Run
from ogacli.run.gate import gate
from ogacli.run.gate.formats import formats
from ogacli.run.reports import report
run = Run.open({str(run)!r})
run.scores, run.previews, run.config, run.provenance
found = gate(run, baseline=run)
[formats.get(name)(found) for name in formats.names()]
[report(run, name) for name in ("html", "md", "json")]
"""
    without({"torch", "pandas"}, code)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_manifest_is_written(run, tmp_path, suffix):
    code = f"""
from ogacli.run.trim import trim
trim({str(run)!r}, {str(tmp_path / "kept.npy")!r}, manifest={str(tmp_path / f"clean.{suffix}")!r})
"""
    without({"torch"}, code)
