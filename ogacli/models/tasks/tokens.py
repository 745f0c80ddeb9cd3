"""Networks that return their loss, in parts such as one a token: the sum of the parts.

Texts are shown with the share of each part in the loss.
"""

import json
from collections.abc import Iterable, Iterator
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.base import wording
from ogacli.data import Preview, Samples
from ogacli.models.network import Model, Network
from ogacli.models.outputs import call
from ogacli.models.tasks import Labels, Logits, Task, tasks
from ogacli.models.text.tokens import LossEncoder, TokenReader

_SHOWN, _UNLEARNED = 2000, 140
"""Characters of a text that are shown; and of consecutive parts without a loss."""


@tasks.register_as("output")
class Output(Task):
    """The network returns parts of the loss, [b, t] or [b, ...]; the loss of a sample is their sum."""

    returns_loss: ClassVar[bool] = True

    def loss(self, logits: Logits, labels: Labels) -> Float[Tensor, " b"]:
        """The sum of each sample's parts; labels are not used."""
        return logits.flatten(1).sum(1)

    def residual(self, logits: Logits, labels: Labels) -> Logits:
        """Ones."""
        return torch.ones_like(logits)

    def preview(self, model: Model, samples: Samples, row: int, device: torch.device) -> Preview:
        """A text in parts with the loss of each, from one forward pass; otherwise the reader's preview.

        Raises:
            Unreadable: It cannot be read.
        """
        reader = samples.reader
        if not isinstance(reader, TokenReader) or not isinstance(reader.encoder, LossEncoder):
            return super().preview(model, samples, row, device)
        assert isinstance(model, Network), "a model that reads tokens"
        batch = samples.read_one(row)
        with torch.inference_mode():
            losses = call(model.module, batch.to(device).inputs)[0].tolist()
        parts = reader.contributions(int(samples.positions[row]), losses)
        return Preview("tokens", json.dumps(list(shortened(parts))).encode())


def shortened(parts: Iterable[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Parts of a text with their losses, up to some length; consecutive ones without a loss are joined."""
    left, idle = _SHOWN, ""
    for text, loss in (*parts, ("", 1.0)):
        if not loss:
            idle += text
            continue
        if idle:
            yield wording.cut(idle, _UNLEARNED), 0.0
            idle = ""
        if text:
            yield text, round(loss, 6)
        left -= len(text)
        if left < 0:
            return
