"""A new command is one new file in ``ogacli/cli``."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import ogacli.cli
from ogacli.cli.command import command, commands

HELLO = '''
from typing import Annotated

import typer

from ogacli.cli.arguments import Json
from ogacli.cli.command import command
from ogacli.cli.terminal import Terminal


@command()
def hello(name: Annotated[str, typer.Argument()], json: Json = False) -> None:
    """Greet somebody."""
    Terminal(json=json).result({"schema_version": 1, "hello": name}, f"hello {name}")
'''


@pytest.fixture
def with_hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    (tmp_path / "greeting.py").write_text(HELLO)
    monkeypatch.setattr(ogacli.cli, "__path__", [*ogacli.cli.__path__, str(tmp_path)])
    return ogacli.cli.assembled()


def test_a_file_is_enough(with_hello: typer.Typer) -> None:
    shown = CliRunner().invoke(with_hello, ["--help"]).output
    assert "Greet somebody." in shown
    assert shown.index("gate ") < shown.index("hello "), "it comes last unless it says where"
    done = CliRunner().invoke(with_hello, ["hello", "you"])
    assert (done.exit_code, done.output) == (0, "hello you\n")


def test_the_order_of_the_help() -> None:
    names = [one.callback.__name__ for one in ogacli.cli.app.registered_commands if one.callback]
    assert names == [
        "demo", "init", "doctor", "train", "scan", "report", "review", "trim", "verify", "attribute",
        "compare", "diff", "gate",
    ]  # fmt: skip


def test_only_marked_functions_are_commands() -> None:
    module = type(ogacli)("some")
    module.b = command(2)(lambda: None)  # type: ignore[attr-defined]
    module.a = command(1)(lambda: None)  # type: ignore[attr-defined]
    module.other = print  # type: ignore[attr-defined]
    assert commands([module]) == [module.a, module.b]
