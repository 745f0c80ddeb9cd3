"""The Gaussian against scipy's density, with scikit-learn's shrunk covariance."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf

from gradient_batches import dense_batch
from ogacli.detectors.gaussian import GaussianOptions
from ogacli.errors import DataError


def gradients(n: int, p: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(p, p, generator=generator)
    return torch.randn(n, p, generator=generator) @ mixed + 3


@pytest.mark.parametrize("scale", [1.0, 1e-12])
@pytest.mark.parametrize(("n", "p"), [(200, 6), (5, 12)])
def test_the_score_is_minus_twice_the_log_likelihood(n, p, scale):
    fitted, scored = gradients(n, p) * scale, gradients(9, p, seed=1) * scale
    detector = GaussianOptions().detector()
    assert detector.fit_size(n) == n
    detector.fit([dense_batch(part) for part in fitted.split(4)])
    rest = fitted.double().numpy() / scale
    density = multivariate_normal(rest.mean(0), LedoitWolf().fit(rest).covariance_)
    constant = p * np.log(2 * np.pi) - 2 * p * np.log(scale)
    expected = -2 * density.logpdf(scored.double().numpy() / scale) - constant
    np.testing.assert_allclose(detector.score(dense_batch(scored)).numpy(), expected, rtol=1e-5)


def test_two_fits_can_be_held_against_each_other():
    """Of a narrow and a wide group around one mean, each sample is more likely in its own."""
    narrow, wide = gradients(300, 5) - 3, 10 * (gradients(300, 5, seed=2) - 3)
    fits = []
    for own in (narrow, wide):
        fits.append(GaussianOptions().detector())
        fits[-1].fit([dense_batch(own[:200])])
    for mine, own in enumerate((narrow, wide)):
        scores = torch.stack([one.score(dense_batch(own[200:])) for one in fits], 1)
        assert (scores.argmin(1) == mine).float().mean() > 0.9


def test_gradients_that_are_all_alike():
    detector = GaussianOptions().detector()
    detector.fit([dense_batch(torch.ones(5, 4))])
    scores = detector.score(dense_batch(torch.stack([torch.ones(4), 2 * torch.ones(4)])))
    assert scores.isfinite().all()
    assert scores[1] > scores[0]


def test_a_projection_of_many_coordinates():
    values = gradients(60, 40)
    values[7] = -values[7] * 4
    detector = GaussianOptions(projection=8).detector()
    detector.fit([dense_batch(values)])
    assert detector.mean.shape == (8,)
    assert int(detector.score(dense_batch(values)).argmax()) == 7


def test_one_sample_is_too_few():
    with pytest.raises(DataError, match="too few samples to fit to"):
        GaussianOptions().detector().fit([dense_batch(torch.ones(1, 4))])
