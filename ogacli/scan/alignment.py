"""Refuse a model whose outputs are in another order than the classes of the labels.

In: the results of a scan and the dataset. Out: an error with the mapping that was found and the line that
mends it; or a note, where the model may as well be a weak one; or nothing.
"""

import json
from collections.abc import Mapping
from typing import Any

from ogacli.base.wording import cut, listed, percent
from ogacli.data import Samples
from ogacli.data.sources import MEMORY, sources
from ogacli.errors import CheckpointError
from ogacli.verdict.alignment import Misalignment, misalignment, suspicion
from ogacli.verdict.findings import Findings

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
    found = misalignment(findings, samples.class_index, guessed=guessed)
    if found is None:
        suspected = suspicion(findings, samples.class_index)
        return None if suspected is None else _note(suspected.found, samples, settings["data"])
    raise CheckpointError(
        "the model's outputs are in another order than the classes of the data",
        place="model",
        found=f"{_mapping(found, samples.classes)}; so are {percent(found.agreement)} of the samples with "
        f"{'this label' if len(found.outputs) == 1 else 'these labels'} predicted",
        expected=f"output i for class i: {cut(', '.join(samples.classes), 200)}",
        hint=_hint(found, samples, settings["data"]),
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
