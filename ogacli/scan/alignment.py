"""Refuse a model whose outputs are in another order than the classes of the labels.

In: the results of a scan and the dataset. Out: an error with the mapping that was found and the line that
mends it; or a note, where the model may as well be a weak one; or nothing.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.wording import cut, listed, percent
from ogacli.data import Samples
from ogacli.data.labels.label_types import SeveralClasses
from ogacli.data.loader import batches
from ogacli.data.sources import MEMORY, sources
from ogacli.errors import CheckpointError
from ogacli.models import Model
from ogacli.models.tasks import Task
from ogacli.verdict.alignment import Misalignment, misalignment, suspicion
from ogacli.verdict.findings import Findings
from ogacli.verdict.label_alignment import misaligned_labels

_LOOKED_AT, _BATCH = 1000, 64
"""Samples whose outputs are looked at, where a scan has not kept predictions; and how many at a time."""
_SHOWN = 6
"""Pairs of a class and an output in the message."""


def check_alignment(findings: Findings, samples: Samples, settings: Mapping[str, Any]) -> str | None:
    """Check that predictions do not map one to one onto other labels.

    Args:
        findings: The results of all checkpoints that count.
        samples: The dataset.
        settings: The options of the scan as plain values.

    Returns:
        What is suspected, where it cannot be known; None where nothing is.

    Raises:
        CheckpointError: They do.
    """
    if samples.class_index is None:
        return None
    guessed = samples.class_order == "sorted"
    suspected = suspicion(findings, samples.class_index)
    if suspected is None:
        return None
    found = misalignment(findings, samples.class_index, guessed=guessed)
    if found is None:
        return _note(suspected.found, samples, settings["data"])
    raise _refused(found, samples, settings["data"])


def check_outputs(
    model: Model,
    task: Task,
    samples: Samples,
    settings: Mapping[str, Any],
    *,
    device: torch.device,
    workers: int | Literal["auto"] = "auto",
) -> str | None:
    """The same by the outputs for some of the samples; also where a sample may have several labels.

    Args:
        model: On the device.
        task: The loss.
        samples: The samples that the model was trained on, or others of the same classes.
        settings: The options as plain values.
        device: Where to compute.
        workers: Processes that read.

    Returns:
        What is suspected; None where nothing is, or samples have no classes.

    Raises:
        CheckpointError: The outputs are in another order.
    """
    several = isinstance(samples.label_type, SeveralClasses)
    if (
        task.returns_loss
        or task.of_pixels
        or len(samples.classes) < 2
        or not (several or samples.class_index is not None)
    ):
        return None
    rows = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[:_LOOKED_AT]
    logits, known = _outputs(model, samples, rows.sort().values, device, workers)
    if not len(known) or logits.shape[1] < len(samples.classes) or logits.isnan().any():
        return None
    some = samples.select(known)
    if not several:
        return check_alignment(_findings(logits, some.labels), some, settings)
    found = misaligned_labels(logits, some.labels.float())
    if found is None:
        return None
    misaligned, sure = found
    if sure:
        raise _refused(misaligned, samples, settings["data"])
    return _note(misaligned, samples, settings["data"])


def _outputs(
    model: Model,
    samples: Samples,
    rows: Int64[Tensor, " m"],
    device: torch.device,
    workers: int | Literal["auto"],
) -> tuple[Float[Tensor, "m w"], Int64[Tensor, " m"]]:
    """Logits, and the rows that could be read."""
    logits, known = [torch.empty(0, 0)], [rows[:0]]
    for batch in batches(samples, rows, _BATCH, workers=workers):
        if len(batch.rows):
            logits.append(model.outputs(batch.to(device)).logits.detach().float().cpu())
            known.append(batch.rows)
    if len(logits) == 1 or logits[1].ndim != 2:
        return torch.empty(0, 0), rows[:0]
    return torch.cat(logits[1:]), torch.cat(known)


def _findings(logits: Float[Tensor, "m w"], labels: Int64[Tensor, " m"]) -> Findings:
    probabilities = logits.softmax(1)
    highest, predictions = probabilities.max(1)
    given = probabilities.gather(1, labels[:, None])[:, 0]
    return Findings({}, predictions, highest, given, {})


def _refused(found: Misalignment, samples: Samples, data: Mapping[str, Any]) -> CheckpointError:
    return CheckpointError(
        "the model's outputs are in another order than the classes of the data",
        place="model",
        found=f"{_mapping(found, samples.classes)}; so are {percent(found.agreement)} of the samples with "
        f"{'this label' if len(found.outputs) == 1 else 'these labels'} predicted",
        expected=f"output i for class i: {cut(', '.join(samples.classes), 200)}",
        hint=_hint(found, samples, data),
    )


def _note(found: Misalignment, samples: Samples, data: Mapping[str, Any]) -> str:
    """What is suspected, and what to do in either case."""
    said = f"the model {_mapping(found, samples.classes)} ({percent(found.agreement)} of them)"
    causes = "it knows little, or its outputs are in another order than the classes"
    return f"{said}: {causes}; if so, {_hint(found, samples, data)}"


def _mapping(found: Misalignment, classes: tuple[str, ...]) -> str:
    """``cat as dog, dog as cat``."""

    def named(output: int) -> str:
        return repr(classes[output]) if output < len(classes) else f"output {output}"

    pairs = [f"{classes[label]!r} as {named(output)}" for label, output in sorted(found.outputs.items())]
    return f"predicts {listed(pairs, _SHOWN)}"


def _hint(found: Misalignment, samples: Samples, data: Mapping[str, Any]) -> str:
    """The line that mends it."""
    by_name = samples.class_order != "indices"
    order = [
        f"unused {output}" if label is None else samples.classes[label] if by_name else str(label)
        for output, label in enumerate(found.order(len(samples.classes)))
    ]
    line = json.dumps(order, ensure_ascii=False)
    if not by_name and None not in found.order(len(samples.classes)):
        line = f"[{', '.join(order)}]"
    if data.get("source") == MEMORY:
        return f"list the classes in the order of the outputs: `Samples.of(.., classes={line})`"
    if "classes" not in sources.get(str(data.get("source"))).model_fields:
        return f"put the outputs of the model into this order of the classes: {line}"
    return f"add `classes: {line}` to the data section: the classes in the order of the model's outputs"
