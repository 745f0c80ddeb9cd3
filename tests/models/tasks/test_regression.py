import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.errors import GradientError
from ogacli.models.tasks.regression import Regression
from one_sample import check_residual, drawn


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), b=st.integers(1, 9), k=st.integers(1, 9))
def test_losses_and_residuals_are_those_of_autograd_sample_by_sample(seed, b, k):
    check_residual(Regression(), drawn(seed, b, k), drawn(seed + 1, b, k), lambda z, y: ((z - y) ** 2).sum())


def test_one_target_may_be_a_column_or_a_list():
    logits, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, 3.0])
    assert Regression().residual(logits, targets).tolist() == [[-4], [-2]]
    assert Regression().residual(logits, targets[:, None]).tolist() == [[-4], [-2]]
    assert Regression().label_probability(logits, targets) is None


def test_predictions_are_the_outputs():
    logits = drawn(0, 3, 2)
    assert torch.equal(Regression().predictive(logits), logits)
    assert torch.equal(Regression().logits_of(logits), logits)


def test_labels_of_another_kind_are_refused():
    with pytest.raises(GradientError, match="takes one target a logit") as caught:
        Regression().residual(drawn(0, 7, 5), torch.zeros(7, dtype=torch.int64))
    assert "labels [7], logits [7, 5]" in str(caught.value)
