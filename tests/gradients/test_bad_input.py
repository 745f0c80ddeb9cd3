"""What would make per-sample gradients wrong or impossible: the error that is raised, or the fallback."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogacli.data import Batch
from ogacli.errors import GradientError
from ogacli.gradients import GradientOptions, capture
from ogacli.gradients.capture import LayerGradients
from ogacli.gradients.selection import selected
from ogacli.models import Network
from ogacli.models.tasks.classification import Classification
from ogacli.models.tasks.own_loss import OwnLoss
from one_by_one import Classifier, K, check, computed, labels_of, seeded


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(7))


class Applies(nn.Module):
    """A linear layer, and something done with it."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def test_batch_norm_without_running_statistics_is_refused() -> None:
    body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False))
    with pytest.raises(GradientError, match=r"body\.1: batch norm without running statistics"):
        computed(Classifier(body, 4), inputs(4, 4), labels_of(4))


def test_a_layer_that_goes_back_to_train_mode_is_refused() -> None:
    body = Applies(lambda self, x: self.linear.train()(x))
    with pytest.raises(GradientError, match=r"body\.linear: the network turns itself back to train mode"):
        computed(Classifier(body, 4), inputs(4, 4), labels_of(4))


def test_forced_dropout_is_refused() -> None:
    body = Applies(lambda self, x: F.dropout(self.linear(x), 0.5))
    with pytest.raises(GradientError, match="two passes over the same samples give different logits"):
        computed(Classifier(body, 4), inputs(4, 4), labels_of(4))


def test_samples_that_see_each_other_are_refused() -> None:
    body = Applies(lambda self, x: self.linear(x) - self.linear(x).mean(0))
    with pytest.raises(GradientError, match="depend on the other samples of its batch"):
        computed(Classifier(body, 4), inputs(4, 4), labels_of(4))


def test_an_input_that_is_changed_after_it_was_read_is_refused() -> None:
    def function(self: Applies, x: Tensor) -> Tensor:
        x = x * 2
        found = self.linear(x)
        x += 1
        return torch.tanh(found + x)

    with pytest.raises(GradientError, match=r"body\.linear\.weight: a layer's input is changed in place"):
        computed(Classifier(Applies(function), 4), inputs(4, 3, 4), labels_of(4), ["*.linear.*", "head.*"])


def test_a_change_in_place_that_autograd_allows_is_allowed() -> None:
    """Autograd does not need the input of a sum, or of a layer whose bias alone is selected."""

    def function(self: Applies, x: Tensor) -> Tensor:
        x = x * 2
        found = self.linear(x)
        x += 1
        return torch.tanh(found + x)

    check(Classifier(Applies(function), 4), inputs(4, 3, 4), layers=["*.linear.bias", "head.*"])


def test_parameters_that_no_loss_depends_on_are_zero_and_noted() -> None:
    body = Applies(lambda self, x: torch.tanh(self.linear(x)))
    module = Classifier(body, 4)
    batch, engine = computed(module, inputs(4, 4), labels_of(4))
    start = sum(engine.parameters[f"body.linear.{name}"] for name in ("weight", "bias"))
    unused = sum(engine.parameters[f"body.unused.{name}"] for name in ("weight", "bias"))
    assert not batch.dense()[:, start : start + unused].any()
    assert any(note.startswith("body.unused.weight") and "no sample's loss" in note for note in engine.notes)


def test_a_selection_that_no_loss_depends_on_is_refused() -> None:
    body = Applies(lambda self, x: torch.tanh(self.linear(x)))
    with pytest.raises(GradientError, match=r"body\.unused\.weight: no sample's loss depends on"):
        computed(Classifier(body, 4), inputs(4, 4), labels_of(4), ["body.unused.*"])


def normalised(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits - logits.mean(0), labels, reduction="none")


def test_a_loss_that_mixes_samples_is_refused() -> None:
    loss = OwnLoss(factory=f"{__name__}:normalised")
    module = Classifier(nn.Linear(4, 4), 4)
    engine = LayerGradients(Network(module, head=None, outputs=K), loss, selected(module, "all"))
    with pytest.raises(GradientError, match=r"loss\.factory .*normalised: the loss of a sample depends on"):
        engine(Batch(torch.arange(4), inputs(4, 4), labels_of(4), {}))


def test_a_table_of_logits_has_only_a_head() -> None:
    class Table:
        reads_inputs = False

    with pytest.raises(GradientError, match=r"gradients\.layers 'all': this model has no layers"):
        capture(Table(), Classification(), GradientOptions(layers="all"))  # type: ignore[arg-type]


def test_gradients_that_overflow_name_the_layer() -> None:
    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return torch.tanh(x)

        @staticmethod
        def backward(ctx: Any, d: Tensor) -> Tensor:
            return d * torch.inf

    body = Applies(lambda self, x: Steep.apply(self.linear(x)))
    with pytest.raises(GradientError, match=r"body\.linear\.bias: the gradients of all samples overflow"):
        computed(Classifier(body, 4), inputs(4, 4), labels_of(4), ["body.linear.*", "head.*"])


def test_a_network_that_calls_other_functions_is_examined_again() -> None:
    def function(self: Applies, x: Tensor) -> Tensor:
        found = self.linear(x)
        return torch.tanh(self.unused(found) if x.shape[1] > 5 else found)

    module = Classifier(Applies(function), 4)
    engine = LayerGradients(
        Network(module, head=None, outputs=K), Classification(), selected(module, ["body.*", "head.*"])
    )
    for t in (4, 7, 3):
        x, labels = inputs(4, t, 4), labels_of(4)
        found = engine(Batch(torch.arange(4), x, labels, {}))
        fresh, _ = computed(module, x, labels)
        torch.testing.assert_close(found.dense(), fresh.dense())


def test_a_network_whose_calls_depend_on_the_number_of_samples_is_refused() -> None:
    def function(self: Applies, x: Tensor) -> Tensor:
        found = self.linear(x) if len(x) > 5 else x @ self.linear.weight.T + self.linear.bias
        return torch.tanh(found)

    body = Applies(function)
    with pytest.raises(GradientError, match="calls other functions for 3 samples than for 7"):
        computed(Classifier(body, 4), inputs(7, 4), labels_of(7))


def test_a_single_sample() -> None:
    module = Classifier(nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh()), 4)
    check(module, inputs(2, 2, 5, 5))
    labels = labels_of(1)
    one, _ = computed(module, inputs(1, 2, 5, 5), labels)
    torch.testing.assert_close(one.norm(2), one.dense().double().norm(dim=1), rtol=1e-5, atol=0)
