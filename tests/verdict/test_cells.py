"""The estimated share of samples with a wrong cell."""

import pytest
import torch

from ogacli.verdict.cells import CellFindings


def findings(*wrong: list[float]) -> CellFindings:
    found = torch.tensor(wrong)
    index = torch.arange(found.shape[1]).expand(found.shape)
    return CellFindings(index, found, torch.zeros_like(found), torch.zeros_like(found))


def test_samples_with_a_cell_above_one_half_are_counted() -> None:
    cells = findings([0.9, 0.6], [0.3, 0.1], [0.2, 0.95], [0.0, 0.0])
    found = cells.estimate(torch.tensor([True, True, True, True]), held_out=True, several=False)
    assert found.share == 0.5
    assert found.low == 0.25
    assert found.high == pytest.approx((0.96 + 0.37 + 0.96 + 0) / 4)


@pytest.mark.parametrize(("wrong", "told"), [(0.02, True), (0.2, False)])
def test_the_range_of_halved_probabilities(wrong: float, told: bool) -> None:
    """Where labels show no noise the probabilities are halved; what may be wrong is not."""
    cells = findings(*[[wrong / 2, wrong / 2]] * 10)
    found = cells.estimate(torch.ones(10, dtype=torch.bool), held_out=True, several=False)
    assert found.share == (0.0 if told else None)
    assert found.high == pytest.approx(1 - (1 - wrong) ** 2)
