"""A language model as a network that returns its loss.

In: a network of transformers, which returns logits for each token. Out: the share of each token in the loss
of its sample.
"""

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ogacli.data.labels.label_types import IGNORED


class TokenLosses(nn.Module):
    """A network that returns the share of each token in the loss of the sample.

    The loss of a sample is the mean cross-entropy of its targets.

    Args:
        model: Returns logits of the next token for each token.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, targets: Int64[Tensor, "b t"], **inputs: Int64[Tensor, "b t"]
    ) -> Float[Tensor, "b t-1"]:
        """The shares of all tokens but the first; 0 for a token that is no target."""
        logits, targets = self.model(**inputs, use_cache=False).logits[:, :-1], targets[:, 1:]
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return losses.view_as(targets) / (targets != IGNORED).sum(1, keepdim=True)
