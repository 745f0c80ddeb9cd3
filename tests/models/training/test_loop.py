import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import nn

from ogacli.base.seeding import seeded
from ogacli.data import Preview, Reader, Samples
from ogacli.data.arrays import ArrayReader
from ogacli.data.ids import numbered
from ogacli.errors import ConfigError, DataError, GradientError, RunError
from ogacli.models.sources import sources
from ogacli.models.tasks.classification import Classification
from ogacli.models.tasks.regression import Regression
from ogacli.models.training import epochs
from ogacli.models.training.accuracy import accuracy, trained_accuracy
from ogacli.models.training.loop import TrainOptions, schedule_of, train_network

N, H, K = 120, 6, 3
LOSS = Classification()


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def blobs(shape: tuple[int, ...] = (H,)) -> Samples:
    """Samples whose class shows in their first values."""
    labels = torch.arange(N) % K
    inputs = normal(0, N, *shape)
    inputs.flatten(1)[torch.arange(N), labels] += 4
    return samples_of(inputs, labels)


def samples_of(inputs: torch.Tensor, labels: torch.Tensor, classes: int = K) -> Samples:
    return Samples(
        ids=numbered(len(inputs)),
        positions=torch.arange(len(inputs)),
        labels=labels,
        classes=tuple("abcdefgh"[:classes]),
        reader=ArrayReader(inputs.numpy()),
        signature="test",
    )


def net(seed: int = 0, outputs: int = K) -> nn.Module:
    with seeded(seed, torch.device("cpu")):
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(H, 16),
            nn.BatchNorm1d(16),
            nn.Dropout(0.2),
            nn.ReLU(),
            nn.Linear(16, outputs),
        )


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.double().flatten() for tensor in module.state_dict().values()])


class Breaks(Reader):
    """A reader that cannot read some positions."""

    def __init__(self, samples: Samples, broken: Sequence[int], in_memory: bool = True) -> None:
        self.samples = samples
        self.broken = set(broken)
        self.in_memory = in_memory
        self.read_count = 0

    def read(self, positions: Sequence[int]) -> tuple[torch.Tensor | None, Mapping[int, str]]:
        self.read_count += len(positions)
        good = [p for p in positions if p not in self.broken]
        bad = {i: f"broken {p}" for i, p in enumerate(positions) if p in self.broken}
        return (self.samples.reader.read(good)[0] if good else None), bad

    def preview(self, position: int) -> Preview:
        return self.samples.reader.preview(position)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_it_learns(optimizer):
    samples, module = blobs(), net()
    history = train_network(
        module, samples, LOSS, TrainOptions(epochs=20, batch_size=16, optimizer=optimizer)
    )
    assert [epoch.number for epoch in history.epochs] == list(range(1, 21))
    assert history.epochs[-1].loss < history.epochs[0].loss / 2
    assert history.samples == N
    assert accuracy(module, samples) > 0.95
    assert not module.training


def test_plain_gradient_descent_by_hand():
    """One full-batch epoch of SGD without its extras is w - rate * mean gradient."""
    samples = blobs()
    module = nn.Linear(H, K)
    before = [p.detach().clone() for p in module.parameters()]
    inputs, labels = samples.read(range(N)).inputs, samples.labels
    expected = torch.autograd.grad(
        nn.functional.cross_entropy(module(inputs), labels), list(module.parameters())
    )
    options = TrainOptions(
        epochs=1, batch_size=N, optimizer="sgd", momentum=0, weight_decay=0, learning_rate=0.5
    )
    history = train_network(module, samples, LOSS, options)
    for old, gradient, new in zip(before, expected, module.parameters(), strict=True):
        torch.testing.assert_close(new, old - 0.5 * gradient)
    first = nn.functional.linear(inputs, *before)
    assert history.epochs[0].loss == pytest.approx(
        float(nn.functional.cross_entropy(first, labels)), rel=1e-5
    )
    assert history.epochs[0].accuracy == pytest.approx(float((first.argmax(1) == labels).float().mean()))


def test_one_seed_one_result():
    options = TrainOptions(epochs=2, batch_size=32, seed=3)
    found = []
    for seed in (3, 3, 4):
        module = net()
        train_network(module, blobs(), LOSS, options.model_copy(update={"seed": seed}))
        found.append(weights(module))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_random_state_is_left_as_it_was():
    before = torch.get_rng_state()
    train_network(net(), blobs(), LOSS, TrainOptions(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_pictures_with_augmentation():
    samples = blobs((3, 8, 8))
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, K)
    )
    plain = TrainOptions(epochs=1, batch_size=32)
    found = []
    for options in (plain, plain.model_copy(update={"augment": True})):
        for parameter in module.parameters():
            nn.init.constant_(parameter, 0.1)
        train_network(module, samples, LOSS, options)
        found.append(weights(module))
    assert not torch.equal(*found)
    with pytest.raises(ConfigError, match="only pictures can be augmented"):
        train_network(net(), blobs(), LOSS, TrainOptions(augment=True))


def test_a_picture_is_decoded_once_where_all_fit(monkeypatch):
    samples = blobs()
    reader = Breaks(samples, [])
    train_network(net(), replace(samples, reader=reader), LOSS, TrainOptions(epochs=5))
    assert reader.read_count == N
    monkeypatch.setattr(epochs, "HELD_BYTES", 100)
    reader = Breaks(samples, [])
    train_network(net(), replace(samples, reader=reader), LOSS, TrainOptions(epochs=5))
    assert reader.read_count == 6 * N


@pytest.mark.parametrize("held", [True, False])
def test_samples_that_cannot_be_read_are_skipped_and_counted(monkeypatch, held):
    if not held:
        monkeypatch.setattr(epochs, "HELD_BYTES", 100)
    samples = blobs()
    broken = replace(samples, reader=Breaks(samples, [5, 77]))
    module = net()
    history = train_network(module, broken, LOSS, TrainOptions(epochs=20, batch_size=16))
    assert history.skipped == {5: "broken 5", 77: "broken 77"}
    assert history.samples == N - 2
    assert accuracy(module, broken) > 0.95


def test_held_and_streamed_samples_give_the_same_network(monkeypatch):
    found = []
    for held in (1 << 30, 100):
        monkeypatch.setattr(epochs, "HELD_BYTES", held)
        module = net()
        train_network(module, blobs(), LOSS, TrainOptions(epochs=2, batch_size=32))
        found.append(weights(module))
    assert torch.equal(*found)


def test_nothing_can_be_read():
    samples = blobs()
    broken = replace(samples, reader=Breaks(samples, range(N)))
    with pytest.raises(DataError, match="none of the samples can be read\n  found: broken 0"):
        train_network(net(), broken, LOSS, TrainOptions())
    with pytest.raises(DataError, match="none of the samples can be read"):
        accuracy(net(), broken)


def test_a_last_batch_of_one_does_not_stop_batch_norm():
    samples = blobs().select(torch.arange(33))
    history = train_network(net(), samples, LOSS, TrainOptions(epochs=2, batch_size=16))
    assert math.isfinite(history.epochs[-1].loss)


def test_a_loss_that_explodes_is_told():
    module = nn.Linear(H, K)
    options = TrainOptions(epochs=3, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(RunError, match=r"epoch [123]: the training diverged") as caught:
        train_network(module, blobs(), LOSS, options)
    assert "lower train.learning_rate, now 1e+30" in str(caught.value)


def test_a_network_that_does_not_fit():
    with pytest.raises(GradientError, match="more classes in the data than the model has outputs"):
        train_network(net(outputs=2), blobs(), LOSS, TrainOptions())
    with pytest.raises(ConfigError, match="nothing to train"):
        train_network(nn.Linear(H, K).requires_grad_(False), blobs(), LOSS, TrainOptions())


def test_frozen_layers_stay_as_they_are():
    module = nn.Sequential(nn.Linear(H, H), nn.ReLU(), nn.Linear(H, K))
    module[0].requires_grad_(False)
    before = module[0].weight.clone()
    train_network(module, blobs(), LOSS, TrainOptions(epochs=1))
    assert torch.equal(module[0].weight, before)


def test_a_regression():
    inputs = normal(0, N, H)
    samples = samples_of(inputs, inputs[:, :2] * 3, classes=0)
    module = nn.Linear(H, 2)
    history = train_network(
        module,
        samples,
        Regression(),
        TrainOptions(epochs=40, batch_size=8, learning_rate=0.01),
    )
    assert history.epochs[-1].loss < history.epochs[0].loss / 5
    assert history.epochs[-1].accuracy is None
    with pytest.raises(DataError, match="accuracy needs one class a sample"):
        accuracy(module, samples)


class Words(Reader):
    """A reader of samples that differ in length, which notes what is read together."""

    in_memory = True

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = torch.tensor(sizes)
        self.batches: list[list[int]] = []

    def read(self, positions: Sequence[int]) -> tuple[dict[str, torch.Tensor], Mapping[int, str]]:
        self.batches.append(list(positions))
        longest = int(self.sizes[list(positions)].max())
        return {"inputs": torch.ones(len(positions), longest)}, {}

    def lengths(self, positions: torch.Tensor) -> torch.Tensor:
        return self.sizes[positions]

    def preview(self, position: int) -> Preview:
        raise AssertionError


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(inputs.sum(1, keepdim=True))


def read_together(n: int, **options: object) -> list[list[int]]:
    """The batches of two epochs."""
    sizes = torch.randint(1, 100, (n,), generator=torch.Generator().manual_seed(0)).tolist()
    reader = Words(sizes)
    labels = torch.arange(n) % 2
    samples = Samples(numbered(n), torch.arange(n), labels, ("a", "b"), reader, "test")
    train_network(Counted(), samples, LOSS, TrainOptions(epochs=2, batch_size=8, **options))
    return reader.batches[1:]  # the first is read to see whether all fit in memory


@pytest.mark.parametrize("n", [5, 8, 203, 1000])
def test_samples_of_about_one_length_come_together(n):
    grouped, plain = read_together(n, group_by_length=True), read_together(n)
    assert grouped == read_together(n, group_by_length=True)
    for found in (grouped, plain):
        per_epoch = -(-n // 8)
        epochs = [[row for batch in found[i : i + per_epoch] for row in batch] for i in (0, per_epoch)]
        assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(n))
        assert epochs[0] != epochs[1] or n < 8
        assert [len(batch) for batch in found[: per_epoch - 1]] == [8] * (per_epoch - 1)
    if n > 200:
        sizes = torch.randint(1, 100, (n,), generator=torch.Generator().manual_seed(0))
        padded, bare = (
            sum(int(sizes[batch].max()) * len(batch) for batch in found) for found in (grouped, plain)
        )
        assert padded < 1.2 * 2 * int(sizes.sum()) < bare


def test_accuracy_counts_readable_samples_only():
    samples = samples_of(torch.eye(3), torch.tensor([0, 1, 0]))
    assert accuracy(nn.Identity(), samples) == pytest.approx(2 / 3)
    assert accuracy(nn.Identity(), replace(samples, reader=Breaks(samples, [2]))) == 1


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("cosine", [1.0, 0.8535534, 0.5, 0.1464466, 0.0]),
        ("step", [1.0, 1.0, 0.1, 0.01, 0.01]),
        ("constant", [1.0] * 5),
    ],
)
def test_schedules(schedule, rates):
    assert learning_rates(schedule, 4) == pytest.approx(rates, abs=1e-6)


def learning_rates(schedule: str, steps: int) -> list[float]:
    """The rate of each step, and the one after the last."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, found = schedule_of(optimizer, schedule, steps), []
    for _ in range(steps + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7, 10, 97, 1000])
def test_every_step_has_the_rate_of_its_share_of_all_steps(steps):
    def step(done: float) -> float:
        return 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01

    shares = [number / steps for number in range(steps)]
    assert learning_rates("step", steps)[:-1] == pytest.approx([step(done) for done in shares], rel=1e-12)
    cosine = [(1 + math.cos(math.pi * done)) / 2 for done in shares]
    assert learning_rates("cosine", steps)[:-1] == pytest.approx(cosine, rel=1e-9)
    assert learning_rates("constant", steps) == [1.0] * (steps + 1)


def test_the_rate_falls_over_all_epochs(monkeypatch):
    rates: list[float] = []
    before = torch.optim.SGD.step

    def watched(self, *args, **options):
        rates.append(self.param_groups[0]["lr"])
        return before(self, *args, **options)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    options = TrainOptions(epochs=2, batch_size=50, optimizer="sgd", learning_rate=0.5)
    train_network(net(), blobs(), LOSS, options)
    assert rates == pytest.approx([0.25 * (1 + math.cos(math.pi * number / 6)) for number in range(6)])


def test_the_accuracy_after_a_training_depends_on_the_seed_and_its_samples():
    samples, before = blobs(), torch.get_rng_state()
    options = TrainOptions(epochs=3, batch_size=16, device="cpu", seed=9)
    source = sources.get("mlp")(hidden=[4])

    def found(rows: torch.Tensor, seed: int) -> float:
        return trained_accuracy(samples.select(rows), samples, source, LOSS, options, seed=seed)

    every = torch.arange(N)
    assert found(every, 0) == found(every, 0)
    assert len({found(every, seed) for seed in range(4)}) > 1
    assert found(every, 1) > found(every[:6], 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_by_hand():
    """One step of plain gradient descent on the weighted mean."""
    samples, module = blobs(), nn.Linear(H, K)
    options = TrainOptions(
        epochs=1,
        batch_size=N,
        optimizer="sgd",
        momentum=0,
        weight_decay=0,
        learning_rate=0.5,
        schedule="constant",
    )
    given = torch.rand(N, generator=torch.Generator().manual_seed(0))
    inputs, labels = samples.read(range(N)).inputs, samples.labels
    losses = torch.nn.functional.cross_entropy(module(inputs), labels, reduction="none")
    expected = torch.autograd.grad((given * losses).sum() / given.sum(), list(module.parameters()))
    before = [parameter.detach().clone() for parameter in module.parameters()]
    train_network(module, samples, LOSS, options, weights=given)
    for parameter, old, gradient in zip(module.parameters(), before, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), old - 0.5 * gradient)


def test_equal_weights_are_none_and_zeros_leave_samples_out():
    samples, options = blobs(), TrainOptions(epochs=2, batch_size=16)
    found = {}
    other = samples.labels.clone()
    other[:10] = (other[:10] + 1) % K
    half = torch.ones(N)
    half[:10] = 0
    changed = replace(samples, labels=other)
    for name, given, weighted in (
        ("none", samples, None),
        ("equal", samples, torch.full((N,), 0.25)),
        ("left out", samples, half),
        ("left out, other labels", changed, half),
    ):
        with seeded(0, torch.device("cpu")):
            module = nn.Linear(H, K)
        train_network(module, given, LOSS, options, weights=weighted)
        found[name] = weights(module)
    torch.testing.assert_close(found["none"], found["equal"])
    torch.testing.assert_close(found["left out"], found["left out, other labels"])
    assert not torch.allclose(found["none"], found["left out"])


def test_progress_adds_up():
    seen: list[tuple[str, int, int]] = []

    class Watch:
        def bar(self, description, total):
            from contextlib import contextmanager

            @contextmanager
            def opened():
                counts: list[int] = []
                yield counts.append
                seen.append((description, total, sum(counts)))

            return opened()

    train_network(net(), blobs(), LOSS, TrainOptions(epochs=3, batch_size=50), progress=Watch())
    assert seen == [("reading", N, N), ("training", 3 * N, 3 * N)]


def test_bfloat16_learns_the_same_and_keeps_the_weights_in_float32():
    samples, found = blobs(), {}
    for precision in ("float32", "bfloat16"):
        module = net()
        history = train_network(
            module, samples, LOSS, TrainOptions(epochs=15, batch_size=16, precision=precision)
        )
        assert {tensor.dtype for tensor in module.parameters()} == {torch.float32}
        assert accuracy(module, samples) > 0.95
        found[precision] = weights(module), history.epochs[-1].loss
    assert not torch.equal(found["float32"][0], found["bfloat16"][0]), "it makes a difference"
    assert found["bfloat16"][1] == pytest.approx(found["float32"][1], rel=0.1)
