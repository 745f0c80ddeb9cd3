"""Image networks of the library timm, with fresh weights or a checkpoint; nothing is downloaded.

timm is optional: ``pip install 'ogacli[timm]'``.
"""

from difflib import get_close_matches
from typing import Any

from pydantic import Field, field_validator
from torch import nn

from ogacli.base.user_code import optional
from ogacli.errors import ConfigError
from ogacli.models.sources import Fit, NetworkSource, sources


@sources.register
class Timm(NetworkSource):
    """A network of timm by name; it has as many outputs as the data or the checkpoint."""

    name: str
    """Such as ``resnet50``, ``convnext_tiny``, ``vit_small_patch16_224``."""
    args: dict[str, Any] = Field(default={})
    """Further arguments of ``timm.create_model``."""

    @field_validator("args")
    @classmethod
    def _no_download(cls, args: dict[str, Any]) -> dict[str, Any]:
        for name in ("pretrained", "checkpoint_path"):
            if args.get(name):
                raise ValueError(f"no weights are downloaded: drop `{name}` and name a file as `checkpoint`")
        return args

    @field_validator("name")
    @classmethod
    def _local(cls, name: str) -> str:
        if ":" in name:
            raise ValueError("nothing is downloaded: name the architecture, and a file as `checkpoint`")
        return name

    def build(self, fit: Fit) -> nn.Module:
        """The network that timm makes of name and arguments.

        Raises:
            ConfigError: timm is not installed, or has no network of that name that takes the arguments.
        """
        timm = optional("timm", "timm", "model.source timm")
        if not timm.is_model(self.name):
            near = get_close_matches(self.name.partition(".")[0], timm.list_models(), n=1)
            raise ConfigError(
                f"timm has no network {self.name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
                place="model.name",
            )
        args = {"num_classes": fit.outputs} | self.args
        if len(fit.shape) == 3:
            args.setdefault("in_chans", fit.shape[0])
        try:
            return timm.create_model(self.name, pretrained=False, **args)  # type: ignore[no-any-return]
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"timm cannot make a {self.name} of these arguments", place="model.args", found=str(error)
            ) from error
