"""torchvision's networks of classes and pixels, with fresh weights or a checkpoint; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import Field, field_validator
from torch import nn

from ogacli.data import Samples
from ogacli.errors import ConfigError
from ogacli.models.checkpoints import trained_classes
from ogacli.models.checkpoints.class_names import same_order
from ogacli.models.network import Network
from ogacli.models.sources import Fit, NetworkSource, sources


@sources.register
class Torchvision(NetworkSource):
    """A network of ``torchvision.models`` by name; it has as many outputs as the data or the checkpoint."""

    name: str
    """Such as ``resnet18``, ``mobilenet_v3_small``, ``vit_b_16``; for masks ``deeplabv3_mobilenet_v3_large``
    and others of ``torchvision.models.segmentation``."""
    args: dict[str, Any] = Field(default={})
    """Further arguments of torchvision's function of that name."""

    @field_validator("args")
    @classmethod
    def _no_download(cls, args: dict[str, Any]) -> dict[str, Any]:
        for name in ("weights", "weights_backbone", "pretrained"):
            if args.get(name):
                raise ValueError(f"no weights are downloaded: drop `{name}` and name a file as `checkpoint`")
        return args

    def load(self, samples: Samples) -> Network:
        """The network with its checkpoint, in evaluation mode.

        Raises:
            CheckpointError: As for any network; or its classes are in another order than those of the data.
        """
        network = super().load(samples)
        self._named(samples, network.module)
        return network

    def names_classes(self, samples: Samples) -> bool:
        """By the checkpoint; or by torchvision's names, where there are as many as outputs."""
        return super().names_classes(samples) or self._named(samples, self.network(Fit.of(samples)))

    def _named(self, samples: Samples, module: nn.Module) -> bool:
        """Whether torchvision's names of the outputs are the classes of the samples.

        A checkpoint of ``oga train`` has names of its own.
        """
        from torchvision import models

        if self.checkpoint is not None and trained_classes(self.file()):
            return False
        linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
        sizes = {layer.out_features for layer in linear[-1:]}
        for weights in models.get_model_weights(self.name):
            names = weights.meta.get("categories", ())
            if sizes == {len(names)}:
                listed = (
                    'python -c "from torchvision import models; '
                    f"print(models.get_model_weights('{self.name}').{weights.name}.meta['categories'])\""
                )
                return same_order(names, samples.classes, f"model.name {self.name}", listed=listed)
        return False

    def build(self, fit: Fit) -> nn.Module:
        """The network that torchvision makes of name and arguments.

        Raises:
            ConfigError: There is none of that name, or it does not take the arguments.
        """
        from torchvision import models

        maps = models.list_models(module=models.segmentation)
        known = [*models.list_models(module=models), *maps]
        args = {"num_classes": fit.outputs} | self.args
        if self.name in ("googlenet", "inception_v3"):
            args.setdefault("init_weights", True)
        if self.name in maps:
            args.setdefault("weights_backbone", None)  # which would be downloaded
        return of_torchvision(self.name, args, known, "classification network")


def of_torchvision(name: str, args: Mapping[str, Any], known: Sequence[str], kind: str) -> nn.Module:
    """The network without weights that torchvision makes of name and arguments.

    Args:
        name: As torchvision lists it.
        args: Its keyword arguments.
        known: The names that are allowed.
        kind: What they are called in a message.

    Raises:
        ConfigError: There is none of that name, or it does not take the arguments.
    """
    from torchvision import models

    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise ConfigError(
            f"torchvision has no {kind} {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            place="model.name",
            expected=None if near else f"one of {', '.join(known)}",
        )
    try:
        return models.get_model(name, weights=None, **args)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"torchvision cannot make a {name} of these arguments", place="model.args", found=str(error)
        ) from error
