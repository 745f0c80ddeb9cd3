"""Which sample of a group of near-duplicates stays."""

import torch

from ogacli.verdict.near import kept_of


def test_the_least_anomalous_one_stays():
    group, score = torch.tensor([5, 2, 5, 5, 2]), torch.tensor([0.9, 0.1, 0.2, 0.3, 0.05])
    assert kept_of(group, score).tolist() == [2, 4, -1, 2, -1]


def test_of_equal_ones_up_to_rounding_the_first():
    """As which one is larger in the last digits depends on the size of batches."""
    for score in ([0.9999999993459059, 0.9999999993458966], [1.1212439e-20, 1.1212425e-20]):
        scores = torch.tensor(score, dtype=torch.float64)
        assert kept_of(torch.zeros(2, dtype=torch.int64), scores).tolist() == [-1, 0]


def test_one_without_a_score_goes():
    score = torch.tensor([torch.nan, 3.0, torch.nan])
    assert kept_of(torch.zeros(3, dtype=torch.int64), score).tolist() == [1, -1, 1]
    assert kept_of(torch.zeros(3, dtype=torch.int64), torch.full((3,), torch.nan)).tolist() == [-1, 0, 0]
