"""The command line as a contract: exit codes, streams, documents, widths."""

import contextlib
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

import ogacli
from command_line import oga
from small_scans import N, Place, contents, make_place


def process(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A process from nothing, imports and all."""
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


OGA = [sys.executable, "-m", "ogacli"]
COMMANDS = ["demo", "init", "doctor", "train", "scan", "report", "trim", "verify", "gate"]
HEAVY = {"torch", "torchvision", "pyarrow", "sklearn", "pandas", "scipy", "transformers", "PIL", "jinja2"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path / "place", detector=["l2", {"name": "isolation_forest", "trees": 5}])


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with a run; not to be changed."""
    place = make_place(tmp_path_factory.mktemp("scanned"), detector=["l2", "l1"])
    done = oga("scan", "config.yaml", cwd=place.folder)
    assert done.code == 0, done.err
    return place


# --- a real process ----------------------------------------------------------------------------------------


def test_python_m_ogacli_scans(place):
    done = process("-m", "ogacli", "scan", "config.yaml", "--json", cwd=place.folder)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema_version"] == 1
    assert document["samples"] == N
    assert document["run"] == str(place.folder / "run")
    assert done.stderr == "", "no bar, and nothing to warn of"


def test_help_and_version_import_nothing_heavy():
    """Which is what keeps them quick."""
    for arguments in (["--help"], ["--version"], ["scan", "--help"], ["nonsense"]):
        code = (
            "import sys, runpy\n"
            f"sys.argv = ['oga', *{arguments!r}]\n"
            "try:\n    runpy.run_module('ogacli', run_name='__main__')\n"
            "finally:\n    print('modules:', *sys.modules, file=sys.stderr)\n"
        )
        done = process("-c", code)
        modules = done.stderr.partition("modules:")[2].split()
        assert "typer" in modules
        assert not HEAVY & set(modules), arguments


def test_a_scan_starts_without_what_only_some_scans_need():
    """torchvision alone takes as long to import as torch."""
    done = process("-c", "import sys, ogacli.config.commands\nprint(*sys.modules)")
    modules = set(done.stdout.split())
    assert "ogacli.scan.execute" in modules, done.stderr
    assert not {"torchvision", "torch._dynamo", "sklearn", "scipy", "pandas"} & modules


def test_other_processes_start_before_torch_is_imported(place):
    """All import it at the same time then."""
    code = (
        "import sys\nfrom ogacli.base.processes import sharing\n"
        "def start(self):\n    print('torch' in sys.modules, file=sys.stderr)\n    sys.exit()\n"
        "sharing._Children.__enter__ = start\n"
        "from ogacli.cli import app\napp(['scan', 'config.yaml', '--workers', '2'])\n"
    )
    done = process("-c", code, cwd=place.folder)
    assert done.stderr.split() == ["False"]


def test_what_reads_a_run_needs_no_torch(scanned):
    """``trim`` does, as it compares the source with the one that was scanned."""
    code = (
        "import sys\nfrom ogacli.cli import app\n"
        "for call in (['gate', 'run'], ['report', 'run', '--format', 'md']):\n"
        "    app(call, standalone_mode=False)\n"
        "print('torch' in sys.modules, file=sys.stderr)\n"
    )
    done = process("-c", code, cwd=scanned.folder)
    assert done.stderr.splitlines()[-1] == "False", done.stderr


def test_an_interruption_is_130_and_can_be_resumed(place):
    """Ctrl-C while the forest is being fed: no traceback, nothing half-written."""
    slow = (
        # A shell that puts us in the background has its children ignore the signal.
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys, time\n"
        "from ogacli.detectors.norm import Norm\n"
        "score = Norm.score\n"
        "def slowly(self, batch):\n    print('scoring', file=sys.stderr, flush=True)\n    time.sleep(0.2)\n"
        "    return score(self, batch)\n"
        "Norm.score = slowly\n"
        "from ogacli.cli import main\n"
        "sys.argv = ['oga', 'scan', 'config.yaml', '--set', 'gradients.batch_size=4']\n"
        "main()\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", slow],
        cwd=place.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stderr is not None
    for _ in range(3):
        assert started.stderr.readline() == "scoring\n"
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=60)
    assert started.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert "--resume continues from here" in err
    assert not (place.folder / "run").exists()
    assert (place.folder / "run.partial").is_dir()
    same = ("--set", "gradients.batch_size=4")
    done = oga("scan", "config.yaml", "--resume", *same, cwd=place.folder)
    assert done.code == 0, done.err
    assert not (place.folder / "run.partial").exists()
    assert oga("scan", "config.yaml", *same, "--output", "whole", cwd=place.folder).code == 0
    resumed, whole = (contents(place.folder / name)["scores.parquet"] for name in ("run", "whole"))
    assert resumed == whole


def in_a_terminal(command: list[str], cwd: Path, **env: str) -> str:
    """What a command writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"} | env,
    )  # fmt: skip
    os.close(theirs)
    found, deadline = b"", time.monotonic() + 120
    with contextlib.suppress(OSError):  # the other end is closed when the process ends
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.5)[0]:
                chunk = os.read(ours, 65536)
                if not chunk:
                    break
                found += chunk
            elif process.poll() is not None:
                break
    os.close(ours)
    assert process.wait(60) == 0, found.decode()
    return found.decode()


def test_a_bar_on_a_terminal(place):
    shown = in_a_terminal([*OGA, "scan", "config.yaml"], place.folder)
    assert "scanning" in shown
    assert f"{N}/{N}" in shown
    assert "\x1b[" in shown
    assert "12 of 120 samples flagged (10.0%)" in shown


def test_no_colour_and_dumb_terminals(scanned):
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]")
    gate = [*OGA, "gate", "run"]
    assert colour.search(in_a_terminal(gate, scanned.folder))
    assert not colour.search(in_a_terminal(gate, scanned.folder, NO_COLOR="1"))
    assert "\x1b" not in in_a_terminal(gate, scanned.folder, TERM="dumb")


# --- exit codes and streams --------------------------------------------------------------------------------


def test_usage_errors_are_2(place):
    for arguments in ([], ["nonsense"], ["scan"], ["scan", "config.yaml", "--nonsense"], ["trim", "run"]):
        done = oga(*arguments, cwd=place.folder)
        assert done.code == 2, arguments
        assert "Traceback" not in done.err
        if arguments:
            assert done.out == ""
            assert "oga" in done.err


def test_version_and_help(place):
    shown = dict(line.split(" ", 1) for line in oga("--version", cwd=place.folder).out.splitlines())
    assert list(shown)[:3] == ["oga", "python", "torch"]
    assert shown["oga"] == ogacli.__version__
    assert shown["torch"] == metadata.version("torch")
    assert shown["numpy"] == metadata.version("numpy")
    shown = oga("--help", cwd=place.folder).out
    assert [
        name for name in COMMANDS if not re.search(rf"^  {name} .*[^.]\.$", shown, re.M)
    ] == []  # none is cut
    for command in COMMANDS:
        done = oga(command, "-h", cwd=place.folder)
        assert done.code == 0
        assert max(map(len, done.out.splitlines())) <= 80


def test_a_bug_shows_its_traceback_and_is_2(scanned):
    """Not our users' fault, so they are asked to report it."""
    code = (
        "import sys, ogacli.run.directory\nogacli.run.directory.Run.open = lambda path: 1 / 0\n"
        "from ogacli.cli import main\nsys.argv = ['oga', 'gate', 'run']\nmain()\n"
    )
    done = process("-c", code, cwd=scanned.folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "ZeroDivisionError" in done.stderr
    assert "This is a bug in oga" in done.stderr


def test_the_gate_s_exit_code(scanned):
    assert oga("gate", "run", cwd=scanned.folder).code == 0
    done = oga("gate", "run", "--max-flagged", "5", cwd=scanned.folder)
    assert done.code == 1
    assert "gate failed" in done.out
    assert done.err == ""


def test_the_gate_writes_its_reports(scanned, tmp_path):
    files = ("--junit", tmp_path / "a/gate.xml", "--markdown", tmp_path / "gate.md")
    assert oga("gate", "run", "--max-flagged", "5", *files, cwd=scanned.folder).code == 1
    assert (tmp_path / "a/gate.xml").read_text().startswith("<?xml")
    assert "oga gate failed" in (tmp_path / "gate.md").read_text()
    assert oga("gate", "run", *files, cwd=scanned.folder).code == 0
    assert "oga gate passed" in (tmp_path / "gate.md").read_text(), "its own files are replaced"
    (tmp_path / "gate.md").write_text("mine")
    done = oga("gate", "run", *files, cwd=scanned.folder)
    assert done.code == 2
    assert "already exists" in done.err
    assert oga("gate", "run", *files, "--overwrite", cwd=scanned.folder).code == 0


# --- documents ---------------------------------------------------------------------------------------------


def document(place: Place, *arguments: object, code: int = 0) -> dict:
    done = oga(*arguments, "--json", cwd=place.folder)
    assert done.code == code, done.err

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    found = json.loads(done.out, parse_constant=refuse)
    assert found["schema_version"] == 1
    assert done.err == ""
    return found


def test_every_command_prints_one_document(place):
    small = ("--set", "train.epochs=1", "--set", "verify.seeds=2")
    assert document(place, "doctor")["versions"]["ogacli"] == ogacli.__version__
    starter = document(place, "init", "-o", "starter.yaml")
    assert (place.folder / starter["config"]).is_file()
    trained = document(place, "train", "config.yaml", *small)
    assert [name.endswith(".safetensors") for name in trained["checkpoints"]] == [True]
    assert document(place, "scan", "config.yaml", "--dry-run")["samples"] == N
    weights = ("--set", "model.checkpoint=run-checkpoints/epoch-001.safetensors")
    found = document(place, "scan", "config.yaml", *weights)
    assert (found["samples"], found["detectors"]) == (N, ["l2", "isolation_forest"])
    assert (Path(found["run"]) / "report.html").is_file()
    gate = document(place, "gate", "run", "--max-flagged", "1", code=1)
    assert gate["passed"] is False
    trimmed = document(place, "trim", "run", "--to", "clean.npz")
    assert sum(trimmed["fates"].values()) == N
    assert Path(document(place, "report", "run")["report"]).name == "report.html"
    assert document(place, "report", "run", "--format", "json")["summary"]["samples"] == N
    told = document(place, "report", "run", "--format", "md")
    assert told["text"].startswith("#")
    verified = document(place, "verify", "config.yaml", *small)
    assert [arm["name"] for arm in verified["arms"]] == [
        "all", "trimmed", "relabelled", "weighted", "random", "oracle",
    ]  # fmt: skip
    assert (verified["labels"], verified["clean_test_needed"]) == ("true", False)


def test_verify_says_whose_labels(place):
    small = ("--set", "train.epochs=1", "--set", "verify.seeds=2", "--set", "verify.holdout=0.5")
    assert oga("train", "config.yaml", *small, cwd=place.folder).code == 0
    weights = "model.checkpoint=run-checkpoints/epoch-001.safetensors"
    assert oga("scan", "config.yaml", "--set", weights, cwd=place.folder).code == 0
    done = oga("verify", "config.yaml", *small, cwd=place.folder)
    assert "Judged by the true labels" in " ".join(done.out.split())
    assert "2 parts of the samples were held out in turn" in " ".join(done.out.split())
    assert oga("verify", "config.yaml", *small, "-q", cwd=place.folder).err == ""


def test_every_command_has_json():
    shown = [oga(command, "--help", cwd=Path.cwd()).out for command in COMMANDS]
    assert all("--json" in text for text in shown)


def test_reports(scanned, tmp_path):
    done = oga("report", "run", "--format", "md", cwd=scanned.folder)
    assert done.out.startswith("#")
    assert (
        oga("report", "run", "--output", tmp_path / "r.html", cwd=scanned.folder).out
        == f"{tmp_path}/r.html\n"
    )
    assert (tmp_path / "r.html").read_text() == (scanned.folder / "run/report.html").read_text()


# --- widths ------------------------------------------------------------------------------------------------


def test_nothing_is_wider_than_80_columns_or_broken_within_a_cell(place):
    """Names of labels as long as people make them."""
    names = ["golden retriever", "a class with a very long name, of which nobody knows why", "cat"]
    place.write_config(
        data={"source": "arrays", "path": "data.npz", "x": "x", "y": "y", "truth": "truth", "classes": names}
    )
    small = ("--set", "train.epochs=2", "--set", "verify.seeds=2")
    for command in (
        ("train", "config.yaml", *small),
        ("scan", "config.yaml", "--dry-run"),
        ("scan", "config.yaml", "-v", "--set", "model.checkpoint=run-checkpoints/epoch-*.safetensors"),
        ("gate", "run"),
        ("gate", "run", "--baseline", "run"),
        ("trim", "run", "--to", "clean.npz"),
        ("verify", "config.yaml", *small),
        ("doctor",),
    ):
        done = oga(*command, cwd=place.folder)
        assert done.code in (0, 1), done.err
        lines = done.out.splitlines()
        assert lines
        # A command to be copied stays in one piece.
        assert [line for line in lines if len(line) > 80 and not line.startswith("next ")] == [], command
        assert "\x1b" not in done.out
        folded = [line for line in lines if line.startswith(" " * 8)]
        assert not folded or "--baseline" in command, "only a label takes a second line\n" + done.out


def test_scan_says_what_to_do_next(scanned):
    done = oga("scan", "config.yaml", "--output", "again", cwd=scanned.folder)
    following = re.search(r"next +(oga .*)$", done.out, re.M)
    assert following is not None
    assert oga(*following[1].split()[1:], cwd=scanned.folder).code == 0
    assert (scanned.folder / "clean.npz").is_file()


def test_train_says_what_to_do_next(place):
    train = ("train", "config.yaml", "--set", "train.epochs=2", "--set", "model.checkpoint=null")
    done = oga(*train, cwd=place.folder)
    assert done.out.splitlines()[0].split() == "epoch loss accuracy".split()
    following = re.search(r"next +(oga .*)$", done.out, re.M)
    assert following is not None, done.out
    assert oga(*shlex.split(following[1])[1:], cwd=place.folder).code == 0


def test_init_of_what_is_not_there(tmp_path):
    assert "could not be read" in oga("init", "nothing.csv", cwd=tmp_path).out


def test_a_training_on_numbers_has_no_fit_to_labels(place):
    numbers = (
        "data.truth=null",
        "data.target=regression",
        "loss=mse",
        "train.epochs=1",
        "model.checkpoint=null",
        "detector=l2",
    )
    done = oga(
        "train", "config.yaml", *(part for one in numbers for part in ("--set", one)), cwd=place.folder
    )
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].split() == ["epoch", "loss"]


def test_init_says_which_columns_it_found(tmp_path):
    (tmp_path / "t.csv").write_text("label,a\nx,1\ny,2\n", encoding="utf-8")
    done = oga("init", "t.csv", cwd=tmp_path)
    assert "label: label" in done.out
    following = re.search(r"`(oga .*)`", done.out)
    assert following is not None
    assert oga(*following[1].split()[1:], cwd=tmp_path).code == 0
    (tmp_path / "u.csv").write_text("verdict,a\nx,1\ny,2\n", encoding="utf-8")
    assert (
        "fill in data.label: the data has verdict, a"
        in oga("init", "u.csv", "-o", "u.yaml", cwd=tmp_path).out
    )


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_a_reader_who_leaves_early_changes_nothing(tmp_path, options):
    """As `oga .. | head -1` does: the work is done, and the exit code is that of the work."""
    place = make_place(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "ogacli", "scan", str(place.config_file), *options]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    os.close(writing)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "run" / "scores.parquet").is_file()
