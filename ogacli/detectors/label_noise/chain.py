"""Probabilities of the tags of words, given which tag may follow which.

In: for each word of a sentence the probability of each tag by itself. Out: the same given that the tags of a
sentence follow one another as they may: the marginals of a linear chain, by the forward-backward algorithm.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_BROKEN = 1e-3
"""Weight of a pair of tags that may not follow one another, as some data have a few; 1 of the others."""


def marginals(
    logs: Float[Tensor, "b w k"], allowed: Bool[Tensor, "before k"], seen: Bool[Tensor, "b w"]
) -> Float[Tensor, "b w k"]:
    """The log-probabilities of the tags of each word, given those of all words; O(b w k^2).

    Args:
        logs: Of each word by itself.
        allowed: Which tag may follow which; the last row is for the first word.
        seen: For which words these are known; after another one every tag may follow.
    """
    weights = torch.where(allowed, 1.0, _BROKEN).to(logs).log()
    first, pairs = weights[-1], weights[:-1]
    known = torch.where(seen[:, :, None], logs, 0.0)
    words = range(logs.shape[1])
    ahead, behind = torch.empty_like(logs), torch.zeros_like(logs)
    for i in words:
        if i == 0:
            message = first.expand(len(logs), -1)
        else:
            message = (ahead[:, i - 1, :, None] + pairs).logsumexp(1)
            message = message.where(seen[:, i - 1, None], 0.0)
        ahead[:, i] = known[:, i] + message
    for i in reversed(words[:-1]):
        message = (pairs + (known[:, i + 1] + behind[:, i + 1])[:, None, :]).logsumexp(2)
        behind[:, i] = message.where(seen[:, i + 1, None], 0.0)
    return (ahead + behind).log_softmax(2)
