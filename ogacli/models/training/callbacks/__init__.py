"""Callbacks for the trainers of other libraries, one file each, that save what a scan by trajectory needs.

In: the network after each epoch. Out: ``epoch-001.safetensors``, .. in a folder, and the command to type. The
libraries are optional, so that these modules are imported by name only.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from ogacli.base.options import path_given
from ogacli.errors import RunError
from ogacli.models.checkpoints import save_weights

PATTERN = "epoch-*.safetensors"


class EpochFolder:
    """A folder with the weights after each epoch.

    Args:
        folder: New, or without such files.
        config: The config that the printed command names.
    """

    def __init__(self, folder: str | Path, config: str | Path) -> None:
        self.path = path_given(folder, "folder")
        self.config = path_given(config, "config")

    def begin(self, *, resumed: bool) -> None:
        """Check that no earlier training left its weights there, unless this one continues it.

        Raises:
            RunError: There are some.
        """
        found = sorted(self.path.glob(PATTERN))
        if found and not resumed:
            raise RunError(
                "an earlier training left its weights there",
                place=str(self.path),
                found=found[0].name,
                hint="choose another folder, or remove them",
            )

    def write(self, module: nn.Module, epoch: int, classes: Sequence[str] = ()) -> None:
        """Save the weights of an epoch, counted from 1."""
        self.path.mkdir(parents=True, exist_ok=True)
        save_weights(module, self.path / f"epoch-{epoch:03d}.safetensors", classes=classes)

    def command(self, model: Mapping[str, str] | None = None) -> str:
        """The command that scans by this trajectory.

        Args:
            model: Further keys of the model section.
        """
        keys = {**(model or {}), "checkpoint": str(self.path / PATTERN)}
        parts = ["oga", "scan", str(self.config)]
        for key, value in keys.items():
            parts += ["--set", f"model.{key}={value}"]
        return shlex.join(parts)
