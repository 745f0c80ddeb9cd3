"""A network from a function of the user."""

from typing import Any, ClassVar

from pydantic import Field
from torch import nn

from ogacli.base.options import Location
from ogacli.base.user_code import called
from ogacli.models.sources import Fit, NetworkSource, checked, sources


@sources.register
class Python(NetworkSource):
    """Calls ``factory(**args)`` for the network, with its own weights or those of the checkpoint."""

    factory: str
    """``package.module:function``, installed, or a module in ``folder`` or in the current folder."""
    args: dict[str, Any] = Field(default={})
    """Its arguments."""
    folder: Location = Field(default=".", validate_default=True)
    """Where modules are searched first; by default the folder of the config."""

    needs_checkpoint: ClassVar[bool] = False

    def build(self, fit: Fit) -> nn.Module:
        """The network that the factory returns.

        Raises:
            ConfigError: It cannot be imported, fails, or returns something else than a module.
        """
        place, returns = f"model.factory {self.factory}", "a torch.nn.Module"
        return checked(called(self.factory, self.args, self.folder, place=place, returns=returns), place)
