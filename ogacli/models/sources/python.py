"""A network from a function of the user's own."""

from typing import Any, ClassVar

from pydantic import Field
from torch import nn

from ogacli.base.options import Location
from ogacli.base.user_code import called
from ogacli.errors import ConfigError
from ogacli.models.sources import Fit, NetworkSource, sources


@sources.register
class Python(NetworkSource):
    """Calls ``factory(**args)`` for the network; the weights are the factory's, or the checkpoint's."""

    factory: str
    """``package.module:function``, installed, or a module in ``folder`` or in the current folder."""
    args: dict[str, Any] = Field(default={})
    """What it is called with."""
    folder: Location = Field(default=".", validate_default=True)
    """Where modules are looked for first; the config's own folder where left out."""

    needs_checkpoint: ClassVar[bool] = False

    def build(self, fit: Fit) -> nn.Module:
        """What the factory returns.

        Raises:
            ConfigError: It cannot be imported, fails, or returns something else than a module.
        """
        place = f"model.factory {self.factory}"
        module = called(self.factory, self.args, self.folder, place=place, returns="a torch.nn.Module")
        if not isinstance(module, nn.Module):
            raise ConfigError(
                "the factory does not return a network",
                place=place,
                found=type(module).__name__,
                expected="a torch.nn.Module",
            )
        return module
