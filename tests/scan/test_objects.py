"""Scans of Python objects: no YAML, and a run directory that every later command reads."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import TensorDataset

import ogacli
from ogacli.config import commands
from ogacli.errors import ConfigError, RunError
from reference import head_gradients, norm
from small_scans import WIDTH, H, K, N, Place, contents, make_place


@pytest.fixture
def place(tmp_path) -> Place:
    return make_place(tmp_path / "place")


@pytest.fixture
def samples(place) -> ogacli.Samples:
    arrays = place.arrays
    names = [str(i) for i in range(K)]
    dataset = TensorDataset(torch.tensor(arrays["x"]), torch.tensor(arrays["y"]))
    return ogacli.Samples.of(dataset, classes=names, truth=torch.tensor(arrays["truth"]))


def fresh() -> nn.Module:
    return nn.Sequential(nn.Linear(H, WIDTH), nn.ReLU(), nn.Linear(WIDTH, K))


def test_scores_are_those_of_the_config(place, samples):
    module, _ = place.network()
    found = ogacli.scan(samples, module, detector=["l2", "latent_label"], budget=0.1)
    run = commands.scan(place.config("detector=[l2, latent_label]"))
    for column in (
        "id",
        "score",
        "score_latent_label",
        "rank",
        "flagged",
        "reason",
        "suggested_label",
        "truth",
    ):
        assert found.table()[column].equals(run.scores[column]), column
    assert found.summary == run.summary.model_copy(update={"layers": found.summary.layers})


def test_the_network_is_left_as_it_was(place, samples):
    module, _ = place.network()
    module.train()
    before, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    grads = [parameter.requires_grad for parameter in module.parameters()]
    ogacli.scan(samples, module, layers="all")
    assert module.training
    assert [parameter.requires_grad for parameter in module.parameters()] == grads
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in module.modules())


def test_everything_after_the_scan_works_on_it(place, samples, tmp_path):
    module, _ = place.network()
    found = ogacli.scan(samples, module, detector=["l2", "isolation_forest"])
    run = found.save(tmp_path / "run")
    assert run.provenance["dataset"]["source"] == "memory"
    assert [name.partition(" ")[2] for name in run.provenance["checkpoints"]] == ["in memory"]
    assert run.config["model"]["type"].endswith("Sequential") or run.config["model"]["type"]
    assert "digits" not in (run.path / "config.yaml").read_text()
    assert ogacli.trim(run, tmp_path / "kept.npy").fates["dropped"] == run.summary.flagged
    assert ogacli.gate(run, max_flagged="10%").passed
    assert "samples flagged" in ogacli.report(run, "md")
    assert ogacli.compare([run]).samples == N
    with pytest.raises(RunError, match="memory"):
        ogacli.trim(run, tmp_path / "pictures", format="image_folder")
    assert not (tmp_path / "pictures").exists()
    with pytest.raises(RunError, match="already exists"):
        found.save(tmp_path / "run")
    beside = ["timing.json", "manifest.parquet"]  # which the trim has left there
    before = contents(run.path, beside)
    assert contents(found.save(run.path, overwrite=True).path, beside) == before


def test_other_weights_have_another_fingerprint(place, samples):
    module, _ = place.network()
    one = ogacli.scan(samples, module).provenance["checkpoints"]
    with torch.no_grad():
        next(module.parameters()).view(-1)[0] += 1
    other = ogacli.scan(samples, module).provenance["checkpoints"]
    assert one.keys() == other.keys()
    assert one != other


def test_gradients_are_those_of_one_backward_pass_each(place, samples):
    module, head = place.network()
    arrays = place.arrays
    exact = head_gradients(
        module, head, torch.tensor(arrays["x"]), torch.tensor(arrays["y"]), F.cross_entropy
    )
    batches = list(ogacli.gradients(samples, module, batch_size=50))
    assert [len(batch) for batch in batches] == [50, 50, 20]
    found = torch.cat([batch.norm(2) for batch in batches])
    torch.testing.assert_close(found, norm(exact, 2).double(), rtol=1e-5, atol=1e-6)


def test_folds_train_networks_first(samples):
    found = ogacli.scan(
        samples, fresh, folds=3, train={"epochs": 8, "batch_size": 16}, detector="latent_label", budget="auto"
    )
    assert found.summary.estimate.by == "held out"
    assert sorted(found.provenance["checkpoints"]) == [f"fold-{i}.safetensors" for i in (1, 2, 3)]
    truth, labels = found.samples.truth, found.samples.labels
    scores = np.asarray(found.table()["score"])
    wrong = (truth != labels).numpy()
    assert scores[wrong].mean() > scores[~wrong].mean()


def test_train_and_verify(samples, tmp_path):
    training = ogacli.train(samples, fresh, output=tmp_path / "epochs", options={"epochs": 2})
    assert [path.name for path in training.checkpoints] == ["epoch-001.safetensors", "epoch-002.safetensors"]
    module = fresh()
    found = ogacli.scan(samples, module, budget=0.1).save(tmp_path / "run")
    quick = {"train": {"epochs": 1}, "options": {"seeds": 2}}
    verified = ogacli.verify(samples, found, fresh, test=samples, **quick)
    names = {"all", "trimmed", "relabelled", "weighted", "random", "oracle"}
    assert {arm.name for arm in verified.arms} == names
    with pytest.raises(RunError, match="cannot be repeated without held-out samples"):
        ogacli.verify(samples, found, fresh, **quick)
    paths = [str(path) for path in training.checkpoints]
    found = ogacli.scan(samples, fresh, checkpoint=paths, budget=0.1).save(tmp_path / "trajectory")
    assert {arm.name for arm in ogacli.verify(samples, found, fresh, **quick).arms} == names


def test_several_checkpoints_of_a_training(samples, tmp_path):
    training = ogacli.train(samples, fresh, output=tmp_path / "epochs", options={"epochs": 3})
    paths = [str(path) for path in training.checkpoints]
    found = ogacli.scan(samples, fresh, checkpoint=paths, budget=0.1)
    assert sorted(found.provenance["checkpoints"]) == [f"epoch-00{i}.safetensors" for i in (1, 2, 3)]
    assert found.verdict.findings.several
    assert found.save(tmp_path / "run").summary.flagged == 12
    module = fresh()
    module.load_state_dict(load_file(paths[-1]))
    last, loaded = (ogacli.scan(samples, fresh, checkpoint=paths[-1]), ogacli.scan(samples, module))
    np.testing.assert_allclose(last.table()["score"], loaded.table()["score"], rtol=1e-6)
    with pytest.raises(ConfigError, match="model: a training begins with fresh weights"):
        ogacli.scan(samples, module, checkpoint=paths)


def test_attribution(place, samples, tmp_path):
    module, _ = place.network()
    queries = samples.select(torch.arange(5))
    found = ogacli.attribute(
        samples, queries, module, output=tmp_path / "why", detector="gradient_tracing", options={"top": 3}
    )
    assert (found.queries, found.training) == (5, N)
    assert (tmp_path / "why" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"detector": "l22"}, r"detector\.name: unknown detector 'l22'; did you mean 'l2'\?"),
        ({"detector": {"name": "l2", "tres": 1}}, r"detector\.tres: unknown key"),
        ({"loss": "msee"}, r"loss\.name: unknown loss 'msee'; did you mean 'mse'\?"),
        ({"batch_size": 0}, r"gradients\.batch_size: not a valid value"),
        ({"budget": 1.5}, r"budget: not a budget"),
        ({"device": "tpu"}, r"gradients\.device: no such device"),
        ({"folds": 3}, r"model: a training begins with fresh weights"),
    ],
)
def test_mistakes_are_told_as_those_of_a_config(place, samples, arguments, message):
    module, _ = place.network()
    with pytest.raises(ConfigError, match=message):
        ogacli.scan(samples, module, **arguments)


def test_a_function_is_no_trained_network(samples):
    with pytest.raises(ConfigError, match="model: not a trained network"):
        ogacli.scan(samples, fresh)
