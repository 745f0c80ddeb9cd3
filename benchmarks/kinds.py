"""Wrong labels of other kinds than one class a sample: several classes, and numbers; beside cleanlab.

    python benchmarks/kinds.py --seeds 2 3 4

Held-out predictions of small models of scikit-learn, errors put into the labels in several ways. A row is the
mean over the seeds: average precision of the samples with a wrong label (and of the wrong cells), by the best
of cleanlab's scores and by ours; what ``budget: auto`` flags, its F1 and how far its share is off, beside the
best of cleanlab's cuts. Constants were chosen on the seeds 0 and 1.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from cleanlab.multilabel_classification import get_label_quality_scores as quality_of_sets
from cleanlab.multilabel_classification.filter import find_label_issues as issues_of_sets
from cleanlab.regression.learn import CleanLearning
from cleanlab.regression.rank import get_label_quality_scores as quality_of_targets
from sklearn.datasets import load_diabetes, load_digits, make_friedman1, make_multilabel_classification
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import average_precision_score, f1_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from ogacli.detectors._cells import score_of
from ogacli.detectors.label_noise.present import PresenceNoise
from ogacli.detectors.label_noise.target import TargetNoise
from ogacli.verdict.cells import CellFindings
from ogacli.verdict.ranks import flag

Named = tuple[str, np.ndarray, np.ndarray]
Kind = Callable[[int], Iterator[tuple[str, dict[str, float]]]]
"""From a seed the rows of a table, each with its figures by name."""
FILTERS = ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "predicted_neq_given")
"""Ways in which cleanlab cuts."""


def sets_of_classes(seed: int) -> Iterator[Named]:
    """Inputs [n, d] and 0 or 1 for each class [n, k]."""
    for k, n, d in ((6, 2000, 40), (20, 3000, 60)):
        x, y = make_multilabel_classification(
            n, d, n_classes=k, n_labels=3 + (k > 6), length=120 if k > 6 else 50, random_state=seed
        )
        yield f"simulated, {k} classes", x, y
    digits = load_digits()
    t = digits.target
    kinds = [t % 2 == 0, t >= 5, np.isin(t, [0, 6, 8, 9]), np.isin(t, [2, 3, 5, 7]), np.isin(t, [1, 4, 7])]
    yield "properties of digits", digits.data, np.stack([*kinds, t % 3 == 0, t == 1], 1).astype(int)
    random = np.random.default_rng(seed)
    x, y = np.zeros((2500, 8, 24)), np.zeros((2500, 10), int)
    for i in range(len(x)):
        for place in range(3):
            if random.random() < 0.8:
                j = random.integers(len(t))
                x[i, :, 8 * place : 8 * place + 8], y[i, t[j]] = digits.images[j], 1
    yield "digits on a strip", x.reshape(len(x), -1), y


def wrong_classes(y: np.ndarray, how: str, random: np.random.Generator) -> np.ndarray:
    """Which cells become wrong."""
    drawn = random.random(y.shape)
    return {
        "none": drawn < 0,
        "3 % flipped": drawn < 0.03,
        "10 % flipped": drawn < 0.1,
        "15 % forgotten": (drawn < 0.15) & (y == 1),
        "5 % added": (drawn < 0.05) & (y == 0),
    }[how]


def held_out(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Probabilities by logistic regressions that were not trained on the sample."""
    x, p = StandardScaler().fit_transform(x), np.zeros(y.shape)
    for train, test in KFold(4, shuffle=True, random_state=0).split(x):
        for c in range(y.shape[1]):
            if len(np.unique(y[train, c])) > 1:
                model = LogisticRegression(C=0.1, max_iter=300).fit(x[train], y[train, c])
                p[test, c] = model.predict_proba(x[test])[:, 1]
            else:
                p[test, c] = 0.5 * y[train, c].mean() + 0.25 / len(train)
    return p


def several_classes(seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """A row for each set and each way to be wrong."""
    for name, x, y in sets_of_classes(seed):
        for how in ("none", "3 % flipped", "10 % flipped", "15 % forgotten", "5 % added"):
            cells = wrong_classes(y, how, np.random.default_rng(seed))
            given = np.where(cells, 1 - y, y)
            p = held_out(x, given)
            logits, labels = torch.tensor(np.log(p) - np.log1p(-p)), torch.tensor(given)
            wrong = PresenceNoise.fitted(logits, labels).wrong(logits, labels)
            score, bad = score_of(wrong), cells.any(1)
            lists = [list(np.nonzero(row)[0]) for row in given]
            cuts = [issues_of_sets(lists, p, filter_by=how, n_jobs=1) for how in FILTERS]
            found = decided(by_auto(wrong, score), bad, cuts)
            if bad.any():
                theirs = [
                    1 - quality_of_sets(lists, p, method=m, adjust_pred_probs=False, aggregator_kwargs=a)
                    for m in ("self_confidence", "normalized_margin")
                    for a in (
                        {"method": "softmin", "temperature": 0.1},
                        {"method": "exponential_moving_average", "alpha": 0.8},
                    )
                ]
                found |= ranked(bad, score.numpy(), theirs)
                found |= {
                    "cells, cleanlab": average_precision_score(
                        cells.ravel(), np.where(given > 0, 1 - p, p).ravel()
                    ),
                    "cells": average_precision_score(cells.ravel(), wrong.numpy().ravel()),
                }
            yield f"{name}: {how}", found


def regressions(seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, object]]:
    """Inputs, targets, and a model."""
    forest = RandomForestRegressor(25, random_state=0)
    yield "diabetes", *load_diabetes(return_X_y=True), RidgeCV()
    yield "friedman1", *make_friedman1(1000, noise=1.0, random_state=seed), forest
    images = load_digits().images
    yield (
        "ink of the right half",
        images[:, :, :4].reshape(len(images), -1),
        images[:, :, 4:].sum((1, 2)),
        forest,
    )
    x, y = make_friedman1(1000, noise=0, random_state=seed)
    yield "heavy tails", x, y + 0.8 * np.random.default_rng(seed).standard_t(2.5, size=1000), forest
    errors = np.random.default_rng(seed).normal(size=1000)
    yield "errors grow with the target", x, y + 0.02 * np.clip(y, 0, None) ** 2 * errors, forest


def numbers(seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """A row for each set and each way to be wrong."""
    for name, x, y, model in regressions(seed):
        for how in ("none", "3 % exchanged", "10 % exchanged", "10 % shifted", "10 % drawn", "10 % scaled"):
            random, given = np.random.default_rng(seed), y.astype(float).copy()
            rows = random.choice(len(y), round(len(y) * (0.03 if how[0] == "3" else 0.1)), replace=False)
            if how == "none":
                rows = rows[:0]
            elif "exchanged" in how:
                given[rows] = given[random.permutation(rows)]
            elif "shifted" in how:
                given[rows] += random.choice([-1, 1], len(rows)) * y.std() * random.uniform(1, 3, len(rows))
            elif "drawn" in how:
                given[rows] = random.uniform(y.min(), y.max(), len(rows))
            else:
                given[rows] *= random.choice([0.1, 10], len(rows))
            bad = np.isin(np.arange(len(y)), rows)
            p = cross_val_predict(model, x, given, cv=KFold(5, shuffle=True, random_state=0))
            columns = torch.tensor(p)[:, None], torch.tensor(given)[:, None]
            wrong = TargetNoise.fitted(*columns).wrong(*columns)
            score = wrong[:, 0]
            learned = CleanLearning(model, seed=0).find_label_issues(x, given)
            found = decided(by_auto(wrong, score), bad, [learned["is_label_issue"].to_numpy()])
            if bad.any():
                theirs = [1 - quality_of_targets(given, p, method=m) for m in ("outre", "residual")]
                theirs.append(1 - learned["label_quality"].to_numpy())
                found |= ranked(bad, score.numpy(), theirs)
            yield f"{name}: {how}", found


def ranked(bad: np.ndarray, score: np.ndarray, theirs: list[np.ndarray]) -> dict[str, float]:
    """Average precision, by cleanlab's best score and by ours."""
    best = max(average_precision_score(bad, one) for one in theirs)
    return {"cleanlab": best, "ours": average_precision_score(bad, score)}


def by_auto(wrong: torch.Tensor, score: torch.Tensor) -> np.ndarray:
    """What ``budget: auto`` flags, from the probability of each cell [n, m] (-1: none) and the scores."""
    index = torch.arange(wrong.shape[1]).expand_as(wrong).where(wrong >= 0, -1)
    cells = CellFindings(index, wrong.clamp_min(0.0), *torch.zeros(2, *wrong.shape))
    share = cells.estimate(torch.ones(len(wrong), dtype=torch.bool), held_out=True, several=False)
    return flag(score, share.count(len(wrong))).numpy()


def decided(flagged: np.ndarray, bad: np.ndarray, theirs: list[np.ndarray]) -> dict[str, float]:
    """What the automatic budget flags; F1 and the error of the share, beside the best of cleanlab's cuts."""
    found = {"wrong": bad.mean(), "flagged": flagged.mean()}
    found["precision"] = bad[flagged].mean() if flagged.any() else np.nan
    if bad.any():
        found["F1, cleanlab"] = max(f1_score(bad, one) for one in theirs)
        found["F1"] = f1_score(bad, flagged)
    found["share off, cleanlab"] = min(abs(one.mean() - bad.mean()) for one in theirs)
    found["share off"] = abs(flagged.mean() - bad.mean())
    return found


def main(kinds: Sequence[Kind], description: str) -> None:
    """Print a table of means and deviations for each kind of label."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4])
    seeds = parser.parse_args().seeds
    warnings.filterwarnings("ignore")
    for kind in kinds:
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in seeds:
            for name, found in kind(seed):
                rows.setdefault(name, []).append(found)
        names = list(dict.fromkeys(key for each in rows.values() for key in each[0]))
        print(f"\n| {kind.__name__} | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")
        for name, each in rows.items():
            cells = []
            for key in names:
                values = np.array([one.get(key, np.nan) for one in each], float)
                known = values[~np.isnan(values)]
                cells.append(f"{known.mean():.3f} ± {known.std():.3f}" if len(known) else "")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main((several_classes, numbers), __doc__)
