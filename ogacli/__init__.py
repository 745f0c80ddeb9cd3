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

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ogacli.attribute import attribute as attribute
    from ogacli.config import Config as Config
    from ogacli.config import load_config as load_config
    from ogacli.gate import gate as gate
    from ogacli.run import Run as Run
    from ogacli.scan import scan as scan
    from ogacli.train import train as train
    from ogacli.trim import load_kept as load_kept
    from ogacli.trim import trim as trim
    from ogacli.verify import verify as verify

_HOMES = {
    "Config": "config",
    "Run": "run",
    "attribute": "attribute",
    "gate": "gate",
    "load_config": "config",
    "load_kept": "trim",
    "scan": "scan",
    "train": "train",
    "trim": "trim",
    "verify": "verify",
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
