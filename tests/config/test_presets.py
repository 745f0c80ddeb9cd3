import pytest

from ogacli.cli.views.scanning import scan_view
from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.data import Samples
from ogacli.errors import ConfigError
from ogacli.scan import scan as scan_samples
from ogacli.verdict.budget import Budget
from small_scans import make_place

PLAIN = "data: digits\nmodel: mlp\n"


def test_the_paper_s_setting():
    """Chhabra et al.: the last layer's weight, 100 trees of 256 samples, 5 %."""
    config = parse_config(PLAIN + "preset: paper")
    [forest] = config.detectors
    assert (type(forest).__name__, forest.trees, forest.subsample) == ("IsolationForest", 100, 256)
    assert (config.gradients.layers, config.gradients.bias) == ("head", False)
    assert config.budget == Budget(0.05)
    assert config.protect == "off"
    assert "preset" not in config.resolved
    again = {"gradients", "detector", "budget", "protect"}
    assert again <= set(config.resolved)


def test_what_is_written_wins():
    text = PLAIN + "preset: paper\nbudget: 0.2\ngradients: {batch_size: 7}\ndetector: l2"
    config = parse_config(text, ["gradients.precision=bfloat16"])
    assert config.budget == Budget(0.2)
    assert [type(one).__name__ for one in config.detectors] == ["L2"]
    assert (config.gradients.batch_size, config.gradients.bias) == (7, False)
    assert config.gradients.precision == "bfloat16"


@pytest.mark.parametrize("preset", ["papers", "[paper]", "3"])
def test_no_such_preset(preset):
    with pytest.raises(ConfigError, match=r"config:3: preset: no such preset\n.*\n.*expected: one of paper"):
        parse_config(PLAIN + f"preset: {preset}")


def test_mistakes_beside_a_preset_are_told():
    with pytest.raises(ConfigError, match="gradients: not a section"):
        parse_config(PLAIN + "preset: paper\ngradients: head")
    with pytest.raises(ConfigError, match=r"(?s)no such preset.*budgets: unknown key"):
        parse_config(PLAIN + "preset: papers\nbudgets: 3")


def test_the_head_without_its_bias(tmp_path):
    place = make_place(tmp_path, detector="l2")
    with_bias = scan(place.config())
    without = scan(place.config("gradients.bias=false"), output=tmp_path / "without")
    names = list(with_bias.provenance["parameters"])
    assert [name.rpartition(".")[2] for name in names] == ["weight", "bias"]
    assert list(without.provenance["parameters"]) == names[:1]
    assert without.summary.parameters < with_bias.summary.parameters
    both, one = (run.scores["score"].to_numpy() for run in (with_bias, without))
    assert (one <= both + 1e-9).all()
    assert (one < both - 1e-9).any()


def test_norm_and_forest_stand_beside_the_deciding_detector():
    def default(text):
        return [type(found).__name__ for found in parse_config(PLAIN + text).detectors]

    assert default("") == ["LatentLabel", "L2", "IsolationForest"]
    assert default("loss: mse") == ["LatentTarget", "L2", "IsolationForest"]
    assert default("loss: bce_with_logits") == ["LatentLabelSet", "L2", "IsolationForest"]
    assert default("query: digits") == ["IsolationForest"]


def test_a_written_detector_means_what_it_says():
    assert [type(one).__name__ for one in parse_config(PLAIN + "detector: latent_label").detectors] == [
        "LatentLabel"
    ]


def test_without_features_there_is_no_forest():
    """The gradients are residuals, which the other detectors read already."""

    def default(model, loss="cross_entropy"):
        text = f"data: {{source: arrays, y: y.npy}}\nmodel: {{source: precomputed, {model}}}\nloss: {loss}"
        return [type(found).__name__ for found in parse_config(text).detectors]

    assert default("probabilities: p.npy") == ["LatentLabel", "L2"]
    assert default("probabilities: p.npy, features: h.npy") == ["LatentLabel", "L2", "IsolationForest"]
    assert default("logits: z.npy", "bce_with_logits") == ["LatentLabelSet", "L2"]


def test_a_scan_of_the_default_config_has_a_column_for_each_detector(tmp_path):
    """The flags are those of the deciding detector alone; the terminal says which that is."""
    place = make_place(tmp_path, detector=None)
    place.write_config(detector=None)
    run = scan(place.config())
    alone = scan(place.config("detector=latent_label"), output=tmp_path / "alone")
    assert {"score_l2", "score_isolation_forest", "agreement"} <= set(run.scores.column_names)
    assert run.summary.consensus.detectors == 3
    for column in ("score", "rank", "flagged", "suggested_label"):
        assert run.scores[column].equals(alone.scores[column]), column
    told = " ".join(str(part) for part in scan_view(run)).replace("\n", " ")
    assert "latent_label decides, by predicted probabilities" in told
    arrays = place.arrays
    samples = Samples.of(arrays["x"], labels=arrays["y"])
    found = scan_samples(samples, place.network()[0])
    assert found.summary.detectors == run.summary.detectors
