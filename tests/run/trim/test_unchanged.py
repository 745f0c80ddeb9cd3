"""A dataset that is no longer the one that was scanned is refused, whatever is written."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import ogacli
from command_line import oga
from ogacli.config.commands import scan
from ogacli.errors import DataError
from ogacli.run.trim import trim
from ogacli.run.trim.kept import load_kept
from ogacli.run.trim.unchanged import _gone
from small_scans import K, N, Place, make_place


@pytest.fixture
def place(tmp_path) -> Place:
    return make_place(tmp_path / "place")


@pytest.mark.parametrize("name", ["clean.npz", "kept.npy"])
def test_a_changed_source_is_not_trimmed(place, tmp_path, name):
    run = scan(place.config())
    assert trim(run, tmp_path / f"before-{name}").not_compared is None
    y = place.arrays["y"]
    y[7] = (y[7] + 1) % K
    place.write(y=y)
    with pytest.raises(DataError, match="the dataset has changed since the scan"):
        trim(run, tmp_path / name)
    assert not (tmp_path / name).exists()
    place.write(y=y[:-1], x=place.arrays["x"][:-1], truth=place.arrays["truth"][:-1])
    with pytest.raises(DataError, match=f"found: {N - 1} samples"):
        trim(run, tmp_path / name)


def test_a_source_that_cannot_be_opened_is_said(place, tmp_path):
    run = scan(place.config())
    (place.folder / "data.npz").unlink()
    refused = oga("trim", str(run.path), "--to", str(tmp_path / "clean.npz"), cwd=tmp_path)
    assert refused.code == 2
    assert "data.npz" in refused.err
    assert "no such file" in refused.err
    found = oga("trim", str(run.path), "--to", str(tmp_path / "kept.npy"), cwd=tmp_path)
    assert found.code == 0
    assert "not compared with the dataset that was scanned" in found.err
    assert "no such file" in found.err


class Items:
    """Inputs and labels, without a list of labels."""

    def __init__(self, x: torch.Tensor, y: list) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple:
        return self.x[i], self.y[i]


def scanned(x: torch.Tensor, y: torch.Tensor, folder) -> ogacli.Run:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Linear(x.shape[1], K)
    return ogacli.scan(ogacli.Samples.of(x, labels=y), network, detector="l2").save(folder)


def test_load_kept_takes_only_the_dataset_that_was_scanned(place, tmp_path):
    x, y = (torch.from_numpy(place.arrays[name]) for name in ("x", "y"))
    run = scanned(x, y, tmp_path / "run")
    for same in (TensorDataset(x, y), Items(x, y.tolist()), Items(x, [str(label) for label in y.tolist()])):
        assert len(load_kept(same, run)) == N - run.summary.flagged
    longer = TensorDataset(torch.cat([x, x]), torch.cat([y, y]))
    with pytest.raises(DataError, match=f"found: {2 * N} samples\n  expected: {N} samples"):
        load_kept(longer, run)
    for labels in (y.flip(0), (y + 1) % K):
        with pytest.raises(DataError, match="is not the one that was scanned"):
            load_kept(Items(x, labels.tolist()), run)
    with pytest.raises(DataError, match="found: inputs with the hash"):
        load_kept(TensorDataset(x.flip(0), y), run)


def test_load_kept_of_a_part_of_the_source(place):
    run = scan(place.config("data.limit={count: 40, seed: 3}"))
    x, y = place.arrays["x"], place.arrays["y"]
    assert len(load_kept(Items(x, y.tolist()), run)) == 36
    with pytest.raises(DataError, match=f"expected: {N} samples"):
        load_kept(Items(x[: N - 1], y[: N - 1].tolist()), run)


def test_labels_that_a_scan_flipped_are_no_other_dataset(place):
    run = scan(place.config("data.flip=0.4", "data.truth=null"))
    x, y = place.arrays["x"], place.arrays["y"]
    assert len(load_kept(Items(x, np.asarray(y).tolist()), run)) == N - run.summary.flagged


def test_patterns_and_folders_in_archives_are_no_missing_files(tmp_path):
    (tmp_path / "train-0.tar").touch()
    (tmp_path / "photos.zip").touch()
    for there in ("train-*.tar", "train-0.tar", "photos.zip/a/train"):
        assert _gone({"path": str(tmp_path / there)}) is None, there
    for missing in ("test-*.tar", "test-0.tar", "a/train"):
        assert _gone({"path": str(tmp_path / missing)}) == str(tmp_path / missing), missing
