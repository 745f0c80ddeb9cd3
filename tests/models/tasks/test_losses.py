import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from ogacli.config import parse_config
from ogacli.errors import ConfigError, GradientError
from ogacli.models.tasks.losses import Loss, LossOptions

B, K = 7, 5


def made(seed: int, b: int = B, k: int = K) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits in float64, and labels for each loss."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(b, k, generator=generator, dtype=torch.float64)
    return logits, {
        "cross_entropy": torch.randint(k, (b,), generator=generator),
        "bce_with_logits": torch.randint(2, (b, k), generator=generator).double(),
        "mse": torch.randn(b, k, generator=generator, dtype=torch.float64),
    }


def reference(name: str, logits: torch.Tensor, label: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """The loss of one sample, [k] -> [], by its definition."""
    k = len(logits)
    match name:
        case "cross_entropy":
            target = torch.full((k,), smoothing / k, dtype=torch.float64)
            target[label] += 1 - smoothing
            return -(target * logits.log_softmax(0)).sum()
        case "bce_with_logits":
            return -(label * F.logsigmoid(logits) + (1 - label) * F.logsigmoid(-logits)).sum()
        case _:
            return ((logits - label) ** 2).sum()


@given(
    seed=st.integers(0, 2**31),
    case=st.sampled_from(
        [
            ("cross_entropy", 0.0),
            ("cross_entropy", 0.1),
            ("cross_entropy", 0.9),
            ("bce_with_logits", 0.0),
            ("mse", 0.0),
        ]
    ),
    b=st.integers(1, 9),
    k=st.integers(2, 9),
)
def test_values_and_residuals_are_those_of_autograd_sample_by_sample(seed, case, b, k):
    name, smoothing = case
    logits, labels = made(seed, b, k)
    loss = LossOptions(name=name, label_smoothing=smoothing).loss()
    values = loss.value(logits, labels[name])
    residual = loss.residual(logits, labels[name])
    for i in range(b):
        own = logits[i].clone().requires_grad_()
        value = reference(name, own, labels[name][i], smoothing)
        (gradient,) = torch.autograd.grad(value, own)
        torch.testing.assert_close(values[i], value.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(residual[i], gradient, rtol=1e-10, atol=1e-12)
    assert not residual.requires_grad


def test_a_regression_of_one_target_takes_a_column_or_a_list():
    loss = LossOptions(name="mse").loss()
    logits, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, 3.0])
    assert loss.residual(logits, targets).tolist() == [[-4], [-2]]
    assert loss.residual(logits, targets[:, None]).tolist() == [[-4], [-2]]


@pytest.mark.parametrize("confidence", [10.0, 25.0, 60.0])
def test_confident_samples_do_not_cancel_to_zero_under_cross_entropy(confidence):
    logits = torch.tensor([[confidence, 0.0, 0.0]])
    labels = torch.tensor([0])
    found = LossOptions().loss().residual(logits, labels)
    exact = logits.double().softmax(1)
    expected = torch.stack([-(exact[0, 1] + exact[0, 2]), exact[0, 1], exact[0, 2]])
    assert found[0, 0] < 0
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("confidence", [10.0, 25.0, 60.0])
def test_confident_samples_do_not_cancel_to_zero_under_binary_cross_entropy(confidence):
    logits = torch.tensor([[confidence, -confidence]])
    found = LossOptions(name="bce_with_logits").loss().residual(logits, torch.tensor([[1.0, 0.0]]))
    expected = torch.sigmoid(torch.tensor(-confidence, dtype=torch.float64))
    torch.testing.assert_close(found[0].double(), torch.stack([-expected, expected]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["cross_entropy", "bce_with_logits", "mse"])
def test_residuals_in_inference_mode(name):
    logits, labels = made(0)
    expected = LossOptions(name=name).loss().residual(logits, labels[name])
    with torch.inference_mode():
        found = LossOptions(name=name).loss().residual(logits.clone(), labels[name].clone())
    torch.testing.assert_close(found, expected)


# --- losses of the user's own -------------------------------------------------------------------------

OWN = """
import torch

def hinge(logits, labels):
    right = logits.gather(1, labels[:, None])
    margins = (1 + logits - right).clamp_min(0)
    return margins.scatter(1, labels[:, None], 0.0).sum(1)

def averaged(logits, labels):
    return hinge(logits, labels).mean()

def blind(logits, labels):
    return torch.ones(len(logits))
"""


@pytest.fixture
def own(tmp_path):
    """A loss from a module beside the config."""
    (tmp_path / "losses_of_test.py").write_text(OWN)

    def make(name: str) -> Loss:
        section = f"loss: {{name: python, factory: 'losses_of_test:{name}'}}"
        text = f"data: {{source: digits}}\nmodel: {{source: mlp}}\n{section}"
        return parse_config(text, base=tmp_path).loss.loss()

    yield make
    sys.modules.pop("losses_of_test", None)


def test_a_loss_of_the_user_s_own(own):
    logits = torch.tensor([[2.0, 1.5, -3.0], [0.0, 0.0, 5.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    loss = own("hinge")
    assert loss.value(logits, labels).tolist() == [0.5, 7.0]
    assert loss.residual(logits, labels).tolist() == [[-1, 1, 0], [1, -2, 1]]


def test_a_loss_that_averages_is_refused(own):
    logits, labels = made(0)
    with pytest.raises(GradientError, match="does not return one value a sample") as caught:
        own("averaged").residual(logits, labels["cross_entropy"])
    assert "losses_of_test:averaged" in str(caught.value)
    assert "reduction='none'" in str(caught.value)


def test_a_loss_without_a_gradient_is_refused(own):
    logits, labels = made(0)
    with pytest.raises(GradientError, match="the loss does not depend on the logits"):
        own("blind").residual(logits, labels["cross_entropy"])


def test_a_loss_that_cannot_be_imported(own):
    with pytest.raises(ConfigError, match="losses_of_test:huber: cannot be imported"):
        own("huber")


# --- what does not fit --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "python"}, "`factory` belongs to `name: python`"),
        ({"name": "mse", "factory": "a:b"}, "`factory` belongs to `name: python`"),
        ({"name": "mse", "label_smoothing": 0.1}, "`label_smoothing` belongs to `name: cross_entropy`"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        LossOptions(**options)


def test_the_section_of_a_built_in_loss_stays_short():
    assert LossOptions(name="mse").model_dump(exclude_none=True) == {"name": "mse", "label_smoothing": 0.0}


def test_labels_of_the_wrong_kind_are_refused():
    logits, labels = made(0)
    with pytest.raises(GradientError, match="cross-entropy takes one class a sample") as caught:
        LossOptions().loss().residual(logits, labels["bce_with_logits"])
    assert "labels [7, 5] of float64" in str(caught.value)
    for name in ("mse", "bce_with_logits"):
        with pytest.raises(GradientError, match="takes one target a logit") as caught:
            LossOptions(name=name).loss().residual(logits, labels["cross_entropy"])
        assert "labels [7], logits [7, 5]" in str(caught.value)


def test_a_network_that_returns_its_loss_in_parts():
    logits = torch.tensor([[1.0, 2.0], [0.5, 0.0]])
    loss = LossOptions(name="output").loss()
    assert loss.value(logits, torch.zeros(2, 0)).tolist() == [3.0, 0.5]
    assert loss.residual(logits, torch.zeros(2, 0)).tolist() == [[1.0, 1.0], [1.0, 1.0]]
