"""Tagged words -> tokens and logits of words: the inputs and outputs of a tagger of transformers.

A word may be several tokens; the logits of the first are those of the word.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ogacli.data.tagged import Tagged
from ogacli.models.text.tokens import NO_TOKEN, Encoder, Tokens

_ABSENT = 0
"""In the place of a token's number: the word has none, or is beyond what the model takes."""


class TagEncoder(Encoder):
    """Tokenizes tagged words. The row ``words`` has one more than the index of the first token of each word.

    Args:
        tokenizer: Of transformers, a fast one.
        limit: Tokens that the model takes at most.
    """

    expected = "words and their tags, as `source: text` has them by `words` and `tags`"

    def reads(self, sample: Any) -> bool:
        """Whether a sample has tags."""
        return isinstance(sample, Tagged)

    def __call__(self, texts: Sequence[Tagged]) -> list[Tokens | str]:
        """The tokens of each sample; the end of one that is too long is cut off."""
        found = self.tokenizer(
            [list(text.words) for text in texts],
            is_split_into_words=True,
            truncation=True,
            max_length=self.limit,
            verbose=False,
        )
        names = [name for name in self.tokenizer.model_input_names if name in found]
        samples: list[Tokens | str] = []
        for i, text in enumerate(texts):
            first = _first_tokens(found.word_ids(i))
            beyond = {word for rest in found.encodings[i].overflowing for word in rest.word_ids} - {None}
            cut = beyond - set(first)
            if not first:
                too_long = f"no word among the first {self.limit} tokens, all that the model takes"
                samples.append(too_long if cut else NO_TOKEN)
                continue
            rows = {name: found[name][i] for name in names}
            rows["words"] = [first.get(word, _ABSENT) for word in range(len(text.words))]
            mute = len(text.words) > len(beyond | set(first))
            samples.append(Tokens(rows, whole=not cut, mute=mute))
        return samples


class WordLogits(nn.Module):
    """A network that returns logits for each word.

    Args:
        model: Returns logits for each token, [b, t, k].
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, words: Int64[Tensor, "b w"], **inputs: Int64[Tensor, "b t"]) -> Float[Tensor, "b k w"]:
        """The logits of each word; minus infinity for one without a token, and after the last word.

        Args:
            words: One more than the index of the first token of each word; 0 where there is none.
            inputs: Of the network.
        """
        logits: Tensor = self.model(**inputs).logits
        index = (words - 1).clamp_min(0)[:, :, None].expand(-1, -1, logits.shape[2])
        absent = (words == _ABSENT)[:, :, None]
        return logits.gather(1, index).masked_fill(absent, -torch.inf).transpose(1, 2)


def _first_tokens(words: Sequence[int | None]) -> dict[int, int]:
    """For each word one more than the index of its first token; ``words`` holds the word of each token."""
    found: dict[int, int] = {}
    for token, word in enumerate(words, 1):
        if word is not None:
            found.setdefault(word, token)
    return found
