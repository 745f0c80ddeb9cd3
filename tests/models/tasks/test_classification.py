import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.errors import GradientError
from ogacli.models.tasks.classification import Classification
from one_sample import check_residual, drawn


def by_definition(logits: torch.Tensor, label: torch.Tensor, smoothing: float) -> torch.Tensor:
    k = len(logits)
    target = torch.full((k,), smoothing / k, dtype=torch.float64)
    target[label] += 1 - smoothing
    return -(target * logits.log_softmax(0)).sum()


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**31),
    smoothing=st.sampled_from([0.0, 0.1, 0.9]),
    b=st.integers(1, 9),
    k=st.integers(2, 9),
)
def test_losses_and_residuals_are_those_of_autograd_sample_by_sample(seed, smoothing, b, k):
    labels = torch.randint(k, (b,), generator=torch.Generator().manual_seed(seed))
    task = Classification(label_smoothing=smoothing)
    check_residual(task, drawn(seed, b, k), labels, lambda z, y: by_definition(z, y, smoothing))


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), b=st.integers(1, 9), k=st.integers(1, 9))
def test_probabilities(seed, b, k):
    task, logits = Classification(), drawn(seed, b, k)
    labels = torch.randint(k, (b,), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(task.predictive(task.logits_of(task.predictive(logits))), logits.softmax(1))
    assert task.targets(logits, labels).argmax(1).tolist() == labels.tolist()
    assert task.logits_of(task.targets(logits, labels)).isfinite().all()
    if k == 1:
        assert task.class_probabilities(logits) is None
        assert task.label_probability(logits, labels) is None
        return
    torch.testing.assert_close(task.class_probabilities(logits), logits.softmax(1))
    given_ = torch.stack([logits[i].softmax(0)[labels[i]] for i in range(b)])
    torch.testing.assert_close(task.label_probability(logits, labels), given_)


@pytest.mark.parametrize("confidence", [10.0, 25.0, 60.0])
def test_confident_samples_do_not_cancel_to_zero(confidence):
    logits = torch.tensor([[confidence, 0.0, 0.0]])
    found = Classification().residual(logits, torch.tensor([0]))
    exact = logits.double().softmax(1)
    expected = torch.stack([-(exact[0, 1] + exact[0, 2]), exact[0, 1], exact[0, 2]])
    assert found[0, 0] < 0
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-5, atol=0)


def test_labels_of_another_kind_are_refused():
    with pytest.raises(GradientError, match="cross-entropy takes one class a sample") as caught:
        Classification().residual(drawn(0, 7, 5), torch.ones(7, 5, dtype=torch.float64))
    assert "labels [7, 5] of float64" in str(caught.value)
    with pytest.raises(GradientError, match=r"one row of logits a sample\n  found: logits \[7, 5, 2\]"):
        Classification().loss(drawn(0, 7, 5, 2), torch.zeros(7, dtype=torch.int64))
