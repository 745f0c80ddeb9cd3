"""The loss of one sample, and its *residual*: the gradient of that loss with respect to the logits.

In: logits [b, k] and labels. Out: residual [b, k] or value [b], one loss a sample, never averaged.
"""

from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from pydantic import Field, model_validator
from torch import Tensor

from ogacli.base.options import Location, Options
from ogacli.base.user_code import imported
from ogacli.errors import ConfigError, GradientError


class LossOptions(Options):
    """The ``loss:`` section: what the model was trained with."""

    name: Literal["cross_entropy", "bce_with_logits", "mse", "output", "python"] = "cross_entropy"
    """``cross_entropy`` for one class a sample, ``bce_with_logits`` for several, ``mse`` for a regression,
    ``output`` where the network returns its loss itself, in parts that are added up, ``python`` for one of
    your own."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of ``cross_entropy``."""
    factory: str | None = None
    """Of ``python``: ``package.module:function`` with the arguments ``(logits, labels)``, which returns one
    loss a sample, [b]."""
    folder: Location | None = None
    """Of ``python``: where modules are looked for first; the config's own folder where left out."""

    @model_validator(mode="before")
    @classmethod
    def _beside_config(cls, values: Any) -> Any:
        return {"folder": ".", **values} if isinstance(values, dict) and "factory" in values else values

    @model_validator(mode="after")
    def _fits(self) -> "LossOptions":
        if (self.name == "python") != (self.factory is not None):
            raise ValueError("`factory` belongs to `name: python`, and only there")
        if self.label_smoothing and self.name != "cross_entropy":
            raise ValueError("`label_smoothing` belongs to `name: cross_entropy`")
        return self

    def loss(self) -> "Loss":
        """The loss that these options describe."""
        return Loss(self)


class Loss:
    """A loss of one sample, summed over nothing but that sample's own logits."""

    def __init__(self, options: LossOptions) -> None:
        self.options = options
        self._own = (
            None if options.factory is None else imported(options.factory, ConfigError, options.folder)
        )

    def value(self, logits: Float[Tensor, "b k"], labels: Shaped[Tensor, "b ..."]) -> Float[Tensor, " b"]:
        """The loss of each sample.

        Raises:
            GradientError: The labels do not fit the loss or the logits, or a loss of the user's own does not
                return one value a sample.
        """
        match self.options.name:
            case "cross_entropy":
                smoothing = self.options.label_smoothing
                return F.cross_entropy(
                    logits, self._classes(labels), reduction="none", label_smoothing=smoothing
                )
            case "bce_with_logits":
                targets = self._targets(logits, labels)
                return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
            case "output":
                return logits.sum(1)
            case "mse":
                return (logits - self._targets(logits, labels)).square().sum(1)
            case _:
                assert self._own is not None
                return self._checked(self._own(logits, labels), len(logits))

    def residual(self, logits: Float[Tensor, "b k"], labels: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b k"]:
        """The gradient of each sample's loss with respect to its logits.

        Under cross-entropy this is softmax minus the target distribution. For the given class that
        difference cancels to zero in confident samples, so it is taken as minus the sum of the others; under
        binary cross-entropy, sigmoid(z) - 1 is likewise taken as -sigmoid(-z).

        Raises:
            GradientError: As :meth:`value`.
        """
        if self.options.name == "output":
            return torch.ones_like(logits)
        if self.options.name not in ("cross_entropy", "bce_with_logits"):
            return self._differentiate(logits, labels)
        with torch.no_grad():
            if self.options.name == "bce_with_logits":
                targets = self._targets(logits, labels)
                return (1 - targets) * logits.sigmoid() - targets * (-logits).sigmoid()
            smoothing, k = self.options.label_smoothing, logits.shape[1]
            residual = torch.softmax(logits, 1)
            if smoothing:
                residual = residual - smoothing / k
            index = self._classes(labels)[:, None]
            others = residual.scatter(1, index, 0.0).sum(1, keepdim=True)
            return residual.scatter(1, index, -others)

    def answers(self, logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """What logits stand for: probabilities, or the logits themselves where the loss knows none."""
        match self.options.name:
            case "cross_entropy":
                return torch.softmax(logits, 1)
            case "bce_with_logits":
                return logits.sigmoid()
            case _:
                return logits

    def targets(self, logits: Float[Tensor, "b k"], labels: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b k"]:
        """The answers that the labels ask for.

        Raises:
            GradientError: The labels do not fit the loss, or it is one of the user's own.
        """
        match self.options.name:
            case "cross_entropy":
                return F.one_hot(self._classes(labels), logits.shape[1]).to(logits.dtype)
            case "python":
                raise GradientError(
                    "what answer a label asks for is not known of a loss of your own",
                    place=f"loss.factory {self.options.factory}",
                    hint="take the neighbours' predictions: `gradients.neighbours.of: predictions`",
                )
            case _:
                return self._targets(logits, labels)

    def logits(self, answers: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """The logits that stand for these answers; they stay finite for probabilities of 0 and 1."""
        tiny = torch.finfo(answers.dtype).tiny
        match self.options.name:
            case "cross_entropy":
                return answers.clamp_min(tiny).log()
            case "bce_with_logits":
                return answers.clamp_min(tiny).log() - (1 - answers).clamp_min(tiny).log()
            case _:
                return answers

    def _differentiate(self, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            own = logits.detach().clone().requires_grad_()
            total = self.value(own, labels.clone() if labels.is_inference() else labels).sum()
            if not total.requires_grad:
                raise GradientError(
                    "the loss does not depend on the logits", place=f"loss {self.options.name}"
                )
            (residual,) = torch.autograd.grad(total, own)
        return residual

    def _classes(self, labels: Tensor) -> Tensor:
        if labels.ndim != 1 or labels.is_floating_point():
            raise GradientError(
                "cross-entropy takes one class a sample",
                place="loss.name",
                found=f"labels {list(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}",
                hint="use `loss: bce_with_logits` for several classes a sample, `loss: mse` for a regression",
            )
        return labels

    def _targets(self, logits: Tensor, labels: Tensor) -> Tensor:
        if labels.numel() != logits.numel():
            raise GradientError(
                "the loss takes one target a logit",
                place=f"loss.name {self.options.name}",
                found=f"labels {list(labels.shape)}, logits {list(logits.shape)}",
                hint="use `loss: cross_entropy` for one class a sample",
            )
        return labels.to(logits.dtype).reshape(logits.shape)

    def _checked(self, found: Any, b: int) -> Tensor:
        if isinstance(found, Tensor) and found.shape == (b,):
            return found
        raise GradientError(
            "the loss does not return one value a sample",
            place=f"loss.factory {self.options.factory}",
            found=list(found.shape) if isinstance(found, Tensor) else type(found).__name__,
            expected=f"[{b}]",
            hint="use reduction='none'",
        )
