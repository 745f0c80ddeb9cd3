"""``import ogacli`` is the Python API: what the commands do, under the same names."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ogacli
from ogacli.cli import app
from ogacli.config import commands
from small_scans import N, make_place

FUNCTIONS = [
    "attribute", "compare", "demo", "diff", "doctor", "gate", "gradients", "init", "load_config", "load_kept",
    "report", "review", "scan", "train", "trim", "verify",
]  # fmt: skip
HEAVY = ["torch", "pyarrow", "sklearn", "torchvision", "numpy", "pydantic", "typer", "rich"]


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_imports_nothing_heavy():
    code = f"import sys, ogacli; print(ogacli.__version__, [n for n in {HEAVY} if n in sys.modules])"
    assert python(code) == f"{ogacli.__version__} []\n"


def test_functions_stay_functions_whatever_is_imported():
    """``ogacli/scan.py`` and the function ``scan`` share a name; the function is what the package shows."""
    code = """
import ogacli.scan, ogacli.run.trim
from ogacli.run.gate import gate as direct
import ogacli
first = ogacli.scan
import ogacli.scan.retraining.verify
from ogacli import scan, verify, gate
assert scan is first is ogacli.scan
for name in NAMES:
    assert callable(getattr(ogacli, name)), name
assert gate is direct
import sys
assert sys.modules["ogacli.scan"].scan is ogacli.scan
import ogacli.verdict.budget
assert ogacli.verdict.budget.Budget
print("ok")
"""
    assert python(code.replace("NAMES", repr(FUNCTIONS))) == "ok\n"


def test_everything_named_is_there():
    assert {*FUNCTIONS, "Config", "Run", "Samples", "__version__"} == set(ogacli.__all__) == set(dir(ogacli))
    for name in ogacli.__all__:
        assert getattr(ogacli, name) is not None
    with pytest.raises(AttributeError, match="module 'ogacli' has no attribute 'scn'"):
        _ = ogacli.scn


def test_a_config_is_scanned_from_python(tmp_path):
    place = make_place(tmp_path)
    config = ogacli.load_config(place.config_file)
    run = commands.scan(config)
    assert isinstance(run, ogacli.Run)
    assert isinstance(config, ogacli.Config)
    trimmed = ogacli.trim(run, tmp_path / "clean.npz")
    assert Path(trimmed.path).is_file()
    assert ogacli.gate(run).passed
    assert len(ogacli.load_kept(list(range(N)), run)) == N - 12


def test_every_command_has_its_function(tmp_path):
    names = [one.callback.__name__ for one in app.registered_commands if one.callback]
    assert set(names) <= set(FUNCTIONS)
    place = make_place(tmp_path, detector=["l2", "l1"])
    run = commands.scan(ogacli.load_config(place.config_file))
    assert ogacli.report(run, "md").startswith("#")
    assert ogacli.compare([run]).samples == N
    assert ogacli.doctor().versions["ogacli"] == ogacli.__version__
    assert ogacli.doctor(ogacli.load_config(place.config_file)).plan.samples == N
    assert ogacli.init(output=tmp_path / "starter.yaml").kind == "digits"
    assert ogacli.load_config(tmp_path / "starter.yaml").output is not None


def test_the_package_is_typed():
    assert (Path(ogacli.__file__).parent / "py.typed").is_file()


def test_errors_form_one_tree():
    from ogacli import errors

    kinds = [
        errors.ConfigError,
        errors.DataError,
        errors.CheckpointError,
        errors.GradientError,
        errors.RunError,
    ]
    assert all(issubclass(kind, errors.OgaError) for kind in kinds)
    for kind in kinds:
        assert kind.__name__ in errors.__doc__
    told = errors.DataError("wrong", place="file:3", found=7, expected="8", hint="count again")
    assert str(told) == "file:3: wrong\n  found: 7\n  expected: 8\n  next: count again"
    assert str(errors.RunError("wrong")) == "wrong"
    assert (
        json.dumps(str(errors.ConfigError.of([errors.ConfigError("a"), errors.ConfigError("b")])))
        == '"a\\nb"'
    )
