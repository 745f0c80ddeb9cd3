"""What several ranks tell each other during a scan.

In: a collector, and the samples that this rank has scored. Out: the same collector with those of the others,
on the first rank at least.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.base.processes.ranks import Ranks
from ogacli.gradients import Neighbours
from ogacli.scan.collected.collect import Collector
from ogacli.scan.scorers import Scorers

_AT_ONCE = 1 << 20
"""Samples whose results each rank sends at a time: about 70 MB."""


def exchange(collector: Collector, rows: Int64[Tensor, " m"], ranks: Ranks, *, to_all: bool = True) -> None:
    """Tell the results of the current checkpoint, and take those of the other ranks.

    Args:
        collector: All ranks have the same results of earlier checkpoints.
        rows: The samples that this rank has scored since the last exchange, or could not read.
        ranks: All of them.
        to_all: Whether each of them needs the results of all; otherwise the first one alone gets them.
    """
    if not ranks.several:
        return
    tell = ranks.gathered if to_all else ranks.collected
    counts = [int(one["rows"]) for one in ranks.gathered({"rows": torch.tensor(len(rows))})]
    for start in range(0, max(counts), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        for other in _others(tell({} if ranks.first and not to_all else collector.found(some)), ranks):
            collector.put(other)


def share_neighbours(neighbours: Neighbours, ranks: Ranks, device: torch.device) -> None:
    """Let all ranks search among the samples that each of them has seen."""
    if ranks.several:
        for other in _others(ranks.gathered(neighbours.seen()), ranks):
            neighbours.join(other, device)


def share_fit(scorers: Scorers, n: int, ranks: Ranks) -> None:
    """Let all ranks have the detectors that the first one has fitted, to score n samples."""
    if not ranks.several:
        return
    fitted = ranks.of_first(lambda: _flat(scorers.states()))
    if not ranks.first:
        scorers.restore([_apart(fitted, len(scorers.each))], n)


def share_notes(scorers: Scorers, ranks: Ranks) -> None:
    """Let all ranks have what each one's detectors have noted while they scored."""
    if not ranks.several:
        return
    others = _others(ranks.gathered(_flat(scorers.states())), ranks)
    scorers.join([_apart(states, len(scorers.each)) for states in others])


def _others(every: Sequence[Mapping[str, Tensor]], ranks: Ranks) -> list[Mapping[str, Tensor]]:
    return [one for rank, one in enumerate(every) if rank != ranks.rank]


def _flat(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{number}/{name}": one for number, state in enumerate(states) for name, one in state.items()}


def _apart(found: Mapping[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """What ``_flat`` joined. Copied, as memory aligned otherwise changes the last digits."""
    states: list[dict[str, Tensor]] = [{} for _ in range(count)]
    for place, tensor in found.items():
        number, _, name = place.partition("/")
        states[int(number)][name] = tensor.clone()
    return states
