import json
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy import stats

from ogacli.base.seeding import seeded
from ogacli.config.commands import scan, verify
from ogacli.errors import ConfigError, RunError
from ogacli.scan.verify import Arm, Difference, Verification
from ogacli.verdict.budget import Budget
from small_scans import N, make_place

TRAIN = ["train.epochs=3", "train.batch_size=16", "verify.seeds=2"]


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path)


def arms(found: Verification) -> dict[str, Arm]:
    return {arm.name: arm for arm in found.arms}


def test_each_arm_trains_on_its_own_samples(place):
    """With a test split of its own, all samples are trained on."""
    run = scan(place.config())
    found = verify(place.config(*TRAIN, f"verify.test={place.config().resolved['data']}"), run)
    sizes = {name: arm.samples for name, arm in arms(found).items()}
    assert sizes == {"all": N, "trimmed": N - 12, "random": N - 12, "oracle": N - 12}
    assert found.test == N
    assert all(len(arm.accuracies) == 2 and all(0 <= a <= 1 for a in arm.accuracies) for arm in found.arms)
    assert [difference.against for difference in found.differences] == ["all", "random", "oracle"]


def test_a_part_is_held_out_where_no_test_is_given(place):
    run = scan(place.config())
    found = verify(place.config(*TRAIN, "verify.holdout=0.25"), run)
    assert found.test == 30
    assert arms(found)["all"].samples == 90
    assert 90 - 12 <= arms(found)["trimmed"].samples <= 90
    assert arms(found)["trimmed"].samples == arms(found)["random"].samples


def test_another_budget_needs_no_scan(place):
    run = scan(place.config("protect=off"))
    test = f"verify.test={place.config().resolved['data']}"
    found = verify(place.config(*TRAIN, test), run, budget=Budget(40))
    assert arms(found)["trimmed"].samples == N - 40


def test_each_class_keeps_half_of_its_samples(place):
    run = scan(place.config())
    test = f"verify.test={place.config().resolved['data']}"
    found = verify(place.config(*TRAIN, test), run, budget=Budget(1.0))
    assert N / 2 <= arms(found)["trimmed"].samples <= N / 2 + 3


def test_without_truth_there_is_no_oracle(place):
    place.write_config(data={"source": "arrays", "path": "data.npz", "x": "x", "y": "y"})
    assert "oracle" not in arms(verify(place.config(*TRAIN), scan(place.config())))


def test_the_same_again_is_the_same(place):
    run = scan(place.config())
    assert verify(place.config(*TRAIN), run) == verify(place.config(*TRAIN), run)


def test_seeds_are_paired(place, monkeypatch):
    """The weights that a training starts from depend on the seed and not on the arm."""
    room = import_module("ogacli.models.training.accuracy")
    starts = []
    train_network = room.train_network

    def watched(module, samples, task, options, **others):
        starts.append((options.seed, torch.cat([p.detach().flatten() for p in module.parameters()])))
        return train_network(module, samples, task, options, **others)

    monkeypatch.setattr(room, "train_network", watched)
    verify(place.config(*TRAIN), scan(place.config()))
    assert [seed for seed, _ in starts] == [0, 1] * 4
    for seed, weights in starts:
        assert torch.equal(weights, starts[seed][1])
    assert not torch.equal(starts[0][1], starts[1][1])


def test_global_random_state_is_left_alone(place):
    run = scan(place.config())
    with seeded(11, torch.device("cpu")):
        before = torch.get_rng_state()
        verify(place.config(*TRAIN), run)
        assert torch.equal(torch.get_rng_state(), before)


def verification(trimmed, everything):
    from ogacli.scan.verify import difference

    one, other = Arm("trimmed", 9, trimmed), Arm("all", 10, everything)
    return Verification((other, one), (difference(one, other),), 5)


def test_the_interval_is_that_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.8, 0.02, 5), rng.normal(0.78, 0.02, 5)
    (found,) = verification(tuple(a), tuple(b)).differences
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.mean == pytest.approx(a.mean() - b.mean())


@pytest.mark.parametrize(
    ("trimmed", "everything", "verdict"),
    [
        ((0.9, 0.91, 0.92), (0.8, 0.81, 0.82), "helped"),
        ((0.8, 0.81, 0.82), (0.9, 0.91, 0.92), "harmed"),
        ((0.8, 0.9, 0.85), (0.81, 0.89, 0.85), "no difference shown"),
        ((0.8, 0.9), (0.8, 0.9), "no difference shown"),
    ],
)
def test_the_verdict(trimmed, everything, verdict):
    found = verification(trimmed, everything)
    assert found.verdict == verdict
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert (document["schema_version"], document["verdict"]) == (1, verdict)
    assert isinstance(found.differences[0], Difference)


def test_what_cannot_be_verified(place):
    run = scan(place.config("protect=off"))
    np.save(place.folder / "z.npy", np.zeros((N, 3), dtype=np.float32))
    with pytest.raises(ConfigError, match=r"model\.source: this model cannot be trained"):
        verify(place.config(f"model={{source: precomputed, logits: {place.folder}/z.npy}}"), run)
    with pytest.raises(RunError, match="the run is of another dataset than the config") as caught:
        verify(place.config("data.limit=50"), run)
    assert "--run" in str(caught.value)
    with pytest.raises(RunError, match="nothing is left to train on"):
        verify(place.config(*TRAIN), run, budget=Budget(1.0))
    with pytest.raises(ConfigError, match=r"verify\.seeds: not a valid value"):
        place.config("verify.seeds=1")
