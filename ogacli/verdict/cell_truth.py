"""The doubtful cells of labels beside the truth, where it is known.

In: the doubtful cells of samples, and their true labels. Out: an ``Evaluation`` of the cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.data.labels.label_types import IGNORED
from ogacli.verdict.boxes import BoxFindings
from ogacli.verdict.evaluation import Evaluation
from ogacli.verdict.regions import RegionFindings

if TYPE_CHECKING:
    from ogacli.data import Samples
    from ogacli.data.reading import Errors
    from ogacli.verdict.cells import CellFindings

_SAME = 0.5
"""A doubtful place is a wrong one that has this part of their union in common."""


def evaluate_cells(cells: CellFindings, samples: Samples, scored: Bool[Tensor, " n"]) -> Evaluation | None:
    """Average precision of the cells by their probability; precision, recall and F1 of those above one half.

    A wrong cell that is not among the most doubtful ones of its sample is not found. A region of a mask, or a
    box, is one that is wrong where the given class is the same and half of the union of both boxes is shared.

    Args:
        cells: Of all samples.
        samples: With their truth.
        scored: The samples that count.
    """
    from sklearn.metrics import average_precision_score

    if samples.truth is None:
        return None
    if isinstance(cells, RegionFindings | BoxFindings):
        hits, wrong = _places(cells, samples, scored)
    else:
        hits, wrong = _values(cells, samples, scored)
    known = (cells.index >= 0) & scored[:, None]
    right, found, doubted = (one[known] for one in (hits, cells.wrong, cells.doubted))
    count, chosen, among = int((right & doubted).sum()), int(doubted.sum()), int(right.sum())
    precision = None
    if wrong:
        ranked = float(average_precision_score(right.numpy(), found.numpy())) if among else 0.0
        precision = ranked * among / wrong
    return Evaluation(
        auroc=None,
        average_precision=precision,
        precision_at_budget=count / chosen if chosen else None,
        recall_at_budget=count / wrong if wrong else None,
        f1_at_budget=2 * count / (chosen + wrong) if chosen + wrong else None,
        wrong=wrong,
    )


def _values(
    cells: CellFindings, samples: Samples, scored: Bool[Tensor, " n"]
) -> tuple[Bool[Tensor, "n c"], int]:
    """Which cells are wrong, and how many cells of all labels are."""
    assert samples.truth is not None
    given, true = (one.reshape(len(samples), -1) for one in (samples.labels, samples.truth))
    differs = ~given.isclose(true) if given.is_floating_point() else (given != true) & (given != IGNORED)
    return differs.gather(1, cells.index.clamp_min(0)), int(differs[scored].sum())


def _places(
    cells: RegionFindings | BoxFindings, samples: Samples, scored: Bool[Tensor, " n"]
) -> tuple[Bool[Tensor, "n c"], int]:
    """Which regions or boxes are wrong ones, and how many of all are wrong."""
    hits, total = torch.zeros_like(cells.index, dtype=torch.bool), 0
    given, boxes = cells.places()
    assert samples.wrong is not None
    for row in (samples.wrong & scored).nonzero()[:, 0].tolist():
        errors = samples.reader.errors(int(samples.positions[row]))
        hits[row] = _hit(cells.index[row] >= 0, given[row], boxes[row].float(), errors)
        total += len(errors.given)
    return hits, total


def _hit(
    known: Bool[Tensor, " c"], given: Int64[Tensor, " c"], boxes: Float[Tensor, "c 4"], errors: Errors
) -> Bool[Tensor, " c"]:
    """Which places are errors, each at most one; those of the largest overlap first."""
    from torchvision.ops import box_iou

    hits = torch.zeros_like(known)
    overlap = box_iou(boxes, errors.boxes) * (known[:, None] & (given[:, None] == errors.given))
    while overlap.numel() and float(overlap.nan_to_num(0.0).max()) >= _SAME:
        place, error = divmod(int(overlap.nan_to_num(0.0).argmax()), overlap.shape[1])
        hits[place] = True
        overlap[place], overlap[:, error] = 0.0, 0.0
    return hits
