"""The estimated share of samples with a wrong cell."""

import pytest
import torch

from ogacli.verdict.cells import CellFindings
from ogacli.verdict.regions import RegionFindings


def findings(*wrong: list[float]) -> CellFindings:
    found = torch.tensor(wrong)
    index = torch.arange(found.shape[1]).expand(found.shape)
    return CellFindings(index, found, torch.zeros_like(found), torch.zeros_like(found))


def test_samples_that_probably_have_a_wrong_cell_are_counted() -> None:
    cells = findings([0.9, 0.5], [0.3, 0.1], [0.2, 0.85], [0.0, 0.0])
    found = cells.estimate(torch.tensor([True, True, True, True]), held_out=True, several=False)
    assert found.share == 0.5
    assert found.low == 0.25
    assert found.high == pytest.approx((0.95 + 0.37 + 0.88 + 0) / 4)


def test_several_doubtful_cells_make_a_wrong_label_without_one_above_one_half() -> None:
    every = torch.ones(2, dtype=torch.bool)
    found = findings([0.4, 0.4], [0.6, 0.0]).estimate(every, held_out=True, several=False)
    assert found.share == pytest.approx((0.64 + 0.6) / 2), "no more than are expected to be wrong"
    found = findings([0.4, 0.4], [0.9, 0.9]).estimate(every, held_out=True, several=False)
    assert round(2 * found.share) == 2
    # No cell of any sample above one half: labels that show no noise.
    nothing = findings([0.4, 0.4], [0.1, 0.0]).estimate(every, held_out=True, several=False)
    assert not nothing.share


def test_a_model_that_contradicts_most_cells_tells_nothing() -> None:
    """As one that was hardly trained, by which every label would be wrong."""
    found = findings([0.9, 0.8, 0.2], [0.9, 0.9, 0.6]).estimate(
        torch.ones(2, dtype=torch.bool), held_out=True, several=False
    )
    assert found.share is None
    assert found.count(2) == 0
    assert found.high > 0.9


def test_regions_of_one_mask_count_once() -> None:
    """They are doubtful together."""
    cells, none = findings([0.4, 0.4], [0.6, 0.0]), torch.zeros(2, 2, 6, dtype=torch.int64)
    regions = RegionFindings(cells.index, cells.wrong, cells.suggested, cells.margin, none)
    found = regions.estimate(torch.ones(2, dtype=torch.bool), held_out=True, several=False)
    assert found.share == 0.5


def test_as_many_samples_are_counted_as_have_a_wrong_cell() -> None:
    """Where cells are as wrong as they say, this is right more often than to ask for one above one half."""
    draw = torch.Generator().manual_seed(0)
    wrong = torch.rand(5000, 8, generator=draw).pow(6)
    true = (torch.rand(5000, 8, generator=draw) < wrong).any(1)
    cells = CellFindings(torch.arange(8).expand(5000, 8), wrong, torch.zeros(5000, 8), torch.zeros(5000, 8))
    found = cells.estimate(torch.ones(5000, dtype=torch.bool), held_out=True, several=False)
    some, one = cells.any_wrong > 0.5, (wrong > 0.5).any(1)
    assert found.share == pytest.approx(float(true.double().mean()), abs=0.02)
    assert (some == true).double().mean() > (one == true).double().mean()


@pytest.mark.parametrize(("wrong", "told"), [(0.02, True), (0.2, False)])
def test_the_range_of_halved_probabilities(wrong: float, told: bool) -> None:
    """Where labels show no noise the probabilities are halved; what may be wrong is not."""
    cells = findings(*[[wrong / 2, wrong / 2]] * 10)
    found = cells.estimate(torch.ones(10, dtype=torch.bool), held_out=True, several=False)
    assert found.share == (0.0 if told else None)
    assert found.high == pytest.approx(1 - (1 - wrong) ** 2)
