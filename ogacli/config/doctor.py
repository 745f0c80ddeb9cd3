"""Versions of the libraries, devices, and what is missing.

In: this machine. Out: a ``Checkup``; ``config.commands.doctor`` adds the plan of a scan.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, fields
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ogacli._version import __version__

if TYPE_CHECKING:
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


@dataclass(frozen=True, slots=True)
class Checkup:
    """Versions, devices and what is missing."""

    versions: dict[str, str]
    cores: int
    devices: tuple[str, ...]
    problems: tuple[str, ...]
    plan: Plan | None = None
    """What a scan would do, if a config was given."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        names = [field.name for field in fields(self) if field.name != "plan"]
        document = {"schema_version": 1} | {name: getattr(self, name) for name in names}
        return document if self.plan is None else document | {"plan": self.plan.document()}


def examine() -> Checkup:
    """Import what a scan needs, and list versions and devices."""
    import torch

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
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = f"not installed (pip install 'ogacli[{extra}]')"
    gpus = [
        f"cuda:{i} {torch.cuda.get_device_name(i)}, "
        f"{torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB"
        for i in range(torch.cuda.device_count())
    ]
    devices = (*gpus, f"cpu, {torch.get_num_threads()} threads")
    return Checkup(versions, os.cpu_count() or 1, devices, tuple(problems))
