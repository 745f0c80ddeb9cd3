"""Entities in tags: which tag may follow which, and what the entities are."""

import pytest
import torch

from ogacli.data.labels.label_types import IGNORED
from ogacli.data.labels.spans import Span, following, scheme, spans, starts, strays

CLASSES = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
B_LOC, B_PER, I_LOC, I_PER, O = range(5)  # noqa: E741


def test_an_inside_tag_follows_its_own_entity_alone() -> None:
    allowed = following(CLASSES)
    assert allowed is not None
    assert allowed[:, I_PER].nonzero()[:, 0].tolist() == [B_PER, I_PER], "nor is it the first"
    assert allowed[:, [B_LOC, B_PER, O]].all()
    ends = following(("B-X", "E-X", "I-X", "O", "S-X"))
    assert ends is not None
    assert ends[:, 1].nonzero()[:, 0].tolist() == [0, 2], "an entity of one word does not go on"


@pytest.mark.parametrize("classes", [("NOUN", "VERB"), ("I-PER", "O"), ("B", "I", "O"), ("B-PER", "O")])
def test_other_tags_may_follow_one_another_as_they_like(classes: tuple[str, ...]) -> None:
    assert following(classes) is None
    assert list(starts(torch.tensor([[0, 1]]), classes)) == []


def test_strays_and_counts() -> None:
    labels = torch.tensor([[I_PER, O, B_LOC, I_LOC, I_PER], [B_PER, I_PER, I_LOC, IGNORED, IGNORED]])
    allowed = following(CLASSES)
    assert allowed is not None
    assert strays(labels.short(), allowed).nonzero().tolist() == [[0, 0], [0, 4], [1, 2]]
    assert dict(starts(labels.short(), CLASSES)) == {"LOC": 2, "PER": 3}
    assert scheme(labels, CLASSES) is None, "more entities begin with I- than with B-: IOB1"
    assert scheme(torch.cat([labels, labels.where(labels != I_PER, O)]), CLASSES) is not None


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O B-PER I-PER O", [Span(1, 3, "PER")]),
        ("B-PER B-PER", [Span(0, 1, "PER"), Span(1, 2, "PER")]),
        ("I-PER I-LOC O", [Span(0, 1, "PER"), Span(1, 2, "LOC")]),
        ("S-X B-X E-X", [Span(0, 1, "X"), Span(1, 3, "X")]),
        ("NOUN O", []),
    ],
)
def test_entities_of_a_sentence(tags: str, found: list[Span]) -> None:
    assert list(spans(tags.split())) == found


def test_entities_are_those_of_seqeval() -> None:
    """The library that taggers are usually evaluated with."""
    entities = pytest.importorskip("seqeval.metrics.sequence_labeling")
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        tags = [CLASSES[i] for i in torch.randint(5, (8,), generator=generator).tolist()]
        theirs = {(kind, start, stop + 1) for kind, start, stop in entities.get_entities(tags)}
        assert {(kind, start, stop) for start, stop, kind in spans(tags)} == theirs
