"""Whether the outputs of a model are in another order than labels of which a sample may have several.

In: outputs and labels, 0 or 1, of some samples. Out: the labels that go with other outputs, or None. An
output that was trained for a label is correlated with it; one that was not is so only by chance, or as far as
labels occur together.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.verdict.alignment import Misalignment

_FEWEST = 10
"""Labels that fewer samples have, or have not, are not looked at."""
_CORRELATED = 0.3
"""Least correlation of a label with the output that it goes with."""
_CLEARLY = 6.0
"""Standard errors by which a label's output is ahead of the output of its own number."""
_SHARE = 0.6
"""Share of the labels looked at that must go with one output each, its own or another."""
_LEAST, _CLOSELY, _NEARLY_ALL, _RIGHT = 3, 0.5, 0.9, 0.6
"""To be sure: so many labels that go with others, the mean correlation, the share of labels that go with one
output each, and the share of their samples whose output is positive. Untrained models seldom reach these."""


def misaligned_labels(
    outputs: Float[Tensor, "m w"], labels: Float[Tensor, "m k"]
) -> tuple[Misalignment, bool] | None:
    """The labels that go one to one with other outputs.

    Args:
        outputs: Logits; as many as there are labels, or more.
        labels: 0 or 1.

    Returns:
        What was found, and whether it is sure; None where nothing was.
    """
    m, k = labels.shape
    positive = labels.double().sum(0)
    seen = ((positive >= _FEWEST) & (m - positive >= _FEWEST)).nonzero()[:, 0]
    if len(seen) < 2:
        return None
    together = _correlation(labels[:, seen].double(), outputs.double().tanh())
    best = together.argmax(1)
    mutual = together[:, best].argmax(0) == torch.arange(len(seen))
    highest = together.gather(1, best[:, None])[:, 0]
    own = together[torch.arange(len(seen)), seen]
    lead = (highest - own) * m**0.5
    moved = mutual & (best != seen) & (highest >= _CORRELATED) & (2 * own <= highest) & (lead >= _CLEARLY)
    one_to_one = float((mutual & (highest >= _CORRELATED)).double().mean())
    if int(moved.sum()) < 2 or one_to_one < _SHARE:
        return None
    pairs = dict(zip(seen[moved].tolist(), best[moved].tolist(), strict=True))
    given = labels[:, list(pairs)] > 0
    right = float((outputs[:, list(pairs.values())] > 0)[given].double().mean())
    found = Misalignment(pairs, {}, len(pairs) / k, right)
    closely = float(highest[mutual].mean()) >= _CLOSELY and one_to_one >= _NEARLY_ALL and right >= _RIGHT
    return found, closely and len(pairs) >= _LEAST


def _correlation(one: Float[Tensor, "m a"], other: Float[Tensor, "m b"]) -> Float[Tensor, "a b"]:
    """Of the columns; 0 for those that do not vary."""
    one, other = (part - part.mean(0) for part in (one, other))
    scale = one.norm(dim=0)[:, None] * other.norm(dim=0)
    return torch.where(scale > 1e-9, one.T @ other / scale.clamp_min(1e-9), 0.0)
