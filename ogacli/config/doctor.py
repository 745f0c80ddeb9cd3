"""Versions of the libraries, devices, and what is missing.

In: this machine. Out: a ``Checkup``; ``config.commands.doctor`` adds the plan of a scan.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, fields
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ogacli._version import __version__
from ogacli.errors import OgaError, collecting

if TYPE_CHECKING:
    from ogacli.config import Config
    from ogacli.data import Samples
    from ogacli.models.sources import ModelSource
    from ogacli.scan.plan import Plan

_EXTRAS = {
    "pyod": "pyod",
    "transformers": "text",
    "peft": "text",
    "datasets": "hf",
    "timm": "timm",
    "faiss-cpu": "faiss",
}
"""Optional distributions, and the extra that installs each."""
_MODULES = {"faiss-cpu": "faiss"}
"""What is imported of a distribution where it has another name; another distribution may bring it as well."""


@dataclass(frozen=True, slots=True)
class Checkup:
    """Versions, devices and what is missing."""

    versions: dict[str, str]
    cores: int
    devices: tuple[str, ...]
    problems: tuple[str, ...]
    """Of the machine."""
    missing: tuple[str, ...] = ()
    """What a scan of the config would miss or refuse, one message each."""
    plan: Plan | None = None
    """What a scan would do, if a config was given and nothing is missing."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        names = [field.name for field in fields(self) if field.name != "plan"]
        document = {"schema_version": 1} | {name: getattr(self, name) for name in names}
        return document if self.plan is None else document | {"plan": self.plan.document()}


def examine() -> Checkup:
    """Import what a scan needs, and list versions and devices."""
    import torch

    from ogacli.base.device import MPS

    problems = []
    try:
        import torchvision

        vision = str(torchvision.__version__)
    except Exception as error:
        vision = "does not import"
        problems.append(
            f"torchvision does not import beside torch {torch.__version__} ({error}): the versions do not "
            "match; pip install --upgrade torch torchvision"
        )
    versions = {
        "ogacli": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": vision,
    }
    for name, extra in _EXTRAS.items():
        versions[name] = _version(name) or f"not installed (pip install 'ogacli[{extra}]')"
    gpus = [
        f"cuda:{i} {torch.cuda.get_device_name(i)}, "
        f"{torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB"
        for i in range(torch.cuda.device_count())
    ]
    refused = [f"mps, refused: {MPS}"] if torch.backends.mps.is_available() else []
    devices = (*gpus, *refused, f"cpu, {torch.get_num_threads()} threads")
    return Checkup(versions, os.cpu_count() or 1, devices, tuple(problems))


def _version(distribution: str) -> str | None:
    """The version of a distribution, or of another one with the same module; None without the module."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        module = _MODULES.get(distribution, distribution)
        if find_spec(module) is None:
            return None
        others = metadata.packages_distributions().get(module, ())
        return next((f"{metadata.version(name)} ({name})" for name in others), "installed")


def missing(config: Config, *, trained: bool = True) -> list[OgaError]:
    """What a scan of a config needs and cannot have, whatever else is missing.

    Args:
        config: Its data, model and detectors are opened.
        trained: Whether the checkpoints must exist already.
    """
    problems: list[OgaError] = []
    samples: Samples | None = None
    with collecting(problems):
        samples = config.data.open()
    for section in (config.validation, config.query, config.test, config.against):
        with collecting(problems):
            if section is not None:
                section.open()
    for options in config.detectors:
        with collecting(problems):
            options.detector()
    if trained:
        _check_checkpoints(config.model, samples, problems)
    with collecting(problems):
        if samples is not None:
            config.model.prepare(samples)
    return problems


def _check_checkpoints(source: ModelSource, samples: Samples | None, problems: list[OgaError]) -> None:
    from ogacli.models.checkpoints.reading import opened

    names: tuple[str, ...] = ()
    with collecting(problems):
        names = source.checkpoint_files()
    for name in names:
        with collecting(problems), opened(name):
            pass
    with collecting(problems):
        if samples is not None:
            source.snapshots(samples)
