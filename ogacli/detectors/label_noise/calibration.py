"""One step towards predictions that are calibrated to labels: along a direction, and of the class biases.

In: the prior that the predictions give with the parameters so far, and the labels, or the probabilities of
the true classes. Out: by how much, or whereto, the parameters move. EM takes one such step in each M step.
"""

from jaxtyping import Float
from torch import Tensor


def newton_step(
    prior: Float[Tensor, "n e"], observed: Float[Tensor, " n"], along: Float[Tensor, "n e"]
) -> float:
    """One Newton step of the expected log-likelihood of the prior, along a direction of its logits.

    Args:
        prior: The probability of each entry.
        observed: The mean of ``along`` by the probabilities of the true entry; its value at known ones.
        along: The direction: log-probabilities for the inverse temperature.

    Returns:
        0 where the likelihood is flat.
    """
    mean = (prior * along).sum(1)
    slope = float((observed - mean).sum())
    curvature = float(((prior * along.square()).sum(1) - mean.square()).sum())
    return slope / curvature if curvature > 0 else 0.0


def next_biases(
    biases: Float[Tensor, " k"], now: Float[Tensor, " k"], true: Float[Tensor, " k"]
) -> Float[Tensor, " k"]:
    """Class biases moved towards those at which the prior has the class frequencies of the truth.

    Args:
        biases: Those so far.
        now: The class frequencies of the prior with these, in samples.
        true: Those of the truth.
    """
    moved = biases + ((true + 1) / (now + 1)).log()
    return moved - moved.mean()
