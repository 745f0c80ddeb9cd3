"""Tags judged word by word: wrong ones, stray ones, and what does not depend on the batch."""

import pytest
import torch
from torch import Tensor

from ogacli.data.labels.label_types import IGNORED
from ogacli.detectors.latent_tags import LatentTags, Tags
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch

CLASSES = ("B-PER", "I-PER", "O")
B, I, O = range(3)  # noqa: E741


def batch_of(logits: Tensor, labels: Tensor) -> GradientBatch:
    return GradientBatch(torch.arange(len(labels)), labels.short(), logits, logits, None, ())


def sentences(n: int = 400, words: int = 8) -> tuple[Tensor, Tensor]:
    """Right tags in which names have one or two words, and the logits of a good model for them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.full((n, words), O)
    for row in range(n):
        start = int(torch.randint(words - 1, (1,), generator=generator))
        labels[row, start] = B
        labels[row, start + 1] = I if row % 2 else O
    logits = torch.randn(n, 3, words, generator=generator)
    logits.scatter_(1, labels[:, None], 6.0)
    length = 3 + torch.arange(n) % (words - 2)
    labels[torch.arange(words) >= length[:, None]] = IGNORED
    return logits.masked_fill(labels[:, None] == IGNORED, -torch.inf), labels


def fitted(logits: Tensor, labels: Tensor) -> Tags:
    detector = LatentTags().detector()
    detector.classes, detector.held_out = CLASSES, True
    detector.fit([batch_of(logits, labels)])
    return detector


def test_wrong_tags_are_found_and_mended() -> None:
    logits, labels = sentences()
    given = labels.clone()
    wrong = torch.zeros_like(labels, dtype=torch.bool)
    wrong[::20, 1] = True
    given[wrong] = torch.where(labels[wrong] == O, B, O)
    detector = fitted(logits, given)
    cells = detector.cells(batch_of(logits, given))
    assert torch.equal(cells.wrong == -1, labels == IGNORED)
    assert cells.wrong[wrong].min() > 0.9
    right = ~wrong & (labels != IGNORED)
    right[:, :3] &= ~wrong.any(1, keepdim=True)  # neighbours of a wrong tag are in doubt with it
    assert cells.wrong[right].max() < 0.5
    assert torch.equal(cells.suggested[wrong].long(), labels[wrong])
    score = detector.score(batch_of(logits, given))
    assert set(score.topk(20).indices.tolist()) == set(range(0, 400, 20))


def test_one_of_two_tags_that_do_not_fit_is_wrong() -> None:
    """Though the model is undecided about each of them."""
    logits, labels = sentences()
    logits[0, :, :3] = torch.tensor([[0.0, 0, 0], [0.0, 0, 0], [1.0, 1, 1]])
    labels[0, :3] = torch.tensor([O, I, O])
    cells = fitted(logits, labels).cells(batch_of(logits, labels))
    either = 1 - (1 - cells.wrong[0, 0]) * (1 - cells.wrong[0, 1])
    assert either > 0.9
    free = fitted(logits, labels)
    free._allowed = None
    alone = free.cells(batch_of(logits, labels)).wrong[0]
    assert (cells.wrong[0, :2] > alone[:2]).all()


def test_another_scheme_has_no_strays() -> None:
    logits, labels = sentences()
    assert fitted(logits, labels)._allowed is not None
    inside = labels.where(labels != B, I)
    assert fitted(logits, inside)._allowed is None, "IOB1"


def test_padding_and_state_change_nothing() -> None:
    logits, labels = sentences()
    detector = fitted(logits, labels)
    whole = detector.cells(batch_of(logits, labels))
    again = LatentTags().detector()
    again.restore(detector.state())
    some = again.cells(batch_of(logits[:4, :, :6], labels[:4]))  # sentences of 3 to 6 words
    torch.testing.assert_close(some.wrong, whole.wrong[:4, :6])
    torch.testing.assert_close(
        again.score(batch_of(logits[:4, :, :6], labels[:4])), detector.score(batch_of(logits, labels))[:4]
    )


def test_other_labels_are_refused() -> None:
    batch = GradientBatch(
        torch.arange(2), torch.tensor([0, 1]), torch.zeros(2, 3), torch.zeros(2, 3), None, ()
    )
    with pytest.raises(GradientError, match="takes samples with a tag a word"):
        LatentTags().detector().fit([batch])


@pytest.mark.parametrize("share", [0.0, 0.03, 0.1])
def test_a_weak_tagger_is_not_blamed_on_the_tags(share: float) -> None:
    """Calibrated, but wrong about one word in nine: where no tag is wrong, hardly a sentence is flagged."""
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(800, 3, 8, generator=generator)
    drawn = logits.transpose(1, 2).softmax(2).flatten(0, 1)
    labels = torch.multinomial(drawn, 1, generator=generator).view(800, 8)
    wrong = torch.rand(labels.shape, generator=generator) < share
    given = torch.where(wrong, (labels + 1) % 3, labels)
    detector = LatentTags().detector()
    detector.classes, detector.held_out = ("NOUN", "VERB", "ADJ"), True
    detector.fit([batch_of(logits, given)])
    doubted = detector.cells(batch_of(logits, given)).wrong > 0.5
    if share:
        assert doubted.double().mean() <= share
        assert wrong[doubted].double().mean() > 0.7
    else:
        assert doubted.any(1).double().mean() < 0.02
