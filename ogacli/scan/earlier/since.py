"""Scan a dataset that has grown or changed: keep the results of an earlier run, score only the rest.

In: a run directory, and the input of a new scan. Out: which samples are as they were, their results, and the
fitted detectors. ``state.safetensors`` of a run holds what its scores do not: the detectors, whose size is
bounded, some numbers a sample, and the features of some thousand samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import torch
from jaxtyping import Float, Float64, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ogacli.base.progress import SILENT, Progress
from ogacli.base.special_files import refuse_special
from ogacli.data.fingerprints import label_fingerprints
from ogacli.data.ids import arrow_ids
from ogacli.data.loader import batch_size_for, batches
from ogacli.errors import RunError
from ogacli.models.sources.precomputed import PrecomputedSource
from ogacli.run.directory import STATE, Run
from ogacli.run.scores import QUARANTINED
from ogacli.scan.collected.collect import Collector
from ogacli.scan.collected.inputs import InputNotes
from ogacli.scan.collected.top import Kept
from ogacli.scan.earlier.same import check_same
from ogacli.scan.setup import Setup
from ogacli.verdict.findings import Findings
from ogacli.verdict.look_for import FAR

_MOST_BYTES = 256 << 20
"""Larger states of detectors are not kept."""
_ROWS = ("predictions", "prediction_probability", "entropy", "true_class", "confidence")
"""What a collector holds of each sample, beside what the scores hold."""


def state_of(
    findings: Findings,
    detectors: Sequence[Mapping[str, Tensor]],
    top: Mapping[str, Kept],
    raw: Float64[Tensor, "detectors n"] | None,
    pictures: Float[Tensor, "n 3"] | None = None,
) -> dict[str, Tensor] | None:
    """What is kept of a scan by one checkpoint; None where its detectors are too large.

    Args:
        findings: Its results.
        detectors: The states of the fitted detectors.
        top: The features of some samples.
        raw: The scores before the last step of the detectors, where these change them.
        pictures: Measures of the inputs, where these are pictures.
    """
    state = {
        f"detector-{number}/{name}": tensor
        for number, one in enumerate(detectors)
        for name, tensor in one.items()
    }
    if sum(tensor.nbytes for tensor in state.values()) > _MOST_BYTES or findings.entropy is None:
        return None
    true = findings.most_probable
    columns = {
        "predictions": findings.predictions.int(),
        "prediction_probability": findings.prediction_probability,
        "entropy": findings.entropy,
        "true_class": true.classes.int(),
        "confidence": true.confidence,
    }
    state |= {f"rows/{name}": tensor for name, tensor in columns.items()}
    if findings.blank is not None:
        state["rows/blank"] = findings.blank
    if pictures is not None:
        state["rows/pictures"] = pictures
    if findings.cells is not None:
        names = (one.name for one in fields(findings.cells))
        state |= {f"cells/{name}": getattr(findings.cells, name) for name in names}
    if raw is not None:
        state["rows/scores"] = raw
    for part, kept in top.items():
        state |= {f"{part}/{name}": tensor for name, tensor in kept.tensors().items()}
    return state


def write_state(state: Mapping[str, Tensor], file: Path) -> None:
    """Write it as safetensors."""
    own: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        one = tensor.cpu().contiguous()
        memory = one.untyped_storage().data_ptr()
        own[name] = one.clone() if memory in seen else one  # tensors that share memory cannot be saved
        seen.add(memory)
    save_file(own, file)


def check_possible(setup: Setup) -> None:
    """Check that the results of a sample do not depend on which other samples there are.

    Raises:
        RunError: They do, or the inputs that would be compared are not read.
    """
    if isinstance(setup.source, PrecomputedSource):
        raise _impossible(
            "precomputed outputs are read without the inputs, so that a changed input is not noticed"
        )
    if setup.gradients.residual == "neighbours":
        raise _impossible(
            "new samples become neighbours of old ones, and change their `residual: neighbours`"
        )
    if FAR in setup.look_for:
        raise _impossible("`look_for: far` compares the features of all samples, which the run does not keep")
    snapshots = setup.source.snapshots(setup.samples)
    if snapshots[0].held_out:
        raise refuse_folds()
    if len(snapshots) > 1:
        raise _impossible(
            f"the model has {len(snapshots)} checkpoints, and the run keeps the detectors of one alone"
        )


def refuse_folds() -> RunError:
    """The error where each fold has a network of its own."""
    return _impossible("folds are drawn from all samples, so that their networks change with new samples")


def _impossible(reason: str) -> RunError:
    return RunError(
        f"--since is not possible here: {reason}",
        hint="scan without --since; or by one checkpoint, which reads the samples",
    )


class Earlier:
    """The results of an earlier run for the samples that are as they were.

    Args:
        run: The earlier run, or its folder.
        setup: The input of the new scan.
        weights: The fingerprints of its weights.
        progress: Shows the progress of reading the samples.

    Raises:
        RunError: The run cannot be read, was changed since it was written, or is by other options or weights;
            or results of single samples do not stay the same where others are added.
    """

    def __init__(
        self, run: Run | str | Path, setup: Setup, weights: Mapping[str, str], progress: Progress = SILENT
    ) -> None:
        check_possible(setup)
        self.run = Run.open(run)
        check_same(self.run, setup, weights)
        self._state = _read(self.run.file(STATE))
        held = setup.samples.label_type.held
        self._notes = InputNotes(
            len(setup.samples), torch.device("cpu"), labels=not held, sketching=setup.sketching
        )
        self.rows, self._there = _unchanged(self.run, setup, self._notes, progress)
        """The samples that are as they were; their rows in the earlier run."""
        self.total = len(setup.samples)
        count = self.total - len(self.rows)
        progress.note(f"{count:,} of {self.total:,} samples are new or changed since {self.run.path}")

    def document(self) -> dict[str, int]:
        """For the provenance: how many samples were copied, and how many are new or changed."""
        return {"copied": len(self.rows), "new_or_changed": self.total - len(self.rows)}

    def fill(self, collector: Collector) -> list[dict[str, Tensor]]:
        """Put the known results into a new collector.

        Returns:
            The states of the fitted detectors.
        """
        rows, there, found = self.rows, self._there, collector.rows
        device = found.scores.device
        table = self.run.scores
        names = ("score", *(f"score_{name}" for name in self.run.summary.detectors[1:]))
        scores = self._state.get("rows/scores")
        if scores is None:
            scores = torch.stack([_floats(table[name]) for name in names])
        found.scores[:, rows] = scores[:, there].to(device)
        for name in _ROWS:
            own = getattr(found, name)
            own[rows] = self._state[f"rows/{name}"][there].to(device, own.dtype)
        found.probability[rows] = _floats(table["probability"])[there].float().to(device)
        found.done[rows] = True
        inputs = collector.inputs
        inputs.put(rows, self._notes.found(rows))
        inputs.blank[rows] = self._state["rows/blank"][there].to(device)
        if "rows/pictures" in self._state:
            inputs.pictures[rows] = self._state["rows/pictures"][there].to(device)
        cells = {name: tensor[there] for name, tensor in _under("cells/", self._state).items()}
        if cells:
            collector.cells.put(rows, cells)
        self._fill_features(collector)
        count = len(self.run.summary.detectors)
        return [_under(f"detector-{number}/", self._state) for number in range(count)]

    def _fill_features(self, collector: Collector) -> None:
        """Features of the samples that a scan keeps; those of them that are not known are scored again."""
        new_of = torch.full((len(self.run.scores),), -1)
        new_of[self._there] = self.rows
        parts = {part: _moved(self._state, part, new_of) for part in ("top", "others")}
        top, inputs = collector.top, collector.inputs
        others = parts["others"].take(inputs.places(parts["others"].rows) >= 0)
        if not len(others.rows) and not len(parts["top"].rows):
            return  # a model without features
        place = inputs.places(others.rows).to(top.device)
        top.others.put(place, others.to(top.device))
        top.join(parts["top"])
        lacking = torch.ones(len(inputs.rows), dtype=torch.bool)
        lacking[place.cpu()] = False
        collector.rows.done[inputs.rows[lacking]] = False


def _unchanged(
    run: Run, setup: Setup, notes: InputNotes, progress: Progress
) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " m"]]:
    """The samples whose inputs and label are those of the earlier run: row, and earlier row.

    Fingerprints and sketches of their inputs are noted.
    """
    samples, table = setup.samples, run.scores
    at = pc.fill_null(pc.index_in(arrow_ids(samples.ids), value_set=table["id"].combine_chunks()), -1)
    there = torch.from_numpy(np.asarray(at, dtype=np.int64).copy())
    marks = _numbers(table["fingerprint"])
    labels = label_fingerprints(samples.labels, samples.classes)
    usable = pc.and_(pc.is_valid(table["fingerprint"]), pc.not_equal(table["status"], QUARANTINED))
    known = torch.from_numpy(np.asarray(usable, dtype=bool).copy())
    candidates = ((there >= 0) & known[there.clamp_min(0)]).nonzero()[:, 0]
    rows = [torch.empty(0, dtype=torch.int64)]
    with progress.bar("comparing with the earlier run", len(candidates)) as advance:
        for batch in batches(samples, candidates, batch_size_for(samples, candidates), workers=setup.workers):
            advance(len(batch.rows) + len(batch.quarantined))
            if not len(batch.rows):
                continue
            notes.mark(batch.rows, batch.inputs, batch.labels)
            same = notes.content(batch.rows) + labels[batch.rows] == marks[there[batch.rows]]
            rows.append(batch.rows[same])
            if (sizes := samples.reader.picture_sizes(samples.positions[batch.rows])) is not None:
                notes.sizes[batch.rows] = sizes
            if notes.sketching:
                notes.sketch(batch.rows, batch.inputs)
    found = torch.cat(rows)
    notes.seen[found] = True
    return found, there[found]


def _read(file: Path) -> dict[str, Tensor]:
    refuse_special(file, RunError)
    try:
        return load_file(file)
    except FileNotFoundError:
        raise RunError(
            "the earlier run does not hold the state of its detectors",
            place=str(file.parent),
            expected=f"the file {STATE}, which is not written where detectors take more than "
            f"{_MOST_BYTES >> 20} MB",
            hint="scan without --since",
        ) from None
    except SafetensorError as error:
        raise RunError(
            "not the state of detectors", place=str(file), found=str(error), hint="scan without --since"
        ) from None


def _moved(state: Mapping[str, Tensor], part: str, new_of: Int64[Tensor, " o"]) -> Kept:
    """The samples of a part that are as they were, by their new rows."""
    kept = Kept(**_under(f"{part}/", state))
    rows = torch.where(kept.rows >= 0, new_of[kept.rows.clamp_min(0)], -1)
    kept = Kept(**(kept.tensors() | {"rows": rows}))
    return kept.take(rows >= 0)


def _numbers(marks: Sequence[str | None]) -> Int64[Tensor, " n"]:
    """Fingerprints as integers; 0 where there is none."""
    digits = "".join(pc.fill_null(marks, "0" * 16).to_pylist())
    return torch.from_numpy(np.frombuffer(bytes.fromhex(digits), ">i8").astype(np.int64))


def _floats(column: Sequence[float | None]) -> Float64[Tensor, " n"]:
    """A column as numbers, NaN where it is null."""
    return torch.from_numpy(np.asarray(pc.cast(column, "float64"), dtype=np.float64).copy())


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): one.clone() for name, one in _named(prefix, tensors)}


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((name, one) for name, one in tensors.items() if name.startswith(prefix))
