"""A model whose outputs are in another order is refused, and the line that the message gives mends it."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import torch
from torch import nn

import ogacli
from ogacli.config import Config, parse_config
from ogacli.config.commands import scan
from ogacli.errors import CheckpointError

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")
N, K = 600, len(NAMES)
ORDER = [2, 0, 1, 5, 3, 4]
"""The class of each output."""


def exported(folder: Path) -> np.ndarray:
    """Probabilities in the order of ``ORDER``, as a file; returns the labels, of which 5 % are wrong."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, K, N)
    probabilities = rng.dirichlet([1] * K, N) * 0.2
    probabilities[np.arange(N), truth] += 0.8
    labels = np.where(rng.random(N) < 0.05, (truth + 1) % K, truth)
    np.save(folder / "p.npy", probabilities[:, ORDER].astype(np.float32))
    np.save(folder / "x.npy", rng.normal(size=(N, 3)).astype(np.float32))
    return labels


def section(folder: Path, kind: str, labels: np.ndarray) -> dict[str, object]:
    names = [NAMES[label] for label in labels]
    match kind:
        case "indices":
            np.save(folder / "y.npy", labels)
            return {"source": "arrays", "y": "y.npy"}
        case "indices with names":
            np.save(folder / "y.npy", labels)
            return {"source": "arrays", "y": "y.npy", "classes": list(NAMES)}
        case "names":
            np.save(folder / "y.npy", np.array(names))
            return {"source": "arrays", "y": "y.npy"}
        case "listed names":
            np.save(folder / "y.npy", np.array(names))
            return {"source": "arrays", "y": "y.npy", "classes": list(NAMES)}
        case "table":
            pa.csv.write_csv(pa.table({"a": np.arange(N) / 7, "label": names}), folder / "rows.csv")
            return {"source": "table", "path": "rows.csv", "label": "label"}
        case "text":
            rows = [{"text": f"no {i}", "label": name} for i, name in enumerate(names)]
            (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            return {"source": "text", "path": "rows.jsonl", "text": "text", "label": "label"}
        case "python":
            (folder / "own_data.py").write_text(
                "import numpy as np\n"
                "class Own(list):\n"
                f"    classes = {list(NAMES)!r}\n"
                f"    targets = {labels.tolist()!r}\n"
                f"make = lambda: Own([(np.zeros(1, np.float32), 0)] * {N})\n"
            )
            return {"source": "python", "factory": "own_data:make"}
        case _:
            (folder / "plain_data.py").write_text(
                "import numpy as np\n"
                f"make = lambda: [(np.zeros(1, np.float32), y) for y in {labels.tolist()!r}]\n"
            )
            return {"source": "python", "factory": "plain_data:make"}


def config(folder: Path, data: dict[str, object]) -> Config:
    values = {
        "data": data,
        "model": {"source": "precomputed", "probabilities": "p.npy", "held_out": True},
        "budget": "auto",
        "output": "run",
    }
    return parse_config(json.dumps(values), base=folder)


@pytest.mark.parametrize(
    "kind",
    ["indices", "indices with names", "names", "listed names", "table", "text", "python", "plain python"],
)
def test_the_line_in_the_message_mends_it(tmp_path, kind):
    data = section(tmp_path, kind, exported(tmp_path))
    with pytest.raises(CheckpointError, match="outputs are in another order than the classes") as caught:
        scan(config(tmp_path, data))
    assert not (tmp_path / "run").exists()
    told = str(caught.value)
    assert re.search(r"predicts '(ant|0)' as '(bee|1)'", told), told
    classes = json.loads(re.search(r"add `classes: (\[.*\])` to the data section", told)[1])
    run = scan(config(tmp_path, data | {"classes": classes}))
    assert run.summary.diagnosis.fit == pytest.approx(0.95, abs=0.03)
    assert 10 < run.summary.flagged < 60


def test_from_python(tmp_path):
    labels = exported(tmp_path)
    inputs = torch.from_numpy(np.load(tmp_path / "p.npy")).log()
    network = nn.Linear(K, K, bias=False)
    nn.init.eye_(network.weight)

    def samples(classes: list[str]) -> ogacli.Samples:
        return ogacli.Samples.of(inputs, labels=[NAMES[label] for label in labels], classes=classes)

    with pytest.raises(CheckpointError) as caught:
        ogacli.scan(samples(list(NAMES)), network, detector="l2")
    classes = re.search(r"`Samples.of\(.., classes=(\[.*\])\)`", str(caught.value))[1]
    assert ogacli.scan(samples(json.loads(classes)), network, detector="l2").summary.diagnosis.fit > 0.9


def test_a_source_that_numbers_its_classes_itself(tmp_path):
    from sklearn.datasets import load_digits

    wanted = [*range(1, 10), 0]
    np.save(tmp_path / "p.npy", 0.02 + 0.8 * np.eye(10)[load_digits().target][:, wanted])
    with pytest.raises(CheckpointError, match=r"put the outputs of the model into this order .*\[.1., .2."):
        scan(
            parse_config(
                "{data: {source: digits}, model: {source: precomputed, probabilities: p.npy}, output: run}",
                base=tmp_path,
            )
        )


def test_few_classes_that_may_be_exchanged_are_told(tmp_path):
    """Of two classes, a swapped model under label noise and one that knows little look the same."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, N)
    labels = np.where(rng.random(N) < 0.2, 1 - truth, truth)
    network = nn.Linear(2, 2)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))
        network.bias.zero_()
    inputs = np.eye(2, dtype=np.float32)[truth] + 0.3 * rng.normal(size=(N, 2)).astype(np.float32)
    samples = ogacli.Samples.of(inputs, labels=labels, classes=["ant", "bee"])
    found = ogacli.scan(samples, network, detector="l2")
    note = next(note for note in found.summary.notes if "another order" in note)
    assert "predicts 'ant' as 'bee', 'bee' as 'ant'" in note
    assert "`Samples.of(.., classes=[1, 0])`" in note
    with torch.no_grad():
        network.weight.neg_()
    assert not any("another order" in note for note in ogacli.scan(samples, network).summary.notes)


def several_labels(order: list[int]) -> tuple[ogacli.Samples, nn.Module]:
    rng = np.random.default_rng(0)
    labels = (rng.random((N, K)) < 0.3).astype(np.int64)
    inputs = labels + 0.2 * rng.normal(size=(N, K))
    network = nn.Linear(K, K)
    with torch.no_grad():
        network.weight.copy_(8 * torch.eye(K)[order])
        network.bias.fill_(-4)
    return ogacli.Samples.of(inputs.astype(np.float32), labels=labels, classes=list(NAMES)), network


def test_outputs_of_several_labels_a_sample():
    samples, network = several_labels(ORDER)
    with pytest.raises(CheckpointError, match="outputs are in another order") as caught:
        ogacli.scan(samples, network, loss="bce_with_logits", detector="l2")
    assert json.dumps([NAMES[i] for i in ORDER]) in str(caught.value)
    samples, network = several_labels([*range(K)])
    assert ogacli.scan(samples, network, loss="bce_with_logits", detector="l2").summary.notes == ()


def test_attribution_checks_it_as_well(tmp_path):
    labels = exported(tmp_path)
    inputs = torch.from_numpy(np.load(tmp_path / "p.npy")).log()
    network = nn.Linear(K, K, bias=False)
    nn.init.eye_(network.weight)
    samples = ogacli.Samples.of(inputs, labels=[NAMES[label] for label in labels], classes=list(NAMES))
    with pytest.raises(CheckpointError, match="outputs are in another order"):
        ogacli.attribute(samples, samples.select(torch.arange(3)), network, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
