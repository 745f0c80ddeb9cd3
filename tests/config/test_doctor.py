import builtins
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from ogacli.config.doctor import _EXTRAS, examine


def test_versions_and_devices() -> None:
    found = examine()
    assert found.versions["torch"] == torch.__version__
    assert found.devices[-1].startswith("cpu")
    assert found.problems == ()


def test_a_torchvision_that_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    found = examine()
    assert found.versions["torchvision"] == "does not import"
    assert "do not match" in found.problems[0]
    assert "pip install --upgrade torch torchvision" in found.problems[0]


def test_extras_are_named_as_their_distributions():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for name, extra in _EXTRAS.items():
        assert name in {re.split(r"[^\w-]", line)[0] for line in extras[extra]}
