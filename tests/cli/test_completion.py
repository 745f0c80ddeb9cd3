"""What the shell offers: run directories and configs as paths, options, commands."""

import os
import subprocess
import sys

import pytest

from synthetic_runs import example

CODE = (
    "import sys; sys.argv = ['oga']\n"
    "from ogacli.cli import main\n"
    "try:\n    main()\n"
    "finally:\n    print(*{'torch', 'pyarrow'} & set(sys.modules), file=sys.stderr)"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    example().write(folder / "runs" / "first")
    (folder / "runs" / "other").mkdir()
    for name in ("oga.yaml", "old.yml", "odd.txt", ".hidden.yaml"):
        (folder / name).write_text("")
    return folder


def offered(words: str, place, shell: str = "bash") -> list[str]:
    """The completions of the last word."""
    parts = f"oga {words}"
    known = {
        "bash": {"COMP_WORDS": parts, "COMP_CWORD": str(len(parts.split(" ")) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": parts},
    }[shell]
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=place,
        env=os.environ | known | {"_OGA_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr.strip() == "", "nothing heavy is imported, and there is no traceback"
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("gate ", ["runs/"]),
        ("report runs/", ["runs/first", "runs/other/"]),
        ("diff runs/first runs/f", ["runs/first"]),
        ("gate runs/first --baseline runs/f", ["runs/first"]),
        ("scan o", ["oga.yaml", "old.yml"]),
        ("scan nowhere/", []),
        ("scan ~no-one/", []),
        ("gate runs/first --basel", ["--baseline"]),
        ("tri", ["trim"]),
    ],
)
def test_run_directories_configs_and_options(place, words, expected):
    assert offered(words, place) == expected


def test_other_shells(place):
    assert "runs/first" in " ".join(offered("gate runs/f", place, "zsh"))


def test_the_script_is_shown(place):
    env = os.environ | {"_OGA_COMPLETE": "source_bash"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert "_OGA_COMPLETE=complete_bash" in done.stdout
    shown = subprocess.run(
        [sys.executable, "-m", "ogacli", "--help"], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert "--install-completion" in shown
    assert "--show-completion" in shown
