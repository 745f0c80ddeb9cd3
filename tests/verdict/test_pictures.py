"""Poor pictures among measured ones."""

import pytest
import torch

from ogacli.verdict.pictures import judged
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
