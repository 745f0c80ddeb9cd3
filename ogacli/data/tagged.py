"""Samples for token classification: words and the tag of each, in two columns of lists.

In: the columns. Out: a reader of ``Tagged`` samples, and the tags of all samples, padded to one length.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Int16, Int64
from torch import Tensor

from ogacli.base import wording
from ogacli.data.ids import refuse
from ogacli.data.labels import Targets
from ogacli.data.labels.label_lists import Listed, listed_classes
from ogacli.data.labels.label_types import IGNORED
from ogacli.data.labels.list_columns import as_lists, holds_lists
from ogacli.data.reading import Preview, Reader
from ogacli.errors import DataError

_SHOWN = 2000
"""Characters of a preview."""
_OUTSIDE = "O"
"""The usual tag of words outside every entity; it is not shown."""
_ENTRIES = 1 << 29
"""Tags of all samples, padded to the longest: 1 GiB."""


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
        self._words = words
        self.classes = tuple(classes)
        self._tags = tags
        counts = torch.bincount(owners, minlength=len(words))
        self._starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])

    def read(self, positions: Sequence[int]) -> tuple[list[Tagged] | None, Mapping[int, str]]:
        """Words and tags; a sample without words, or with more or fewer tags than words, is quarantined."""
        found, failures = [], {}
        for i, position in enumerate(positions):
            words = self.words(position)
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
        shown = list(self.words(position))
        if found is not None:
            shown = words_with_tags(shown, [self.classes[tag] for tag in found[0].tags])
        return Preview("text", wording.cut(" ".join(shown), _SHOWN).encode())

    def words(self, position: int) -> tuple[str, ...]:
        """The words of a sample."""
        return tuple(word or "" for word in self._words[position].as_py() or ())


def words_with_tags(words: Sequence[str], tags: Sequence[str]) -> list[str]:
    """The words as displayed: ``Paris[LOC]``, and ``the`` where the tag is ``O``, or where there is none."""
    shown = [word if tag == _OUTSIDE else f"{word}[{tag}]" for word, tag in zip(words, tags, strict=False)]
    return [*shown, *words[len(shown) :]]


def tagged(
    words: pa.Array,
    tags: pa.Array,
    ids: pa.StringArray,
    *,
    classes: Sequence[str] | None,
    truth: pa.Array | None = None,
) -> tuple[TaggedReader, Targets]:
    """The reader, and the tags of all samples, [n, w], in the form of ``WordClasses``.

    Args:
        words: A list a sample.
        tags: A list a sample, one tag a word.
        ids: The samples' ids.
        classes: The tags in the order of the network.
        truth: The true tags.

    Raises:
        DataError: A column holds no lists, or a tag is missing or names no class; or there are more or fewer
            true tags than tags.
    """
    columns = {"words": words, "tags": tags} | ({} if truth is None else {"truth": truth})
    for noun, column in columns.items():
        if not holds_lists(column):
            raise DataError(
                f"the column of the {noun} holds no lists",
                found=column.type,
                hint="write lists to jsonl or parquet; csv has none",
            )
        columns[noun] = as_lists(column, ids)
    words = columns.pop("words")
    if not (pa.types.is_string(words.type.value_type) or pa.types.is_large_string(words.type.value_type)):
        raise DataError("the column of the words holds no texts", found=words.type)
    given, true = columns["tags"], columns.get("truth")
    filled = {"label": given} | ({} if true is None else {"truth": true})
    filled = {noun: pc.fill_null(column, pa.scalar([], column.type)) for noun, column in filled.items()}
    if true is not None:
        _check_counts(filled["label"], filled["truth"], ids, pc.is_null(given))
    listed = listed_classes(filled, ids, classes=classes)
    found = listed["label"]
    reader = TaggedReader(words, found.owners, found.members, found.names)
    longest = max(
        (pc.max(pc.list_value_length(column)).as_py() or 0 for column in filled.values()), default=0
    )
    width = min(longest, max(1, _ENTRIES // max(1, len(ids))))
    notes = () if width == longest else (f"only the first {width:,} words of a sample are judged",)
    matrices = {noun: _padded(one, len(ids), width) for noun, one in listed.items()}
    return reader, Targets(
        matrices["label"], found.names, matrices.get("truth"), notes=notes, class_order=found.class_order
    )


def _padded(listed: Listed, n: int, width: int) -> Int16[Tensor, "n w"]:
    """The tags of each sample in a row, followed by ``IGNORED``."""
    counts = torch.bincount(listed.owners, minlength=n)
    place = torch.arange(len(listed.owners)) - (counts.cumsum(0) - counts)[listed.owners]
    kept = place < width
    found = torch.full((n, width), IGNORED, dtype=torch.int16)
    found[listed.owners[kept], place[kept]] = listed.members[kept].short()
    return found


def _check_counts(
    tags: pa.ListArray, truth: pa.ListArray, ids: pa.StringArray, unknown: pa.BooleanArray
) -> None:
    """Check that there are as many true tags as tags; samples without tags are quarantined later.

    Raises:
        DataError: There are more or fewer.
    """
    counts, true = pc.list_value_length(tags), pc.list_value_length(truth)
    refuse(
        pc.and_(pc.not_equal(counts, true), pc.invert(unknown)),
        "another number of true tags than of tags",
        ids,
        true,
        expected="one true tag for each tag",
    )
