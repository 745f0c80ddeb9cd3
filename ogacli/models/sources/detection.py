"""Object detectors: torchvision's by name, or one from a function of the user; nothing is downloaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator
from torch import nn

from ogacli.base.options import Location
from ogacli.base.user_code import called
from ogacli.data import Samples
from ogacli.data.images.boxes import BoxCounts
from ogacli.errors import CheckpointError, ConfigError
from ogacli.models.checkpoints import check_classes, save_weights
from ogacli.models.detection import BoxLosses, BoxNetwork
from ogacli.models.network import Model
from ogacli.models.sources import Fit, NetworkSource, checked, sources
from ogacli.models.sources.torchvision import of_torchvision


@sources.register
class Detection(NetworkSource):
    """A network that finds boxes in pictures, for ``coco`` and ``yolo`` data.

    It has an output for the background and one for each class, unless ``args`` say otherwise. Class i of the
    data is label i + 1 of the network.
    """

    name: str | None = None
    """A detector of ``torchvision.models.detection``, such as ``fasterrcnn_resnet50_fpn``."""
    factory: str | None = None
    """In place of ``name``: ``package.module:function``, which returns such a network."""
    args: dict[str, Any] = Field(default={})
    """Arguments of either; ``num_classes`` is added for ``name``."""
    folder: Location = Field(default=".", validate_default=True)
    """Where modules are searched first; by default the folder of the config."""

    @field_validator("args")
    @classmethod
    def _no_download(cls, args: dict[str, Any]) -> dict[str, Any]:
        for name in ("weights", "weights_backbone", "pretrained"):
            if args.get(name):
                raise ValueError(f"no weights are downloaded: drop `{name}` and name a file as `checkpoint`")
        return args

    @model_validator(mode="after")
    def _one_of_both(self) -> "Detection":
        if (self.name is None) == (self.factory is None):
            raise ValueError(
                "give either `name`, a detector of torchvision, or `factory`, a function of yours"
            )
        return self

    @property
    def returns_loss(self) -> bool:
        """The parts of the loss of each picture."""
        return True

    @property
    def usual_loss(self) -> str:
        """Of boxes."""
        return "boxes"

    @property
    def has_head(self) -> bool:
        """The layers that classify boxes and place them."""
        return True

    @property
    def gives_features(self) -> bool:
        """Gradients are those of layers."""
        return True

    def prepare(self, samples: Samples) -> Samples:
        """The samples as they are.

        Raises:
            ConfigError: They have no boxes.
        """
        if not isinstance(samples.label_type, BoxCounts):
            raise ConfigError(
                "this model takes pictures with boxes",
                place="model.source detection",
                found="samples without boxes",
                hint="use `source: coco` or `source: yolo` in the data section",
            )
        return samples

    def load(self, samples: Samples) -> Model:  # type: ignore[override]
        """The network with its checkpoint, in evaluation mode.

        Raises:
            CheckpointError: There is none, or it does not fit the network or the classes.
        """
        if self.checkpoint is None and self.factory is None:
            raise CheckpointError(
                "the model has no checkpoint, and gradients at random weights mean nothing",
                place="model.checkpoint",
                expected="a .safetensors file or a state dict that torch.save wrote",
                hint="train one with `oga train`",
            )
        module = self.network(Fit(None, len(samples.classes)))
        if self.checkpoint is not None:
            check_classes(self.file(), samples.classes)
        assert isinstance(module, BoxLosses)
        return BoxNetwork(module.model.float(), len(samples.classes))

    def save(self, module: nn.Module, path: Path, classes: Sequence[str]) -> None:
        """Write a checkpoint of the detector itself, for any program."""
        assert isinstance(module, BoxLosses)
        save_weights(module.model, path, classes=classes)

    def build(self, fit: Fit) -> nn.Module:
        """The network of name or function, as one that returns its loss.

        Raises:
            ConfigError: There is none of that name, or it does not take the arguments.
        """
        if self.factory is not None:
            place, returns = f"model.factory {self.factory}", "a detector, a torch.nn.Module"
            made = called(self.factory, self.args, self.folder, place=place, returns=returns)
            return BoxLosses(checked(made, place))
        return BoxLosses(self._of_torchvision(fit.outputs + 1))

    def _of_torchvision(self, outputs: int) -> nn.Module:
        from torchvision import models

        known = [
            name
            for name in models.list_models(module=models.detection)
            if "rcnn" not in name or "faster" in name
        ]
        args = {"num_classes": outputs, "weights_backbone": None} | self.args
        return of_torchvision(str(self.name), args, known, "detector")
