"""Clean training data by Outlier Gradient Analysis (Chhabra et al., ICML 2025, arXiv 2405.03869).

Each command is a function of the same name, and the YAML keys are its arguments:

    samples = ogacli.Samples.of(dataset, labels=y, classes=names)
    found = ogacli.scan(samples, network, detector=["latent_label", "l2"], budget=0.05)
    found.table()
    run = found.save("runs/mine")
    ogacli.trim(run, "clean.csv")

The same for a config file: ``ogacli.config.commands.scan(ogacli.load_config("oga.yaml"))``.

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
    from ogacli.config.commands import doctor as doctor
    from ogacli.config.demo import demo as demo
    from ogacli.config.starter import init as init
    from ogacli.data.samples import Samples as Samples
    from ogacli.gradients.feed import gradients as gradients
    from ogacli.models.training.from_python import train as train
    from ogacli.run.compare import compare as compare
    from ogacli.run.diff import diff as diff
    from ogacli.run.directory import Run as Run
    from ogacli.run.gate import gate as gate
    from ogacli.run.reports import report as report
    from ogacli.run.review import review as review
    from ogacli.run.trim import trim as trim
    from ogacli.run.trim.kept import load_kept as load_kept
    from ogacli.scan import scan as scan
    from ogacli.scan.attribution import attribute as attribute
    from ogacli.scan.retraining.verify import verify as verify

_HOMES = {
    "Config": "config",
    "Run": "run.directory",
    "Samples": "data.samples",
    "attribute": "scan.attribution",
    "compare": "run.compare",
    "demo": "config.demo",
    "diff": "run.diff",
    "doctor": "config.commands",
    "gate": "run.gate",
    "gradients": "gradients.feed",
    "init": "config.starter",
    "load_config": "config",
    "load_kept": "run.trim.kept",
    "report": "run.reports",
    "review": "run.review",
    "scan": "scan",
    "train": "models.training.from_python",
    "trim": "run.trim",
    "verify": "scan.retraining.verify",
}
"""The module of each public name."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ogacli' has no attribute {name!r}")
    return getattr(import_module(f"ogacli.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps ``ogacli.scan`` the function when Python, on importing the module, sets it to the module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
