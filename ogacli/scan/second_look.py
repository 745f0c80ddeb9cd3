"""After a pass in lower precision: score in float32 what is flagged or near the cut.

In: a checkpoint's pass and its scores. Out: the scores, and how many samples changed sides.
"""

import torch

from ogacli.base.progress import Progress
from ogacli.scan.collect import Collector
from ogacli.scan.passes import CheckpointPass
from ogacli.verdict.budget import Budget, flag, ranking

_NEAR_THE_CUT = 32
"""At least so many samples below the cut are scored once more."""


def second_look(
    one: CheckpointPass, collector: Collector, budget: Budget, progress: Progress
) -> tuple[int, int]:
    """Score the samples at the top of the first detector's ranking once more.

    Args:
        one: The pass in lower precision, done.
        collector: With its scores, which are replaced.
        budget: Tells about where the cut is. An automatic one flags at most about as many samples as have a
            label that the model does not predict.
        progress: Told how far it is.

    Returns:
        How many samples were scored once more, and how many of them became flagged or are no longer.
    """
    before = one.finished(collector)[0].cpu()
    scored = int(torch.isfinite(before).sum())
    count = budget.count(scored, collector.contradicted())
    near = min(scored, count + max(_NEAR_THE_CUT, count // 4))
    one.score_again(ranking(before)[:near].sort().values, collector, progress)
    after = one.finished(collector)[0].cpu()
    changed = int((flag(before, count) != flag(after, count)).sum())
    return near, changed
