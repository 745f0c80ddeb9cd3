import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ogacli.verdict.budget import Budget
from ogacli.verdict.estimate import Estimate, _confident, estimate, hardly_learned
from ogacli.verdict.findings import Findings


def answered(
    n: int, k: int, wrong: float, *, errors: float = 0.1, seed: int = 0, doubts: float = 1.0
) -> tuple[Findings, Tensor, Tensor]:
    """A model that was not trained on these labels: it errs where it is unsure.

    Returns:
        What it says, the given labels, and the true share of wrong ones.
    """
    generator = torch.Generator().manual_seed(seed)
    true = torch.randint(k, (n,), generator=generator)
    sure = torch.rand(n, generator=generator)
    mistaken = torch.rand(n, generator=generator) < 2 * errors * (1 - sure)
    other = (true + torch.randint(1, k, (n,), generator=generator)) % k
    predictions = torch.where(mistaken, other, true)
    flipped = torch.rand(n, generator=generator) < wrong
    labels = torch.where(flipped, (true + torch.randint(1, k, (n,), generator=generator)) % k, true)
    confidence = 0.5 + 0.49 * sure
    rest = (1 - confidence) / (k - 1)
    agreement = torch.where(predictions == labels, confidence, rest)
    entropy = torch.special.entr(confidence) + (k - 1) * torch.special.entr(rest)
    found = Findings({"l2": sure}, predictions, confidence, agreement, {}, doubts * entropy)
    return found, labels, flipped.double().mean()


@settings(max_examples=40, deadline=None)
@given(
    k=st.integers(2, 12),
    wrong=st.sampled_from([0.05, 0.1, 0.2, 0.4]),
    errors=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 99),
)
def test_held_out_predictions_give_the_share_of_wrong_labels(
    k: int, wrong: float, errors: float, seed: int
) -> None:
    found, labels, share = answered(4000, k, wrong, errors=errors, seed=seed)
    told = estimate(replace(found, held_out=True), labels)
    assert told.by == "held out"
    assert told.share == pytest.approx(float(share), abs=0.03 + 0.3 * errors)
    assert told.low - 0.015 <= share <= told.high + 0.015
    assert told.count(1000) == round(1000 * told.share)


def test_clean_labels_are_nothing_to_trim() -> None:
    found, labels, _ = answered(3000, 10, 0.0, errors=0.01)
    few = estimate(replace(found, held_out=True), labels)
    assert few.share < 0.01
    assert few.low == 0
    labels = found.predictions.clone()
    assert estimate(replace(found, held_out=True), labels).share == 0
    assert estimate(replace(found, held_out=True), labels).high < 0.01


def test_a_model_that_labels_surprise_was_not_trained_on_them() -> None:
    """Its loss is above its entropy; one that was trained on them expects worse than it meets."""
    unseen, labels, _ = answered(3000, 10, 0.2, doubts=1.0)
    seen, _, _ = answered(3000, 10, 0.2, doubts=10.0)
    assert estimate(unseen, labels) == estimate(replace(unseen, held_out=True), labels)
    assert estimate(seen, labels).by == "checkpoint"
    assert estimate(replace(seen, held_out=True), labels).by == "held out"


def test_one_checkpoint_that_was_trained_on_the_labels() -> None:
    """Of many contradictions all count, of few hardly those that it is unsure of."""
    many, labels, _ = answered(4000, 10, 0.35, doubts=10.0)
    differs = float((many.predictions != labels).double().mean())
    assert estimate(many, labels).share == pytest.approx(differs)
    few, labels, _ = answered(4000, 10, 0.0, errors=0.05, doubts=10.0)
    differs = float((few.predictions != labels).double().mean())
    assert 0.02 < differs
    assert estimate(few, labels).share < 0.6 * differs


def test_of_several_checkpoints_all_contradictions_count() -> None:
    found, labels, _ = answered(4000, 10, 0.1)
    told = estimate(replace(found, several=True), labels)
    assert told.by == "trajectory"
    assert told.share == pytest.approx(float((found.predictions != labels).double().mean()))
    assert told.low < told.share < told.high
    clean, labels, _ = answered(4000, 10, 0.0, errors=0.01)
    assert 0 < float((clean.predictions != labels).double().mean()) < 0.03
    assert estimate(replace(clean, several=True), labels).share < 0.01


def test_quarantined_samples_do_not_count() -> None:
    found, labels, _ = answered(500, 4, 0.2)
    parts = (found.predictions, found.prediction_probability, found.probability)
    without = Findings(found.scores, *(part[100:] for part in parts), {}, found.entropy[100:])
    lost = Findings(
        found.scores,
        found.predictions,
        torch.where(torch.arange(500) < 100, torch.nan, found.prediction_probability),
        found.probability,
        dict.fromkeys(range(100), "unreadable"),
        found.entropy,
    )
    assert estimate(replace(lost, held_out=True), labels) == estimate(
        replace(without, held_out=True), labels[100:]
    )
    assert estimate(lost, labels) == estimate(without, labels[100:])


def test_without_predictions_there_is_no_estimate() -> None:
    nothing = torch.full((3,), torch.nan)
    found = Findings({"l2": nothing}, torch.full((3,), -1), nothing, nothing, {}, nothing)
    assert estimate(found, torch.zeros(3, dtype=torch.int64)) is None


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 30), k=st.integers(1, 4), held_out=st.booleans(), seed=st.integers(0, 99))
def test_whatever_was_predicted_the_interval_holds_the_share(
    n: int, k: int, held_out: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    predictions, labels = torch.randint(k, (2, n), generator=generator)
    confidence = torch.rand(n, generator=generator)
    found = Findings({"l2": confidence}, predictions, confidence, confidence, {}, confidence)
    told = estimate(replace(found, held_out=held_out), labels)
    if told is None:
        fit = float((predictions == labels).double().mean())
        assert not held_out
        assert hardly_learned(fit, float(labels.bincount().max()) / n)
        return
    assert 0 <= told.low <= told.share <= told.high <= 1
    assert 0 <= Budget("auto").count(n, told.count(n)) <= n


def test_it_is_json() -> None:
    told = Estimate(share=0.1, low=0.05, high=0.2, by="held out")
    assert Estimate.model_validate_json(told.model_dump_json()) == told


def test_a_detector_with_few_doubts_tells_the_share() -> None:
    found, labels, _ = answered(4000, 10, 0.2)
    plain = estimate(replace(found, held_out=True), labels)
    generator = torch.Generator().manual_seed(1)
    sure = torch.where(torch.rand(4000, generator=generator) < 0.25, 0.97, 0.01).double()
    told = estimate(replace(replace(found, wrong=sure), held_out=True), labels)
    assert told.by == "held out"
    assert told.share == pytest.approx(float(sure.mean()))
    assert told.low < told.share < told.high
    missing = sure.masked_fill(torch.arange(4000) % 7 == 0, torch.nan)
    assert estimate(replace(replace(found, wrong=missing), held_out=True), labels).share == pytest.approx(
        float(missing[~missing.isnan()].mean())
    )
    doubtful = torch.full((4000,), 0.2, dtype=torch.float64)
    assert estimate(replace(replace(found, wrong=doubtful), held_out=True), labels) == plain
    assert estimate(replace(found, wrong=sure), labels).by == "held out", "as is found out"


def test_of_a_model_that_was_trained_on_the_labels_doubts_must_be_fewer() -> None:
    found, labels, _ = answered(4000, 10, 0.2, doubts=10.0)
    plain = estimate(found, labels)
    wrong = torch.where(torch.arange(4000) % 5 == 0, 0.9, 0.0).double()
    told = estimate(replace(found, wrong=wrong), labels)
    assert told.by == plain.by == "checkpoint"
    assert told.share == pytest.approx(0.18)
    more = torch.where(torch.arange(4000) % 5 == 0, 0.8, 0.0).double()
    assert estimate(replace(found, wrong=more), labels) == plain
    assert estimate(replace(replace(found, wrong=more), held_out=True), labels).share == pytest.approx(0.16)
    several = replace(found, several=True)
    assert estimate(replace(several, wrong=wrong), labels) == estimate(several, labels)


def test_nothing_is_wrong_where_the_surest_answers_say_so() -> None:
    clean, labels, _ = answered(3000, 10, 0.0, errors=0.0)
    some = torch.where(torch.arange(3000) % 50 == 0, 0.97, 0.0).double()
    assert estimate(replace(replace(clean, wrong=some), held_out=True), labels).share == 0


def test_thousands_of_classes_are_counted_like_few() -> None:
    """The most confident third of each predicted class, ties to the earlier sample, as class by class."""
    generator = torch.Generator().manual_seed(0)
    predictions = torch.randint(-1, 700, (3000,), generator=generator)
    confidence = torch.rand(3000, generator=generator).mul(8).round()
    expected = torch.zeros(3000, dtype=torch.bool)
    for label in predictions.unique():
        own = (predictions == label).nonzero()[:, 0]
        order = own[confidence[own].argsort(descending=True, stable=True)]
        expected[order[: math.ceil(0.3 * len(own))]] = True
    assert torch.equal(_confident(confidence, predictions), expected)
