"""Measures of pictures against slow ones by numpy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import laplace

from ogacli.data.images.quality import measured


def slowly(picture: np.ndarray) -> list[float]:
    """The measures of a picture [c, h, w] with sides of at most 64 pixels."""
    grey = picture.astype(np.float64).mean(0)
    ordered = np.sort(grey.ravel())
    out = int(grey.size * 0.01)
    inner = laplace(grey)[1:-1, 1:-1]
    return [ordered[out], ordered[-1 - out], np.log(np.sqrt((inner**2).mean()) / grey.std(ddof=1))]


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 20), (3, 64, 64)])
def test_measures_of_each_picture(shape):
    pictures = np.random.default_rng(0).normal(size=(7, *shape)).astype(np.float32)
    found = measured(torch.from_numpy(pictures))
    np.testing.assert_allclose(found, [slowly(one) for one in pictures], rtol=1e-4)
    np.testing.assert_array_equal(found[2:4], measured(torch.from_numpy(pictures[2:4])))


def test_bytes_are_measured_as_numbers():
    pictures = torch.randint(0, 256, (5, 3, 20, 20), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(measured(pictures.byte()), measured(pictures.float()))


def test_large_pictures_are_measured_on_a_grid():
    """The darkest pixel of a slope from 0 to 1, but for 1 %, whatever its size."""
    slope = torch.linspace(0, 1, 300).expand(1, 1, 200, 300)
    darkest, brightest, _ = measured(slope)[0].tolist()
    assert darkest == pytest.approx(0.01, abs=0.02)
    assert brightest == pytest.approx(0.99, abs=0.03)


@pytest.mark.parametrize(
    "inputs",
    [
        torch.zeros(4, 5),
        torch.zeros(4, 1, 8, 8),
        torch.zeros(4, 4, 20, 20),
        ["a text"],
        {"x": torch.zeros(2)},
    ],
)
def test_other_inputs_are_no_pictures(inputs):
    assert measured(inputs) is None
