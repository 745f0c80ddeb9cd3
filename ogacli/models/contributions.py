"""How samples of a network that returns its loss look: their text, with what each part adds to the loss.

In: the network and its samples. Out: previews of kind ``tokens``.
"""

import json
from collections.abc import Iterable, Iterator

import torch

from ogacli.base import wording
from ogacli.data import Preview, Samples, Unreadable
from ogacli.models import Network
from ogacli.models.outputs import call
from ogacli.models.tokens import TokenReader

_SHOWN, _UNLEARNED = 2000, 140
"""Characters of all parts; and of parts in a row that add nothing, so that others are seen as well."""


def preview(model: Network, samples: Samples, row: int, device: torch.device) -> Preview:
    """One sample, from a forward pass of its own.

    Raises:
        Unreadable: It cannot be read.
    """
    assert isinstance(samples.reader, TokenReader), "samples as the network reads them"
    batch = samples.read([row])
    if not len(batch.rows):
        raise Unreadable(batch.quarantined[row])
    with torch.inference_mode():
        losses = call(model.module, batch.to(device).inputs)[0].tolist()
    parts = samples.reader.contributions(int(samples.positions[row]), losses)
    return Preview("tokens", json.dumps(list(_shortened(parts))).encode())


def _shortened(parts: Iterable[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """The parts, joined where they add nothing, up to some length."""
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
