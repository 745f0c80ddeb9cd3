"""Per-sample gradients of every layer: what they cost, beside an ordinary training step and other libraries.

    python benchmarks/gradients.py [ours] [peers] [memory] [--json] [--rounds 5] [--threads 2] [--batch 32]
        [--device cpu]

ours    exact full-model norms, the isolation forest's coordinates, and all together, over a plain forward and
        backward pass of the summed loss with ordinary weight gradients; same model, same batch, in turn
peers   the full-model L2 norms of the same batch by other means, each in a process of its own, over a plain
        pass in that process: one sample at a time, `torch.func.vmap(grad)`, Opacus, kronfluence, captum
memory  peak memory of 20 and of 80 batches in a row, all three scores of each, in fresh processes; beside it
        that of model, batch and activations alone

Two networks: the ResNet-18 of `resnet_cifar` on pictures [3, 32, 32] and a transformer encoder of 4 layers,
width 256, 64 positions. Ratios are taken within a round, of wall time and of CPU time (all threads), and
medians over the rounds reported. A forest's two passes over n samples are calculated from measured parts:
n samples at the 2,500 coordinates of a grown forest, scoring included, and before that 10,240 samples at the
255 coordinates of a tree. On a GPU wall time is until its work is done, and memory is that which torch has
allocated there.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

NETWORKS = ("ResNet-18", "encoder")
PARTS = ("ours", "peers", "memory")
PEERS = ("one by one", "vmap(grad)", "opacus hooks", "opacus ghost", "kronfluence", "captum")
CLASSES, COORDINATES, FIT_SIZE, FIT_COORDINATES = 10, 2_500, 10_240, 255
SCANNED = (50_000, 200_000)
"""Samples whose two passes are calculated."""
STREAMED = (20, 80)
"""Batches in a row, for the memory: four times as many take no more."""
Run = Callable[[], Any]


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch, in every process")
    parser.add_argument("--batch", type=int, default=32, help="samples in a batch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}")
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if options.one:
        print(json.dumps(one(*options.one, options)))
        return
    found: dict[str, Any] = {"machine": {"load before": os.getloadavg()[0]}}
    for part in options.parts or PARTS:
        found[part] = {name: globals()[part](name, options) for name in options.networks}
    found["machine"] |= {
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "device": options.device,
        "threads": options.threads,
        "rounds": options.rounds,
        "batch": options.batch,
        "load after": os.getloadavg()[0],
    }
    print(json.dumps({"schema_version": 1} | found, indent=2) if options.json else tables(found))


# --- what is measured ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A network, the samples of a batch, and where they are."""

    name: str
    batch: int
    device: str


def network(case: Case) -> Any:
    """A network of random weights."""
    import torch
    from torch import Tensor, nn

    from ogacli.models.sources.resnet_cifar import ResNet

    class Encoder(nn.Module):
        def __init__(self, width: int = 256, positions: int = 64) -> None:
            super().__init__()
            self.table = nn.Embedding(1000, width)
            self.places = nn.Parameter(torch.randn(1, positions, width) / 50)
            layer = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
            self.head = nn.Linear(width, CLASSES)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.layers(self.table(tokens) + self.places).mean(1))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = ResNet([2, 2, 2, 2], 64, 3, CLASSES, projected=True) if case.name == NETWORKS[0] else Encoder()
    return made.eval().to(case.device)


def batch_of(case: Case) -> tuple[Any, Any]:
    """Random samples and labels."""
    import torch

    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(CLASSES, (case.batch,), generator=generator)
    if case.name == NETWORKS[0]:
        inputs = torch.randn(case.batch, 3, 32, 32, generator=generator)
    else:
        inputs = torch.randint(1000, (case.batch, 64), generator=generator)
    return inputs.to(case.device), labels.to(case.device)


def plain(case: Case) -> Run:
    """An ordinary forward and backward pass of the summed loss."""
    import torch

    module, (inputs, labels) = network(case), batch_of(case)

    def run() -> None:
        module.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(module(inputs), labels, reduction="sum").backward()

    return run


def engine(case: Case, orders: Sequence[int] | None = None, coords: Any = None) -> Run:
    """Our gradients of a batch, of all layers: recorded factors, or reduced to norms and coordinates."""
    import torch

    from ogacli.data import Batch
    from ogacli.gradients import GradientOptions, capture
    from ogacli.models import Network
    from ogacli.models.tasks.classification import Classification

    inputs, labels = batch_of(case)
    model = Network(network(case), head=None, outputs=CLASSES)
    compute = capture(model, Classification(), GradientOptions(layers="all"))
    batch = Batch(torch.arange(case.batch), inputs, labels, {})
    if orders is not None:
        none = torch.empty(0, dtype=torch.int64, device=case.device)
        compute.reduce_to(orders, none if coords is None else coords)
    compute(batch)
    return lambda: compute(batch)


def forest_of(gradients: Any) -> Any:
    """A forest of 100 trees that looks at about as many coordinates as one over a real data set."""
    import torch

    from ogacli.detectors.forest.forest import Forest

    p, trees, depth, device = gradients.p, 100, 25, gradients.residual.device
    generator = torch.Generator().manual_seed(2)
    # Each tree a chain of 25 inner nodes, so that the levels have 100 nodes each: 2,500 inner nodes.
    nodes = torch.arange(trees * (1 + 2 * depth))
    level = torch.where(nodes < trees, 0, (nodes - trees) // (2 * trees) + 1)
    first = trees + 2 * trees * level + 2 * torch.where(level == 0, nodes, (nodes - trees) % (2 * trees) // 2)
    inner = (level < depth) & ((level == 0) | ((nodes - trees) % 2 == 0))
    return Forest(
        coordinate=torch.randint(p, nodes.shape, generator=generator).to(device),
        threshold=torch.zeros(len(nodes), device=device),
        left=torch.where(inner, first, 0).to(device),
        path=level.double().to(device),
        usual=torch.full((trees,), 10.0, dtype=torch.float64, device=device),
    )


def contenders(case: Case) -> dict[str, Run]:
    """What is timed in one process."""
    import torch

    compute = engine(case)
    gradients = compute()
    forest = forest_of(gradients)
    few = torch.randint(gradients.p, (FIT_COORDINATES,), generator=torch.Generator().manual_seed(3))
    few = few.to(case.device)
    coords = forest.coordinate[forest.left > 0].unique()
    squares, absolutes, all_three = (
        engine(case, [2]),
        engine(case, [1]),
        engine(case, [1, 2], coords),
    )
    entries = engine(case, [], coords)

    def together() -> None:
        found = all_three()
        found.norms([1, 2])
        forest.score(found)

    return {
        "plain": plain(case),
        "capture": compute,
        "l2": lambda: squares().norm(2),
        "l1": lambda: absolutes().norm(1),
        "forest": lambda: forest.score(entries()),
        "fit": lambda: compute().entries(few),
        "all three": together,
    }


def ours(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Ratios to a plain pass."""
    print(f"ours, {name} ..", file=sys.stderr)
    found = fresh("ours", name, options)
    for n in SCANNED:
        share = min(FIT_SIZE, n) / n
        found["ratios"][f"forest in two passes, n = {n:,} (calculated)"] = {
            clock: round(found["ratios"]["forest"][clock] + share * found["ratios"]["fit"][clock], 4)
            for clock in ("wall", "cpu")
        }
    return found


def peers(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Full-model L2 norms by other means."""
    found = {}
    for peer in ("ours", *PEERS):
        print(f"{peer}, {name} ..", file=sys.stderr)
        found[peer] = fresh(f"peer {peer}", name, options)
    own = found["ours"].get("ratio")
    for row in found.values():
        if own and "ratio" in row:
            row["times ours"] = round(row["ratio"]["cpu"] / own["cpu"], 2)
    return found


def memory(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Peak resident set in fresh processes: model, batch and activations; a plain pass; streams of ours."""
    found = {}
    for what in ("activations", "plain", *STREAMED):
        print(f"memory of {what}, {name} ..", file=sys.stderr)
        found[str(what)] = fresh(f"memory {what}", name, options)["megabytes"]
    return found


# --- in a process of its own --------------------------------------------------------------------------


def fresh(what: str, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure in a new process; what fails there is skipped with the last line that it said."""
    settings = [f"--{key}={getattr(options, key)}" for key in ("rounds", "threads", "batch", "device")]
    done = subprocess.run(
        [sys.executable, __file__, *settings, "--one", what, name],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        if not what.startswith("peer "):
            sys.exit(done.stderr)
        print(f"skipped {what.removeprefix('peer ')}: {said[0]}", file=sys.stderr)
        return {"skipped": said[0][:200]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(what: str, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What ``fresh`` asks for."""
    import torch

    from ogacli.base.precision import computing_on

    torch.set_num_threads(options.threads)
    case = Case(name, options.batch, options.device)
    with computing_on(torch.device(options.device)):
        return measured(what, case, options.rounds)


def measured(what: str, case: Case, rounds: int) -> dict[str, Any]:
    """The figures of a part, with products in exact float32."""
    import torch

    kind, _, which = what.partition(" ")
    if kind == "memory":
        return {"megabytes": streamed(which, case)}
    if kind == "ours":
        runs = contenders(case)
        gradients = runs["capture"]()
        about = {"parameters": gradients.p, "bytes of a sample": gradients.nbytes // case.batch}
        del gradients
        return about | timed(runs, rounds, case.device)
    warnings.simplefilter("ignore")
    run = peer(which, case)
    before = peak(case.device)
    norms = run()
    grown = peak(case.device) - before
    exact = engine(case)().norm(2)
    found = timed({"plain": plain(case), "peer": run}, rounds, case.device)
    agrees = None if norms is None else bool(torch.allclose(norms.double(), exact, rtol=1e-3))
    return {
        "ratio": found["ratios"]["peer"],
        "seconds": found["seconds"]["peer"],
        "megabytes": round(grown, 1),
        "same norms as ours": agrees,
    }


def timed(runs: dict[str, Run], rounds: int, device: str) -> dict[str, Any]:
    """Let the contenders take turns; ratios to the first, and seconds."""
    import torch

    from ogacli.base.device import wait

    clocks: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(rounds + 1):  # the first time warms up
        for name in list(runs)[:: 1 if turn % 2 else -1]:
            wall, cpu = time.perf_counter(), time.process_time()
            runs[name]()
            wait(torch.device(device))
            if turn:
                clocks[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    base = next(iter(clocks.values()))

    def ratio(own: list[tuple[float, float]], clock: int) -> float:
        pairs = zip(own, base, strict=True)
        return round(statistics.median(mine[clock] / plain[clock] for mine, plain in pairs), 4)

    return {
        "ratios": {name: {"wall": ratio(own, 0), "cpu": ratio(own, 1)} for name, own in clocks.items()},
        "seconds": {
            name: round(statistics.median(wall for wall, _ in own), 4) for name, own in clocks.items()
        },
    }


def peak(device: str) -> float:
    """Megabytes of the largest resident set so far, or of what torch had allocated on a GPU."""
    if device != "cpu":
        import torch

        return torch.get_device_module(device).max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def streamed(what: str, case: Case) -> float:
    """Peak memory of this process after it did that."""
    if what == "activations":
        output = network(case)(batch_of(case)[0])
        assert output.grad_fn is not None  # it keeps the activations alive
    elif what == "plain":
        for _ in range(3):
            plain(case)()
    else:
        forest = forest_of(engine(replace(case, batch=1))())
        compute = engine(case, [1, 2], forest.coordinate[forest.left > 0].unique())
        for _ in range(int(what)):
            found = compute()
            found.norms([1, 2])
            forest.score(found)
            del found  # the next batch takes its place
    return round(peak(case.device), 1)


# --- other libraries ----------------------------------------------------------------------------------


def peer(which: str, case: Case) -> Run:
    """Another way to the L2 norms of a batch; None where it cannot do all of the same parameters."""
    module, (inputs, labels) = network(case), batch_of(case)
    match which:
        case "ours":
            compute = engine(case, [2])
            return lambda: compute().norm(2)
        case "one by one":
            return lambda: one_by_one(module, inputs, labels)
        case "vmap(grad)":
            return lambda: vectorised(module, inputs, labels)
        case "opacus hooks" | "opacus ghost":
            return opacus(module, inputs, labels, ghost=which.endswith("ghost"))
        case "captum":
            return captum(module, inputs, labels)
        case _:
            return kronfluence(module, inputs, labels)


def one_by_one(module: Any, inputs: Any, labels: Any) -> Any:
    import torch

    found = []
    for i in range(len(labels)):
        loss = torch.nn.functional.cross_entropy(module(inputs[i : i + 1]), labels[i : i + 1])
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        found.append(torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt())
    return torch.stack(found)


def vectorised(module: Any, inputs: Any, labels: Any) -> Any:
    import torch
    from torch.func import functional_call, grad, vmap

    def loss(parameters: Any, sample: Any, label: Any) -> Any:
        output = functional_call(module, parameters, sample[None])
        return torch.nn.functional.cross_entropy(output, label[None])

    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    found = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, inputs, labels)
    return torch.stack([values.flatten(1).square().sum(1) for values in found.values()]).sum(0).sqrt()


def opacus(module: Any, inputs: Any, labels: Any, *, ghost: bool) -> Run:
    """It refuses batch norm, which becomes a scale and a shift without parameters."""
    import torch
    from opacus.grad_sample import GradSampleModule
    from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
        GradSampleModuleFastGradientClipping,
    )
    from torch import nn

    class Affine(nn.Module):
        def __init__(self, norm: nn.BatchNorm2d) -> None:
            super().__init__()
            scale = (norm.weight * torch.rsqrt(norm.running_var + norm.eps)).detach()
            self.register_buffer("scale", scale[:, None, None])
            self.register_buffer("shift", (norm.bias.detach() - norm.running_mean * scale)[:, None, None])

        def forward(self, x: Any) -> Any:
            return x * self.scale + self.shift

    for owner in list(module.modules()):
        for key, child in list(owner.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(owner, key, Affine(child))
    wrapped = (
        GradSampleModuleFastGradientClipping(module, loss_reduction="sum", max_grad_norm=1.0)
        if ghost
        else GradSampleModule(module, loss_reduction="sum")
    )
    wrapped.train()  # it works in train mode only; nothing left behaves otherwise in it

    def run() -> None:
        wrapped.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(wrapped(inputs), labels, reduction="sum").backward()
        if ghost:
            wrapped.get_norm_sample()
        else:
            found = [p.grad_sample.flatten(1).square().sum(1) for p in wrapped.parameters()]
            torch.stack(found).sum(0).sqrt()

    return run


def captum(module: Any, inputs: Any, labels: Any) -> Run:
    """The self-influence by one checkpoint is the squared norm."""
    import tempfile

    import torch
    from captum.influence import TracInCP

    folder = tempfile.mkdtemp()
    torch.save(module.state_dict(), f"{folder}/checkpoint.pt")

    def load(model: Any, path: str) -> float:
        model.load_state_dict(torch.load(path, weights_only=True))
        return 1.0

    loss = torch.nn.CrossEntropyLoss(reduction="sum")
    data = torch.utils.data.TensorDataset(inputs, labels)
    tracer = TracInCP(
        module, data, [f"{folder}/checkpoint.pt"], load, loss_fn=loss, batch_size=len(labels),
        sample_wise_grads_per_batch=True,
    )  # fmt: skip
    return lambda: tracer.self_influence((inputs, labels)).sqrt()


def kronfluence(module: Any, inputs: Any, labels: Any) -> Run:
    """Self-scores without a Hessian, of the linear layers and convolutions, which are all it covers."""
    import logging
    import tempfile

    import torch
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments
    from kronfluence.task import Task

    class Classification(Task):
        def compute_train_loss(self, batch: Any, model: Any, sample: bool = False) -> Any:
            return torch.nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="sum")

        def compute_measurement(self, batch: Any, model: Any) -> Any:
            return self.compute_train_loss(batch, model)

    task, data = Classification(), torch.utils.data.TensorDataset(inputs, labels)
    analyzer = Analyzer(
        "benchmark", prepare_model(module, task), task,
        cpu=True, output_dir=tempfile.mkdtemp(), disable_tqdm=True, log_level=logging.ERROR,
    )  # fmt: skip
    analyzer.fit_all_factors(
        "identity", data, per_device_batch_size=len(labels), factor_args=FactorArguments(strategy="identity")
    )

    def run() -> Any:
        analyzer.compute_self_scores(
            "self", "identity", data, per_device_train_batch_size=len(labels), overwrite_output_dir=True
        )
        return analyzer.load_self_scores("self")["all_modules"].sqrt()

    return run


# --- for a person -------------------------------------------------------------------------------------


def tables(found: dict[str, Any]) -> str:
    """All that was measured."""
    lines = [", ".join(f"{key} {value}" for key, value in found["machine"].items())]
    for name, rows in found.get("ours", {}).items():
        lines.append(
            f"\n{name}, {rows['parameters']:,} parameters; plain pass {rows['seconds']['plain']:.3f} s; "
            f"a captured sample keeps {rows['bytes of a sample'] / 1e6:.2f} MB"
        )
        lines += [
            f"{row:48}{ratio['wall']:8.3f}  (CPU {ratio['cpu']:.3f})" for row, ratio in rows["ratios"].items()
        ]
    for name, rows in found.get("peers", {}).items():
        lines.append(
            f"\n{name}: L2 norms by other means, over a plain pass in the same process; MB beyond the model; "
            "norms differ where a library leaves parameters out"
        )
        for row, one_ in rows.items():
            if "skipped" in one_:
                lines.append(f"{row:16}skipped: {one_['skipped']}")
                continue
            lines.append(
                f"{row:16}{one_['ratio']['wall']:8.2f}  (CPU {one_['ratio']['cpu']:.2f}), "
                f"{one_.get('times ours', 1):.2f} times ours, {one_['megabytes']:.0f} MB; "
                f"same norms: {one_['same norms as ours']}"
            )
    for name, rows in found.get("memory", {}).items():
        beyond = {key: value - rows["activations"] for key, value in rows.items()}
        lines.append(f"\n{name}: MB beyond model, batch and activations ({rows['activations']:.0f} MB)")
        lines += [f"{key:16}{value:8.0f}" for key, value in beyond.items() if key != "activations"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
