"""What the scan keeps for a reviewer: neighbours by class, the same inputs, a map of the gradients."""

from itertools import groupby

import numpy as np
import pytest
import torch
from torch import nn

import ogacli
from ogacli.base.seeding import seeded
from ogacli.config.commands import scan
from ogacli.data import Samples
from ogacli.gradients import GradientBatch
from ogacli.run.beside import BESIDE, MAP
from ogacli.run.previews import FIRST
from ogacli.run.reports.content import flagged_rows
from ogacli.scan.collected.top import TOP, TopSamples
from small_scans import make_place


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """100 samples and the first three once more: two with the same labels, one with another."""
    place = make_place(tmp_path_factory.mktemp("beside"), n=100, detector="latent_label")
    arrays = place.arrays
    again = {name: np.concatenate([value, value[:3]]) for name, value in arrays.items()}
    again["y"][102] = (again["y"][2] + 1) % 3
    place.write(**again)
    return scan(place.config("budget=40"))


def columns(run, *names):
    position = run.scores["position"].to_pylist()
    return {name: dict(zip(position, run.scores[name].to_pylist(), strict=True)) for name in names}


def test_neighbours_have_the_class_that_is_asked_for(run):
    assert run.beside.schema == BESIDE
    found = columns(run, "label", "suggested_label", "flagged")
    roles = set()
    for one in run.beside.to_pylist():
        roles.add(one["role"])
        own, other = one["position"], one["other"]
        assert own != other
        assert one["role"] == "same" or not found["flagged"][other]
        if one["role"] == "given":
            assert found["label"][other] == found["label"][own]
        if one["role"] == "suggested":
            assert found["label"][other] == found["suggested_label"][own]
    assert roles == {"given", "suggested", "same"}


def test_neighbours_are_the_nearest_ones_by_the_features_of_the_model(run, tmp_path_factory):
    rows = [one for one in run.beside.to_pylist() if one["role"] == "given"]
    for _, group in groupby(rows, key=lambda one: one["position"]):
        assert [one["order"] for one in group] == list(range(4))
    place = make_place(tmp_path_factory.mktemp("again"), n=100, detector="latent_label")
    x = np.load(run.config["data"]["path"])
    inputs, labels = torch.tensor(x["x"]), torch.tensor(x["y"])
    network, head = place.network()
    features = {}
    head.register_forward_hook(lambda module, given, out: features.update(h=given[0].detach()))
    network(inputs)
    first = rows[0]["position"]
    distance = (features["h"] - features["h"][first]).norm(dim=1)
    distance[labels != labels[first]] = torch.inf
    flagged = columns(run, "flagged")["flagged"]
    distance[[row for row in range(103) if flagged[row]]] = torch.inf
    distance[first] = torch.inf
    nearest = [one["other"] for one in rows if one["position"] == first]
    expected = distance.sort().values[:4]
    assert torch.allclose(distance[nearest], expected, atol=1e-5)


def test_the_same_inputs_are_found_whatever_their_label(run):
    same = {(one["position"], one["other"]) for one in run.beside.to_pylist() if one["role"] == "same"}
    assert same == {(0, 100), (100, 0), (1, 101), (101, 1), (2, 102), (102, 2)}


def test_the_map_separates_the_flagged_samples_from_the_others(run):
    assert run.gradient_map.schema == MAP
    assert sorted(run.gradient_map["position"].to_pylist()) == list(range(103))
    values = np.array([run.gradient_map["x"], run.gradient_map["y"]])
    assert np.isfinite(values).all()
    assert (values.std(1) > 0).all()


def test_previews_hold_the_flagged_samples_and_those_beside_them(run):
    shown = run.previews["position"].to_pylist()
    flagged = flagged_rows(run, 99)["position"].to_pylist()
    assert len(shown) == len(set(shown))
    assert set(flagged) <= set(shown)
    assert len(shown) >= min(FIRST, 103)


def test_folds_are_compared_within_each_fold_and_have_no_map(tmp_path):
    place = make_place(tmp_path, n=90, detector="latent_label")
    run = scan(place.config("budget=20", "train.epochs=2"), folds=3)
    assert run.beside.num_rows > 0
    assert run.gradient_map.num_rows == 0


def test_no_classes_means_the_nearest_of_all():
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    samples = Samples.of(x, labels=x[:, 0].numpy())
    with seeded(0, torch.device("cpu")):
        network = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1))
    found = ogacli.scan(samples, network, loss="mse")
    assert set(found.beside.beside["role"].to_pylist()) == {"nearest"}


def batch(rows, scores):
    b = len(rows)
    features = torch.tensor(rows, dtype=torch.float32)[:, None].repeat(1, 5)
    residual = torch.ones(b, 3)
    return GradientBatch(
        torch.tensor(rows), torch.zeros(b, dtype=torch.int64), residual, residual, features, ()
    ), torch.tensor(scores, dtype=torch.float64)


def test_the_highest_scores_are_kept_in_any_order_of_batches():
    n = TOP + 500
    scores = torch.randperm(n, generator=torch.Generator().manual_seed(0)).double()
    scores[7] = torch.nan
    kept = TopSamples(n, lambda rows: torch.full_like(rows, -1), 0, torch.device("cpu"))
    for rows in torch.arange(n).split(64):
        kept.add(*batch(rows.tolist(), scores[rows].tolist()), number=0)
    kept.next_checkpoint(counts=True, alone=True)
    found = kept.top.known()
    expected = scores.nan_to_num(nan=-1).topk(TOP).indices.sort().values
    assert torch.equal(found.rows.sort().values, expected)
    assert torch.equal(found.features[:, 0], found.rows.float())


def test_a_checkpoint_that_does_not_count_leaves_nothing():
    kept = TopSamples(4, lambda rows: torch.full_like(rows, -1), 0, torch.device("cpu"))
    kept.add(*batch([0, 1], [1.0, 2.0]), number=0)
    kept.next_checkpoint(counts=False, alone=False)
    assert len(kept.top.known().rows) == 0
    kept.add(*batch([2, 3], [1.0, 2.0]), number=1)
    kept.next_checkpoint(counts=True, alone=False)
    assert sorted(kept.top.known().rows.tolist()) == [2, 3]
