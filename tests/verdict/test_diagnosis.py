import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from ogacli.verdict.diagnosis import CheckpointDiagnosis, diagnose
from ogacli.verdict.findings import Findings, Probed


def said(logits, labels, features=None, *, held_out=False, quarantined=None) -> tuple:
    """What a scan would have seen of a model that says this."""
    n = len(labels)
    probabilities = logits.softmax(1)
    confidence, predictions = probabilities.max(1)
    findings = Findings(
        scores={},
        predictions=predictions,
        prediction_probability=confidence,
        probability=probabilities[torch.arange(n), labels],
        quarantined=quarantined or {},
        probed=None if features is None else Probed(torch.arange(n), features),
        held_out=held_out,
    )
    return findings, labels


def blobs(wrong: float, n: int = 600, seed: int = 0) -> tuple:
    """Features in four clumps, labels of which a share is wrong, and which ones."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(4, (n,), generator=generator)
    features = 6 * F.one_hot(truth, 4) + torch.randn(n, 4, generator=generator)
    flipped = torch.rand(n, generator=generator) < wrong
    labels = torch.where(flipped, (truth + 1) % 4, truth)
    return features, truth, labels, flipped


@pytest.mark.parametrize("columns", [13, 8, 4])
def test_columns_in_several_units_do_not_make_a_linear_model_know_labels_by_heart(columns):
    """Of raw wines, proline, the last, has all of the spread and says little."""
    x, truth = load_wine(return_X_y=True)
    x = x[:, -columns:]
    x[:, 0] += 1e4  # far from 0, as times are
    labels = truth.copy()
    labels[::7] = (labels[::7] + 1) % 3
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, labels)
    logits = torch.from_numpy(model.decision_function(x)).float()
    found = diagnose(*said(logits, torch.from_numpy(labels), torch.from_numpy(x).float()))
    assert found.verdict == "useful"
    assert found.neighbours.learned < 0.3
    assert 0.1 < found.neighbours.contradicted < 0.25, "a seventh is wrong"


def test_what_it_has_learned_of_the_labels_that_neighbours_contradict():
    features, truth, labels, flipped = blobs(0.2)
    half = flipped & (torch.arange(600) % 2 == 0)
    logits = 9.0 * F.one_hot(torch.where(half, labels, truth), 4)
    around = diagnose(*said(logits, labels, features)).neighbours
    assert around.samples == 600
    assert around.contradicted == pytest.approx(float(flipped.float().mean()), abs=0.01)
    assert around.learned == pytest.approx(float(half.sum() / flipped.sum()), abs=0.02)


def test_contradicted_labels_are_those_that_a_vote_of_neighbours_outvotes():
    features, _, labels, _ = blobs(0.3, n=200)
    features = features + torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    near = NearestNeighbors(n_neighbors=21).fit(features).kneighbors(features, return_distance=False)[:, 1:]
    votes = np.stack([np.bincount(labels[line], minlength=4) for line in near])
    own = votes[np.arange(200), labels]
    around = diagnose(*said(F.one_hot(labels, 4) * 5.0, labels, features)).neighbours
    assert around.contradicted == (own < votes.max(1)).mean()
    assert around.firmly == ((own < votes.max(1)) & (own <= 4)).mean()
    assert around.learned == 1.0


@pytest.mark.parametrize(
    ("wrong", "knows", "verdict"),
    [(0.2, False, "useful"), (0.2, True, "memorised"), (0.05, True, "memorised"), (0.0, True, "useful")],
)
def test_verdicts(wrong, knows, verdict):
    features, truth, labels, _ = blobs(wrong)
    sure = 2 + 20 * torch.rand(600, 1, generator=torch.Generator().manual_seed(4))
    found = diagnose(*said(sure * F.one_hot(labels if knows else truth, 4), labels, features))
    assert found.verdict == verdict
    assert bool(found.warnings) == (verdict == "memorised")
    if verdict == "memorised":
        assert "memorised the labels" in found.warnings[0]
        assert found.advice.startswith("take an earlier checkpoint")


def test_a_checkpoint_that_says_nothing_is_fresh():
    features, _, labels, _ = blobs(0.1)
    guesses = torch.randn(600, 4, generator=torch.Generator().manual_seed(2))
    found = diagnose(*said(guesses, labels, features))
    assert (found.verdict, found.warnings) == ("fresh", ())
    assert found.advice == "train a little longer, or take a later checkpoint"
    assert diagnose(*said(guesses, labels)).verdict == "fresh", "without features as well"


def test_on_imbalanced_data_predicting_the_majority_is_fresh():
    labels = (torch.arange(400) < 20).long()
    found = diagnose(*said(torch.tensor([[5.0, 0.0]]).expand(400, 2), labels))
    assert (found.fit, found.verdict) == (0.95, "fresh")


def test_each_sample_by_a_checkpoint_that_has_not_seen_it():
    features, _, labels, _ = blobs(0.2)
    found = diagnose(*said(9.0 * F.one_hot(labels, 4), labels, features, held_out=True))
    assert (found.verdict, found.held_out, found.neighbours) == ("useful", True, None)


def test_without_features_a_perfect_fit_is_suspected():
    labels = torch.arange(300) % 3
    found = diagnose(*said(9.0 * F.one_hot(labels, 3), labels))
    assert (found.verdict, found.neighbours) == ("memorised", None)
    logits = 9.0 * F.one_hot(torch.where(torch.arange(300) < 9, 2, labels), 3)
    assert diagnose(*said(logits, labels)).verdict == "useful"


def test_how_the_residual_is_spread():
    labels = torch.zeros(101, dtype=torch.int64)
    labels[:50] = 1
    left = torch.arange(101) / 101
    given = torch.stack([1 - left, left], 1)
    probabilities = torch.where(labels[:, None] == 0, given, given.flip(1))
    spread = diagnose(*said(probabilities.log(), labels)).residual
    assert spread.q05 == pytest.approx(5 / 101)
    assert spread.q50 == pytest.approx(50 / 101)
    assert spread.q95 == pytest.approx(95 / 101)


@pytest.mark.parametrize(("stand_out", "verdict"), [(True, "useful"), (False, "memorised")])
def test_where_features_have_collapsed_it_counts_whether_any_sample_stands_out(stand_out, verdict):
    """Features of one place a given label: no neighbour contradicts any."""
    _, _, labels, flipped = blobs(0.04)
    features = 6.0 * F.one_hot(labels, 4) + 0.01 * torch.randn(
        600, 4, generator=torch.Generator().manual_seed(3)
    )
    certain = torch.where(flipped & stand_out, 2.0, 8.0)
    found = diagnose(*said(certain[:, None] * F.one_hot(labels, 4), labels, features))
    assert (found.fit, found.neighbours.contradicted) == (1.0, 0.0)
    assert found.verdict == verdict
    left = 1 - (certain.exp() / (certain.exp() + 3)).double()
    assert found.concentration == pytest.approx(float(left.sort().values[-30:].sum() / left.sum()), abs=1e-4)


def test_quarantined_samples_do_not_count():
    features, truth, labels, _ = blobs(0.2)
    features = torch.cat([features, torch.zeros(2, 4)])
    labels = torch.cat([labels, torch.zeros(2, dtype=torch.int64)])
    logits = torch.cat([9.0 * F.one_hot(truth, 4), torch.zeros(2, 4)])
    found = diagnose(*said(logits, labels, features, quarantined={600: "a", 601: "b"}))
    assert found.neighbours.samples == 600
    assert found.warnings == ("2 samples could not be scored (quarantined): a (1); b (1)",)


def test_the_most_frequent_reasons_of_quarantine_are_told():
    features, truth, labels, _ = blobs(0.2)
    reasons = dict(enumerate(["c", "b", "a", "a", "d", "b", "a", "long " * 100]))
    found = diagnose(*said(9.0 * F.one_hot(truth, 4), labels, features, quarantined=reasons))
    assert found.warnings == ("8 samples could not be scored (quarantined): a (3); b (2); c (1); and others",)


def test_without_classes():
    findings, _ = said(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64))
    assert diagnose(findings, None).verdict is None


def test_along_a_training():
    """Digits with a tenth of the labels wrong: the verdict turns when most wrong labels are learned."""
    generator = torch.Generator().manual_seed(0)
    x, truth = (torch.from_numpy(part[:700]) for part in load_digits(return_X_y=True))
    x = (x / 16).float()
    flipped = torch.rand(len(x), generator=generator) < 0.1
    labels = torch.where(
        flipped, (truth + torch.randint(1, 10, truth.shape, generator=generator)) % 10, truth
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body, head = nn.Sequential(nn.Linear(64, 256), nn.ReLU()), nn.Linear(256, 10)
    optimizer = torch.optim.AdamW([*body.parameters(), *head.parameters()], 3e-3)
    verdicts = {}
    for epoch in range(81):
        with torch.no_grad():
            features = body(x)
            found = diagnose(*said(head(features), labels, features))
        verdicts[epoch] = found.verdict
        if found.verdict != "fresh":
            learned = (head(features).argmax(1) == labels)[flipped].float().mean()
            assert found.neighbours.learned == pytest.approx(float(learned), abs=0.12)
        for rows in torch.randperm(len(x), generator=generator).split(32):
            optimizer.zero_grad()
            F.cross_entropy(head(body(x[rows])), labels[rows]).backward()
            optimizer.step()
    assert verdicts[0] == "fresh"
    assert verdicts[5] == verdicts[10] == "useful"
    assert verdicts[80] == "memorised"


class _CannotTell:
    """An estimate without a share."""

    share, low, high, reason = None, 0.1, 0.5, "a weak model contradicts right labels as well"


def test_useful_is_not_said_where_the_share_cannot_be_told():
    features, truth, labels, _ = blobs(0.2)
    seen = said(9.0 * F.one_hot(truth, 4), labels, features)
    assert diagnose(*seen).verdict == "useful"
    found = diagnose(*seen, estimate=_CannotTell())
    assert found.verdict == "uncertain"
    assert found.reason.endswith("cannot be told: a weak model contradicts right labels as well")
    assert "a stronger model, or folds" in found.advice
    assert found.fit == diagnose(*seen).fit
    memorised = said(9.0 * F.one_hot(labels, 4), labels, features)
    assert diagnose(*memorised, estimate=_CannotTell()).verdict == "memorised"


def test_the_verdict_of_several_is_that_of_one_that_counts():
    features, truth, labels, _ = blobs(0.2)
    useful = diagnose(*said(9.0 * F.one_hot(truth, 4), labels, features))
    fresh = said(torch.rand(len(labels), 4, generator=torch.Generator().manual_seed(0)), labels, features)
    assert diagnose(*fresh).verdict == "fresh"
    checkpoints = [
        CheckpointDiagnosis(name="1", counts=False, diagnosis=diagnose(*fresh)),
        CheckpointDiagnosis(name="2", counts=True, diagnosis=useful),
    ]
    found = diagnose(*fresh, checkpoints=checkpoints)
    assert found.verdict == "useful"
    assert found.reason == useful.reason
