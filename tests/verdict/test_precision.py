import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.verdict.estimate import Estimate
from ogacli.verdict.precision import expected_precision, shifted


@settings(max_examples=50, deadline=None)
@given(n=st.integers(2, 300), share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_shifted_probabilities_add_up_and_keep_their_order(n: int, share: float, seed: int) -> None:
    wrong = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = shifted(wrong, share)
    assert float(found.mean()) == pytest.approx(share, abs=1e-6)
    assert torch.equal(found.argsort(), wrong.argsort())
    assert torch.allclose(shifted(wrong, float(wrong.mean())), wrong, atol=1e-6)


def test_nothing_and_everything() -> None:
    wrong = torch.tensor([0.9, 0.5, 0.1])
    assert shifted(wrong, 0.0).tolist() == [0, 0, 0]
    assert shifted(wrong, 1.0).tolist() == [1, 1, 1]


def test_of_calibrated_probabilities_the_expected_number_is_the_true_one() -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(20_000, generator=generator, dtype=torch.float64) ** 4
    wrong = torch.rand(20_000, generator=generator) < p
    order = p.argsort(descending=True)
    skewed = (p.logit() + 1.5).sigmoid()  # of a detector that is too sure
    share = float(wrong.double().mean())
    estimate = Estimate(share=share, low=share / 2, high=min(1.0, 2 * share), by="held out")
    for one in expected_precision(skewed[order], estimate):
        true = int(wrong[order][: one.first].sum())
        assert one.wrong == pytest.approx(true, abs=3 * one.first**0.5 / 2)
        assert one.low <= one.wrong <= one.high <= one.first


def test_where_the_share_cannot_be_told_there_is_a_range_only() -> None:
    estimate = Estimate(share=None, low=0.0, high=0.3, by="held out", reason="alike")
    found = expected_precision(torch.linspace(0.9, 0.0, 60), estimate)
    assert [one.first for one in found] == [50]
    assert found[0].wrong is None
    assert found[0].low == 0
    assert 0 < found[0].high <= 50
    assert expected_precision(torch.rand(60), None) == ()
