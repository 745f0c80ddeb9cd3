"""Trainings on several choices of samples, compared on the same test samples with the same seeds.

In: for each choice and seed, which test samples the network predicts rightly. Out: mean accuracies, and
paired differences with intervals that cover both the seeds and the sampling of the test set.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

Correct = Float[np.ndarray, " m"]
"""1 where the label of a test sample is predicted, 0 elsewhere."""

ALL, TRIMMED, RELABELLED, WEIGHTED = "all", "trimmed", "relabelled", "weighted"
RANDOM, ORACLE = "random", "oracle"
ACTIONS = (TRIMMED, RELABELLED, WEIGHTED)
_DRAWS = 2000
"""Bootstrap samples."""
_NORMAL = 1.96
"""97.5 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Arm:
    """The trainings on one choice of samples."""

    name: str
    samples: int
    accuracies: tuple[float, ...]
    """On the test samples after the last epoch, by seed."""
    correct: tuple[Correct, ...] = field(default=(), compare=False, repr=False)
    """For each seed; empty where only the accuracies are known."""

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return float(np.mean(self.accuracies))


@dataclass(frozen=True, slots=True)
class Difference:
    """The accuracy of an arm minus that of another."""

    arm: str
    against: str
    mean: float
    low: float
    high: float
    """Ends of the 95 % confidence interval of the mean."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The accuracies of all arms, and their differences."""

    arms: tuple[Arm, ...]
    differences: tuple[Difference, ...]
    """Of each arm against ``all``, and of ``trimmed`` against ``random``."""
    test: int
    """Test samples."""
    labels: Literal["true", "given", "test"] = "test"
    """The labels that the networks are judged by: the true or given ones of held-out samples, or those of the
    test split."""
    parts: int = 0
    """How many parts of the samples were held out in turn; 0 with a test split."""

    @property
    def clean_test_needed(self) -> bool:
        """Whether only a test split with right labels could tell, as given labels may be wrong themselves."""
        return self.labels == "given"

    @property
    def verdicts(self) -> dict[str, str]:
        """For each action ``helped``, ``harmed`` or ``no difference shown``: its interval against ``all``."""
        return {
            one.arm: _verdict(one) for one in self.differences if one.arm in ACTIONS and one.against == ALL
        }

    @property
    def verdict(self) -> str:
        """That of trimming."""
        return self.verdicts[TRIMMED]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        arms = [
            {"name": one.name, "samples": one.samples, "accuracies": list(one.accuracies)}
            for one in self.arms
        ]
        return {
            "schema_version": 1,
            "verdict": self.verdict,
            "verdicts": self.verdicts,
            "labels": self.labels,
            "clean_test_needed": self.clean_test_needed,
            "parts": self.parts,
            "test": self.test,
            "arms": arms,
            "differences": [asdict(one) for one in self.differences],
        }


def _verdict(against_all: Difference) -> str:
    if against_all.low > 0:
        return "helped"
    return "harmed" if against_all.high < 0 else "no difference shown"


def difference(arm: Arm, other: Arm) -> Difference:
    """One arm minus another, paired by seed and test sample.

    The interval is that of a bootstrap over both: seeds and test samples are drawn with replacement,
    independently of each other. Of S seeds S - 1 are drawn, which makes up for the bias with few of them (Rao
    and Wu, JASA 1988), and the deviation due to them is stretched from the normal to Student's distribution.
    Where single predictions are not known, it is the t interval over the seeds alone.
    """
    from scipy.stats import t

    gaps = np.subtract(arm.accuracies, other.accuracies)
    mean, quantile = float(gaps.mean()), float(t.ppf(0.975, len(gaps) - 1))
    if not arm.correct:
        half = quantile * float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
        return Difference(arm.name, other.name, mean, mean - half, mean + half)
    by_sample = np.stack([one - two for one, two in zip(arm.correct, other.correct, strict=True)])
    drawn = _drawn(by_sample[:, ~np.isnan(by_sample).any(0)], quantile / _NORMAL)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Difference(arm.name, other.name, mean, float(low), float(high))


def _drawn(gaps: Float[np.ndarray, "seeds m"], stretch: float) -> Float[np.ndarray, " draws"]:
    """Means of bootstrap samples over seeds and test samples; deviations due to seeds are stretched."""
    rng, (seeds, m) = np.random.default_rng(0), gaps.shape
    found = np.empty(_DRAWS)
    overall = gaps.mean()
    for number in range(_DRAWS):
        of_samples = gaps[rng.integers(seeds, size=seeds - 1)].mean(0)
        due_to_seeds = of_samples.mean() - overall
        found[number] = of_samples[rng.integers(m, size=m)].mean() + (stretch - 1) * due_to_seeds
    return found
