"""Clean training data by Outlier Gradient Analysis (Chhabra et al., ICML 2025, arXiv 2405.03869).

What the commands do, these functions do, under the same names:

    config = ogacli.load_config("config.yaml")
    run = ogacli.scan(config)
    ogacli.trim(run, "clean.csv")

Each name is imported when it is first used, so that ``import ogacli`` does not import torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ogacli._version import __version__ as __version__

if TYPE_CHECKING:
    from ogacli.config import Config as Config
    from ogacli.config import load_config as load_config
    from ogacli.models.training.train import train as train
    from ogacli.run.directory import Run as Run
    from ogacli.run.gate import gate as gate
    from ogacli.run.trim import load_kept as load_kept
    from ogacli.run.trim import trim as trim
    from ogacli.scan import scan as scan
    from ogacli.scan.attribution import attribute as attribute
    from ogacli.scan.verify import verify as verify

_HOMES = {
    "Config": "config",
    "Run": "run.directory",
    "attribute": "scan.attribution",
    "gate": "run.gate",
    "load_config": "config",
    "load_kept": "run.trim",
    "scan": "scan",
    "train": "models.training.train",
    "trim": "run.trim",
    "verify": "scan.verify",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ogacli' has no attribute {name!r}")
    return getattr(import_module(f"ogacli.{_HOMES[name]}"), name)


class _Package(ModuleType):
    """Keeps ``ogacli.scan`` the function: importing the module of that name would put itself in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
