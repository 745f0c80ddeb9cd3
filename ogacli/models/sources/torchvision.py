"""torchvision's classification networks, with fresh weights or a checkpoint; nothing is downloaded."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import Field, field_validator
from torch import nn

from ogacli.errors import ConfigError
from ogacli.models.sources import Fit, NetworkSource, sources


@sources.register
class Torchvision(NetworkSource):
    """A network of ``torchvision.models`` by name; it has as many outputs as the data or the checkpoint."""

    name: str
    """Such as ``resnet18``, ``mobilenet_v3_small``, ``vit_b_16``."""
    args: dict[str, Any] = Field(default={})
    """Further arguments of torchvision's function of that name."""

    @field_validator("args")
    @classmethod
    def _no_download(cls, args: dict[str, Any]) -> dict[str, Any]:
        for name in ("weights", "weights_backbone", "pretrained"):
            if args.get(name):
                raise ValueError(f"no weights are downloaded: drop `{name}` and name a file as `checkpoint`")
        return args

    def build(self, fit: Fit) -> nn.Module:
        """The network that torchvision makes of name and arguments.

        Raises:
            ConfigError: There is none of that name, or it does not take the arguments.
        """
        from torchvision import models

        known = models.list_models(module=models)
        if self.name not in known:
            near = get_close_matches(self.name, known, n=1)
            raise ConfigError(
                f"torchvision has no classification network {self.name!r}"
                + (f"; did you mean {near[0]!r}?" if near else ""),
                place="model.name",
                expected=None if near else f"one of {', '.join(known)}",
            )
        args = {"num_classes": fit.outputs} | self.args
        if self.name in ("googlenet", "inception_v3"):
            args.setdefault("init_weights", True)
        try:
            return models.get_model(self.name, weights=None, **args)  # type: ignore[no-any-return]
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"torchvision cannot make a {self.name} of these arguments",
                place="model.args",
                found=str(error),
            ) from error
