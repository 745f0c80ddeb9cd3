"""Tagged words -> tokens: the inputs of a tagger of transformers.

A word may be several tokens; the target of the first is its tag, and the others are left out of the loss.
"""

from collections.abc import Sequence
from typing import Any

from ogacli.data.tagged import Tagged, words_with_tags
from ogacli.models.text.tokens import IGNORED, NO_TOKEN, LossEncoder, Tokens


class TagEncoder(LossEncoder):
    """Tokenizes tagged words.

    Args:
        tokenizer: Of transformers, a fast one.
        limit: Tokens that the model takes at most.
        classes: The names of the tags.
    """

    expected = "words and their tags, as `source: text` has them by `words` and `tags`"

    def __init__(self, tokenizer: Any, limit: int, classes: Sequence[str]) -> None:
        super().__init__(tokenizer, limit)
        self.classes = tuple(classes)

    def reads(self, sample: Any) -> bool:
        """Whether a sample has tags."""
        return isinstance(sample, Tagged)

    def __call__(self, texts: Sequence[Tagged]) -> list[Tokens | str]:
        """The tokens of each sample; the end of one that is too long is cut off."""
        found = self._encoded(texts)
        names = [name for name in self.tokenizer.model_input_names if name in found]
        samples: list[Tokens | str] = []
        for i, text in enumerate(texts):
            begun = _begun(found.word_ids(i))
            targets = [IGNORED if word is None else text.tags[word] for word in begun]
            beyond = {word for rest in found.encodings[i].overflowing for word in rest.word_ids}
            cut = beyond - set(begun)
            if all(target == IGNORED for target in targets):
                too_long = f"no word among the first {self.limit} tokens, all that the model takes"
                samples.append(too_long if cut else NO_TOKEN)
                continue
            rows = {name: found[name][i] for name in names} | {"targets": targets}
            mute = len(text.words) > len((beyond | set(begun)) - {None})
            samples.append(Tokens(rows, whole=not cut, mute=mute))
        return samples

    def contributions(self, text: Tagged, losses: Sequence[float]) -> list[tuple[str, float]]:
        """The words with their tags; ``losses`` are those of all tokens."""
        begun = _begun(self._encoded([text]).word_ids(0))
        learned = {word: loss for word, loss in zip(begun, losses, strict=True) if word is not None}
        shown = words_with_tags(text, self.classes)
        return [(f"{word} ", learned.get(i, 0.0)) for i, word in enumerate(shown)]

    def _encoded(self, texts: Sequence[Tagged]) -> Any:
        return self.tokenizer(
            [list(text.words) for text in texts],
            is_split_into_words=True,
            truncation=True,
            max_length=self.limit,
            verbose=False,
        )


def _begun(words: Sequence[int | None]) -> list[int | None]:
    """For each token the word that it begins, else None; ``words`` holds the word of each token."""
    return [
        word if word is not None and word != before else None
        for before, word in zip([None, *words], words, strict=False)
    ]
