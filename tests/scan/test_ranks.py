"""Several processes that share a scan: the same results as one, to the last bit; and what ends them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from command_line import Done, Started, oga
from several_ranks import SAME, together
from slow_scans import scoring, slow_place, wait
from small_scans import WIDTH, K, Place, contents, make_place
from small_transformers import reviews, write_config, write_network, write_rows

SIZE = "gradients.batch_size=16"
FOREST = {"name": "isolation_forest", "trees": 10, "subsample": 16}
LATENT = {"name": "latent_label", "fit_samples": 60}


def same_as_one(
    place: Place, count: int, *changes: str, folds: bool = False, same: Sequence[str] = SAME
) -> None:
    """The files of a run by one process and by several are equal, byte for byte."""
    arguments = [part for change in (SIZE, *changes) for part in ("--set", change)]
    arguments += ["--folds", "2"] if folds else []
    one = oga("scan", "config.yaml", "--output", "one", *arguments, cwd=place.folder)
    assert one.code == 0, one.err
    found = together(count, "scan", "config.yaml", "--output", "several", *arguments, cwd=place.folder)
    assert [done.code for done in found] == [0] * count, [done.err for done in found]
    assert [bool(done.out) for done in found] == [True] + [False] * (count - 1)
    assert not any(done.err for done in found[1:])
    first, second = (contents(place.folder / name) for name in ("one", "several"))
    assert {name: second[name] == first[name] for name in same} == dict.fromkeys(same, True)


@pytest.mark.parametrize("folds", [False, True], ids=["one", "folds"])
def test_what_is_looked_for_beside_labels(folds: bool, tmp_path: Path) -> None:
    place = make_place(tmp_path, detector=LATENT)
    arrays = place.arrays
    arrays["x"][100:] = arrays["x"][:20]
    place.write(**arrays)
    np.savez(tmp_path / "test.npz", x=arrays["x"][:30], y=arrays["y"][:30])
    place.write_config(
        look_for=["near_duplicates", "far"],
        against={"source": "arrays", "path": "test.npz", "x": "x", "y": "y"},
        train={"epochs": 1},
    )
    same_as_one(place, 2, folds=folds)


def trajectory(place: Place) -> str:
    """The checkpoints of a training."""
    done = oga(
        "train", "config.yaml", "--set", "train={epochs: 3, batch_size: 16, output: epochs}", cwd=place.folder
    )
    assert done.code == 0, done.err
    return f"model.checkpoint={place.folder}/epochs/epoch-*.safetensors"


def test_two_ranks(tmp_path: Path) -> None:
    """Detectors without a fit, fitted to all samples, and to some; one sample cannot be scored."""
    place = make_place(tmp_path, detector=[LATENT, "l2", FOREST])
    x = place.arrays["x"]
    x[17] = np.inf
    place.write(x=x)
    same_as_one(place, 2)


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("detector", ["l1", "l2", FOREST, LATENT, "gaussian"], ids=str)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_detectors(tmp_path: Path, count: int, detector: Any, layers: str) -> None:
    same_as_one(make_place(tmp_path, detector=detector), count, f"gradients.layers={layers}")


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("layers", ["head", "all"])
def test_several_checkpoints(tmp_path: Path, count: int, layers: str) -> None:
    place = make_place(tmp_path, detector=[LATENT, FOREST])
    same_as_one(place, count, trajectory(place), f"gradients.layers={layers}")


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_folds(tmp_path: Path, count: int) -> None:
    place = make_place(tmp_path, detector=[LATENT, "l2"])
    place.write_config(train={"epochs": 2, "batch_size": 16})
    same_as_one(place, count, folds=True)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_neighbours_and_lower_precision(tmp_path: Path, count: int) -> None:
    place = make_place(tmp_path, detector=["l2", FOREST])
    same_as_one(place, count, "gradients.residual=neighbours", "gradients.precision=bfloat16")


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("layers", ["head", "all"])
def test_texts(tmp_path: Path, count: int, layers: str) -> None:
    """Which are read from the longest to the shortest; one of them is empty."""
    pytest.importorskip("transformers")
    rows = reviews(50)
    rows[4]["text"] = ""
    write_rows(tmp_path / "t.jsonl", rows)
    write_network(tmp_path / "net", "bert", head=2)
    write_config(
        tmp_path,
        {
            "data": {"source": "text", "path": "t.jsonl", "text": "text", "label": "label"},
            "model": {"source": "transformers", "name": "net"},
            "detector": ["l2", LATENT],
        },
        {},
    )
    same_as_one(Place(tmp_path), count, "gradients.batch_size=7", f"gradients.layers={layers}")


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_exported_rows(tmp_path: Path, count: int) -> None:
    """Looked-up outputs, whose rows are read in the order of the file."""
    place = make_place(
        tmp_path, n=3000, detector=[{"name": "latent_label", "fit_samples": 500}, "l1", FOREST]
    )
    rng = np.random.default_rng(0)
    np.save(tmp_path / "p.npy", rng.dirichlet(np.ones(K), 3000).astype(np.float32))
    np.save(tmp_path / "h.npy", rng.normal(size=(3000, WIDTH)).astype(np.float32))
    place.write_config(model={"source": "precomputed", "probabilities": "p.npy", "features": "h.npy"})
    same_as_one(place, count, "gradients.batch_size=128")


TRAIN = {"epochs": 2, "batch_size": 16, "output": "trained"}


@pytest.mark.slow
def test_folds_are_trained_by_all_ranks(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    place.write_config(train=TRAIN | {"folds": 3})
    one = oga("train", "config.yaml", cwd=tmp_path)
    (tmp_path / "trained-folds").rename(tmp_path / "one")
    found = together(2, "train", "config.yaml", cwd=tmp_path)
    assert [done.code for done in found] == [one.code] * 2 == [0, 0], [done.err for done in found]
    first, second = (contents(tmp_path / name) for name in ("one", "trained-folds"))
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] in ([], ["history.json"])
    told, known = (json.loads(one["history.json"]) for one in (first, second))
    assert [fold["accuracy"] for fold in told["folds"]] == [fold["accuracy"] for fold in known["folds"]]


@pytest.mark.slow
def test_verify_trains_on_all_ranks(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    place.write_config(train=TRAIN, verify={"seeds": 3, "test": place.config().resolved["data"]})
    assert oga("scan", "config.yaml", cwd=tmp_path).code == 0
    one = oga("verify", "config.yaml", "--json", cwd=tmp_path)
    found = together(2, "verify", "config.yaml", "--json", cwd=tmp_path)
    assert (found[0].code, found[0].out, found[1].out) == (0, one.out, ""), [done.err for done in found]


@pytest.mark.slow
@pytest.mark.parametrize("probe", ["head", "network"])
def test_amounts_are_tried_out_on_all_ranks(tmp_path: Path, probe: str) -> None:
    place = make_place(tmp_path, detector=[LATENT])
    benefit = {"amounts": [0, 0.1], "folds": 3, "seeds": 2, "probe": probe}
    place.write_config(budget={"benefit": benefit}, train=TRAIN)
    same_as_one(place, 2)


def trained(place: Place, count: int, output: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The last weights and the history of a training by so many ranks."""
    found = together(count, "train", "config.yaml", "--set", f"train.output={output}", cwd=place.folder)
    assert [done.code for done in found] == [0] * count, [done.err for done in found]
    assert [bool(done.out) for done in found] == [True] + [False] * (count - 1)
    files = sorted((place.folder / output).glob("epoch-*.safetensors"))
    assert len(files) == 3
    return load_file(files[-1]), json.loads((place.folder / output / "history.json").read_text())


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (2, 17),  # seven batches, and one of a single sample, which is left out
        pytest.param(3, 16, marks=pytest.mark.slow),  # shares of different sizes
        pytest.param(4, 37, marks=pytest.mark.slow),  # a last batch of eight
    ],
)
def test_a_training_is_that_of_one_process(tmp_path: Path, count: int, size: int) -> None:
    """Up to the order in which gradients are added; one sample cannot be read, another counts three times."""
    place = make_place(tmp_path)
    x, weights = place.arrays["x"], np.ones(120)
    x[17], weights[5] = np.inf, 3
    place.write(x=x)
    table = {"id": [str(row) for row in range(120)], "weight": weights}
    pq.write_table(pa.table(table), tmp_path / "weights.parquet")
    train = {"epochs": 3, "batch_size": size, "optimizer": "sgd", "learning_rate": 0.05}
    place.write_config(train=train | {"weights": "weights.parquet"})
    (one, told), (several, known) = (trained(place, n, f"by-{n}") for n in (1, count))
    assert one.keys() == several.keys()
    for name in one:
        torch.testing.assert_close(several[name], one[name], atol=1e-5, rtol=1e-5)
    assert (known["samples"], known["skipped"]) == (told["samples"], told["skipped"])
    for first, second in zip(told["epochs"], known["epochs"], strict=True):
        assert second == pytest.approx(first, abs=1e-5)


@pytest.mark.slow
def test_pictures_are_trained_on_from_files_by_several(tmp_path: Path) -> None:
    """Each rank reads its part of a batch; batch norm takes the statistics of that part."""
    rng = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "pictures" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    write = {
        "data": {"source": "image_folder", "root": "pictures"},
        "model": {"source": "resnet_cifar", "depth": 8},
        "train": {"epochs": 1, "batch_size": 8, "augment": True, "output": "trained"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(write))
    found = together(2, "train", "config.yaml", cwd=tmp_path)
    assert [done.code for done in found] == [0, 0], [done.err for done in found]
    assert [path.name for path in (tmp_path / "trained").glob("*.safetensors")] == ["epoch-001.safetensors"]


@pytest.mark.slow
def test_batches_need_a_sample_for_each_rank(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    place.write_config(train=TRAIN | {"batch_size": 2})
    found = together(3, "train", "config.yaml", cwd=tmp_path)
    assert [done.code for done in found] == [2, 2, 2]
    assert sum("too few samples for so many processes" in done.err for done in found) == 1
    assert not (tmp_path / "trained").exists()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_a_training(tmp_path: Path, rank: int) -> None:
    place = make_place(tmp_path)
    place.write_config(train=TRAIN | {"epochs": 100_000})

    def kill(ranks: Sequence[Started]) -> None:
        file = tmp_path / "trained.running.json"
        while not (file.exists() and '"training"' in file.read_text()):
            assert all(one.process.is_alive() for one in ranks)
            time.sleep(0.2)
        ranks[rank].process.kill()

    found = together(2, "train", "config.yaml", cwd=tmp_path, meanwhile=kill)
    assert found[rank].code == -signal.SIGKILL
    assert found[1 - rank].code == 2
    assert f"rank {rank} was killed" in found[1 - rank].err
    assert not (tmp_path / "trained").exists()


@pytest.mark.slow
def test_workers_on_this_machine(tmp_path: Path) -> None:
    """Real processes, which the command starts itself."""
    place = make_place(tmp_path, detector=["l2", LATENT])
    command = [sys.executable, "-m", "ogacli", "scan", "config.yaml", "--set", SIZE, "--output"]
    for name, more in (("one", []), ("several", ["--workers", "2"])):
        done = subprocess.run(
            [*command, name, *more], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    first, second = (contents(place.folder / name) for name in ("one", "several"))
    assert {name: second[name] == first[name] for name in SAME} == dict.fromkeys(SAME, True)


@pytest.mark.slow
def test_workers_listen_on_this_machine_only(tmp_path: Path) -> None:
    """Whoever else could connect to them could change the results."""
    psutil = pytest.importorskip("psutil")
    place = slow_place(tmp_path)
    command = [sys.executable, "-m", "ogacli", "scan", "config.yaml", "--set", SIZE, "--workers", "2"]
    with subprocess.Popen([*command, "--output", "run"], cwd=tmp_path, stderr=subprocess.DEVNULL) as first:
        while not scoring(place):
            assert first.poll() is None
            time.sleep(0.2)
        process = psutil.Process(first.pid)
        found = [one.net_connections("inet") for one in (process, *process.children())]
        first.send_signal(signal.SIGINT)
    assert [bool(each) for each in found] == [True, True]
    assert {one.laddr.ip.removeprefix("::ffff:") for each in found for one in each} == {"127.0.0.1"}


def test_a_mistake_is_told_once(tmp_path: Path) -> None:
    """Whoever finds it; the other ranks end as well."""
    place = make_place(tmp_path)
    found = together(
        2, "scan", "config.yaml", "--set", "model.checkpoint=nowhere.safetensors", cwd=place.folder
    )
    assert [done.code for done in found] == [2, 2]
    assert sum("nowhere.safetensors" in done.err for done in found) == 1
    assert sum(bool(done.err) for done in found) == 1


def stopped(place: Place, count: int, rank: int, number: int) -> list[Done]:
    """How the ranks of a scan end, one of which gets a signal; the others take less than a minute."""
    began = list[float]()

    def stop(ranks: Sequence[Started]) -> None:
        while not scoring(place):
            assert all(one.process.is_alive() for one in ranks)
            time.sleep(0.2)
        os.kill(ranks[rank].process.pid or 0, number)
        began.append(time.monotonic())

    found = together(count, "scan", "config.yaml", "--set", SIZE, cwd=place.folder, meanwhile=stop)
    assert time.monotonic() - began[0] < 60
    return found


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_others(tmp_path: Path, rank: int) -> None:
    """Each of them says so, and saves what it has; another number of ranks goes on."""
    place = slow_place(tmp_path)
    found = stopped(place, 3, rank, signal.SIGKILL)
    assert found.pop(rank).code == -signal.SIGKILL
    for done in found:
        assert done.code == 2
        assert "has ended without a word" in done.err
        assert "Traceback" not in done.err
    assert len([*(tmp_path / "run.partial").glob("state-*")]) >= 2
    resumed_as_one(place, 2)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
def test_an_interrupted_scan_goes_on_with_another_number_of_ranks(tmp_path: Path, count: int) -> None:
    place = slow_place(tmp_path)
    place.write_config(detector=[LATENT, FOREST])
    found = stopped(place, 2, 1, signal.SIGTERM)
    assert sorted(done.code for done in found) == [130, 143]
    assert not any("Traceback" in done.err for done in found)
    assert len([*(tmp_path / "run.partial").glob("state-*")]) == 2
    resumed_as_one(place, count)


def resumed_as_one(place: Place, count: int) -> None:
    """A resumed scan has the same results as one that was never interrupted."""
    wait(place, 0)
    whole = oga("scan", "config.yaml", "--output", "whole", "--set", SIZE, cwd=place.folder)
    assert whole.code == 0, whole.err
    resumed = together(count, "scan", "config.yaml", "--resume", "--set", SIZE, cwd=place.folder)
    assert [done.code for done in resumed] == [0] * count, [done.err for done in resumed]
    first, second = (contents(place.folder / name) for name in ("whole", "run"))
    assert {name: second[name] == first[name] for name in SAME} == dict.fromkeys(SAME, True)
    assert not (place.folder / "run.partial").exists()
