"""What an unfinished scan has found, as named tensors and a JSON document: for a file or for another process.

In: a collector and the states of its fitted detectors. Out: both again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ogacli.base.documents.json_tensor import of_json, to_json
from ogacli.base.processes.ranks import Ranks
from ogacli.detectors._state import prefixed, under
from ogacli.detectors.label_noise.signals import Signals
from ogacli.scan.collected.collect import Collector
from ogacli.verdict.diagnosis import CheckpointDiagnosis

States = Sequence[Mapping[str, Tensor]]
"""What each detector has fitted, and noted while it scored."""


def saved(collector: Collector, states: States) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the document.

    Args:
        collector: The results so far.
        states: Of the detectors; none where they are not fitted yet.
    """
    tensors: dict[str, Tensor] = {}
    for name, part in collector.parts().items():
        tensors |= prefixed(f"{name}/", part.tensors())
    for number, state in enumerate(states):
        tensors |= prefixed(f"detector-{number}/", state)
    document = {
        "checkpoints": [one.model_dump(mode="json") for one in collector.checkpoints],
        "signals": [[weight, *one.numbers()] for weight, one in collector.signals],
        "rescored": collector.rescored,
        "detectors": len(states),
        "quarantined": [
            list(reasons.items()) for reasons in (collector.rows.quarantined, collector.totals.quarantined)
        ],
    }
    return tensors, document


def restored(collector: Collector, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> States:
    """Fill a new collector with what ``saved`` returned; returns the states of the detectors."""
    for name, part in collector.parts().items():
        for key, tensor in under(f"{name}/", tensors).items():
            getattr(part, key).copy_(tensor)
    collector.checkpoints = [CheckpointDiagnosis.model_validate(one) for one in document["checkpoints"]]
    collector.signals = [(one[0], Signals.of_numbers(one[1:])) for one in document["signals"]]
    rescored = document["rescored"]
    collector.rescored = None if rescored is None else (rescored[0], rescored[1])
    rows, totals = map(dict, document["quarantined"])
    collector.rows.quarantined.update(rows)
    collector.totals.quarantined.update(totals)
    # Copied, as memory that is mapped to the file is aligned otherwise, which changes the last digits.
    return [
        {key: tensor.clone() for key, tensor in under(f"detector-{number}/", tensors).items()}
        for number in range(document["detectors"])
    ]


def from_first(collector: Collector, fill: Callable[[], Sequence[States]], ranks: Ranks) -> Sequence[States]:
    """Fill the collectors of all ranks with what the first one knows.

    Args:
        collector: A new one.
        fill: Fills it on the first rank; returns the states of detectors, of each process that saved some.
        ranks: All of them.

    Returns:
        The states; on the other ranks those of one process, which is enough to score.
    """
    found: Sequence[States] = ()

    def packed() -> Mapping[str, Tensor]:
        nonlocal found
        found = fill()
        if not ranks.several:
            return {}
        tensors, document = saved(collector, found[0] if found else ())
        return tensors | {_DOCUMENT: to_json(document)}

    received = ranks.of_first(packed)
    if not ranks.first:
        states = restored(collector, received, of_json(received[_DOCUMENT]))
        found = [states] if states else []
    return found


_DOCUMENT = "document"
