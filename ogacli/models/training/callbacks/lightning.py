"""For the ``Trainer`` of Lightning: weights after each epoch.

from ogacli.models.training.callbacks.lightning import ScanCallback

Trainer(max_epochs=5, callbacks=[ScanCallback("runs/photos-epochs", network="net")])
"""

import sys
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from torch import nn

from ogacli.errors import ConfigError
from ogacli.models.training.callbacks import EpochFolder

# Programs import the library by one of two names, whose classes differ.
_OTHER = "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules
Callback: Any = import_module("pytorch_lightning" if _OTHER else "lightning.pytorch").Callback


class ScanCallback(Callback):  # type: ignore[misc]
    """Saves each epoch, and at the end prints the command that scans by their trajectory.

    Args:
        folder: Where to save: ``epoch-001.safetensors``, ..
        config: The config with the data section, and a model section that describes the network.
        network: The attribute of the LightningModule that is the network, such as ``net``; all of it where
            left out, of which a scan takes the part that is the network.
    """

    def __init__(
        self, folder: str | Path, config: str | Path = "oga.yaml", *, network: str | None = None
    ) -> None:
        self.epochs = EpochFolder(folder, config)
        self.network = network

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Check the folder and the network.

        Raises:
            RunError: An earlier training left its weights there.
            ConfigError: There is no such network.
        """
        self._module(pl_module)
        self.epochs.begin(resumed=trainer.current_epoch > 0)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save the weights."""
        if trainer.is_global_zero:
            self.epochs.write(self._module(pl_module), trainer.current_epoch + 1)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Print the command."""
        if trainer.is_global_zero:
            print(f"next: {self.epochs.command()}")

    def _module(self, pl_module: Any) -> nn.Module:
        if self.network is None:
            found = pl_module
        else:
            try:
                found = attrgetter(self.network)(pl_module)
            except AttributeError:
                found = None
        if isinstance(found, nn.Module):
            return found
        raise ConfigError(
            "the LightningModule has no such network",
            place=f"ScanCallback: network {self.network!r}",
            expected=f"one of {', '.join(name for name, _ in pl_module.named_children())}",
        )
