"""Check that the loss of a sample depends on its own logits and label alone.

In: a task, and logits and labels of some samples. Out: nothing, or an error where the loss or the residual of
a sample changes with the other samples of its batch, as it does where a loss divides by a sum over the batch.
"""

import torch
from torch import Tensor

from ogacli.base.device import out_of_memory
from ogacli.errors import GradientError
from ogacli.models.tasks import Labels, Logits, Task

_PROBED = 8
"""Samples that are compared."""
_FEWEST = 4
"""Logits are repeated up to this number, so that a single sample has others beside it."""
_RTOL, _ATOL = 1e-3, 1e-5
"""Largest difference that may be rounding."""


def check_loss(task: Task, logits: Logits, labels: Labels, classes: int) -> None:
    """Compare the loss and the residual of each sample alone with those in a batch.

    Samples of all labels are compared where there are several. A second comparison takes small logits, as
    those of a trained network may leave next to no residual; and other labels, as data may be sorted by them.

    Args:
        task: The loss.
        logits: Of a batch.
        labels: Of the same batch.
        classes: The number of classes; 0 where there are none.

    Raises:
        GradientError: They differ.
    """
    rows = _varied(labels)
    logits, labels = logits[rows], labels[rows]
    same = _same(task, logits, labels)
    try:
        same = same and _same(task, *_made_up(logits, labels, classes))
    except Exception as error:  # a loss of the user may take no logits but those of the network
        if out_of_memory(error):
            raise
    if not same:
        raise GradientError(
            "the loss of a sample depends on the other samples of its batch",
            place=task.place,
            expected="one loss a sample, from that sample's logits and label alone",
            hint="leave out sums and means over the batch, such as the division by the weights of its labels",
        )


def _varied(labels: Labels) -> Tensor:
    """A few rows, the first of each label before others of the same label."""
    if labels.ndim > 1 or labels.is_floating_point():
        return torch.arange(min(_PROBED, len(labels)), device=labels.device)
    order = labels.argsort(stable=True)
    run = torch.ones_like(order, dtype=torch.bool)
    run[1:] = labels[order][1:] != labels[order][:-1]
    return torch.cat([order[run], order[~run]])[:_PROBED]


def _made_up(logits: Logits, labels: Labels, classes: int) -> tuple[Logits, Labels]:
    """Different logits from -1 to 1 in at least a few rows, and a cycle of all classes as labels."""
    count = max(_FEWEST, len(logits))
    index = torch.arange(count, device=logits.device)
    size = logits[logits.isfinite()].abs().amax().clamp_min(1e-6)
    shrunk = (1 - index / (2 * count)).reshape(-1, *(1,) * (logits.ndim - 1))  # no two rows are the same
    rows = logits[index % len(logits)] / size * shrunk
    one_class = labels.ndim == 1 and not labels.is_floating_point()
    known = max(classes, int(labels.max()) + 1) if one_class else 0
    return rows, index % min(known, logits.shape[1]) if one_class else labels[index % len(labels)]


def _same(task: Task, logits: Logits, labels: Labels) -> bool:
    """Whether losses and residuals are the same for each sample alone as for all together."""
    with torch.no_grad():
        for values in (task.loss, task.residual):
            alone = [values(logits[i : i + 1], labels[i : i + 1]) for i in range(len(logits))]
            together = values(logits, labels)
            if not torch.allclose(torch.cat(alone), together, rtol=_RTOL, atol=_ATOL, equal_nan=True):
                return False
    return True
