"""A network of words or tokens as one that returns its loss.

In: a network of transformers, which returns logits for each token. Out: the share of each token in the loss
of its sample.
"""

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ogacli.models.text.tokens import IGNORED


class TokenLosses(nn.Module):
    """A network that returns the share of each token in the loss of the sample.

    The loss of a sample is the mean cross-entropy of its targets.

    Args:
        model: Returns logits for each token.
        ahead: Whether these predict the next token, as in a language model.
    """

    def __init__(self, model: nn.Module, *, ahead: bool) -> None:
        super().__init__()
        self.model = model
        self.ahead = ahead

    def forward(
        self, targets: Int64[Tensor, "b t"], **inputs: Int64[Tensor, "b t"]
    ) -> Float[Tensor, "b outputs"]:
        """The shares of all tokens, or of all but the first; 0 for a token that is no target."""
        if self.ahead:
            logits, targets = self.model(**inputs, use_cache=False).logits[:, :-1], targets[:, 1:]
        else:
            logits = self.model(**inputs).logits
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return losses.view_as(targets) / (targets != IGNORED).sum(1, keepdim=True)
