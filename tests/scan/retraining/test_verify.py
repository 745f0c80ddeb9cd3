import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy import stats

import ogacli
from ogacli.base.seeding import seeded
from ogacli.config.commands import scan, train, verify
from ogacli.data import Samples
from ogacli.errors import ConfigError, RunError
from ogacli.models.sources.mlp import Mlp
from ogacli.scan.retraining.arms import Arm, Difference, Verification, difference
from ogacli.scan.retraining.verify import held_out
from ogacli.verdict.budget import Budget
from small_scans import K, N, make_place

TRAIN = ["train.epochs=3", "train.batch_size=16", "verify.seeds=2"]


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path)


@pytest.fixture
def trained(place):
    """Three epochs by ``oga train``; the config names all of them."""
    place.write_config(
        train={"epochs": 3, "batch_size": 16, "output": "trained"},
        verify={"seeds": 2},
        model={"source": "mlp", "hidden": [6], "checkpoint": "trained/epoch-*.safetensors"},
    )
    train(place.config())
    return place


def own_test(place) -> str:
    return f"verify.test={place.config().resolved['data']}"


def arms(found: Verification) -> dict[str, Arm]:
    return {arm.name: arm for arm in found.arms}


def test_each_arm_trains_on_its_own_samples(place):
    """With a test split of its own, all samples are trained on."""
    run = scan(place.config())
    found = verify(place.config(*TRAIN, own_test(place)), run)
    sizes = {name: arm.samples for name, arm in arms(found).items()}
    relabelled = sizes.pop("relabelled")
    assert N - 12 <= relabelled <= N
    assert sizes == {"all": N, "trimmed": N - 12, "weighted": N, "random": N - 12, "oracle": N - 12}
    assert (found.test, found.parts) == (N, 0)
    assert all(len(arm.accuracies) == 2 and all(0 <= a <= 1 for a in arm.accuracies) for arm in found.arms)
    assert [(one.arm, one.against) for one in found.differences] == [
        *((name, "all") for name in ("trimmed", "relabelled", "weighted", "random", "oracle")),
        ("trimmed", "random"),
    ]


def test_parts_are_held_out_in_turn_where_no_test_is_given(trained):
    found = verify(trained.config("verify.holdout=0.25"), scan(trained.config()))
    assert (found.test, found.parts) == (N, 4)
    assert arms(found)["all"].samples == 90
    assert arms(found)["trimmed"].samples == arms(found)["random"].samples == 81


@pytest.mark.parametrize("n", [1, 7, 120, 3000, 50_000])
@pytest.mark.parametrize("share", [0.2, 0.3, 0.9])
def test_held_out_parts_are_apart_and_no_more_than_are_needed(n, share):
    parts = held_out(n, share)
    size = max(1, round(share * n))
    rows = torch.cat(list(parts))
    assert {len(part) for part in parts} == {size}
    assert len(rows.unique()) == len(rows) <= n
    assert (len(parts) - 1) * size < 2000
    assert len(rows) >= min(2000, n - size + 1)


@pytest.mark.parametrize(
    ("weights", "epochs"),
    [("trained/epoch-002.safetensors", [2]), ("trained/epoch-*.safetensors", [1, 2, 3]), (None, [])],
    ids=["one checkpoint", "trajectory", "folds"],
)
def test_the_scan_is_repeated_without_the_held_out_samples(trained, monkeypatch, weights, epochs):
    """With as many checkpoints of the same training; no held-out sample is read before it is tested."""
    changes = [] if weights is None else [f"model.checkpoint={trained.folder}/{weights}"]
    run = scan(trained.config(*changes), folds=3 if weights is None else None)
    room = import_module("ogacli.scan.retraining.nested")
    setups, execute = [], room.execute

    def watched(setup, **others):
        setups.append((setup, [one.rows for one in setup.source.snapshots(setup.samples)]))
        return execute(setup, **others)

    monkeypatch.setattr(room, "execute", watched)
    verify(trained.config("verify.holdout=0.5"), run)
    assert len(setups) == 2
    for setup, snapshots in setups:
        assert len(setup.samples) == N / 2
        names = [path.rpartition("/")[2] for path in setup.source.checkpoint_files()]
        if weights is None:
            assert [len(rows) for rows in snapshots] == [20, 20, 20]
        else:
            assert names == [f"epoch-{number:03d}.safetensors" for number in epochs]
    one, other = (set(setup.samples.positions.tolist()) for setup, _ in setups)
    assert one | other == set(range(N))
    assert not one & other


def test_held_out_labels_do_not_change_what_is_flagged(trained, monkeypatch):
    """Whatever the held-out labels are, the arms train on the same samples."""
    room = import_module("ogacli.scan.retraining.trials")
    seen, treated = [], room.treated

    def watched(samples, run, action, budget=None):
        found = treated(samples, run, action, budget)
        seen.append((found.samples.positions.tolist(), found.samples.labels.tolist()))
        return found

    monkeypatch.setattr(room, "treated", watched)
    samples = Samples.of(trained.arrays["x"], labels=trained.arrays["y"], classes=K)
    held = held_out(N, 0.9)[0]
    labels = samples.labels.clone()
    labels[held] = (labels[held] + 1) % K
    found = []
    for given in (samples, replace(samples, labels=labels)):
        seen.clear()
        options = {"epochs": 2, "batch_size": 8}
        run = ogacli.scan(given, Mlp(hidden=(6,)), folds=2, train=options, budget=0.3)
        run = run.save(trained.folder / f"run-{len(found)}")
        ogacli.verify(given, run, Mlp(hidden=(6,)), train=options, options={"seeds": 2, "holdout": 0.9})
        found.append(list(seen))
    assert found[0] == found[1]


def test_from_python_checkpoints_are_found_again(trained):
    samples = Samples.of(trained.arrays["x"], labels=trained.arrays["y"], classes=K)
    network, folder = Mlp(hidden=(6,)), trained.folder / "python"
    training = ogacli.train(samples, network, output=folder, options={"epochs": 2})
    found = ogacli.scan(samples, network, checkpoint=[str(path) for path in training.checkpoints])
    run = found.save(trained.folder / "saved")
    result = ogacli.verify(samples, run, network, train={"epochs": 1}, options={"seeds": 2})
    assert (result.parts, result.labels, result.clean_test_needed) == (5, "given", True)
    alone = ogacli.scan(samples, network.model_copy(update={"checkpoint": str(training.checkpoints[0])}))
    ogacli.verify(samples, alone.save(trained.folder / "alone"), network, options={"seeds": 2})


def test_a_scan_that_cannot_be_repeated_is_refused(trained, tmp_path):
    """Checkpoints from elsewhere, of other samples, in memory, or none."""
    elsewhere = scan(trained.config(f"model.checkpoint={trained.folder}/weights.safetensors"))
    other = scan(trained.config("data.limit=60"), output=tmp_path / "other")
    np.save(tmp_path / "z.npy", np.zeros((N, K), dtype=np.float32))
    model = f"model={{source: precomputed, logits: {tmp_path}/z.npy}}"
    table = scan(trained.config(model), output=tmp_path / "table")
    for run, config, problem in (
        (elsewhere, trained.config(), "checkpoints from elsewhere"),
        (other, trained.config("data.limit=60"), "trained on other samples"),
        (table, trained.config(), "the scan had no checkpoint"),
    ):
        with pytest.raises(RunError, match="cannot be repeated without held-out samples") as caught:
            verify(config, run)
        assert problem in str(caught.value)
        assert "`verify.test`" in str(caught.value)
    assert verify(trained.config(own_test(trained)), elsewhere).parts == 0


def test_whose_labels_the_networks_are_judged_by(trained):
    run = scan(trained.config())
    found = verify(trained.config(), run)
    assert (found.labels, found.clean_test_needed) == ("true", False)
    plain = {"source": "arrays", "path": "data.npz", "x": "x", "y": "y"}
    found = verify(trained.config(f"verify.test={plain | {'path': str(trained.folder / 'data.npz')}}"), run)
    assert (found.labels, found.document()["clean_test_needed"]) == ("test", False)
    trained.write_config(data=plain)
    train(trained.config(), overwrite=True)
    found = verify(trained.config(), scan(trained.config(), overwrite=True))
    assert (found.labels, found.document()["clean_test_needed"]) == ("given", True)


def test_true_labels_judge_where_they_are_known(trained):
    """A network that has learned the wrong labels is not praised for them."""
    places = trained.arrays
    trained.write(y=(places["truth"] + 1) % K)
    train(trained.config("train.epochs=12", "train.learning_rate=0.05"), overwrite=True)
    run = scan(trained.config("budget=0"))
    assert (
        arms(
            verify(trained.config("train.epochs=12", "train.learning_rate=0.05", "verify.holdout=0.6"), run)
        )["all"].mean
        < 0.2
    )


def test_another_budget_needs_no_scan(place):
    run = scan(place.config("protect=off"))
    test = own_test(place)
    found = verify(place.config(*TRAIN, test), run, budget=Budget(40))
    assert arms(found)["trimmed"].samples == N - 40


def test_each_class_keeps_half_of_its_samples(place):
    run = scan(place.config())
    test = own_test(place)
    found = verify(place.config(*TRAIN, test), run, budget=Budget(1.0))
    assert N / 2 <= arms(found)["trimmed"].samples <= N / 2 + 3


def test_without_truth_there_is_no_oracle(place):
    place.write_config(data={"source": "arrays", "path": "data.npz", "x": "x", "y": "y"})
    run = scan(place.config())
    assert "oracle" not in arms(verify(place.config(*TRAIN, own_test(place)), run))


def test_the_same_again_is_the_same(trained):
    run = scan(trained.config())
    assert verify(trained.config(), run) == verify(trained.config(), run)


def test_seeds_are_paired(place, monkeypatch):
    """The weights that a training starts from depend on the seed and not on the arm."""
    room = import_module("ogacli.models.training.accuracy")
    starts = []
    train_network = room.train_network

    def watched(module, samples, task, options, **others):
        starts.append((options.seed, torch.cat([p.detach().flatten() for p in module.parameters()])))
        return train_network(module, samples, task, options, **others)

    monkeypatch.setattr(room, "train_network", watched)
    verify(place.config(*TRAIN, own_test(place)), scan(place.config()))
    assert len(starts) >= 10
    assert [seed for seed, _ in starts] == [0, 1] * (len(starts) // 2)
    for seed, weights in starts:
        assert torch.equal(weights, starts[seed][1])
    assert not torch.equal(starts[0][1], starts[1][1])


def test_global_random_state_is_left_alone(place):
    run = scan(place.config())
    with seeded(11, torch.device("cpu")):
        before = torch.get_rng_state()
        verify(place.config(*TRAIN, own_test(place)), run)
        assert torch.equal(torch.get_rng_state(), before)


def test_equal_choices_are_trained_on_once(place, monkeypatch):
    """Nothing is flagged: trimmed, relabelled and random are all samples, and differ by nothing."""
    room = import_module("ogacli.scan.retraining.trials")
    trainings, trained_correct = [], room.trained_correct

    def watched(samples, *given, **others):
        trainings.append(len(samples))
        return trained_correct(samples, *given, **others)

    monkeypatch.setattr(room, "trained_correct", watched)
    found = verify(place.config(*TRAIN, own_test(place)), scan(place.config("budget=0")))
    assert trainings == [N, N] * 2 + [N - 12] * 2  # all, weighted, oracle
    assert [(one.mean, one.low, one.high) for one in found.differences[:2]] == [(0, 0, 0)] * 2


def arm_of(name, correct):
    return Arm(name, 10, tuple(row.mean() for row in correct), tuple(correct))


@pytest.mark.parametrize("m", [50, 1000])
def test_the_interval_covers_the_sampling_of_the_test_set(m):
    """Seeds that agree on every test sample say nothing of other test samples."""
    rng = np.random.default_rng(0)
    one, other = (np.repeat(rng.random((1, m)) < share, 5, axis=0).astype(float) for share in (0.8, 0.7))
    found = difference(arm_of("trimmed", one), arm_of("all", other))
    error = (one[0] - other[0]).std() / np.sqrt(m)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.low < found.mean < found.high


def test_the_interval_covers_the_seeds():
    """Test samples that all gain alike leave what the seeds differ by."""
    gains = np.linspace(0, 0.2, 6)[:, None]
    one, other = np.full((6, 400), 0.5) + gains, np.full((6, 400), 0.5)
    found = difference(arm_of("trimmed", one), arm_of("all", other))
    error = gains.std(ddof=1) / np.sqrt(6)
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.975, 5) * error, rel=0.15)


def test_the_interval_covers_the_truth():
    """Random effects of seeds and of test samples; nominally 95 %."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(100):
        gap = 0.1 + rng.normal(0, 0.05, (5, 1)) + rng.normal(0, 0.5, 100) + rng.normal(0, 0.2, (5, 100))
        found = difference(arm_of("trimmed", gap), arm_of("all", np.zeros((5, 100))))
        hits += found.low <= 0.1 <= found.high
    assert hits >= 91


def test_samples_that_cannot_be_read_are_left_out():
    one, other = np.ones((2, 40)), np.zeros((2, 40))
    one[:, 3] = other[:, 3] = np.nan
    arms = [Arm(name, 1, (1.0, 1.0), tuple(rows)) for name, rows in (("a", one), ("all", other))]
    assert difference(*arms).high == 1


def verification(trimmed, everything):
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
    assert document["verdicts"] == {"trimmed": verdict}
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
        verify(place.config(*TRAIN, own_test(place)), run, budget=Budget(1.0))
    with pytest.raises(ConfigError, match=r"verify\.seeds: not a valid value"):
        place.config("verify.seeds=1")
