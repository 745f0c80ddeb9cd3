"""Near-duplicates among the samples, and with another dataset.

In: the sketches that a scan has noted, the scores, and if there is one the other dataset, which is read once.
Out: columns of ``Findings``.
"""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from ogacli.base.progress import Progress
from ogacli.data import Samples
from ogacli.data.loader import batch_size_for, batches
from ogacli.data.near import groups_of
from ogacli.data.samples import check_features
from ogacli.data.sketches import BYTES, PICTURE, ROW, TEXT, sketched
from ogacli.errors import ConfigError, DataError
from ogacli.models import Model
from ogacli.scan.collected.columns import filled
from ogacli.scan.collected.inputs import InputNotes
from ogacli.scan.setup import Setup
from ogacli.verdict.findings import Findings
from ogacli.verdict.look_for import NEAR_DUPLICATES
from ogacli.verdict.near import kept_of, leaked

_KINDS = {PICTURE: "pictures", TEXT: "texts", ROW: "numbers"}
_TRIED = 8
"""First samples of a dataset of which one must be readable, to tell what the inputs are."""


def check_against(setup: Setup, model: Model) -> None:
    """Check that the inputs of both datasets can be compared.

    Raises:
        ConfigError: The model reads none.
        DataError: The columns of the other table differ, or its samples are of another kind.
    """
    if setup.against is None:
        return
    if not model.reads_inputs:
        raise ConfigError(
            "precomputed outputs are read without the inputs, so that these cannot be compared",
            place="against",
            expected="a model that reads the inputs",
        )
    check_features(setup.samples, setup.against, "against")
    expected, found = _inputs_of(setup.samples), _inputs_of(setup.against)
    if expected != found and None not in (expected, found):
        raise DataError(
            "samples of one kind only can be compared",
            place="against",
            found=found,
            expected=f"{expected}, as in `data`",
            hint="name another split of the same dataset, read in the same way",
        )


def _inputs_of(samples: Samples) -> str | None:
    """What the inputs are; None where none of the first samples can be read."""
    for row in range(min(len(samples), _TRIED)):
        batch = samples.read([row])
        if len(batch.rows):
            name = _KINDS[sketched(batch.inputs)[0]]
            rows = name == _KINDS[ROW] and isinstance(batch.inputs, Tensor)
            return f"{name} {list(batch.inputs.shape[1:])}" if rows else name
    return None


def with_near_duplicates(findings: Findings, notes: InputNotes, setup: Setup, progress: Progress) -> Findings:
    """The findings with the columns of near-duplicates.

    Args:
        findings: With the scores.
        notes: With the sketches of all samples.
        setup: What is looked for, and the other dataset.
        progress: Shows the progress.
    """
    against = setup.against
    kinds, sketches = notes.kinds.cpu(), notes.sketches.cpu()
    if against is not None:
        other_kinds, other_sketches = _read(against, setup.workers, progress)
        kinds, sketches = torch.cat([kinds, other_kinds]), torch.cat([sketches, other_sketches])
    group, n = groups_of(kinds, sketches), len(findings.predictions)
    score = next(iter(findings.scores.values()))
    return replace(
        findings,
        near_duplicate_of=kept_of(group[:n], score) if NEAR_DUPLICATES in setup.look_for else None,
        leaks=None if against is None else leaked(group, n, against.ids),
    )


def _read(
    samples: Samples, workers: int | Literal["auto"], progress: Progress
) -> tuple[UInt8[Tensor, " m"], UInt8[Tensor, "m 256"]]:
    """The sketches of a dataset; of kind ``NONE`` where a sample cannot be read."""
    kinds = filled(len(samples), torch.uint8, 0)
    sketches = filled(len(samples) * BYTES, torch.uint8, 0).view(-1, BYTES)
    rows = torch.arange(len(samples))
    with progress.bar("reading `against`", len(samples)) as advance:
        for batch in batches(samples, rows, batch_size_for(samples, rows), workers=workers):
            if len(batch.rows):
                kinds[batch.rows], sketches[batch.rows] = sketched(batch.inputs)
            advance(len(batch.rows) + len(batch.quarantined))
    return kinds, sketches
