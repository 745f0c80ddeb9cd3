"""Networks as Python objects: whatever they hold, gradients are exact or the network is refused."""

import copy
import threading
import warnings

import pytest
import torch
import torch.distributed
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.utils import parametrizations
from torch.utils.data import TensorDataset

import ogacli
from ogacli.errors import ConfigError, GradientError
from ogacli.models.sources.in_memory import Factory, InMemory, shared_copy, source_of

N, H, K = 24, 5, 3
INPUTS = torch.randn(N, H, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(N) % K


@pytest.fixture
def samples() -> ogacli.Samples:
    return ogacli.Samples.of(TensorDataset(INPUTS, LABELS), classes=["a", "b", "c"])


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(H, 8), nn.ReLU(), nn.Linear(8, K)).eval()


def scaled(layer: nn.Linear) -> nn.Linear:
    """The layer under weight normalisation, its magnitudes changed."""
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(1.7)
    return layer


class Tied(nn.Module):
    """Two layers of one weight: the same parameter, or two over the same memory."""

    def __init__(self, *, memory_only: bool) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(H, H), nn.Linear(H, H), nn.Linear(H, K)
        self.second.weight = nn.Parameter(self.first.weight.data) if memory_only else self.first.weight

    def forward(self, x):
        return self.head(self.second(self.first(x).relu()).relu())


class Casting(nn.Module):
    """A network in half precision that takes inputs in single precision."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner, self.dtype = inner.to(dtype), dtype

    def forward(self, x):
        return self.inner(x.to(self.dtype))


class Writing(nn.Module):
    """A network that counts its calls in a buffer, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return self.inner(x)


def with_attributes() -> nn.Module:
    module = mlp()
    module[0].register_buffer("none", None)
    module.computed = module[0].weight * 2
    return module


def old_weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        module = mlp()
        torch.nn.utils.weight_norm(module[0])
    with torch.no_grad():
        module[0].weight_g.mul_(1.7)
    module(INPUTS)
    return module


def with_weight_norm() -> nn.Module:
    module = mlp()
    for i in (0, 2):
        scaled(parametrizations.weight_norm(module[i]))
    return module


def with_spectral_norm() -> nn.Module:
    module = mlp()
    parametrizations.spectral_norm(module[0])
    return module.eval()


def with_hook() -> nn.Module:
    module = mlp()
    module[0].register_forward_hook(lambda layer, args, output: 2 * output)
    return module


def made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return mlp()


NETWORKS = {
    "attributes": with_attributes,
    "old weight norm": old_weight_norm,
    "weight norm": with_weight_norm,
    "spectral norm": with_spectral_norm,
    "forward hook": with_hook,
    "tied": lambda: Tied(memory_only=False).eval(),
    "shared memory": lambda: Tied(memory_only=True).eval(),
    "writing": lambda: Writing().eval(),
    "bfloat16": lambda: Casting(mlp(), torch.bfloat16),
    "float16": lambda: Casting(mlp(), torch.float16),
    "double": lambda: Casting(mlp(), torch.float64),
}


def norms(samples, module, layers):
    return torch.cat([batch.norm(2) for batch in ogacli.gradients(samples, module, layers=layers)]).float()


def one_by_one(module, tensors):
    """The norm of each sample's gradient with respect to some tensors, by autograd."""
    found = []
    for x, y in zip(INPUTS.split(1), LABELS.split(1), strict=True):
        parts = torch.autograd.grad(F.cross_entropy(module(x).float(), y), tensors())
        found.append(torch.cat([part.flatten().float() for part in parts]).norm())
    return torch.stack(found)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_exact(samples, name):
    module = NETWORKS[name]()
    rough = name in ("bfloat16", "float16")
    found = norms(samples, module, "all")
    expected = one_by_one(module, lambda: list(module.parameters()))
    torch.testing.assert_close(found, expected, rtol=0.02 if rough else 1e-5, atol=1e-6)


def test_the_head_s_weight_is_the_one_that_it_computes_with(samples):
    """Under a parametrization: the normalised weight, and not what it is computed from."""
    module = with_weight_norm()
    found = norms(samples, module, "head")
    plain = mlp()
    plain.load_state_dict(
        {f"{i}.{name}": getattr(module[i], name) for i in (0, 2) for name in ("weight", "bias")}
    )
    torch.testing.assert_close(found, one_by_one(plain, lambda: list(plain[2].parameters())))


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize(
    "wrapped",
    [
        nn.DataParallel,
        torch.compile,
        lambda module: nn.Sequential(torch.compile(module[0]), *module[1:]),
        lambda module: (module.compile(), module)[1],
    ],
    ids=["data parallel", "compiled", "a layer is compiled", "compiled in place"],
)
def test_wrappers_are_looked_through(samples, wrapped, layers):
    plain, module = mlp(), wrapped(mlp())
    assert torch.equal(norms(samples, module, layers), norms(samples, plain, layers))
    (fingerprint,) = source_of(module).fingerprints().values()
    if not isinstance(module, nn.Sequential):
        assert fingerprint == next(iter(source_of(plain).fingerprints().values()))


def test_weights_that_were_made_in_inference_mode(samples):
    assert torch.equal(norms(samples, made_in_inference_mode(), "all"), norms(samples, mlp(), "all"))


def test_a_backward_hook_does_not_change_gradients(samples):
    module, calls = mlp(), []

    def triple(layer, inputs, outputs):
        calls.append(layer)
        return tuple(None if one is None else 3 * one for one in inputs)

    module[2].register_full_backward_hook(triple)
    module[2].register_full_backward_pre_hook(lambda layer, outputs: calls.append(layer))
    assert torch.equal(norms(samples, module, "all"), norms(samples, mlp(), "all"))
    assert not calls
    module(INPUTS.clone().requires_grad_()).sum().backward()
    assert len(calls) == 2, "the user's network keeps its hooks"


@pytest.mark.parametrize("layers", ["head", "all"])
def test_a_forward_hook_is_called_once_a_pass(samples, layers):
    module, seen = mlp(), []
    module[0].register_forward_hook(lambda layer, args, output: seen.append(len(output)))
    list(ogacli.gradients(samples, module, layers=layers, batch_size=10))
    assert seen[-3:] == [10, 10, 4]


def test_parameters_are_shared_and_buffers_are_copied(samples):
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    copied = shared_copy(module)
    ours, theirs = dict(module.named_parameters()), dict(copied.named_parameters())
    assert all(ours[name].data_ptr() == theirs[name].data_ptr() for name in ours)
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert copied[1].running_mean.data_ptr() != module[1].running_mean.data_ptr()


def test_nothing_is_written_to_the_network(samples):
    module = Writing()
    before, keys = copy.deepcopy(module.state_dict()), set(vars(module))
    ogacli.scan(samples, module, layers="all", detector="l2")
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert set(vars(module)) == keys


def test_tied_layers_stay_tied():
    copied = shared_copy(Tied(memory_only=False))
    assert copied.first.weight is copied.second.weight


def with_lock() -> nn.Module:
    module = mlp()
    module.lock = threading.Lock()
    return module


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.Sequential(nn.LazyLinear(8), nn.Linear(8, K)),
            r"model: 0\.weight: the network has no weights\n  found: a lazy layer that was never called",
        ),
        (
            lambda: nn.Sequential(nn.Linear(H, K, device="meta")),
            r"model: 0\.weight: the network has no weights\n  found: a tensor on the device meta",
        ),
        (lambda: torch.jit.script(mlp()), "model: networks in TorchScript are read from their files"),
        (
            lambda: nn.Sequential(torch.jit.script(nn.Linear(H, 8)), nn.Linear(8, K)),
            "model: 0: networks in TorchScript are read from their files",
        ),
        (with_lock, r"Sequential: the network cannot be copied\n  found: TypeError: cannot pickle"),
    ],
    ids=["lazy", "meta", "scripted", "a layer is scripted", "lock"],
)
def test_what_is_refused(samples, make, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = make()
    with pytest.raises(ConfigError, match=message):
        ogacli.scan(samples, module, layers="all")


def test_a_network_on_several_devices(samples):
    module = mlp()
    module.hf_device_map = {"0": 0, "2": "cpu"}
    with pytest.raises(
        ConfigError,
        match=r"model: a network that is spread over several.*\n  found: weights on 0, cpu, as by `dev",
    ):
        ogacli.scan(samples, module)


def test_a_sharded_network(samples):
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        with pytest.raises(ConfigError, match="found: weights sharded by FSDP"):
            ogacli.scan(samples, fully_shard(mlp(), mesh=init_device_mesh("cpu", (1,))))
    finally:
        torch.distributed.destroy_process_group()


def test_samples_of_another_precision_than_the_network(samples):
    found = ogacli.scan(samples, mlp().half(), detector="l2").table()
    rounded = mlp()
    rounded.load_state_dict({name: value.half().float() for name, value in mlp().state_dict().items()})
    assert found["score"].equals(ogacli.scan(samples, rounded, detector="l2").table()["score"])


def test_samples_that_do_not_fit_the_network(samples):
    with pytest.raises(
        GradientError, match=r"cannot be called with these samples\n  found: inputs .* float32"
    ):
        ogacli.scan(samples, nn.Linear(H + 1, K))


def test_a_function_that_returns_no_network(samples, tmp_path):
    with pytest.raises(ConfigError, match=r"model: the function does not return a network\n  found: int"):
        ogacli.train(samples, no_network, output=tmp_path / "epochs")
    assert not (tmp_path / "epochs").exists()


def no_network():
    return 3


def test_a_source_is_returned_as_it_is():
    source = InMemory(module=mlp())
    assert source_of(source) is source
    with pytest.raises(ConfigError, match=r"model: not a trained network"):
        source_of(Factory)
