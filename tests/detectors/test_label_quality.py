import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradient_batches import dense_batch
from ogacli.data import Batch
from ogacli.detectors import detectors
from ogacli.errors import GradientError
from ogacli.gradients.head import HeadGradients
from ogacli.models import Network
from ogacli.models.tasks import Task
from ogacli.models.tasks.classification import Classification
from ogacli.models.tasks.regression import Regression

NAMES = ["self_confidence", "normalized_margin", "confidence_weighted_entropy"]


def scored(name: str, logits: Tensor, labels: Tensor) -> Tensor:
    return detectors.get(name)().detector().score(dense_batch(logits, labels))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [2, 10])
def test_they_are_cleanlab_s(name: str, k: int) -> None:
    rank = pytest.importorskip("cleanlab.rank")
    generator = torch.Generator().manual_seed(k)
    logits = 1.5 * torch.randn(300, k, generator=generator)
    labels = torch.randint(k, (300,), generator=generator)
    quality = rank.get_label_quality_scores(
        labels.numpy(), logits.double().softmax(1).numpy(), method=name, adjust_pred_probs=False
    )
    torch.testing.assert_close(scored(name, logits, labels), 1 - torch.tensor(quality), rtol=1e-6, atol=1e-9)


def test_their_definitions() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]], dtype=torch.float64)
    logits, labels = probabilities.log(), torch.tensor([1, 0])
    assert scored("self_confidence", logits, labels).tolist() == pytest.approx([0.8, 0.5])
    margins = [(1 + 0.7 - 0.2) / 2, (1 + 0.25 - 0.5) / 2]
    assert scored("normalized_margin", logits, labels).tolist() == pytest.approx(margins)
    entropy = 1.5 * math.log(2) / math.log(3)
    found = float(scored("confidence_weighted_entropy", logits, labels)[1])
    assert found == pytest.approx(1 - math.log(1 + entropy / 0.5) / (entropy / 0.5))


@settings(max_examples=50, deadline=None)
@given(margin=st.floats(-600, 600), name=st.sampled_from(NAMES))
def test_a_lower_probability_is_a_higher_score(margin: float, name: str) -> None:
    """Also where a probability is 1 or 0 in float32, and where cleanlab's entropy turns over."""
    logits = torch.tensor([[margin, 0.0], [margin - 1, 0.0]], dtype=torch.float64)
    likely, unlikely = scored(name, logits, torch.zeros(2, dtype=torch.int64)).tolist()
    assert 0 <= likely <= unlikely <= 1
    if name != "confidence_weighted_entropy" and abs(margin) < 30:
        assert likely < unlikely


@pytest.mark.parametrize(
    ("labels", "k", "found"),
    [
        (torch.zeros(4, 3), 3, "several labels a sample, or numbers"),
        (torch.zeros(4, 0), 3, "samples without a class"),
        (torch.zeros(4, dtype=torch.int64), 1, "a single class"),
    ],
    ids=["multi-label", "language model", "one class"],
)
@pytest.mark.parametrize("name", NAMES)
def test_labels_must_be_classes(name: str, labels: Tensor, k: int, found: str) -> None:
    problem = rf"detector.name {name}: label quality takes one class .*\n  found: {found}\n  next: take `l2`"
    batch = dense_batch(torch.zeros(4, k), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(GradientError, match=problem):
        detectors.get(name)().detector().score(replace(batch, labels=labels))


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        (Classification(), torch.arange(6) % 3),
        (Classification(label_smoothing=0.2), torch.arange(6) % 3),
        (Regression(), torch.arange(18.0).reshape(6, 3)),
    ],
)
def test_loss_is_the_model_s_loss(task: Task, labels: Tensor) -> None:
    module = torch.nn.Linear(4, 3)
    inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    compute = HeadGradients(Network(module, head=None, outputs=3), task)
    batch = compute(Batch(torch.arange(6), inputs, labels, {}))
    logits = module(inputs)
    if isinstance(task, Regression):
        expected = (logits - labels).square().sum(1)
    else:
        assert isinstance(task, Classification)
        smooth = task.label_smoothing
        expected = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smooth)
    found = detectors.get("loss")().detector().score(batch)
    torch.testing.assert_close(found, expected.detach())
    part = detectors.get("loss")().detector().score(batch.select(slice(2, 4)))
    torch.testing.assert_close(part, expected.detach()[2:4])
