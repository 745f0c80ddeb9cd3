import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.errors import GradientError
from ogacli.models.tasks.multi_label import MultiLabel
from one_sample import check_residual, drawn


def by_definition(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return -(label * F.logsigmoid(logits) + (1 - label) * F.logsigmoid(-logits)).sum()


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), b=st.integers(1, 9), k=st.integers(1, 9))
def test_losses_and_residuals_are_those_of_autograd_sample_by_sample(seed, b, k):
    labels = torch.randint(2, (b, k), generator=torch.Generator().manual_seed(seed)).double()
    check_residual(MultiLabel(), drawn(seed, b, k), labels, by_definition)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_probabilities(seed):
    task, logits = MultiLabel(), drawn(seed, 5, 3)
    labels = torch.randint(2, (5, 3), generator=torch.Generator().manual_seed(seed)).double()
    torch.testing.assert_close(task.logits_of(task.predictive(logits)), logits)
    assert torch.equal(task.targets(logits, labels), labels)
    assert task.logits_of(labels).isfinite().all()
    assert task.class_probabilities(logits) is None
    assert task.label_probability(logits, labels) is None


@pytest.mark.parametrize("confidence", [10.0, 25.0, 60.0])
def test_confident_samples_do_not_cancel_to_zero(confidence):
    found = MultiLabel().residual(torch.tensor([[confidence, -confidence]]), torch.tensor([[1.0, 0.0]]))
    expected = torch.sigmoid(torch.tensor(-confidence, dtype=torch.float64))
    torch.testing.assert_close(found[0].double(), torch.stack([-expected, expected]), rtol=1e-5, atol=0)


def test_labels_of_another_kind_are_refused():
    with pytest.raises(GradientError, match="takes one target a logit") as caught:
        MultiLabel().residual(drawn(0, 7, 5), torch.zeros(7, dtype=torch.int64))
    assert "loss.name bce_with_logits" in str(caught.value)
    assert "labels [7], logits [7, 5]" in str(caught.value)
