"""A short check of everything on somebody's GPU: is it right, and how fast is it.

    python benchmarks/gpu.py [PART ..] [--device cuda] [--small] [--long] [--list]

Each part runs in a process of its own with its own time limit, and prints a line of JSON for each result as
it comes, so that a cut-off loses only what is left. All parts together take at most five minutes; `--long`
gives each part six times as much, and the last line names the parts that were cut off. Without a GPU the
script itself is tried out by `--small --device cpu`, and by `--small --device standin`, a device of the tests
that refuses to mix its tensors with those of the CPU; on these each part has twenty times as much.

exact        tests marked `gpu`: networks of many kinds against one backward pass a sample in float64
scans        tests marked `gpu`: the scores of the CPU, equal reruns, memory that runs out, lower precision
training     tests marked `gpu`: training, folds and verify
pace NAME    plain forward, plain forward + backward; head with l2; all layers: capture, l2, l1, forest, all
             three; pictures also with channels last. With `--long` also the forward pass by `torch.compile`,
             without and with CUDA graphs. Median seconds of a batch, ratios to the plain pass, peak memory
vmap NAME    `torch.func.vmap(grad)` beside our norms of all layers
scan LAYERS  `oga scan` of 50,000 pictures, ResNet-18, from a new process to the report: head or all
lora         the parameters of low-rank adapters of an encoder
"""

import argparse
import copy
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NETWORKS = {
    "resnet18": 256,
    "resnet34": 256,
    "resnet50-224": 64,
    "vit-b16": 64,
    "encoder-4": 256,
    "encoder-125m": 32,
    "gpt2": 16,
}
"""With the samples of a batch."""
LIMITS = {
    "exact": 35,
    "pace resnet18": 30,
    "scan head": 25,
    "scan all": 35,
    "scans": 35,
    "training": 15,
    "vmap resnet18": 15,
    "pace resnet34": 15,
    "pace encoder-4": 12,
    "pace vit-b16": 20,
    "pace resnet50-224": 20,
    "pace gpt2": 15,
    "pace encoder-125m": 15,
    "lora": 13,
}
"""Seconds of each part, the most telling ones first."""
TESTS = {
    "exact": ["tests/gradients/test_zoo_on_a_device.py"],
    "scans": [
        "tests/scan/test_on_a_device.py",
        "tests/scan/test_kinds_on_a_device.py",
        "tests/scan/test_scoring.py",
        "tests/scan/test_device_memory.py",
    ],
    "training": ["tests/models/training/test_on_a_device.py"],
}
CLASSES, COORDINATES = 10, 2_500
ROOT = Path(__file__).resolve().parents[1]
STAND_IN, OGA = "standin", "--oga"
"""The device of the tests; `oga` in a process of its own where that device is."""
Run = Callable[[], Any]


def main() -> None:
    """Run the parts, or one of them in this process."""
    if sys.argv[1:2] == [OGA]:
        from ogacli.cli import main as oga

        with there(STAND_IN):
            del sys.argv[1]
            oga()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="of the list below; all by default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny networks and few samples")
    parser.add_argument("--long", action="store_true", help="six times as much time for each part")
    parser.add_argument("--list", action="store_true", help="list the parts")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(LIMITS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(LIMITS)}")
    if options.list:
        print("\n".join(f"{name}: {seconds} s" for name, seconds in LIMITS.items()))
    elif options.one:
        here(options.parts[0], options)
        # Without taking torch down, whose threads on the stand-in sometimes abort the process then.
        os._exit(0)
    else:
        ends = {name: apart(name, options) for name in options.parts or LIMITS}
        if cut_off := [name for name, end in ends.items() if end is None]:
            told(cut_off=cut_off, next=f"python {' '.join([sys.argv[0], *map(repr, cut_off)])} --long")
        sys.exit(1 if any(ends.values()) or cut_off else 0)


def told(**found: Any) -> None:
    """Print a result at once."""
    print(json.dumps(found), flush=True)


def apart(name: str, options: argparse.Namespace) -> int | None:
    """One part in a process of its own; its exit status, None where it was cut off."""
    limit = LIMITS[name] * (6 if options.long else 1) * (1 if options.device.startswith("cuda") else 20)
    flags = [f"--{flag}" for flag in ("small", "long") if getattr(options, flag)]
    flags.append(f"--device={options.device}")
    began = time.perf_counter()
    # In a session of its own, so that processes of its own end with it.
    process = subprocess.Popen([sys.executable, __file__, name, "--one", *flags], start_new_session=True)
    try:
        process.wait(timeout=limit)
        told(part=name, exit=process.returncode, seconds=round(time.perf_counter() - began, 1))
        return process.returncode
    except subprocess.TimeoutExpired:
        told(part=name, cut_off_after=limit)
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def here(part: str, options: argparse.Namespace) -> None:
    """One part in this process."""
    if part in TESTS:
        sys.exit(tests(part, options))
    told(part=part, machine=machine(options.device))
    kind, _, name = part.partition(" ")
    with there(options.device):
        {"pace": pace, "vmap": vectorised, "scan": scan, "lora": lora}[kind](name, options)


def there(device: str) -> AbstractContextManager[Any]:
    """A context in which the device is there."""
    if device != STAND_IN:
        return nullcontext()
    sys.path.insert(0, str(ROOT / "tests"))
    from stand_in import register, stand_in

    register()
    return stand_in()


def machine(device: str) -> dict[str, Any]:
    """What the numbers are from."""
    import torch

    from ogacli.base.device import device_name, device_of

    return {
        "device": device if device == STAND_IN else device_name(device_of(device)),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


class Told:
    """Prints the result of each test as it comes."""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called by pytest for each step of a test."""
        if report.failed or report.when == "call":
            error = {"error": str(report.longrepr)[-1500:]} if report.failed else {}
            told(test=report.nodeid, outcome=report.outcome, **error)


def tests(part: str, options: argparse.Namespace) -> int:
    """Some of the tests marked ``gpu``; without a GPU the same ones on the stand-in."""
    import pytest

    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    chosen = ["-m", "gpu"] if options.device.startswith("cuda") else []
    given = ["-p", "no:terminal", "-p", "no:cacheprovider", *chosen, *TESTS[part]]
    return int(pytest.main(given, plugins=[Told()]))


# --- networks -----------------------------------------------------------------------------------------


def network(name: str, small: bool) -> Any:
    """A network of random weights in evaluation mode."""
    return copy.deepcopy(_made(name, small))


@cache
def _made(name: str, small: bool) -> Any:
    """Made once, as random weights of 125 million parameters take seconds."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _network(name, small).eval()


def _network(name: str, small: bool) -> Any:
    from ogacli.models.sources.resnet_cifar import ResNet

    if name in ("resnet18", "resnet34"):
        blocks = [2, 2, 2, 2] if name == "resnet18" else [3, 4, 6, 3]
        return ResNet([1, 1] if small else blocks, 8 if small else 64, 3, CLASSES, projected=True)
    if name in ("resnet50-224", "vit-b16"):
        import torchvision

        if name == "resnet50-224":
            blocks = [1, 1, 1, 1] if small else [3, 4, 6, 3]
            return torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, blocks, CLASSES)
        sizes = {"image_size": 32, "num_layers": 1, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 64}
        if small:
            return torchvision.models.VisionTransformer(patch_size=16, num_classes=CLASSES, **sizes)
        return torchvision.models.vit_b_16(weights=None, num_classes=CLASSES)
    return _transformer(name, small)


def _transformer(name: str, small: bool) -> Any:
    import transformers

    layers, width = (2, 32) if small else ((4, 256) if name == "encoder-4" else (12, 768))
    if name == "gpt2":
        sizes = {"n_embd": width, "n_layer": layers, "n_head": max(2, width // 64), "n_positions": 256}
        config = transformers.GPT2Config(num_labels=CLASSES, pad_token_id=0, **sizes)
        return transformers.GPT2ForSequenceClassification(config)
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 4 * width}
    heads = max(2, width // 64)
    config = transformers.RobertaConfig(num_labels=CLASSES, num_attention_heads=heads, **sizes)
    return transformers.RobertaForSequenceClassification(config)


def inputs_of(name: str, b: int, small: bool) -> Any:
    """Random inputs of a batch."""
    import torch

    generator = torch.Generator().manual_seed(1)
    side = {"resnet50-224": 224, "vit-b16": 224}.get(name, 32)
    if name in ("resnet18", "resnet34", "resnet50-224", "vit-b16"):
        side = 32 if small else side
        return torch.randn(b, 3, side, side, generator=generator)
    length = 16 if small else (64 if name == "encoder-4" else 128)
    tokens = torch.randint(10, 500, (b, length), generator=generator)
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def batch_of(name: str, options: argparse.Namespace) -> Any:
    """A batch on the device."""
    import torch

    from ogacli.data import Batch

    b = 4 if options.small else NETWORKS[name]
    labels = torch.randint(CLASSES, (b,), generator=torch.Generator().manual_seed(2))
    return Batch(torch.arange(b), inputs_of(name, b, options.small), labels, {}).to(
        torch.device(options.device)
    )


# --- parts --------------------------------------------------------------------------------------------


def timed(run: Run, device: Any, *, least: float = 1.0) -> dict[str, float]:
    """Median seconds of a call and the peak memory, after a warm-up."""
    import torch

    from ogacli.base.device import wait

    for _ in range(2):
        run()
    wait(device)
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    seconds: list[float] = []
    while len(seconds) < 3 or (sum(seconds) < least and len(seconds) < 30):
        if cuda:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            run()
            end.record()
            end.synchronize()
            seconds.append(begin.elapsed_time(end) / 1000)
        else:
            before = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - before)
    peak = torch.cuda.max_memory_allocated(device) if cuda else 0
    return {"seconds": round(statistics.median(seconds), 5), "megabytes": round(peak / 2**20, 1)}


def same(module: Any) -> Any:
    """The network as it is."""
    return module


def channels_last(of: Any) -> Any:
    """A network, or the pictures of a batch, with the channels last in memory."""
    import torch

    return of.to(memory_format=torch.channels_last)


def plain(name: str, batch: Any, options: argparse.Namespace, *, backward: bool, change: Any = same) -> Run:
    """An ordinary pass, in exact float32 as ours; of the network after a change."""
    import torch

    from ogacli.models.outputs import call

    module = change(network(name, options.small)).to(options.device)

    def forward() -> None:
        with torch.inference_mode():
            call(module, batch.inputs)

    def both() -> None:
        module.zero_grad(set_to_none=True)
        logits = call(module, batch.inputs)
        torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum").backward()

    return both if backward else forward


def engine(
    name: str,
    batch: Any,
    options: argparse.Namespace,
    layers: str,
    orders: Any = None,
    coords: Any = None,
    change: Any = same,
) -> Run:
    """Our gradients of a batch, reduced to norms and coordinates where these are given."""
    import torch

    from ogacli.gradients import GradientOptions, capture
    from ogacli.models import Network
    from ogacli.models.tasks.classification import Classification

    model = Network(change(network(name, options.small)), head=None, outputs=CLASSES)
    model.to(torch.device(options.device))
    compute = capture(model, Classification(), GradientOptions(layers=layers))
    if orders is not None:
        none = torch.empty(0, dtype=torch.int64, device=options.device)
        compute.reduce_to(orders, none if coords is None else coords)

    def run() -> None:
        found = compute(batch)
        if layers == "head" or orders:
            found.norms(orders or [2])
        if coords is not None:
            found.entries(coords)

    return run


def pace(name: str, options: argparse.Namespace) -> None:
    """Each pass of a network, and its ratio to the plain one."""
    import torch

    from ogacli.base.precision import computing_on

    device, batch = torch.device(options.device), batch_of(name, options)
    p = sum(parameter.numel() for parameter in _made(name, options.small).parameters())
    drawn = torch.randint(p, (COORDINATES,), generator=torch.Generator().manual_seed(3))
    coords = drawn.unique().to(device)
    ours: dict[str, Callable[[], Run]] = {
        # GPT-2 picks the logits of one position, which are not the output of a linear layer as it is.
        **({} if name == "gpt2" else {"head, l2": lambda: engine(name, batch, options, "head")}),
        "all, capture": lambda: engine(name, batch, options, "all"),
        "all, l2": lambda: engine(name, batch, options, "all", [2]),
        "all, l1": lambda: engine(name, batch, options, "all", [1]),
        "all, forest": lambda: engine(name, batch, options, "all", [], coords),
        "all, all three": lambda: engine(name, batch, options, "all", [1, 2], coords),
        **variants(name, batch, options),
    }
    with computing_on(device):
        forward = timed(plain(name, batch, options, backward=False), device)
        both = timed(plain(name, batch, options, backward=True), device)
        told(network=name, samples=len(batch.rows), parameters=p, forward=forward, forward_backward=both)
        for what, make in ours.items():
            try:
                found = timed(make(), device)
            except Exception as error:  # the other passes are told all the same
                told(network=name, what=what, failed=f"{type(error).__name__}: {str(error)[:300]}")
                continue
            base = forward if what.startswith(("head", "forward,")) else both
            told(network=name, what=what, ratio=round(found["seconds"] / base["seconds"], 3), **found)


def variants(name: str, batch: Any, options: argparse.Namespace) -> dict[str, Callable[[], Run]]:
    """What may be faster: another layout of pictures; with ``--long`` compiled forward passes."""
    import torch

    found: dict[str, Callable[[], Run]] = {}
    if isinstance(batch.inputs, torch.Tensor):
        last, change = replace(batch, inputs=channels_last(batch.inputs)), channels_last
        found = {
            "forward, channels last": lambda: plain(name, last, options, backward=False, change=change),
            "forward + backward, channels last": lambda: plain(
                name, last, options, backward=True, change=change
            ),
            "all, l2, channels last": lambda: engine(name, last, options, "all", [2], change=change),
        }
    if options.long and options.device != STAND_IN:
        graphs = partial(torch.compile, mode="reduce-overhead")
        for what, compiled in (("compiled", torch.compile), ("compiled, CUDA graphs", graphs)):
            found[f"forward, {what}"] = partial(plain, name, batch, options, backward=False, change=compiled)
    return found


def vectorised(name: str, options: argparse.Namespace) -> None:
    """``vmap(grad)`` over our norms of all layers; the batch is halved until it fits."""
    import torch
    from torch.func import functional_call, grad, vmap

    from ogacli.base.device import where_it_fits
    from ogacli.base.precision import computing_on

    device, batch = torch.device(options.device), batch_of(name, options)
    module = network(name, options.small).to(device)
    values = {key: parameter.detach() for key, parameter in module.named_parameters()}

    def loss(given: Any, picture: Any, label: Any) -> Any:
        logits = functional_call(module, given, (picture[None],))
        return torch.nn.functional.cross_entropy(logits, label[None])

    with computing_on(device):
        while len(batch.rows):
            one = batch

            def run(one: Any = one) -> Any:
                found = vmap(grad(loss), in_dims=(None, 0, 0))(values, one.inputs, one.labels)
                return torch.stack([part.flatten(1).square().sum(1) for part in found.values()]).sum(0).sqrt()

            if (theirs := where_it_fits(lambda run=run: timed(run, device))) is not None:
                ours = timed(engine(name, one, options, "all", [2]), device)
                ratio = round(theirs["seconds"] / ours["seconds"], 2)
                told(network=name, samples=len(one.rows), vmap=theirs, ours=ours, ratio=ratio)
                return
            batch = batch.split(max(1, len(batch.rows) // 2))[0]


def scan(layers: str, options: argparse.Namespace) -> None:
    """``oga scan`` from a new process to the report."""
    import numpy as np
    import torch

    from ogacli.config import parse_config
    from ogacli.models.checkpoints import save_weights
    from ogacli.models.sources import Fit

    n = 200 if options.small else 50_000
    with TemporaryDirectory() as name:
        folder = Path(name)
        random = np.random.default_rng(0)
        np.save(folder / "x.npy", random.standard_normal((n, 3, 32, 32), np.float32))
        np.save(folder / "y.npy", random.integers(CLASSES, size=n))
        depth = 8 if options.small else 18
        detector = "l2" if layers == "head" else "[isolation_forest, l1, l2]"
        text = (
            f"data: {{source: arrays, x: x.npy, y: y.npy, classes: {CLASSES}}}\n"
            f"model: {{source: resnet_cifar, depth: {depth}, checkpoint: w.safetensors}}\n"
            f"gradients: {{layers: {layers}, device: '{options.device}'}}\n"
            f"detector: {detector}\noutput: run\n"
        )
        config = parse_config(text, base=folder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            save_weights(config.model.build(Fit.of(config.data.open())), folder / "w.safetensors")
        (folder / "config.yaml").write_text(text, encoding="utf-8")
        began = time.perf_counter()
        program = [__file__, OGA] if options.device == STAND_IN else ["-m", "ogacli"]
        for command in (["scan", "config.yaml", "-q"], ["report", "run"]):
            done = subprocess.run(
                [sys.executable, *program, *command], cwd=folder, capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(done.stderr)
            told(scan=layers, samples=n, command=command[0], seconds=round(time.perf_counter() - began, 2))
        told(scan=layers, timing=json.loads((folder / "run" / "timing.json").read_text(encoding="utf-8")))


def lora(name: str, options: argparse.Namespace) -> None:
    """The parameters of low-rank adapters, of an encoder of 125 million parameters."""
    import peft
    import torch

    from ogacli.base.precision import computing_on
    from ogacli.gradients import GradientOptions, capture
    from ogacli.models import Network
    from ogacli.models.tasks.classification import Classification

    device, which = torch.device(options.device), "encoder-125m"
    batch = batch_of(which, options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = peft.LoraConfig(r=8, target_modules=["query", "value"], task_type="SEQ_CLS")
        module = peft.get_peft_model(network(which, options.small), config).eval()
    model = Network(module, head=None, outputs=CLASSES)
    model.to(device)
    compute = capture(model, Classification(), GradientOptions(layers="lora"))
    compute.reduce_to([2], torch.empty(0, dtype=torch.int64, device=device))
    with computing_on(device):
        both = timed(plain(which, batch, options, backward=True), device)
        found = timed(lambda: compute(batch).norm(2), device)
    told(network=which, what="lora, l2", ratio=round(found["seconds"] / both["seconds"], 3), **found)


if __name__ == "__main__":
    main()
