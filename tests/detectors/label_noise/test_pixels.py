"""Label noise of pixels, and regions: against scipy's labelling of one class and mask at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ogacli.detectors import detectors
from ogacli.detectors.label_noise.candidates import Candidates
from ogacli.detectors.label_noise.class_noise import ClassNoise, without_mistakes
from ogacli.detectors.label_noise.model import LabelNoise
from ogacli.detectors.label_noise.regions import Regions, parts_of
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
    labels, logits = random.integers(0, k, (b, h, w)), random.normal(size=(b, h, w, k))
    doubtful, noise = random.random((b, h, w)) > 0.5, uniform(k)
    found = Regions.of(doubtful, labels, logits[doubtful], noise)
    expected = []
    for i in range(b):
        for c in range(k):
            numbers, _ = ndimage.label(doubtful[i] & (labels[i] == c))
            for number, box in enumerate(ndimage.find_objects(numbers), 1):
                here = numbers == number
                place = (box[1].start, box[0].start, box[1].stop, box[0].stop)
                true = noise.true(torch.from_numpy(logits[i][here].mean(0))[None], torch.tensor([c]))[0]
                wrong = float(1 - true[c]) * here.sum() / (here.sum() + (h + w) / 2 / 3)
                true[c] = 0
                expected.append((i, c, int(true.argmax()), place, here.sum(), round(wrong, 9)))
    columns = (found.sample, found.given, found.suggested, map(tuple, found.box), found.pixels, found.wrong)
    own = [(*row, round(wrong, 9)) for *row, wrong in zip(*columns, strict=True)]
    assert sorted(own) == sorted(expected)


def uniform(k: int, rate: float = 0.1) -> ClassNoise:
    logs = torch.full((k, k), rate / (k - 1)).fill_diagonal_(1 - rate).log().double()
    return ClassNoise(torch.tensor(1.0).double(), torch.zeros(k).double(), logs)


def test_parts_are_given_objects_and_predicted_ones_without_a_mask() -> None:
    given, predicted = np.zeros((2, 1, 12, 20), np.int64)
    given[0, 1:7, 1:7] = 1
    predicted[0, 1:7, 1:7], predicted[0, 1:7, 10:16] = 2, 1  # of another class; and a forgotten one
    predicted[0, 10, 0:4] = 2  # too small
    known = np.ones(given.shape, bool)
    known[0, :, 18:] = False
    logits = np.moveaxis(4.0 * np.eye(3)[predicted], 3, 1)
    means, labels = parts_of(logits, given, known)
    assert labels.tolist() == [0, 1, 0]
    assert means.argmax(1).tolist() == [0, 2, 1]
    ground = (given == 0) & known
    np.testing.assert_allclose(means[0], logits.transpose(0, 2, 3, 1)[ground].mean(0))
    nothing = parts_of(logits, given, np.zeros_like(known))
    assert [len(one) for one in nothing] == [0, 0]


@pytest.mark.parametrize("k", [3, 140])
def test_the_noise_is_that_of_one_class_a_sample(k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    logits = 3 * torch.randn(500, k, generator=generator)
    labels = logits.argmax(1).where(
        torch.rand(500, generator=generator) > 0.2, torch.randint(k, (500,), generator=generator)
    )
    found = ClassNoise.fitted(logits, labels)
    whole = LabelNoise.fitted_to(Candidates.of(logits, labels)).posterior(logits, labels).exp()
    torch.testing.assert_close(found.true(logits, labels).to(whole.dtype), whole, rtol=1e-4, atol=1e-6)
    again = ClassNoise.of(found.state())
    assert torch.equal(again.true(logits, labels), found.true(logits, labels))


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_rates_are_lowered_until_so_few_are_wrong(share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(200, 3, generator=generator), torch.randint(3, (200,), generator=generator)
    noise = uniform(3)
    before = noise.judged(logits, labels)[0]
    assert before.mean() > 0.05
    after = noise.at_most(share, logits, labels)
    found = after.judged(logits, labels)[0]
    assert share - 1e-6 <= found.mean() <= max(share, 1e-6)
    assert torch.equal(found.argsort(), before.argsort())
    torch.testing.assert_close(after.logs.exp().sum(1), torch.ones(3).double())
    assert noise.at_most(0.9, logits, labels) is noise


def test_a_network_that_has_learned_its_labels_tells_nothing_of_its_mistakes() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (300,), generator=generator)
    logits = torch.nn.functional.one_hot(labels, 3) + 0.1 * torch.randn(300, 3, generator=generator)
    noise = uniform(3)
    assert without_mistakes(noise, logits, labels, held_out=False) is noise
    assert without_mistakes(noise, logits, labels, held_out=True) is not noise


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


def test_a_network_that_was_not_trained_tells_nothing() -> None:
    """Its classes agree with the given ones by chance, which noise would explain as well."""
    draw = torch.Generator().manual_seed(0)
    logits, given = 20 * torch.randn(400, 4, generator=draw), torch.randint(4, (400,), generator=draw)
    noise = ClassNoise.fitted(logits, given)
    assert (noise.judged(logits, given)[0] > 0.5).double().mean() > 0.5
    found = without_mistakes(noise, logits, given, held_out=True)
    assert found.judged(logits, given)[0].max() < 0.5


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
