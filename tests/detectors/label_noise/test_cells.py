"""Probabilities that classes of a set, and targets, are wrong, where it is known which ones are."""

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from ogacli.detectors._cells import score_of
from ogacli.detectors.label_noise.present import PresenceNoise, _told_apart
from ogacli.detectors.label_noise.target import TargetNoise

N, K = 4000, 6


def noisy_sets(given: float, forgotten: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Calibrated logits of the true classes, labels with errors, and where these are."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(N, K, generator=generator) - 1.5
    truth = (torch.rand(N, K, generator=generator) < logits.sigmoid()).double()
    drawn = torch.rand(N, K, generator=generator)
    wrong = torch.where(truth > 0, drawn < forgotten, drawn < given)
    return logits, torch.where(wrong, 1 - truth, truth), wrong


@pytest.mark.parametrize(("given", "forgotten"), [(0.03, 0.03), (0.1, 0.1), (0.0, 0.2), (0.05, 0.0)])
def test_rates_of_classes_are_found(given: float, forgotten: float) -> None:
    logits, labels, wrong = noisy_sets(given, forgotten)
    noise = PresenceNoise.fitted(logits, labels)
    found = noise.wrong(logits, labels)
    assert noise.given.mean() == pytest.approx(given, abs=0.03)
    assert noise.forgotten.mean() == pytest.approx(forgotten, abs=0.04)
    assert found.mean() == pytest.approx(float(wrong.double().mean()), abs=0.02)
    none = torch.zeros(K)
    known = PresenceNoise(none + 1, none, none + given, none + forgotten, none).wrong(logits, labels)
    doubted, best = found > 0.5, known > 0.5
    assert wrong[doubted].double().mean() > wrong[best].double().mean() - 0.04
    assert int(doubted.sum()) == pytest.approx(int(best.sum()), rel=0.15), "as many as with the true rates"


@pytest.mark.parametrize("sharpness", [1.0, 1.5])
def test_no_class_of_clean_sets_is_doubted(sharpness: float) -> None:
    """Also where the model is surer than it should be."""
    logits, labels, _ = noisy_sets(0.0, 0.0)
    assert PresenceNoise.fitted(sharpness * logits, labels).wrong(sharpness * logits, labels).max() <= 0.5


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_predictions_that_tell_nothing_doubt_no_class(sharpness: float) -> None:
    """As of a network without training, or of classes in another order: noise would explain every label."""
    logits = sharpness * torch.randn(N, K, generator=torch.Generator().manual_seed(0))
    _, labels, _ = noisy_sets(0.0, 0.0)
    assert PresenceNoise.fitted(logits, labels).wrong(logits, labels).max() <= 0.5


def test_how_often_a_sample_with_a_class_has_the_larger_logit() -> None:
    """The area under the ROC curve of scikit-learn over the pairs of all classes; ties count half."""
    logits, labels, _ = noisy_sets(0.1, 0.1)
    logits, labels[:, 0] = logits.round(), 0
    pairs = labels.sum(0) * (N - labels.sum(0))
    each = [roc_auc_score(labels[:, c], logits[:, c]) for c in range(1, K)]
    expected = float((torch.tensor(each) * pairs[1:]).sum() / pairs.sum())
    assert _told_apart(logits.double(), labels) == pytest.approx(expected)
    assert _told_apart(logits.double(), torch.zeros(N, K)) == 1.0


def test_a_class_that_is_often_forgotten_gets_rates_of_its_own() -> None:
    logits, labels, wrong = noisy_sets(0.0, 0.0)
    forgotten = (torch.rand(N, generator=torch.Generator().manual_seed(1)) < 0.4) & (labels[:, 2] > 0)
    labels[forgotten, 2], wrong[forgotten, 2] = 0, True
    noise = PresenceNoise.fitted(logits, labels)
    assert noise.forgotten[2] == pytest.approx(0.4, abs=0.08)
    assert noise.forgotten[[0, 1, 3, 4, 5]].max() < 0.03
    found = noise.wrong(logits, labels)
    doubted = found > 0.5
    assert doubted[:, 2].sum() > 0.4 * forgotten.sum()
    assert wrong[doubted].double().mean() > 0.7


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_class_that_no_sample_or_every_sample_has_is_not_doubted(value: float) -> None:
    """Nothing shows what the other value looks like; logits of such a class are chance."""
    logits, labels, wrong = noisy_sets(0.1, 0.1)
    labels[:, 2] = value
    found = PresenceNoise.fitted(logits, labels).wrong(logits, labels)
    assert found[:, 2].max() <= 0.5
    others = [0, 1, 3, 4, 5]
    assert wrong[:, others][found[:, others] > 0.5].double().mean() > 0.6
    alone = labels[:, 2:3].expand(N, K)
    assert PresenceNoise.fitted(logits, alone).wrong(logits, alone).max() <= 0.5


def test_residuals_that_grow_with_the_prediction() -> None:
    generator = torch.Generator().manual_seed(0)
    predictions = 10 * torch.rand(N, 2, generator=generator, dtype=torch.float64)
    errors = torch.randn(N, 2, generator=generator, dtype=torch.float64)
    true_scale = torch.stack([0.2 + 0.2 * predictions[:, 0], torch.ones(N)], 1)
    targets = predictions + true_scale * errors
    noise = TargetNoise.fitted(predictions, targets)
    assert (noise.scale[1, 1:] == 0).all(), "the second target has one scale"
    assert (noise.scales(predictions) / true_scale).log().abs().mean() < 0.1
    assert (noise.wrong(predictions, targets) > 0.5).double().mean() < 0.002
    suggested, margin = noise.suggested(predictions, targets)
    assert ((targets - suggested).abs() < margin).double().mean() == pytest.approx(0.9, abs=0.02)


def test_forgotten_classes_rank_above_what_the_loss_finds() -> None:
    logits, labels, wrong = noisy_sets(0.0, 0.2)
    bad = wrong.any(1).numpy()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    found = score_of(PresenceNoise.fitted(logits, labels).wrong(logits, labels))
    assert average_precision_score(bad, found) > average_precision_score(bad, loss.amax(1)) + 0.1


def noisy_targets(kind: str, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    predictions = 5 * torch.randn(N, 1, generator=generator)
    targets = predictions + torch.randn(N, 1, generator=generator)
    wrong = torch.zeros(N, dtype=torch.bool)
    if kind != "right":
        wrong[: N // 10] = True
    if kind == "exchanged":
        targets[: N // 10] = targets[: N // 10].flip(0)
    if kind == "shifted":
        shift = torch.rand(N // 10, 1, generator=generator) * 10 + 5
        targets[: N // 10] += torch.where(torch.rand(N // 10, 1, generator=generator) < 0.5, -shift, shift)
    if kind == "off":
        targets[: N // 10] += 20 * torch.randn(N // 10, 1, generator=generator)
    return predictions, targets, wrong


@pytest.mark.parametrize("kind", ["right", "exchanged", "shifted", "off"])
def test_wrong_targets_are_told(kind: str) -> None:
    predictions, targets, wrong = noisy_targets(kind)
    noise = TargetNoise.fitted(predictions, targets)
    found = noise.wrong(predictions, targets)[:, 0]
    assert noise.scales(predictions).mean() == pytest.approx(1.0, rel=0.15)
    assert not noise.poor
    if kind == "right":
        assert (found > 0.5).double().mean() < 0.002
    else:
        share = found.mean() if kind == "exchanged" else (found > 0.5).double().mean()
        assert share == pytest.approx(0.1, abs=0.03)
        assert wrong[found > 0.5].double().mean() > 0.9
        assert average_precision_score(wrong.numpy(), found) > 0.75


def test_shifted_targets_are_ranked_by_how_far_they_are_off() -> None:
    """Where the distribution of all targets explains a shift as well, it is no less wrong at their centre."""
    generator = torch.Generator().manual_seed(0)
    predictions = 4 * torch.randn(N, 1, generator=generator)
    targets = predictions + 2 * torch.randn(N, 1, generator=generator)
    far = 4.5 + 9 * torch.rand(N // 10, 1, generator=generator)
    targets[: N // 10] += torch.where(torch.rand(N // 10, 1, generator=generator) < 0.5, -far, far)
    wrong = torch.arange(N) < N // 10
    found = TargetNoise.fitted(predictions, targets).wrong(predictions, targets)[:, 0]
    best = average_precision_score(wrong, (targets - predictions).abs()[:, 0])
    assert average_precision_score(wrong, found) > best - 0.002


def test_a_model_that_was_trained_on_targets_of_another_size() -> None:
    """Each prediction is the mean of eight neighbours; one in ten has ten times or a tenth of its target."""
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(N, generator=generator).sort().values
    right = 10 + 5 * torch.sin(20 * place) + torch.randn(N, generator=generator)
    wrong = torch.rand(N, generator=generator) < 0.1
    factor = torch.where(torch.rand(N, generator=generator) < 0.5, 0.1, 10.0)
    given = torch.where(wrong, right * factor, right)
    around = given.roll(4).unfold(0, 9, 1)  # 4 on each side
    given, right, wrong = given[:-8], right[:-8], wrong[:-8]
    predictions = (around.sum(1) - given)[:, None] / 8
    noise = TargetNoise.fitted(predictions, given[:, None])
    found = noise.wrong(predictions, given[:, None])[:, 0]
    assert average_precision_score(wrong.numpy(), found) > 0.95
    assert wrong[found > 0.5].double().mean() > 0.75
    assert (found[wrong] > 0.5).double().mean() > 0.95
    suggested = noise.suggested(predictions, given[:, None])[0][:, 0]
    closer = (suggested - right).abs().mean() / (predictions[:, 0] - right).abs().mean()
    assert closer < 0.7, "suggested is the level of the targets, not the prediction"


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_the_level_is_no_single_value(share: float) -> None:
    """Targets of which many are 0, as sales of a day: the others are not wrong."""
    generator = torch.Generator().manual_seed(0)
    some = torch.rand(N, 1, generator=generator) > share
    targets = torch.where(some, 5 + torch.randn(N, 1, generator=generator), 0.0)
    predictions = 6 * some + torch.randn(N, 1, generator=generator)
    noise = TargetNoise.fitted(predictions, targets)
    assert (noise.level == torch.tensor([0.0, 0.0, 0.0, 1.0])).all()
    assert (noise.wrong(predictions, targets) > 0.5).double().mean() < 0.02


def test_residuals_of_a_poor_model_tell_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    predictions, targets = torch.randn(2, N, 1, generator=generator)
    noise = TargetNoise.fitted(predictions, targets)
    assert noise.poor
    assert noise.wrong(predictions, targets).max() <= 0.5


@pytest.mark.parametrize("noise", [PresenceNoise, TargetNoise])
def test_constant_labels_and_few_samples(noise: type[PresenceNoise] | type[TargetNoise]) -> None:
    for n in (1, 2, 30):
        labels = torch.zeros(n, 2)
        found = noise.fitted(torch.randn(n, 2, generator=torch.Generator().manual_seed(n)), labels)
        assert torch.isfinite(found.wrong(torch.zeros(n, 2), labels)).all()
