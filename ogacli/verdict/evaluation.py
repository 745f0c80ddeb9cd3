"""Detection figures where the truth is known.

In: scores (higher = more anomalous) and which labels are wrong. Out: AUROC, average precision, and precision,
recall and F1 at the budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:  # reading figures needs no torch
    from jaxtyping import Bool, Float
    from torch import Tensor


class Evaluation(BaseModel):
    """Detection figures of one score, or of the doubtful cells of labels.

    Each is None where it is not defined (nothing or all is wrong).
    """

    model_config = ConfigDict(frozen=True)

    auroc: float | None
    """Probability that a sample with a wrong label scores higher than one with a right label."""
    average_precision: float | None
    """Precision averaged over the recalls (area under the precision-recall curve)."""
    precision_at_budget: float | None
    """Share of the flagged samples that are wrong."""
    recall_at_budget: float | None
    """Share of the wrong samples that are flagged."""
    f1_at_budget: float | None
    """Harmonic mean of the two."""
    wrong: int
    """Samples whose label is not the true one; or cells, regions or boxes that are not."""


def evaluate(
    score: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], flagged: Bool[Tensor, " n"]
) -> Evaluation:
    """Compare scores with the truth; quarantined samples (NaN) are left out."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    known = ~score.isnan()
    score, wrong, flagged = score[known], wrong[known], flagged[known]
    count, hits, chosen = int(wrong.sum()), int((wrong & flagged).sum()), int(flagged.sum())
    two = 0 < count < len(wrong)
    return Evaluation(
        auroc=float(roc_auc_score(wrong.numpy(), score.numpy())) if two else None,
        average_precision=float(average_precision_score(wrong.numpy(), score.numpy())) if two else None,
        precision_at_budget=hits / chosen if chosen else None,
        recall_at_budget=hits / count if count else None,
        f1_at_budget=2 * hits / (chosen + count) if chosen + count else None,
        wrong=count,
    )
