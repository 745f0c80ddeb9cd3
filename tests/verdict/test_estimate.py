import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ogacli.detectors.label_noise.candidates import Candidates
from ogacli.detectors.label_noise.model import log_odds_wrong
from ogacli.detectors.label_noise.signals import fitted
from ogacli.verdict.budget import Budget
from ogacli.verdict.estimate import Estimate, estimate, hardly_learned
from ogacli.verdict.findings import Findings
from simulated import predictions


def found(logs: Tensor, labels: Tensor, *, held_out: bool = True) -> Findings:
    """As the scan with ``latent_label`` finds it, for a model without features."""
    noise, signals = fitted(Candidates.of(logs, labels), held_out=held_out)
    wrong = log_odds_wrong(noise.posterior(logs, labels), labels).sigmoid()
    p = logs.exp()
    highest, predicted = p.max(1)
    own = p.gather(1, labels[:, None])[:, 0]
    return Findings(
        {"latent_label": wrong},
        predicted,
        highest.float(),
        own.float(),
        {},
        torch.special.entr(p).sum(1).float(),
        wrong=wrong,
        held_out=held_out,
        signals=((1.0, signals),),
    )


def told(n: int, k: int, **options: float | str | int) -> tuple[Estimate, float]:
    """The estimate, and the true share."""
    logs, labels, true = predictions(n, k, **options)
    one = estimate(found(logs, labels), labels)
    assert one is not None
    return one, float((labels != true).double().mean())


@pytest.mark.parametrize("k", [2, 3, 10, 50])
@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("noise", ["uniform", "pairs"])
def test_a_strong_model_tells_the_share(k: int, share: float, noise: str) -> None:
    one, true = told(3000, k, spread=12.0 if k < 10 else 40.0, noise=noise, share=share)
    assert one.share == pytest.approx(true, abs=0.06)
    assert one.low <= true <= one.high
    assert one.high - one.low < 0.25
    assert one.by == "held out"


@pytest.mark.parametrize("k", [2, 10, 50])
@pytest.mark.parametrize("spread", [1.5, 3.0, 12.0, 40.0])
@pytest.mark.parametrize("seed", range(2))
def test_clean_labels_are_not_flagged_whatever_the_strength(k: int, spread: float, seed: int) -> None:
    one, _ = told(3000, k, spread=spread, seed=seed)
    assert one.count(1000) < 10
    assert one.low == 0


@pytest.mark.parametrize("k", [3, 10])
def test_where_a_weak_model_errs_it_says_that_it_cannot_tell(k: int) -> None:
    one, _ = told(4000, k, spread=2.0)
    assert one.share is None
    assert one.count(1000) == 0
    assert "look the same" in one.reason
    assert one.low == 0
    assert 0.2 < one.high < 1


def test_a_weak_model_tells_the_share_where_its_firm_predictions_are_contradicted() -> None:
    one, true = told(6000, 10, spread=3.0, share=0.3)
    assert one.share == pytest.approx(true, abs=0.06)
    assert one.low <= true <= one.high


def test_labels_that_a_strong_model_explains_are_told_by_its_flat_disagreement() -> None:
    """Wrong labels that follow what the model knows of each sample, as those of people do."""
    logs, labels, true = predictions(5_000, 10, spread=40.0)
    generator = torch.Generator().manual_seed(1)
    second = logs.topk(2, 1).indices[:, 1]
    chance = 0.25 * (torch.rand(len(true), generator=generator) < 0.7).double()
    wrong = torch.rand(len(true), generator=generator) < chance
    labels = torch.where(wrong, second, true)
    p = (1 - chance[:, None]) * logs.exp()
    p = p.scatter_add(1, second[:, None], chance[:, None].double())
    findings = found(p.clamp_min(1e-12).log(), labels)
    one = estimate(findings, labels)
    share = float((labels != true).double().mean())
    assert one.share == pytest.approx(share, abs=0.06)
    assert one.low <= share <= one.high


def test_where_noise_follows_doubt_the_share_is_the_disagreement_of_a_strong_model() -> None:
    """Label noise by class explains a part of it alone."""
    logs, labels, _ = predictions(2000, 10, spread=40.0, share=0.2)
    findings = found(logs, labels)
    [(_, one)] = findings.signals
    own = replace(one.own, near_ties=0.25, lapses=0.02, fewest=0.02, most=0.03)
    doubtful = replace(findings, signals=((1.0, replace(one, own=own, sharpness=1.25)),))
    told = estimate(doubtful, labels)
    assert told is not None
    assert told.share == own.share
    assert told.low < 0.05 < told.share < told.high


def test_without_a_label_detector_lapses_tell_the_share_or_nothing_does() -> None:
    logs, labels, true = predictions(6000, 10, spread=12.0, share=0.2)
    plain = replace(found(logs, labels), wrong=None, signals=())
    share = float((labels != true).double().mean())
    assert estimate(plain, labels).share == pytest.approx(share, abs=0.05)
    logs, labels, _ = predictions(6000, 10, spread=2.0)
    assert estimate(replace(found(logs, labels), wrong=None, signals=()), labels).share is None


def test_a_model_that_labels_surprise_was_not_trained_on_them() -> None:
    """Its loss is above its entropy; one that was trained on them expects worse than it meets."""
    logs, labels, _ = predictions(3000, 10, spread=8.0, share=0.2)
    findings = found(logs, labels, held_out=False)
    surprised = replace(findings, entropy=0 * findings.entropy)
    assert estimate(surprised, labels).by == "held out"
    unsure = replace(findings, entropy=10 * findings.entropy)
    assert estimate(unsure, labels).by == "checkpoint"
    assert estimate(replace(unsure, several=True), labels).by == "trajectory"
    assert estimate(unsure, labels).high > estimate(surprised, labels).high


def test_checkpoints_are_weighed_and_those_that_learned_nothing_do_not_count() -> None:
    logs, labels, _ = predictions(4000, 10, spread=12.0, share=0.2)
    findings = found(logs, labels)
    [(_, good)] = findings.signals
    [(_, fresh)] = found(logs[torch.randperm(4000)], labels).signals
    alone = estimate(findings, labels)
    assert estimate(replace(findings, signals=((0.1, good), (5.0, fresh))), labels) == alone
    weak_logs, weak_labels, _ = predictions(4000, 10, spread=2.0)
    [(_, weak)] = found(weak_logs, weak_labels).signals
    mostly = estimate(replace(findings, signals=((0.4, good), (0.6, weak))), labels)
    assert mostly.share is None
    assert mostly.reason
    some = estimate(replace(findings, signals=((0.6, good), (0.4, weak))), labels)
    assert some.share == pytest.approx(alone.share)
    assert some.low <= alone.low
    assert some.high >= alone.high


def test_a_model_that_learned_nothing_tells_nothing() -> None:
    logs, labels, _ = predictions(2000, 5, spread=8.0)
    one = estimate(found(logs[torch.randperm(2000)], labels), labels)
    assert one.share is None
    assert (one.low, one.high) == (0, 1)
    assert hardly_learned(0.2, 0.2)
    assert not hardly_learned(0.5, 0.2)


def test_quarantined_samples_do_not_count() -> None:
    logs, labels, _ = predictions(1500, 4, spread=8.0, share=0.2)
    whole = replace(found(logs, labels), wrong=None, signals=())
    lost = replace(
        whole,
        predictions=whole.predictions.clone(),
        prediction_probability=torch.where(torch.arange(1500) < 100, torch.nan, whole.prediction_probability),
        quarantined=dict.fromkeys(range(100), "unreadable"),
    )
    without = Findings(
        {},
        whole.predictions[100:],
        whole.prediction_probability[100:],
        whole.probability[100:],
        {},
        whole.entropy[100:],
        held_out=True,
    )
    assert estimate(lost, labels) == estimate(without, labels[100:])


def test_without_predictions_there_is_no_estimate() -> None:
    nothing = torch.full((3,), torch.nan)
    empty = Findings({"l2": nothing}, torch.full((3,), -1), nothing, nothing, {}, nothing)
    assert estimate(empty, torch.zeros(3, dtype=torch.int64)) is None


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 30), k=st.integers(1, 4), held_out=st.booleans(), seed=st.integers(0, 99))
def test_whatever_was_predicted_the_interval_holds_the_share(
    n: int, k: int, held_out: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    predicted, labels = torch.randint(k, (2, n), generator=generator)
    confidence = torch.rand(n, generator=generator)
    some = Findings({"l2": confidence}, predicted, confidence, confidence, {}, confidence)
    one = estimate(replace(some, held_out=held_out), labels)
    assert 0 <= one.low <= (one.low if one.share is None else one.share) <= one.high <= 1
    assert 0 <= Budget("auto").count(n, one.count(n)) <= n
    assert bool(one.reason) == (one.share is None)


def test_it_is_json() -> None:
    for share, reason in ((0.1, ""), (None, "they look the same")):
        one = Estimate(share=share, low=0.05, high=0.2, by="held out", reason=reason)
        assert Estimate.model_validate_json(one.model_dump_json()) == one
    assert not math.isnan(one.high)
