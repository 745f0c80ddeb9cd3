"""Gradient tracing, DataInf and LiSSA against dense references and independent libraries."""

import copy
import importlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradient_batches import dense_batch, head_batch
from ogacli.detectors import _influence as room
from ogacli.detectors import detectors
from ogacli.detectors._influence import Influence
from ogacli.errors import ConfigError, DataError, GradientError
from ogacli.gradients import GradientBatch
from ogacli.gradients.products import blocks
from reference_influence import (
    against,
    block_diagonal,
    dampings,
    datainf_inverse,
    exact_inverse,
    lissa_inverse,
    self_influence,
)

METHODS = ["gradient_tracing", "datainf", "lissa"]
M = 40
"""Fitted samples; the others are only scored."""
ROUNDING: dict[str, float] = {"rtol": 1e-5, "atol": 1e-9}


def made(name: str, **options: Any) -> Influence:
    found = detectors.get(name).model_validate(options).detector()
    assert isinstance(found, Influence)
    return found


@pytest.fixture(params=["head", "dense"])
def batch(request: pytest.FixtureRequest) -> GradientBatch:
    if request.param == "head":
        return head_batch(60, k=3, h=5, seed=1)
    return dense_batch(torch.randn(60, 11, generator=torch.Generator().manual_seed(0)))


def fit(detector: Influence, batch: GradientBatch) -> Influence:
    detector.fit([batch.select(slice(0, 17)), batch.select(slice(17, M))])
    return detector


def inverse(name: str, batch: GradientBatch, **options: Any) -> Tensor:
    """A, [p, p], of the first M samples."""
    sizes = [part.p for part in blocks(batch)]
    fitted = batch.dense().double()[:M]
    if name == "gradient_tracing":
        return torch.eye(batch.p, dtype=torch.float64)
    found = []
    lambdas = dampings(fitted, sizes, options.get("damping", 0.1))
    for block, damping in zip(fitted.split(sizes, 1), lambdas, strict=True):
        if name == "datainf":
            found.append(datainf_inverse(block, damping))
        else:
            scale = 1 / (damping + float(block.square().sum(1).mean()))
            found.append(lissa_inverse(block, damping, scale, options.get("iterations", 10)))
    return block_diagonal(found)


@pytest.mark.parametrize("name", METHODS)
def test_against_validation(name: str, batch: GradientBatch) -> None:
    mean = torch.randn(batch.p, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    detector = made(name)
    assert detector.wants_validation
    detector.see_validation(mean)
    if detector.fit_size(M):
        fit(detector, batch)
    expected = against(batch.dense().double(), inverse(name, batch), mean)
    torch.testing.assert_close(detector.score(batch), expected, **ROUNDING)


@pytest.mark.parametrize("name", METHODS)
def test_against_the_mean_training_gradient(name: str, batch: GradientBatch) -> None:
    gradients = batch.dense().double()
    expected = against(gradients, inverse(name, batch), gradients[:M].mean(0))
    for how in ("auto", "training"):
        detector = made(name, against=how)
        assert detector.fit_size(M) == M
        torch.testing.assert_close(fit(detector, batch).score(batch), expected, **ROUNDING)


@pytest.mark.parametrize("name", METHODS)
def test_against_itself(name: str, batch: GradientBatch) -> None:
    detector = made(name, against="self")
    assert not detector.wants_validation
    if detector.fit_size(M):
        fit(detector, batch)
    expected = self_influence(batch.dense().double(), inverse(name, batch))
    torch.testing.assert_close(detector.score(batch), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["datainf", "lissa"])
@pytest.mark.parametrize("how", ["training", "self"])
def test_damping(name: str, how: str, batch: GradientBatch) -> None:
    detector = fit(made(name, against=how, damping=3), batch)
    gradients, curved = batch.dense().double(), inverse(name, batch, damping=3)
    expected = (
        self_influence(gradients, curved)
        if how == "self"
        else against(gradients, curved, gradients[:M].mean(0))
    )
    torch.testing.assert_close(detector.score(batch), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("how", ["training", "self"])
def test_lissa_goes_to_the_exact_inverse(how: str, batch: GradientBatch) -> None:
    detector = fit(made("lissa", against=how, iterations=400, damping=1), batch)
    sizes = [part.p for part in blocks(batch)]
    gradients = batch.dense().double()
    fitted = gradients[:M]
    curved = block_diagonal(
        [
            exact_inverse(block, damping)
            for block, damping in zip(fitted.split(sizes, 1), dampings(fitted, sizes, 1), strict=True)
        ]
    )
    expected = (
        self_influence(gradients, curved) if how == "self" else against(gradients, curved, fitted.mean(0))
    )
    torch.testing.assert_close(detector.score(batch), expected, rtol=1e-4, atol=1e-6)


def test_an_iteration_that_diverges_is_an_error(batch: GradientBatch) -> None:
    with pytest.raises(GradientError, match=r"diverges[\s\S]*scale: auto"):
        fit(made("lissa", against="training", scale=1e30, iterations=50), batch)


@pytest.mark.parametrize("name", ["datainf", "lissa"])
@pytest.mark.parametrize("how", ["training", "self"])
def test_parameters_that_nothing_depends_on_have_no_influence(name: str, how: str) -> None:
    """A block of zeros has no curvature to invert; the others are as they would be without it."""
    batch = head_batch(50, k=3, h=5)
    dead = head_batch(50, k=3, h=5)
    dead.parts[0].a.zero_()  # type: ignore[attr-defined]
    both = GradientBatch(
        batch.rows, batch.labels, batch.logits, batch.residual, None, [batch.parts[0], dead.parts[0]]
    )
    found = fit(made(name, against=how), both).score(both)
    bias = fit(made(name, against=how), batch).score(batch)
    assert found.isfinite().all()
    only_bias = GradientBatch(batch.rows, batch.labels, batch.logits, batch.residual, None, [blocks(dead)[1]])
    torch.testing.assert_close(found - bias, fit(made(name, against=how), only_bias).score(only_bias))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("how", ["training", "self"])
def test_restored_is_the_same(name: str, how: str, batch: GradientBatch) -> None:
    detector, other = made(name, against=how), made(name, against=how)
    if detector.fit_size(M):
        fit(detector, batch)
    other.restore(detector.state())
    assert torch.equal(other.score(batch), detector.score(batch))


def test_against_validation_without_a_validation_section() -> None:
    with pytest.raises(ConfigError, match=r"nothing to compare[\s\S]*validation: \{source"):
        made("datainf", against="validation").fit_size(10)


@pytest.mark.parametrize("how", ["training", "self"])
@pytest.mark.parametrize("name", ["datainf", "lissa"])
def test_no_sample(name: str, how: str) -> None:
    with pytest.raises(DataError, match="no sample"):
        made(name, against=how).fit([])


def test_too_much_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = dense_batch(torch.ones(20, 10))
    monkeypatch.setattr(room, "_HELD", 150)
    with pytest.raises(GradientError, match=r"10 for each of 30 samples[\s\S]*`fit_samples` to 15"):
        made("datainf", against="self", fit_samples=30).fit([batch])
    made("datainf", against="self").fit([batch.select(slice(0, 15))])


# --- independent libraries ---------------------------------------------------------------------------------


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.tanh(self.hidden(inputs)))


@pytest.fixture
def small() -> tuple[nn.Module, Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Small()
    generator = torch.Generator().manual_seed(1)
    return module, torch.randn(M, 4, generator=generator), torch.randint(3, (M,), generator=generator)


def captured(module: nn.Module, inputs: Tensor, labels: Tensor) -> GradientBatch:
    from ogacli.data import Batch
    from ogacli.gradients.capture import LayerGradients
    from ogacli.gradients.selection import selected
    from ogacli.models import Network
    from ogacli.models.tasks.classification import Classification

    network = Network(copy.deepcopy(module), head=None, outputs=3)
    compute = LayerGradients(network, Classification(), selected(network.module, "all"))
    return compute(Batch(torch.arange(len(labels)), inputs, labels, {}))


@pytest.mark.filterwarnings("ignore")
def test_tracing_is_captum_s(small: tuple[nn.Module, Tensor, Tensor]) -> None:
    influence = pytest.importorskip("captum.influence")
    module, inputs, labels = small
    data = torch.utils.data.TensorDataset(inputs, labels)
    theirs = influence.TracInCP(
        module,
        data,
        [""],
        lambda model, path: 1.0,
        loss_fn=nn.CrossEntropyLoss(reduction="none"),
        batch_size=8,
    )
    products = theirs.influence((inputs[:7], labels[:7])).mean(0)
    own_influence = theirs.self_influence()
    batch = captured(module, inputs, labels)
    detector = made("gradient_tracing")
    detector.see_validation(batch.select(slice(0, 7)).dense().double().mean(0))
    torch.testing.assert_close(detector.score(batch).float(), -products, rtol=1e-4, atol=1e-6)
    found = made("gradient_tracing", against="self").score(batch)
    torch.testing.assert_close(found.float(), own_influence, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_datainf_is_dattri_s(small: tuple[nn.Module, Tensor, Tensor]) -> None:
    """Its damping is one number for all layers, ours a share; so one layer, and its number."""
    algorithm = pytest.importorskip("dattri.algorithm.influence_function")
    task_room = importlib.import_module("dattri.task")
    module, inputs, labels = small

    def loss(parameters: Any, data: Any) -> Tensor:
        logits = torch.func.functional_call(module, parameters, (data[0],))
        return F.cross_entropy(logits, data[1])

    task = task_room.AttributionTask(
        loss_func=loss, model=module, checkpoints=[{k: v.detach() for k, v in module.state_dict().items()}]
    )
    batch = captured(module, inputs, labels)
    dense = batch.dense().double()
    names = [name for name, _ in module.named_parameters()]
    sizes = [part.p for part in blocks(batch)]
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, labels), batch_size=10)
    index = names.index("hidden.weight")
    only = dense_batch(dense.split(sizes, 1)[index].float())
    (damping,) = dampings(only.dense().double(), [only.p], 0.1)
    theirs = algorithm.IFAttributorDataInf(task, layer_name=["hidden.weight"], regularization=damping)
    theirs.cache(data)
    with torch.enable_grad():
        products = theirs.attribute(data, data).detach()
    detector = made("datainf", against="training")
    detector.fit([only])
    torch.testing.assert_close(detector.score(only).float(), -products.mean(1), rtol=1e-3, atol=1e-5)
    own = made("datainf", against="self")
    own.fit([only])
    torch.testing.assert_close(own.score(only).float(), products.diagonal(), rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_lissa_is_dattri_s() -> None:
    """On the quadratic whose Hessian is G, with all samples in every step."""
    hessian = pytest.importorskip("dattri.func.hessian")
    gradients = torch.randn(M, 6, generator=torch.Generator().manual_seed(0))
    mean = torch.randn(6, generator=torch.Generator().manual_seed(1))

    def bowl(data: Tensor, at: Tensor) -> Tensor:
        return 0.5 * (data @ at).square().mean()

    scale, damping = 0.05, 0.1 * float(gradients.square().mean())
    solve = hessian.ihvp_lissa(
        lambda data, at: bowl(data, at) + 0.5 * damping * at.square().sum(),
        argnums=1,
        batch_size=M,
        recursion_depth=20,
        scaling=1 / scale,
    )
    with torch.enable_grad():
        theirs = solve((gradients, torch.zeros(6)), mean, in_dims=(0, None))
    batch = dense_batch(gradients)
    detector = made("lissa", iterations=20, scale=scale)
    detector.see_validation(mean.double())
    detector.fit([batch])
    found = detector.direction
    assert found is not None
    torch.testing.assert_close(found.float(), theirs.flatten(), rtol=1e-3, atol=1e-5)
