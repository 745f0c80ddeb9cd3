"""The fate of each sample, and the user's decisions on it.

In: a file of decisions. Out: changed fates and new labels.
"""

from pathlib import Path
from typing import Any

from ogacli.run.decisions import read_decisions
from ogacli.run.directory import Run

KEPT, DROPPED, RELABELLED, QUARANTINED = FATES = ("kept", "dropped", "relabelled", "quarantined")
_DECISIONS = {"keep": KEPT, "drop": DROPPED, "relabel": RELABELLED}


def decide(path: str | Path, run: Run, fate: Any, new_label: list[Any]) -> list[int]:
    """Replace fates by those of a file of decisions.

    Args:
        path: As in :func:`ogacli.run.decisions.read_decisions`.
        run: The run of the samples.
        fate: The fate of each sample; changed in place.
        new_label: The new label of each relabelled sample, None elsewhere; changed in place.

    Returns:
        The rows that were decided on.

    Raises:
        DataError: The decisions are wrong.
    """
    found = read_decisions(path, run)
    rows: list[int] = found.rows.tolist()
    for row, decision in zip(rows, found.decided, strict=True):
        fate[row] = _DECISIONS[decision.action]
        new_label[row] = decision.label
    return rows
