"""Label noise of pixels, and regions: against scipy's labelling of one class and mask at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ogacli.detectors import detectors
from ogacli.detectors.label_noise.candidates import Candidates
from ogacli.detectors.label_noise.model import LabelNoise
from ogacli.detectors.label_noise.pixels import PixelNoise, Regions
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch

SIDES = st.integers(1, 7)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    b=st.integers(1, 3),
    h=st.integers(1, 7),
    w=st.integers(1, 7),
    k=st.integers(2, 4),
)
def test_regions_are_connected_doubtful_pixels_of_one_class(
    seed: int, b: int, h: int, w: int, k: int
) -> None:
    random = np.random.default_rng(seed)
    wrong, labels, best = random.random((b, h, w)), *random.integers(0, k, (2, b, h, w))
    found = Regions.of(wrong, labels, best)
    expected = []
    for i in range(b):
        for c in range(k):
            numbers, _ = ndimage.label((wrong[i] > 0.5) & (labels[i] == c))
            for number, box in enumerate(ndimage.find_objects(numbers), 1):
                here = numbers == number
                place = (box[1].start, box[0].start, box[1].stop, box[0].stop)
                score = wrong[i][here].sum() / (here.sum() + (h + w) / 2 / 3)
                expected.append((i, c, place, here.sum(), round(score, 9)))
    own = []
    for r in range(len(found.sample)):
        i, (left, top, right, bottom) = found.sample[r], found.box[r]
        part = np.s_[i, top:bottom, left:right]
        numbers, _ = ndimage.label((wrong[part] > 0.5) & (labels[part] == found.given[r]))
        sizes = np.bincount(numbers.ravel())
        here = [n for n in range(1, len(sizes)) if sizes[n] == found.pixels[r]]
        assert found.suggested[r] in best[part][np.isin(numbers, here)]
        own.append((i, found.given[r], tuple(found.box[r]), found.pixels[r], round(found.wrong[r], 9)))
    assert sorted(own) == sorted(expected)
    assert (found.score >= found.wrong).all()


def test_the_most_frequent_class_is_suggested() -> None:
    best = np.array([[[1, 2, 2, 2, 0]]])
    found = Regions.of(np.array([[[0.9, 0.9, 0.9, 0.1, 0.9]]]), np.zeros((1, 1, 5), np.int64), best)
    assert found.suggested.tolist() == [2, 0]
    assert found.pixels.tolist() == [3, 1]


@pytest.mark.parametrize("k", [3, 140])
def test_the_noise_is_that_of_one_class_a_sample(k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    logits = 3 * torch.randn(500, k, generator=generator)
    labels = logits.argmax(1).where(
        torch.rand(500, generator=generator) > 0.2, torch.randint(k, (500,), generator=generator)
    )
    found = PixelNoise.fitted(logits, labels)
    whole = LabelNoise.fitted_to(Candidates.of(logits, labels)).posterior(logits, labels).exp()
    torch.testing.assert_close(found.true(logits, labels).to(whole.dtype), whole, rtol=1e-4, atol=1e-6)
    again = PixelNoise.of(found.state())
    assert torch.equal(again.true(logits, labels), found.true(logits, labels))


def batch(b: int = 12) -> GradientBatch:
    """A network that is nearly sure; a quarter of the first mask has another class, and a row has none."""
    generator = torch.Generator().manual_seed(0)
    true = torch.zeros(b, 12, 12, dtype=torch.int64)
    for i in range(b):
        top, left = torch.randint(0, 6, (2,), generator=generator).tolist()
        true[i, top : top + 6, left : left + 6] = 1 + i % 2
    logits = 4 * torch.nn.functional.one_hot(true, 3).permute(0, 3, 1, 2) + torch.randn(
        b, 3, 12, 12, generator=generator
    )
    labels = true.clone()
    labels[0][true[0] == 1] = 2
    labels[:, 0] = -100
    return GradientBatch(torch.arange(b), labels, logits, torch.zeros_like(logits), None, [])


def test_the_wrong_region_is_found_and_its_class_suggested() -> None:
    detector, data = detectors.get("latent_mask")().detector(), batch()
    detector.fit([data])
    found, scores = detector.cells(data), detector.score(data)
    assert scores.argmax() == 0
    assert (found.wrong > 0.5).nonzero().tolist() == [[0, 0]]
    given, left, top, right, bottom, pixels = found.region[0, 0].tolist()
    assert (given, found.suggested[0, 0]) == (2, 1)
    assert pixels > 20
    assert (right - left) * (bottom - top) >= pixels
    assert (found.wrong.diff() <= 0).all()
    other = detectors.get("latent_mask")().detector()
    other.restore(detector.state())
    assert torch.equal(other.score(data), scores)
    assert torch.equal(
        torch.cat([other.score(data.select(slice(i, i + 1))) for i in range(len(data))]), scores
    )


def test_other_labels_are_refused() -> None:
    plain = GradientBatch(torch.arange(3), torch.zeros(3), torch.zeros(3, 2), torch.zeros(3, 2), None, [])
    with pytest.raises(GradientError, match=r"latent_mask: takes a class a pixel"):
        detectors.get("latent_mask")().detector().fit([plain])
