"""Poor pictures among measured ones."""

import pytest
import torch

from ogacli.verdict.pictures import judged, odd
from ogacli.verdict.reasons import PICTURES


def usual(count: int = 100) -> torch.Tensor:
    """Pictures from about black to about white, of about the same detail."""
    some = torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    return some + torch.tensor([0.0, 0.9, 0.5])


def words(measures, among=None, blank=None) -> list[str]:
    measures = torch.as_tensor(measures)
    blank = torch.zeros(len(measures), dtype=torch.bool) if blank is None else torch.tensor(blank)
    return [PICTURES[i] for i in judged(measures, usual() if among is None else among, blank).tolist()]


def test_what_stands_out_has_a_word():
    nan = float("nan")
    poor = [[0.1, 0.95, 0.5], [0.0, 0.2, 0.5], [0.8, 1.0, 0.5], [0.1, 0.95, -1.0], [0.0, 0.2, -1], [nan] * 3]
    assert words(poor) == ["", "dark", "bright", "blurred", "dark", ""]
    assert words([[0.3, 0.3, nan], [nan] * 3], blank=[True, True]) == ["blank", ""]


def test_usual_pictures_have_none():
    assert set(words(usual())) == {""}


@pytest.mark.parametrize("scale", [0.01, 1.0, 255.0])
def test_normalisation_does_not_matter(scale):
    turn = torch.tensor([scale, scale, 1.0])
    shift = torch.tensor([-2.0, -2.0, 0.7])
    poor = torch.tensor([[0.0, 0.2, 0.5], [0.8, 1.0, 0.5], [0.1, 0.95, -1.0]])
    assert words(poor * turn + shift, usual() * turn + shift) == ["dark", "bright", "blurred"]


def test_pictures_that_are_all_alike_are_not_blurred():
    same = usual()
    same[:, 2] = 0.5
    assert words([[0.0, 0.95, 0.4]], same) == [""], "a small difference, though the others have none"


def test_of_few_pictures_nothing_is_usual():
    assert words([[0.0, 0.1, -5.0]], usual(49)) == [""]


def odd_words(sizes, among) -> list[str]:
    return [PICTURES[i] for i in odd(torch.tensor(sizes).float(), torch.as_tensor(among).float()).tolist()]


def test_odd_sizes_and_shapes():
    portrait_and_landscape = [[300.0, 400.0], [400.0, 300.0]] * 50
    sizes = [[400, 300], [80, 60], [1700, 1300], [1500, 100], [90, 1200], [float("nan")] * 2, [700, 500]]
    found = odd_words(sizes, portrait_and_landscape)
    assert found == ["", "odd_size", "odd_size", "odd_shape", "odd_shape", "", ""]


def test_sizes_that_vary_much_are_not_odd():
    side = torch.rand(200, 1, generator=torch.Generator().manual_seed(0)).mul(4).exp() * 50
    sizes = side.expand(200, 2)
    assert set(odd_words(sizes.tolist(), sizes)) == {""}


def test_a_dataset_of_one_size_has_no_spread():
    assert odd_words([[32, 32], [33, 32], [200, 32], [200, 200]], [[32.0, 32.0]] * 60) == [
        "",
        "",
        "odd_shape",
        "odd_size",
    ]


def test_sizes_of_few_pictures_are_not_judged():
    assert odd_words([[1, 1000]], [[32.0, 32.0]] * 49) == [""]
