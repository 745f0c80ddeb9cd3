"""Scans that are interrupted at a call of a method, and resumed."""

from collections.abc import Callable
from typing import Any

import pytest

from ogacli.config.commands import scan
from ogacli.run.directory import Run
from small_scans import Place, contents


def interrupted(method: Callable[..., Any], call: int) -> Callable[..., Any]:
    """The method, interrupted at a call."""
    calls = []

    def new(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return method(*arguments, **options)

    return new


def whole_and_resumed(
    place: Place, config: Any, monkeypatch: pytest.MonkeyPatch, cls: type, name: str, call: int
) -> tuple[Run, Run]:
    whole = scan(config, output=place.folder / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(cls, name, interrupted(getattr(cls, name), call))
        with pytest.raises(KeyboardInterrupt):
            scan(config, output=place.folder / "out")
    assert (place.folder / "out.partial").is_dir()
    resumed = scan(config, output=place.folder / "out", resume=True)
    for file in ("scores.parquet", "summary.json"):
        assert contents(resumed.path)[file] == contents(whole.path)[file]
    return whole, resumed
