"""After a pass in lower precision: score in float32 the samples that are flagged or near the cut.

In: the pass of a checkpoint and its scores. Out: better scores, and how many flags changed.
"""

import torch

from ogacli.base.progress import Progress
from ogacli.scan.collected.collect import Collector
from ogacli.scan.passes import CheckpointPass
from ogacli.verdict.budget import Budget
from ogacli.verdict.ranks import flag, ranking

_NEAR_THE_CUT = 32
"""At least so many samples below the cut are scored again."""


def second_look(one: CheckpointPass, collector: Collector, budget: Budget, progress: Progress) -> None:
    """Score the samples at the top of the first detector's ranking again, in float32.

    Args:
        one: The finished pass in lower precision.
        collector: Holds its scores, which are replaced, and counts in ``rescored``.
        budget: Tells about where the cut is. An automatic one flags at most about as many samples as have a
            label that the model does not predict.
        progress: Shows the progress.
    """
    before = one.finished(collector)[0].cpu()
    scored = int(torch.isfinite(before).sum())
    count = budget.count(scored, collector.contradicted())
    near = min(scored, count + max(_NEAR_THE_CUT, count // 4))
    one.score_again(ranking(before)[:near].sort().values, collector, progress)
    after = one.finished(collector)[0].cpu()
    changed = int((flag(before, count) != flag(after, count)).sum())
    samples, sides = collector.rescored or (0, 0)
    collector.rescored = samples + near, sides + changed
