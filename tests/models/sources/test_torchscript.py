from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ogacli.config import parse_config
from ogacli.data.samples import Samples
from ogacli.errors import CheckpointError, GradientError
from ogacli.gradients import GradientOptions, capture
from ogacli.models.network import Network
from ogacli.models.sources.torchscript import Scripted, TorchScript
from ogacli.models.tasks.classification import Classification

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")
PICTURES = torch.randn(23, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.decoy = nn.Linear(6, 4)
        self.head = nn.Linear(6, 4, bias=bias)
        self.extra = nn.Linear(6, 4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        features = torch.relu(self.conv(x)).mean((2, 3))
        mixed = features + self.decoy(features).sum(1, keepdim=True)
        return self.head(self.drop(mixed))


def fresh(module: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return module().eval()


def load(module: Any, path: Path, samples: Samples) -> Scripted:
    torch.jit.save(module, str(path))
    return TorchScript(checkpoint=str(path)).load(samples)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("how", ["script", "trace"])
def test_features_are_those_that_hooks_see(how: str, bias: bool, tmp_path: Path, make_samples: Any) -> None:
    net = fresh(lambda: Net(bias))
    scripted = torch.jit.script(net) if how == "script" else torch.jit.trace(net, PICTURES)
    samples = make_samples(PICTURES)
    batch = samples.read(range(23))
    model = load(scripted, tmp_path / "net.pt", samples)
    for _ in range(2):  # the first batch is looked at more closely
        found = model.outputs(batch)
        expected = Network(net, head=None, outputs=3).outputs(batch)
        torch.testing.assert_close(found.logits, expected.logits)
        torch.testing.assert_close(found.features, expected.features)
        assert found.bias == bias
        assert not found.logits.requires_grad
    assert model.head_name == "head"


def test_gradients_are_those_of_the_network_itself(tmp_path: Path, make_samples: Any) -> None:
    net = fresh(Net)
    samples = make_samples(PICTURES)
    batch = samples.read(range(23))
    loss = Classification()
    scripted = capture(load(torch.jit.script(net), tmp_path / "net.pt", samples), loss, GradientOptions())
    plain = capture(Network(net, head=None, outputs=3), loss, GradientOptions())
    torch.testing.assert_close(scripted(batch).dense(), plain(batch).dense())
    assert dict(scripted.parameters) == dict(plain.parameters)


def test_a_frozen_network_gives_the_gradient_of_its_logits(tmp_path: Path, make_samples: Any) -> None:
    net = fresh(Net)
    samples = make_samples(PICTURES)
    batch = samples.read(range(23))
    model = load(torch.jit.freeze(torch.jit.script(net)), tmp_path / "net.pt", samples)
    gradients = capture(model, Classification(), GradientOptions())
    with torch.no_grad():
        residual = Classification().residual(net(PICTURES), batch.labels)
    torch.testing.assert_close(gradients(batch).dense(), residual)
    assert dict(gradients.parameters) == {"logits": 4}


class Scaled(Net):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_logits_that_are_no_layer_s_output_have_no_features(tmp_path: Path, make_samples: Any) -> None:
    samples = make_samples(PICTURES)
    model = load(torch.jit.trace(fresh(Scaled), PICTURES), tmp_path / "net.pt", samples)
    found = model.outputs(samples.read(range(23)))
    assert (found.features, model.head_name) == (None, "logits")


def test_it_is_put_into_evaluation_mode(tmp_path: Path, make_samples: Any) -> None:
    samples = make_samples(PICTURES)
    model = load(torch.jit.script(fresh(Net).train()), tmp_path / "net.pt", samples)
    with torch.no_grad():
        expected = fresh(Net)(PICTURES)
    torch.testing.assert_close(model.outputs(samples.read(range(23))).logits, expected)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_dropout_that_was_traced_is_found_out(tmp_path: Path, make_samples: Any) -> None:
    net = fresh(Net)
    net.forward = lambda x: nn.functional.dropout(Net.forward(net, x), 0.5)  # type: ignore[method-assign]
    traced = torch.jit.trace(net, PICTURES, check_trace=False)
    samples = make_samples(PICTURES)
    with pytest.raises(GradientError, match="two passes over the same samples give different logits"):
        load(traced, tmp_path / "net.pt", samples).outputs(samples.read(range(23)))


def test_other_files_and_too_few_outputs(tmp_path: Path, make_samples: Any) -> None:
    path = tmp_path / "net.pt"
    samples = make_samples(PICTURES, classes=5)
    for content in (b"", b"nonsense"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"net\.pt: not a TorchScript file"):
            TorchScript(checkpoint=str(path)).load(samples)
    torch.save(fresh(Net).state_dict(), path)
    with pytest.raises(CheckpointError, match="not a TorchScript file"):
        TorchScript(checkpoint=str(path)).load(samples)
    model = load(torch.jit.script(fresh(Net)), path, samples)
    with pytest.raises(GradientError, match="more classes in the data than the model has outputs"):
        model.outputs(samples.read(range(8)))


def test_other_layers_are_refused_by_name(tmp_path: Path, make_samples: Any) -> None:
    model = load(torch.jit.script(fresh(Net)), tmp_path / "net.pt", make_samples(PICTURES))
    with pytest.raises(GradientError, match="this model has no layers, only logits"):
        capture(model, Classification(), GradientOptions(layers="all"))


def test_the_config(tmp_path: Path) -> None:
    config = parse_config("data: digits\nmodel: {source: torchscript, checkpoint: net.pt}", base=tmp_path)
    assert config.model.checkpoint_files() == (str(tmp_path / "net.pt"),)
