"""Softmax over few classes equals torch's, and that of a row does not depend on the other rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.base.softmax import log_softmax, softmax

OURS = [(softmax, torch.softmax), (log_softmax, torch.log_softmax)]


@pytest.mark.parametrize(("ours", "theirs"), OURS)
@settings(deadline=None)
@given(
    n=st.integers(0, 40),
    k=st.integers(1, 70),
    scale=st.sampled_from([0.1, 10.0, 1e4]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_as_torch(ours, theirs, n, k, scale, dtype, seed):
    logits = scale * torch.randn(n, k, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(ours(logits), theirs(logits, 1))


@pytest.mark.parametrize(("ours", "theirs"), OURS)
def test_infinite_and_missing_logits(ours, theirs):
    rows = [[0.0, -torch.inf, 1.0], [torch.inf, 0.0, 1.0], [torch.nan, 0.0, 1.0], [-torch.inf] * 3]
    logits = torch.tensor(rows)
    torch.testing.assert_close(ours(logits), theirs(logits, 1), equal_nan=True)


@pytest.mark.parametrize(("ours", "theirs"), OURS)
def test_its_gradient_is_torchs(ours, theirs):
    logits = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    found = torch.autograd.grad(ours(logits).square().sum(), logits)[0]
    torch.testing.assert_close(found, torch.autograd.grad(theirs(logits, 1).square().sum(), logits)[0])


@pytest.mark.parametrize("function", [softmax, log_softmax])
@pytest.mark.parametrize("k", [2, 10, 31])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_does_not_depend_on_the_others(function, k, dtype):
    logits = 5 * torch.randn(500, k, dtype=dtype, generator=torch.Generator().manual_seed(0))
    whole = function(logits)
    for size in (1, 2, 3, 7, 8, 15, 17, 33, 100):
        parts = [function(part) for part in logits.split(size)]
        assert torch.equal(torch.cat(parts), whole)
