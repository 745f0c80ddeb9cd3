"""Whole scans with ``gradients.residual: neighbours``."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ogacli.config.commands import plan, scan
from ogacli.errors import ConfigError, GradientError
from small_scans import make_place

NEIGHBOURS = "gradients.residual=neighbours"
COUNT = "gradients.neighbours.count=7"


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path)


def expected_residual(place, of="predictions"):
    """Features, and what the sample's neighbours say less what its label says."""
    module, head = place.network()
    arrays = place.arrays
    read = []
    hook = head.register_forward_pre_hook(lambda layer, args: read.append(args[0]))
    with torch.no_grad():
        said = module(torch.from_numpy(arrays["x"])).softmax(1)
    hook.remove()
    labels = F.one_hot(torch.from_numpy(arrays["y"]), 3).float()
    distance = torch.cdist(read[0].double(), read[0].double()).fill_diagonal_(torch.inf)
    near = distance.topk(7, largest=False).indices
    answers = said if of == "predictions" else labels
    return module, read[0], answers[near].mean(1) - labels


@pytest.mark.parametrize("of", ["predictions", "labels"])
def test_the_norm_of_the_heads_gradient(place, of):
    run = scan(place.config(NEIGHBOURS, COUNT, f"gradients.neighbours.of={of}"))
    _, features, residual = expected_residual(place, of)
    norm = residual.norm(dim=1) * (features.square().sum(1) + 1).sqrt()
    np.testing.assert_allclose(run.scores["score"].to_numpy(), norm.numpy(), rtol=1e-4, atol=1e-5)


def test_the_norm_of_all_gradients(place):
    run = scan(place.config(NEIGHBOURS, COUNT, "gradients.layers=all"))
    module, _, residual = expected_residual(place)
    x, norms = torch.from_numpy(place.arrays["x"]), []
    for i in range(len(x)):
        module.zero_grad()
        module.requires_grad_(True)
        (module(x[i : i + 1])[0] * residual[i]).sum().backward()
        norms.append(torch.cat([p.grad.flatten() for p in module.parameters()]).norm().item())
    np.testing.assert_allclose(run.scores["score"].to_numpy(), norms, rtol=1e-4)


def test_the_diagnosis_is_of_what_the_neighbours_say(place):
    run = scan(place.config(NEIGHBOURS))
    found = run.summary.diagnosis
    assert found.reason.startswith("the mean prediction of a sample's neighbours predicts ")
    assert (found.verdict, found.neighbours) == ("fresh", None), "the network was never trained"
    assert found.fit == 1 - run.scores["suggested_label"].is_valid().to_numpy().mean()


def test_predictions_and_suggestions_are_the_neighbours(place):
    run = scan(place.config(NEIGHBOURS, COUNT, "budget=1.0"))
    _, _, residual = expected_residual(place)
    labels = torch.from_numpy(place.arrays["y"])
    said = residual + F.one_hot(labels, 3)
    suggested = [None if value is None else int(value) for value in run.scores["suggested_label"].to_pylist()]
    expected = [None if a == b else a for a, b in zip(said.argmax(1).tolist(), labels.tolist(), strict=True)]
    assert suggested == expected


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize(
    "detector", ["isolation_forest", "l1", "self_confidence", "{name: datainf, against: self}"]
)
def test_every_detector_and_batch_size(place, layers, detector):
    config = (NEIGHBOURS, f"gradients.layers={layers}", f"detector={detector}")
    whole = scan(place.config(*config), output=place.folder / "whole").scores["score"].to_numpy()
    parts = scan(place.config(*config, "gradients.batch_size=7"), output=place.folder / "parts")
    np.testing.assert_allclose(parts.scores["score"].to_numpy(), whole, rtol=1e-3, atol=1e-5)
    plain = scan(place.config(*config[1:]), output=place.folder / "plain").scores["score"].to_numpy()
    assert not np.allclose(plain, whole, rtol=1e-3)


def test_a_plan(place):
    found = plan(place.config(NEIGHBOURS, "gradients.layers=all"))
    assert found.samples == 120
    assert found.seconds >= 0


def test_probabilities_alone(place):
    np.save(place.folder / "p.npy", np.full((120, 3), 1 / 3, dtype=np.float32))
    place.write_config(model={"source": "precomputed", "probabilities": "p.npy"})
    with pytest.raises(GradientError, match="without features there are no neighbours"):
        scan(place.config(NEIGHBOURS))


def test_mistakes_in_the_section(place):
    with pytest.raises(ConfigError, match=r"gradients.neighbours.count(.|\n)*greater than or equal to 1"):
        place.config("gradients.neighbours.count=0")
    with pytest.raises(ConfigError, match=r"gradients.neighbours.cuont: unknown key"):
        place.config("gradients.neighbours.cuont=3")
