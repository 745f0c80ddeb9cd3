"""The choice of an amount from what was found on held-out samples."""

import numpy as np
import pytest

from ogacli.verdict.benefit import Choice, best, trials

NOTHING, SOME, WEIGHT = Choice("trim", 0.0), Choice("trim", 0.1), Choice("weight", 0.0)


def tables(shares, *, m=300, seeds=2, folds=3, seed=0):
    rng = np.random.default_rng(seed)
    return [[(rng.random((seeds, m)) < share).astype(float) for _ in range(folds)] for share in shares]


def tried(*shares, **options):
    return dict(zip((NOTHING, SOME, WEIGHT), tables(shares, **options), strict=False))


def sizes(found):
    return {choice: [100] * len(several) for choice, several in found.items()}


def test_gains_are_paired_and_means_over_folds_seeds_and_samples():
    found = tried(0.6, 0.7)
    base, some = trials(found, sizes(found))
    assert (base.gain, base.error, base.amount) == (0, 0, 0)
    assert some.gain == pytest.approx(np.mean(found[SOME]) - np.mean(found[NOTHING]))
    assert some.accuracy == pytest.approx(np.mean(found[SOME]))


def test_the_error_is_at_least_that_over_samples_and_that_over_trainings():
    rng = np.random.default_rng(0)
    base = [np.zeros((2, 50)) for _ in range(3)]
    by_samples = [np.repeat(rng.integers(0, 2, (1, 50)), 2, axis=0).astype(float) for _ in range(3)]
    by_training = [np.repeat(rng.integers(0, 2, (2, 1)), 50, axis=1).astype(float) for _ in range(3)]
    for gaps, values in (
        (by_samples, np.concatenate([one[0] for one in by_samples])),
        (by_training, np.concatenate([one[:, 0] for one in by_training])),
    ):
        found = {NOTHING: base, SOME: gaps}
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert trials(found, sizes(found))[1].error == pytest.approx(error)


@pytest.mark.parametrize(
    ("shares", "chosen"),
    [
        ((0.6, 0.7, 0.6), SOME),
        ((0.6, 0.6, 0.7), WEIGHT),
        ((0.6, 0.6, 0.55), NOTHING),
        ((0.6, 0.5, 0.5), NOTHING),
    ],
)
def test_the_choice_is_the_highest_gain_minus_one_error(shares, chosen):
    found = tried(*shares, m=4000)
    one = best(trials(found, sizes(found)))
    assert Choice(one.action, one.amount) == chosen


def test_a_gain_within_its_error_is_not_taken():
    base = [np.zeros((1, 40)) for _ in range(3)]
    gaps = [np.r_[np.ones(5 + fold), -np.ones(5), np.zeros(30 - fold)][None] for fold in range(3)]
    found = {NOTHING: base, SOME: gaps}
    some = trials(found, sizes(found))[1]
    assert 0 < some.gain < some.error
    assert best(trials(found, sizes(found))).amount == 0
