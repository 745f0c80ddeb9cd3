from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ogacli.data import Batch
from ogacli.errors import GradientError
from ogacli.models.network import Network

B, H, K = 6, 4, 3


def batch(inputs, k: int = K) -> Batch:
    b = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
    return Batch(torch.arange(b), inputs, torch.arange(b) % k, {})


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(B, H, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _fixed_weights():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Net(nn.Module):
    """relu(body(x)) -> head, and then whatever ``after`` does to the logits."""

    def __init__(self, after=lambda logits: logits, before=lambda features: features, bias=True) -> None:
        super().__init__()
        self.body = nn.Linear(H, 5)
        self.head = nn.Linear(5, K, bias=bias)
        self.drop = nn.Dropout(0.5)
        self.after = after
        self.before = before

    def forward(self, x):
        return self.after(self.head(self.before(F.relu(self.body(x)))))


def check(module: nn.Module, inputs, named: str | None = None) -> Network:
    """The network's answers must be the module's, and its features what the head makes the logits of."""
    network = Network(module, head=named, outputs=K)
    for _ in range(2):
        found = network.outputs(batch(inputs))
        head = dict(module.named_modules())[network.head_name]
        assert found.features is not None
        assert found.features.shape == (B, head.in_features)
        assert found.bias == (head.bias is not None)
        torch.testing.assert_close(F.linear(found.features, head.weight, head.bias), found.logits)
    with torch.no_grad():
        torch.testing.assert_close(
            found.logits, module(**inputs) if isinstance(inputs, dict) else module(inputs)
        )
    return network


@pytest.mark.parametrize(
    "after",
    [
        lambda x: x,
        nn.Identity(),
        nn.Flatten(),
        nn.Dropout(0.3),
        lambda x: x[:, None, :].squeeze(1),
        lambda x: x.view(-1).view(B if len(x) == B else len(x), K),
        lambda x: x.clone(),
        lambda x: x.double().float(),
    ],
    ids=["plain", "identity", "flatten", "dropout", "squeeze", "view", "clone", "cast"],
)
def test_the_head_is_found_whatever_follows_it(inputs, after):
    assert check(Net(after), inputs).head_name == "head"


def test_a_head_that_reads_extra_dimensions(inputs):
    net = Net(after=lambda x: x[:, 0], before=lambda x: x[:, None])
    assert check(net, inputs).head_name == "head"


def test_a_head_without_bias_and_called_by_keyword(inputs):
    class Keyword(Net):
        def forward(self, x):
            return self.head(input=F.relu(self.body(input=x)))

    check(Keyword(bias=False), inputs)


def test_an_auxiliary_head_is_not_taken(inputs):
    class Auxiliary(Net):
        def __init__(self) -> None:
            super().__init__()
            self.aux = nn.Linear(5, K)

        def forward(self, x):
            logits = super().forward(x)
            self.aux(F.relu(self.body(x)))
            return logits

    assert check(Auxiliary(), inputs).head_name == "head"


def test_a_single_layer_is_its_own_head(inputs):
    network = Network(nn.Linear(H, K), head=None, outputs=K)
    network.outputs(batch(inputs))
    assert network.head_name == "Linear"


def test_mappings_and_outputs_with_logits(inputs):
    class Named(Net):
        def forward(self, x, mask):
            return SimpleNamespace(logits=super().forward(x * mask))

    network = Network(Named(), head=None, outputs=K)
    found = network.outputs(batch({"x": inputs, "mask": torch.ones(B, 1)}))
    assert found.logits.shape == (B, K)
    assert network.head_name == "head"


def test_not_finite_samples_pass_through(inputs):
    inputs[1, 0] = float("nan")
    found = Network(Net(), head=None, outputs=K).outputs(batch(inputs))
    assert found.logits.isfinite().all(1).tolist() == [True, False, True, True, True, True]


@pytest.mark.parametrize(
    "after",
    [lambda x: x / 2, lambda x: x.softmax(1), lambda x: x.relu_(), lambda x: x.mul_(3), lambda x: x.flip(1)],
    ids=["scaled", "softmax", "relu in place", "scaled in place", "reordered"],
)
def test_logits_that_are_not_the_head_s_output_are_refused(inputs, after):
    with pytest.raises(GradientError, match="not the output of one of its linear layers") as caught:
        Network(Net(after), head=None, outputs=K).outputs(batch(inputs))
    assert "before any softmax, scaling or pooling" in str(caught.value)
    with pytest.raises(
        GradientError, match=r"model.head 'head': the logits are not the output of this layer"
    ):
        Network(Net(after), head="head", outputs=K).outputs(batch(inputs))


def test_features_changed_after_they_were_read_are_refused(inputs):
    class Changing(Net):
        def forward(self, x):
            features = F.relu(self.body(x))
            logits = self.head(features)
            features.zero_()
            return logits

    with pytest.raises(GradientError, match="no head"):
        Network(Changing(), head=None, outputs=K).outputs(batch(inputs))


def test_a_head_over_several_positions_is_refused():
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(H, K)

        def forward(self, x):
            return self.head(x).flatten(1)

    with pytest.raises(GradientError, match="no head"):
        Network(Positions(), head=None, outputs=K).outputs(batch(torch.randn(B, 2, H)))


def test_a_head_that_is_used_twice_is_refused(inputs):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same = nn.Linear(H, H)

        def forward(self, x):
            return self.same(F.relu(self.same(x)))

    with pytest.raises(GradientError, match="same: the head is called 2 times in one pass"):
        Network(Twice(), head=None, outputs=K).outputs(batch(inputs))


def test_a_tied_head_is_refused():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(K, H)
            self.head = nn.Linear(H, K, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x):
            return self.head(self.embed(x).mean(1))

    with pytest.raises(GradientError, match="head: the head's weight is tied") as caught:
        Network(Tied(), head=None, outputs=K).outputs(batch(torch.randint(K, (B, 7))))
    assert "embed.weight" in str(caught.value)


def test_a_named_head(inputs):
    assert check(Net(), inputs, named="head").head_name == "head"
    with pytest.raises(GradientError, match=r"model.head 'body': the logits are not the output"):
        Network(Net(), head="body", outputs=K).outputs(batch(inputs))
    with pytest.raises(GradientError, match=r"model.head 'fc': no such layer") as caught:
        Network(Net(), head="fc", outputs=K)
    assert "one of body, head" in str(caught.value)
    with pytest.raises(GradientError, match=r"model.head 'drop': not a linear layer"):
        Network(Net(), head="drop", outputs=K)


def test_too_few_outputs(inputs):
    with pytest.raises(GradientError, match="more classes in the data than the model has outputs") as caught:
        Network(Net(), head=None, outputs=5).outputs(batch(inputs))
    assert "found: 3 outputs" in str(caught.value)
    assert "at least 5" in str(caught.value)


@pytest.mark.parametrize("after", [lambda x: x[:, None], lambda x: x.mean(0, keepdim=True), lambda x: None])
def test_no_logits(inputs, after):
    with pytest.raises(GradientError, match="does not return logits"):
        Network(Net(after), head=None, outputs=K).outputs(batch(inputs))


def test_inputs_that_the_network_does_not_take(inputs):
    with pytest.raises(GradientError, match="cannot be called with these samples") as caught:
        Network(Net(), head=None, outputs=K).outputs(batch(inputs[:, :2]))
    assert f"inputs [{B}, 2] float32" in str(caught.value)


def test_batch_norm_without_statistics_is_refused():
    net = nn.Sequential(nn.Linear(H, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, K))
    with pytest.raises(GradientError, match="1: batch norm without running statistics"):
        Network(net, head=None, outputs=K)


def test_a_layer_that_trains_in_its_forward_is_refused_by_name(inputs):
    class Trains(Net):
        def forward(self, x):
            self.drop.train()
            x = self.drop(F.relu(self.body(x)))
            self.drop.eval()
            return self.head(x)

    with pytest.raises(GradientError, match="drop: the network turns itself back to train mode"):
        Network(Trains(), head=None, outputs=K).outputs(batch(inputs))


def test_train_mode_that_eval_does_not_reach_is_refused(inputs):
    class Stubborn(Net):
        def train(self, mode: bool = True):
            return super().train(True)

    with pytest.raises(GradientError, match="Stubborn: the network turns itself back to train mode"):
        Network(Stubborn(), head=None, outputs=K).outputs(batch(inputs))


def test_forced_dropout_is_refused(inputs):
    net = Net(before=lambda x: F.dropout(x, 0.2, training=True))
    with pytest.raises(GradientError, match="two passes over the same samples give different logits"):
        Network(net, head=None, outputs=K).outputs(batch(inputs))


@pytest.mark.parametrize(
    "before",
    [lambda x: x - x.mean(0), lambda x: F.batch_norm(x, None, None, training=True)],
    ids=["centred", "batch norm"],
)
def test_samples_that_depend_on_their_batch_are_refused(inputs, before):
    with pytest.raises(GradientError, match="depend on the other samples of its batch"):
        Network(Net(before=before), head=None, outputs=K).outputs(batch(inputs))


def test_the_checks_cost_nothing_after_the_first_batch(inputs):
    calls = []
    net = Net(before=lambda x: calls.append(len(x)) or x)
    network = Network(net, head=None, outputs=K)
    network.outputs(batch(inputs))
    calls.clear()
    network.outputs(batch(inputs))
    assert calls == [B]


def test_the_checks_see_a_few_samples_of_the_first_batch_only():
    seen = []
    module = Net(before=lambda features: seen.append(len(features)) or features)
    found = Network(module, head=None, outputs=K).outputs(batch(torch.randn(500, H)))
    assert found.logits.shape == (500, K)
    assert sum(seen) < 500 + 100


def test_the_widest_tensor_of_a_layer():
    network = Network(nn.Sequential(nn.Linear(H, 7), nn.ReLU(), nn.Linear(7, K)), head=None, outputs=K)
    assert network.widest(batch(torch.randn(5, H))) == 7 * 4
    with pytest.raises(GradientError, match="cannot be called with these samples"):
        network.widest(batch(torch.randn(5, H + 1)))
    assert not any(layer._forward_hooks for layer in network.module.modules())
