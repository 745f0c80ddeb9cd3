"""Logits of each pixel: exact per-sample gradients of the head and of all layers, one sample at a time."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogacli.data import Batch
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch, GradientOptions, capture
from ogacli.models import Network
from ogacli.models.tasks.classification import Classification
from ogacli.models.tasks.segmentation import Segmentation

K = 4


class Net(nn.Module):
    """Convolutions, half the resolution, a head, and upsampling."""

    def __init__(self, *, kernel: int = 1, upsample: str = "bilinear", bias: bool = True) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.first = nn.Conv2d(3, 6, 3, padding=1)
            self.norm = nn.BatchNorm2d(6)
            self.aside = nn.Conv2d(6, K, 1)
            self.head = nn.Conv2d(6, K, kernel, padding=kernel // 2, bias=bias)
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        found = F.max_pool2d(torch.relu(self.norm(self.first(x))), 2)
        logits = self.head(found)
        match self.upsample:
            case "corners":
                return F.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=True)
            case "none":
                return logits
            case "scaled":
                return 2 * logits
            case "torchvision":
                return {
                    name: F.interpolate(one, size=x.shape[2:], mode="bilinear", align_corners=False)
                    for name, one in (("out", logits), ("aux", self.aside(found)))
                }
        return F.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)


def batch_of(b: int = 5) -> Batch:
    generator = torch.Generator().manual_seed(b)
    inputs = torch.randn(b, 3, 8, 10, generator=generator)
    masks = torch.randint(-1, K, (b, 8, 10), generator=generator)
    return Batch(torch.arange(b), inputs, masks.where(masks >= 0, -100), {})


def gradients(
    module: nn.Module, batch: Batch, layers: str | list[str], **options: object
) -> tuple[GradientBatch, list[str]]:
    engine = capture(
        Network(module, head=None, outputs=K), Segmentation(), GradientOptions(layers=layers, **options)
    )
    return engine(batch), list(engine.parameters)


def reference(module: nn.Module, batch: Batch, names: list[str]) -> Tensor:
    """[b, p]: one backward pass a sample, in float64, of torch's own mean over the labelled pixels."""
    exact = copy.deepcopy(module).double().eval()
    wanted = [dict(exact.named_parameters())[name].requires_grad_() for name in names]
    rows = []
    for inputs, mask in zip(batch.inputs.double(), batch.labels, strict=True):
        output = exact(inputs[None])
        logits = output["out"] if isinstance(output, dict) else output
        if logits.shape[2:] != mask.shape:
            logits = F.interpolate(logits, size=mask.shape, mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, mask[None], ignore_index=-100)
        found = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([one.flatten() for one in found]))
    return torch.stack(rows)


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("upsample", ["bilinear", "corners", "none", "torchvision"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_gradients_are_those_of_one_backward_pass_a_sample(layers: str, upsample: str, kernel: int) -> None:
    module, batch = Net(kernel=kernel, upsample=upsample), batch_of()
    found, names = gradients(module, batch, layers)
    assert names == (
        ["head.weight", "head.bias"] if layers == "head" else [n for n, _ in module.named_parameters()]
    )
    exact = reference(module, batch, names)
    scale = exact.abs().amax(1, keepdim=True)
    torch.testing.assert_close(found.dense().double() / scale, exact / scale, rtol=1e-5, atol=1e-5)
    for order in (1, 2):
        torch.testing.assert_close(found.norm(order), exact.norm(order, dim=1), rtol=1e-5, atol=0)
    coords = torch.arange(0, found.p, 3)
    torch.testing.assert_close(found.entries(coords), found.dense()[:, coords], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layers", ["head", "all"])
def test_scores_do_not_depend_on_the_batch(layers: str) -> None:
    module, batch = Net(), batch_of(6)
    together, _ = gradients(module, batch, layers)
    alone = torch.cat([gradients(module, part, layers)[0].norm(2) for part in batch.split(1)])
    torch.testing.assert_close(together.norm(2), alone, rtol=1e-5, atol=0)


def test_the_bias_may_be_left_out_or_missing() -> None:
    assert gradients(Net(), batch_of(), "head", bias=False)[1] == ["head.weight"]
    assert gradients(Net(bias=False), batch_of(), "head")[1] == ["head.weight"]


def test_a_head_that_is_not_found_is_named_by_the_user() -> None:
    module, batch = Net(upsample="scaled"), batch_of()
    with pytest.raises(GradientError, match=r"not the output of one of its convolutions"):
        gradients(module, batch, "head")
    engine = capture(Network(module, head="head", outputs=K), Segmentation(), GradientOptions())
    exact = reference(module, batch, ["head.weight", "head.bias"])
    torch.testing.assert_close(engine(batch).norm(2), exact.norm(dim=1), rtol=1e-5, atol=0)
    with pytest.raises(GradientError, match=r"model.head 'norm': not a linear layer of the network"):
        Network(module, head="norm", outputs=K)


def test_memory_does_not_hold_a_gradient_of_each_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The factors of 64 x 64 pixels and 32 x 16 weights; their products would take 8 MB a sample."""
    module = nn.Sequential(nn.Conv2d(3, 32, 1), nn.ReLU(), nn.Conv2d(32, 16, 1))
    inputs, masks = torch.randn(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.int64)
    found, _ = gradients(module, Batch(torch.arange(2), inputs, masks, {}), "head")
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        found.norm(2)
    assert max(event.cpu_memory_usage for event in profile.function_events) < 2 * 64 * 64 * (32 + 16) * 4


def test_one_class_a_sample_is_refused() -> None:
    engine = capture(Network(Net(), head=None, outputs=K), Classification(), GradientOptions(layers="all"))
    with pytest.raises(GradientError, match="takes one class a sample"):
        engine(batch_of())
