"""Samples for token classification: words and the tag of each, in two columns of lists.

In: the columns. Out: a reader of ``Tagged`` samples, and the tags that occur in each sample.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.base import wording
from ogacli.data.labels import Targets, listed_classes
from ogacli.data.reading import Preview, Reader
from ogacli.errors import DataError

_SHOWN = 2000
"""Characters of a preview."""
_OUTSIDE = "O"
"""The usual tag of words outside every entity; it is not shown."""


class Tagged(NamedTuple):
    """One sample."""

    words: tuple[str, ...]
    tags: tuple[int, ...]
    """The class of each word."""


class TaggedReader(Reader):
    """Reads tagged words that lie in memory.

    Args:
        words: A list a sample.
        owners: For each tag, the row of its sample; ascending.
        tags: The class index of each tag.
        classes: The class names.
    """

    in_memory = True

    def __init__(
        self,
        words: pa.ListArray,
        owners: Int64[Tensor, " m"],
        tags: Int64[Tensor, " m"],
        classes: Sequence[str],
    ) -> None:
        self.words = words
        self.classes = tuple(classes)
        self._tags = tags
        counts = torch.bincount(owners, minlength=len(words))
        self._starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])

    def read(self, positions: Sequence[int]) -> tuple[list[Tagged] | None, Mapping[int, str]]:
        """Words and tags; a sample without words, or with more or fewer tags than words, is quarantined."""
        found, failures = [], {}
        for i, position in enumerate(positions):
            words = self._words(position)
            tags = self._tags[self._starts[position] : self._starts[position + 1]].tolist()
            if len(words) != len(tags):
                failures[i] = f"{len(words)} words and {len(tags)} tags"
            elif not words:
                failures[i] = "no words"
            else:
                found.append(Tagged(words, tuple(tags)))
        return found or None, failures

    def lengths(self, positions: Int64[Tensor, " m"]) -> Int64[Tensor, " m"]:
        """The number of words."""
        return (self._starts[1:] - self._starts[:-1])[positions]

    def preview(self, position: int) -> Preview:
        """The words, with their tags other than ``O``."""
        found, _ = self.read([position])
        shown = self._words(position) if found is None else words_with_tags(found[0], self.classes)
        return Preview("text", wording.cut(" ".join(shown), _SHOWN).encode())

    def _words(self, position: int) -> tuple[str, ...]:
        return tuple(word or "" for word in self.words[position].as_py() or ())


def words_with_tags(sample: Tagged, classes: Sequence[str]) -> list[str]:
    """The words as displayed: ``Paris[LOC]``, and ``the`` where the tag is ``O``."""
    names = (classes[tag] for tag in sample.tags)
    return [
        word if name == _OUTSIDE else f"{word}[{name}]"
        for word, name in zip(sample.words, names, strict=True)
    ]


def tagged(
    words: pa.Array, tags: pa.Array, ids: pa.StringArray, *, classes: Sequence[str] | None
) -> tuple[TaggedReader, Targets]:
    """The reader, and the tags that occur in each sample.

    Raises:
        DataError: A column holds no lists, or a tag is missing or names no class.
    """
    for noun, column in (("words", words), ("tags", tags)):
        if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
            raise DataError(f"the column of the {noun} holds no lists", found=column.type)
    if not (pa.types.is_string(words.type.value_type) or pa.types.is_large_string(words.type.value_type)):
        raise DataError("the column of the words holds no texts", found=words.type)
    listed = listed_classes(pc.fill_null(tags, pa.scalar([], tags.type)), ids, classes=classes)
    return TaggedReader(words, listed.owners, listed.members, listed.names), listed.occurring(len(ids))
