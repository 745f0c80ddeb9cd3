"""The user's own loss function."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ogacli.base.options import Location
from ogacli.base.user_code import imported
from ogacli.errors import ConfigError, GradientError
from ogacli.models.tasks import Labels, Logits, Task, tasks


@tasks.register_as("python")
class OwnLoss(Task):
    """Calls ``factory(logits, labels)``, which returns one loss a sample."""

    factory: str
    """``package.module:function`` with the arguments ``(logits, labels)``, which returns one loss a sample,
    [b]."""
    folder: Location = Field(default=".", validate_default=True)
    """Where modules are looked for first; the config's own folder where left out."""

    @property
    def place(self) -> str:
        """The key that names the function."""
        return f"loss.factory {self.factory}"

    def loss(self, logits: Logits, labels: Labels) -> Float[Tensor, " b"]:
        """The values of the function.

        Raises:
            ConfigError: It cannot be imported.
            GradientError: It does not return one value a sample.
        """
        found = self._function(logits, labels)
        if isinstance(found, Tensor) and found.shape == (len(logits),):
            return found
        raise GradientError(
            "the loss does not return one value a sample",
            place=self.place,
            found=list(found.shape) if isinstance(found, Tensor) else type(found).__name__,
            expected=f"[{len(logits)}]",
            hint="use reduction='none'",
        )

    def targets(self, logits: Logits, labels: Labels) -> Logits:
        """Unknown for a function.

        Raises:
            GradientError: Always.
        """
        raise GradientError(
            "the prediction that meets a label is not known for a loss of your own",
            place=self.place,
            hint="take the neighbours' predictions: `gradients.neighbours.of: predictions`",
        )

    def class_probabilities(self, logits: Logits) -> Float[Tensor, "b k"] | None:
        """Softmax of two or more logits, for labels of one class a sample; None for other shapes."""
        return torch.softmax(logits, 1) if logits.ndim == 2 and logits.shape[1] > 1 else None

    @cached_property
    def _function(self) -> Callable[[Tensor, Tensor], Any]:
        function: Callable[[Tensor, Tensor], Any] = imported(self.factory, ConfigError, self.folder)
        return function
