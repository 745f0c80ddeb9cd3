"""The chief commands with ``python -W error``: whatever warns at a user would end them with a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (
    "init --kind digits oga.yaml",
    "train oga.yaml",
    "scan oga.yaml --output first",
    "scan oga.yaml --output second --set budget=0.1",
    "report first --format md",
    "report first --output report.html",
    "gate first --max-flagged 0.9",
    "diff first second",
    "compare first second",
    "trim first --to kept.npy",
    "review first --no-open",
    "doctor",
)


@pytest.mark.slow
def test_no_command_warns(tmp_path: Path) -> None:
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "ogacli", *command.split()],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "Warning" not in done.stderr, f"{command}\n{done.stderr}"
