"""Texts -> tokens: the inputs of a network of transformers.

In: a reader of texts, pairs of texts, or prompts and completions, and the model's tokenizer. Out: a reader of
``input_ids``, ``attention_mask`` and so on, [b, t], padded on the right to the longest of the batch; for a
language model also of ``targets``, the tokens that the loss is taken over.
"""

import itertools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ogacli.data import Preview, Reader, Unreadable
from ogacli.data.labels.label_types import IGNORED
from ogacli.errors import DataError

NO_TOKEN = "the tokenizer makes nothing of the text"
"""The reason why such a text is quarantined."""
Text = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one sample."""

    inputs: Mapping[str, Sequence[int]]
    """``input_ids`` and further rows of the same length."""
    whole: bool
    """False where the text was longer than the model takes."""
    mute: bool = False
    """True where the tokenizer makes no token of some word."""


class Encoder:
    """Tokenizes texts for a classifier.

    Args:
        tokenizer: Of transformers.
        limit: Tokens that the model takes at most.
    """

    expected = "texts, or pairs of texts, such as `source: text` has them"
    """The samples that it tokenizes, for errors."""

    def __init__(self, tokenizer: Any, limit: int) -> None:
        self.tokenizer = tokenizer
        self.limit = limit

    def reads(self, sample: Any) -> bool:
        """Whether it can tokenize a sample."""
        pair = isinstance(sample, tuple) and len(sample) == 2 and all(isinstance(one, str) for one in sample)
        return isinstance(sample, str) or pair

    @property
    def padding(self) -> Mapping[str, int]:
        """The padding value of each row; 0 for rows that are not named."""
        pad = self.tokenizer.pad_token_id
        return {"input_ids": self.tokenizer.eos_token_id or 0 if pad is None else pad}

    def __call__(self, texts: Sequence[Any]) -> list[Tokens | str]:
        """The tokens of each text or pair; pairs that are too long lose tokens of the longer text first."""
        found = [Tokens(rows, whole=True) for rows in self._rows(texts)]
        long = [i for i, tokens in enumerate(found) if len(tokens.inputs["input_ids"]) > self.limit]
        if long:
            cut = self._rows([texts[i] for i in long], truncation=True, max_length=self.limit)
            for i, rows in zip(long, cut, strict=True):
                found[i] = Tokens(rows, whole=False)
        return [tokens if tokens.inputs["input_ids"] else NO_TOKEN for tokens in found]

    def _rows(self, texts: Sequence[Text], **options: Any) -> list[dict[str, Sequence[int]]]:
        pairs = not isinstance(texts[0], str)
        first = [text[0] for text in texts] if pairs else list(texts)
        second = [text[1] for text in texts] if pairs else None
        found = self.tokenizer(first, second, verbose=False, **options)
        names = [name for name in self.tokenizer.model_input_names if name in found]
        return [{name: found[name][i] for name in names} for i in range(len(texts))]


class LossEncoder(Encoder):
    """Tokenizes for a network that returns its loss, and so takes the targets as an input."""

    @property
    def padding(self) -> Mapping[str, int]:
        """As above; padding is left out of the loss."""
        return {**super().padding, "targets": IGNORED}

    @abstractmethod
    def contributions(self, text: Any, losses: Sequence[float]) -> list[tuple[str, float]]:
        """The parts of a text, each with its share of the sample's loss.

        Args:
            text: The sample.
            losses: The outputs of the network for it.
        """


class LanguageEncoder(LossEncoder):
    """Tokenizes texts, or prompts and completions, for a causal language model.

    Args:
        tokenizer: Of transformers, a fast one.
        limit: Tokens that the model takes at most.
        learn_prompt: Whether the tokens of the prompt are targets, too.
        end: Whether the token that ends a text is added as a target.
    """

    def __init__(self, tokenizer: Any, limit: int, *, learn_prompt: bool, end: bool) -> None:
        super().__init__(tokenizer, limit)
        self.learn_prompt = learn_prompt
        self.end = tokenizer.eos_token_id if end else None

    def __call__(self, texts: Sequence[Text]) -> list[Tokens | str]:
        """The tokens of each text; the end of a text that is too long is cut off.

        Prompt and completion are tokenized as one text, as the model sees them: a token that reaches into the
        completion belongs to it.
        """
        prompts = ["" if isinstance(text, str) else text[0] for text in texts]
        joined = [text if isinstance(text, str) else text[0] + text[1] for text in texts]
        found = self.tokenizer(joined, return_offsets_mapping=True, verbose=False)
        return [
            self._sample(ids, offsets, 0 if self.learn_prompt else len(prompt))
            for ids, offsets, prompt in zip(found["input_ids"], found["offset_mapping"], prompts, strict=True)
        ]

    def contributions(self, text: Text, losses: Sequence[float]) -> list[tuple[str, float]]:
        """The text of each token; all but the first have a loss, as each is predicted from those before."""
        joined = text if isinstance(text, str) else text[0] + text[1]
        offsets = self.tokenizer(joined, return_offsets_mapping=True, verbose=False)["offset_mapping"]
        stops = list(itertools.accumulate((stop for _, stop in offsets), max))
        parts = [joined[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
        if len(parts) == len(losses):  # the end that was added
            parts.append(self.tokenizer.eos_token)
        return list(zip(parts, [0.0, *losses], strict=False))

    def _sample(self, ids: Sequence[int], offsets: Sequence[tuple[int, int]], start: int) -> Tokens | str:
        """The tokens of one text with targets from the character ``start`` on, or why it has no targets."""
        targets = [token if stop > start else IGNORED for token, (_, stop) in zip(ids, offsets, strict=True)]
        ids = list(ids)
        if self.end is not None:
            known = len(ids) - (ids[-1:] == [self.end])  # some tokenizers add it themselves
            ids, targets = [*ids[:known], self.end], [*targets[:known], self.end]
        if all(target == IGNORED for target in targets[1 : self.limit]):
            if all(target == IGNORED for target in targets[1:]):
                return "no token to predict"
            return f"no token to predict among the first {self.limit}, which are all that the model takes"
        kept = slice(0, self.limit)
        rows = {"input_ids": ids[kept], "attention_mask": [1] * len(ids[kept]), "targets": targets[kept]}
        return Tokens(rows, len(ids) <= self.limit)


class TokenReader(Reader):
    """Reads the samples of a text reader as tokens.

    Args:
        reader: Of texts.
        encoder: Tokenizes them.
        positions: One more than the highest position that will be read.
    """

    def __init__(self, reader: Reader, encoder: Encoder, positions: int) -> None:
        self.reader = reader
        self.encoder = encoder
        self.in_memory = reader.in_memory
        # In shared memory, as worker processes write to it.
        self._cut, self._mute = (torch.zeros(positions, dtype=torch.bool).share_memory_() for _ in range(2))

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the reader of the texts, and the numbers of texts of which some words were not seen."""
        told = list(self.reader.notes)
        if count := int(self._cut.sum()):
            noun = "text was" if count == 1 else "texts were"
            told.append(f"{count:,} {noun} cut to {self.encoder.limit:,} tokens")
        if count := int(self._mute.sum()):
            noun = "text has" if count == 1 else "texts have"
            told.append(f"{count:,} {noun} words that the tokenizer makes nothing of")
        return tuple(told)

    def read(
        self, positions: Sequence[int]
    ) -> tuple[dict[str, Int64[Tensor, "b t"]] | None, Mapping[int, str]]:
        """The tokens of the readable texts, padded."""
        texts, unreadable = self.reader.read(positions)
        failures = dict(unreadable)
        if texts is None:
            return None, failures
        self._check(texts)
        readable = [i for i in range(len(positions)) if i not in failures]
        samples: list[Tokens] = []
        for i, found in zip(readable, self.encoder(texts), strict=True):
            if isinstance(found, str):
                failures[i] = found
                continue
            samples.append(found)
            self._cut[positions[i]], self._mute[positions[i]] = not found.whole, found.mute
        return (padded(samples, self.encoder.padding) if samples else None), failures

    def contributions(self, position: int, losses: Sequence[float]) -> list[tuple[str, float]]:
        """The parts of a sample's text, in order, each with its share of the loss.

        Args:
            position: Of the sample.
            losses: The outputs of a network that returns its loss for this sample alone.

        Raises:
            Unreadable: It cannot be read.
        """
        assert isinstance(self.encoder, LossEncoder), "only a network that returns its loss has parts"
        texts, unreadable = self.reader.read([position])
        if texts is None:
            raise Unreadable(unreadable[0])
        return self.encoder.contributions(texts[0], losses)

    def lengths(self, positions: Int64[Tensor, " m"]) -> Int64[Tensor, " m"] | None:
        """The lengths of the texts; None where the reader does not know them."""
        return self.reader.lengths(positions)

    def preview(self, position: int) -> Preview:
        """The text."""
        return self.reader.preview(position)

    def words(self, position: int) -> Sequence[str]:
        """The words of the text reader."""
        return self.reader.words(position)

    def file(self, position: int) -> Path | bytes | None:
        """The file that the text was read from."""
        return self.reader.file(position)

    def _check(self, texts: Any) -> None:
        first = texts[0] if isinstance(texts, list) else None
        if not self.encoder.reads(first):
            raise DataError(
                "the model reads texts",
                place="data",
                found=type(texts).__name__ if first is None else type(first).__name__,
                expected=self.encoder.expected,
            )


def padded(samples: Sequence[Tokens], padding: Mapping[str, int]) -> dict[str, Int64[Tensor, "b t"]]:
    """The samples as rows of the same length."""
    return {
        name: pad_sequence(
            [torch.tensor(sample.inputs[name]) for sample in samples],
            batch_first=True,
            padding_value=padding.get(name, 0),
        )
        for name in samples[0].inputs
    }
