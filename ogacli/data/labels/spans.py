"""Entities in tags of the schemes IOB2, IOBES and BILOU, such as ``B-PER I-PER O``.

In: class names, and tags by class index. Out: which tag may follow which, tags that may not stand where they
are, and the entities in a list of tags.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Integer
from torch import Tensor

from ogacli.base.device import sent

_TAG = re.compile(r"([BIESLU])-(.+)", re.DOTALL)
_BEGIN, _INSIDE, _OPEN = "BSU", "IEL", "BI"
"""Prefixes of the first word of an entity, of its later words, and of words after which it goes on."""
_AT_ONCE = 1 << 14
"""Samples that are looked at at a time."""


class Span(NamedTuple):
    """An entity."""

    start: int
    """Its first word."""
    stop: int
    """One more than its last word."""
    kind: str
    """Such as ``PER``."""


def following(classes: Sequence[str]) -> Bool[Tensor, "before k"] | None:
    """Which tag may follow which; the last row is for the first word. None where tags have no such scheme.

    A tag inside an entity may follow only a tag of the same entity.
    """
    parsed = [_parsed(name) for name in classes]
    if not any(prefix in _INSIDE for prefix, _ in parsed) or not any(prefix == "B" for prefix, _ in parsed):
        return None
    found = torch.ones(len(classes) + 1, len(classes), dtype=torch.bool)
    for tag, (prefix, kind) in enumerate(parsed):
        if prefix in _INSIDE:
            goes_on = [one in _OPEN and other == kind for one, other in parsed]
            found[:, tag] = torch.tensor([*goes_on, False])
    return found


def strays(labels: Integer[Tensor, "n w"], allowed: Bool[Tensor, "before k"]) -> Bool[Tensor, "n w"]:
    """Which tags may not follow the one before them."""
    tags = labels.long()
    none = torch.full_like(tags[:, :1], -1)
    before = torch.cat([none, tags[:, :-1]], 1)
    before = before.where(before >= 0, len(allowed) - 1)
    return (tags >= 0) & ~sent(allowed, tags.device)[before, tags.clamp_min(0)]


def scheme(labels: Integer[Tensor, "n w"], classes: Sequence[str]) -> Bool[Tensor, "before k"] | None:
    """Which tag may follow which; None where tags have no scheme, or where it is IOB1.

    It is IOB1 where more entities begin with ``I-`` than with another prefix.
    """
    allowed = following(classes)
    if allowed is None:
        return None
    begun = sum(int(beginning(part, classes).sum()) for part in labels.split(_AT_ONCE))
    broken = sum(int(strays(part, allowed).sum()) for part in labels.split(_AT_ONCE))
    return None if broken > begun else allowed


def beginning(labels: Integer[Tensor, "n w"], classes: Sequence[str]) -> Bool[Tensor, "n w"]:
    """Which words have a tag that begins an entity: ``B-``, ``S-`` or ``U-``."""
    begins = torch.tensor([_parsed(name)[0] in tuple(_BEGIN) for name in classes])
    return (labels >= 0) & sent(begins, labels.device)[labels.long().clamp_min(0)]


def starts(labels: Integer[Tensor, "n w"], classes: Sequence[str]) -> Iterator[tuple[str, int]]:
    """How many entities of each kind there are; nothing where tags have no scheme."""
    allowed = following(classes)
    if allowed is None:
        return
    counts = torch.zeros(len(classes), dtype=torch.int64)
    for part in labels.split(_AT_ONCE):
        first = beginning(part, classes) | strays(part, allowed)
        counts += part[first].long().bincount(minlength=len(classes))
    kinds = [_parsed(name)[1] for name in classes]
    for kind in dict.fromkeys(kinds):
        if kind:
            yield kind, int(counts[[one == kind for one in kinds]].sum())


def spans(tags: Sequence[str]) -> Iterator[Span]:
    """The entities, in order; a stray ``I-`` begins one. Tags without such a prefix are none."""
    start, kind = 0, ""
    for place, tag in enumerate([*tags, ""]):
        prefix, own = _parsed(tag)
        if kind and (own != kind or prefix not in _INSIDE):
            yield Span(start, place, kind)
            kind = ""
        if own and not kind:
            start, kind = place, own


def _parsed(tag: str) -> tuple[str, str]:
    """The prefix and the kind; the latter is empty outside of entities."""
    found = _TAG.fullmatch(tag)
    return (found[1], found[2]) if found else ("O", "")
