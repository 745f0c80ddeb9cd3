"""The scan: score the samples with each checkpoint, and decide what is flagged.

In: a ``Setup``. Out: a ``ScanResult``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ogacli.base.device import device_of
from ogacli.base.precision import computing_on
from ogacli.base.progress import SILENT, Progress
from ogacli.detectors import OF_ANNOTATORS
from ogacli.errors import DataError
from ogacli.models.checkpoints.snapshots import distinct
from ogacli.run.summarise import summarise
from ogacli.scan.alignment import check_alignment, check_outputs
from ogacli.scan.collected.beside import Beside, beside
from ogacli.scan.collected.cells import cells_of
from ogacli.scan.collected.collect import Collector
from ogacli.scan.collected.near import check_against, with_near_duplicates
from ogacli.scan.earlier.resume import Unfinished
from ogacli.scan.earlier.saved import States, from_first
from ogacli.scan.earlier.since import Earlier, state_of
from ogacli.scan.passes import CheckpointPass
from ogacli.scan.provenance import provenance
from ogacli.scan.result import ScanResult
from ogacli.scan.scorers import column_names, label_detectors
from ogacli.scan.second_look import second_look
from ogacli.scan.setup import Setup
from ogacli.scan.stopwatch import Clock
from ogacli.scan.validation import check_validation
from ogacli.verdict.benefit import Chosen
from ogacli.verdict.diagnosis import NOT_DIAGNOSED, CheckpointDiagnosis, diagnose
from ogacli.verdict.findings import Findings
from ogacli.verdict.judge import Verdict, judge
from ogacli.verdict.look_for import FAR


def execute(
    setup: Setup,
    *,
    weights: Mapping[str, str],
    clock: Clock,
    unfinished: Unfinished | None = None,
    resume: bool = False,
    earlier: Earlier | None = None,
    choose: Callable[[], Chosen] | None = None,
    progress: Progress = SILENT,
) -> ScanResult | None:
    """Score all samples and decide what is flagged.

    Of several ranks the first one returns the result, the others None.

    Args:
        setup: The samples, the model and the options.
        weights: The fingerprints of the weights, for the provenance.
        clock: Started before the samples were opened.
        unfinished: Where the scan is saved every minute and at an interruption; None: nowhere.
        resume: Continue the scan that was saved there, if there is one.
        earlier: Results of an earlier run; only the other samples are scored, by its fitted detectors.
        choose: Chooses the amount of a budget ``benefit``; called after the samples have been scored.
        progress: Shows the progress.

    Raises:
        OgaError: Anything that the user can mend.
    """
    device = device_of(setup.gradients.device)
    clock.lap("load")
    scoring = _Scoring(setup, device, unfinished, earlier)
    with computing_on(device, repeatable=setup.gradients.deterministic):
        scoring.run(resume=resume, keep=choose is not None, progress=progress)
        clock.lap("score")
        if not setup.ranks.first:
            if choose is not None:
                choose()
            return None
        last = scoring.last
        findings = own = scoring.findings(progress)
    suspected = None
    if not scoring.snapshots[0].source.trained_on(setup.samples.classes):
        suspected = scoring.alignment(findings)
    budget, benefit, checkpoints = setup.budget, None, scoring.checkpoints
    if choose is not None:
        chosen = choose()
        benefit, budget = chosen.benefit, budget.chosen(chosen.benefit.amount)
        if chosen.findings is not None:
            findings, checkpoints = chosen.findings, ()
        clock.lap("choose")
    verdict = judge(findings, setup.samples.class_index, budget, setup.protect)
    share = int((verdict.flagged | verdict.held_back).count_nonzero()) / verdict.scored
    shown_beside = scoring.beside(verdict)
    parameters = last.feed.gradients.parameters
    overlaps = last.scorers.overlaps(share)
    return ScanResult(
        samples=setup.samples,
        verdict=verdict,
        summary=summarise(
            verdict,
            setup.samples,
            parameters,
            rescored=scoring.collector.rescored,
            overlap=overlaps,
            checkpoints=checkpoints,
            named_by_model=scoring.snapshots[0].source.names_classes(setup.samples),
            notes=(*last.feed.notes, *([] if suspected is None else [suspected])),
            benefit=benefit,
        ),
        provenance=provenance(setup, device, weights, last.feed)
        | ({} if earlier is None else {"since": earlier.document()}),
        settings=setup.settings,
        timing={
            "started": clock.started,
            "seconds": clock.laps,
            "detectors": scoring.seconds or None,
            "samples": len(setup.samples),
        },
        preview=partial(setup.task.preview, last.model, setup.samples, device=device),
        beside=shown_beside,
        state=scoring.state(own),
        clock=clock,
    )


class _Scoring:
    """Scores by one checkpoint after the other, each with detectors of its own."""

    def __init__(
        self,
        setup: Setup,
        device: torch.device,
        unfinished: Unfinished | None,
        earlier: Earlier | None = None,
    ) -> None:
        self.setup = setup
        self.earlier = earlier
        self.device = device
        self.unfinished = unfinished
        self.snapshots = setup.source.snapshots(setup.samples)
        self.held_out = all(snapshot.held_out for snapshot in self.snapshots)
        """Whether no sample is scored by a checkpoint that was trained on it."""
        self.label_detectors = label_detectors(setup.detectors)
        self.collector = Collector(
            setup.samples,
            column_names(setup.detectors),
            device,
            several=len(self.snapshots) > 1,
            # A single model needs no second fit.
            evidence_of=tuple(self.label_detectors) if self.held_out and len(self.snapshots) > 1 else (),
            cells=cells_of(setup.detectors, setup.samples.labels),
            sketching=setup.sketching,
            features=FAR in setup.look_for,
        )
        self.last: CheckpointPass
        """The current checkpoint."""
        self.raw: Tensor | None = None
        """The scores of a single checkpoint before the last step of its detectors, where it changes them."""
        self.seconds: dict[str, float] = {}
        """The time of each detector; empty on a GPU."""

    def run(self, *, resume: bool, keep: bool, progress: Progress) -> None:
        """Score with each checkpoint the samples that it is responsible for.

        Args:
            resume: Continue the scan that was saved.
            keep: Save the scores at the end, as a long step follows.
            progress: Shows the progress.
        """
        states = self._begin(resume=resume)
        count = len(self.snapshots)
        for number in range(len(self.collector.checkpoints), count):
            self._open(number)
            step = f"checkpoint {number + 1} of {count}" if count > 1 else "scanning"
            self.last.run(self.collector, states, save=self._save, progress=progress, step=step)
            states = ()
            if keep and number + 1 == count and self.setup.ranks.first:
                self._save(self.last.scorers.states, True)
            self._finish(progress)
            rows = self.last.rows
            together = count > 1 and len(rows) == len(self.setup.samples)
            findings = self._current(held_out=self.snapshots[number].held_out)
            if together and number + 1 == count:
                # Earlier checkpoints may have learned little, and so seem to predict other labels by chance.
                check_alignment(findings, self.setup.samples, self.setup.settings)
            self.collector.next_checkpoint(
                rows,
                self._weight() if together else 1.0,
                name=self.snapshots[number].name,
                # That of a single checkpoint comes with the summary.
                diagnosis=diagnose(findings, self.setup.samples.class_index) if count > 1 else NOT_DIAGNOSED,
                alone=not together,
                signals=self.last.scorers.signals,
            )
            if number + 1 < count and self.setup.ranks.first:
                self._save(list, False)

    def _begin(self, *, resume: bool) -> Sequence[States]:
        """Fill the collector with what was saved or is known; returns the states of fitted detectors."""

        def fill() -> Sequence[States]:
            found: Sequence[States] = ()
            if resume and self.unfinished is not None:
                found = self.unfinished.load(self.collector)
            if not found and self.earlier is not None:
                found = [self.earlier.fill(self.collector)]
            return found

        return from_first(self.collector, fill, self.setup.ranks)

    @property
    def checkpoints(self) -> tuple[CheckpointDiagnosis, ...]:
        """The diagnosis of each of several checkpoints, by the part of its name that differs."""
        several = self.collector.checkpoints if len(self.snapshots) > 1 else []
        names = distinct([one.name for one in several])
        return tuple(one.model_copy(update={"name": name}) for one, name in zip(several, names, strict=True))

    def _current(self, *, held_out: bool) -> Findings:
        """The predictions of the current checkpoint."""
        by_neighbours = self.last.neighbours is not None
        return replace(self.collector.current(), held_out=held_out, by_neighbours=by_neighbours)

    def findings(self, progress: Progress) -> Findings:
        """The results of all checkpoints that count; the other dataset is read for it, if there is one.

        Raises:
            DataError: No sample could be scored.
        """
        samples, detectors = self.setup.samples, self.label_detectors
        findings = self.collector.evidence.judged(self.collector.findings(), samples, detectors)
        if len(findings.quarantined) == len(samples):
            row, reason = next(iter(findings.quarantined.items()))
            raise DataError(
                "none of the samples can be scored",
                place=f"sample {samples.ids[row].as_py()!r}, the first of {len(samples)}",
                found=reason,
            )
        by_neighbours = self.last.neighbours is not None
        found = replace(
            findings,
            wrong=next((findings.scores[name] for name in detectors), None),
            # The entropy of a mean over neighbours is larger than that of each of them.
            entropy=None if by_neighbours else findings.entropy,
            duplicate_of=self.collector.inputs.duplicates(samples, self.last.model),
            blank=self.collector.inputs.blank.cpu(),
            picture=self.collector.inputs.poor_pictures(),
            content=self.collector.inputs.content() if self.last.model.reads_inputs else None,
            far=self.collector.features.far(self.collector.inputs.rows, samples.class_index),
            probed=self.collector.top.probed(),
            annotated=samples.annotations is not None and next(iter(detectors), None) == OF_ANNOTATORS,
            held_out=self.held_out,
            by_neighbours=by_neighbours,
        )
        if not self.setup.sketching:
            return found
        return with_near_duplicates(found, self.collector.inputs, self.setup, progress)

    def beside(self, verdict: Verdict) -> Beside:
        """The samples that a person compares with the most anomalous ones, and the map of the gradients."""
        samples, inputs = self.setup.samples, self.collector.inputs
        read = inputs.reader(samples, self.last.model)
        return beside(self.collector.top, verdict, samples, inputs.fingerprints.cpu(), read)

    def state(self, findings: Findings) -> dict[str, Tensor] | None:
        """What a later scan with ``--since`` takes; None where it cannot take anything."""
        if len(self.snapshots) > 1 or self.held_out or not self.last.model.reads_inputs:
            return None
        top = {name: getattr(self.collector.top, name) for name in ("top", "others")}
        pictures = None if findings.picture is None else self.collector.inputs.pictures
        return state_of(findings, self.last.scorers.states(), top, self.raw, pictures)

    def alignment(self, findings: Findings) -> str | None:
        """What is suspected of the order of the outputs.

        Raises:
            CheckpointError: It is another than that of the classes.
        """
        setup, model = self.setup, self.last.model
        if setup.samples.class_index is not None or not model.reads_inputs:
            return check_alignment(findings, setup.samples, setup.settings)
        given = (setup.samples, setup.settings)
        return check_outputs(model, setup.task, *given, device=self.device, workers=setup.workers)

    def _open(self, number: int) -> None:
        """Load a checkpoint in place of the one before, which is freed first."""
        vars(self).pop("last", None)
        snapshot = self.snapshots[number]
        model = snapshot.source.open(self.setup.samples, self.device)
        check_validation(self.setup, model)
        check_against(self.setup, model)
        self.last = CheckpointPass(
            self.setup,
            model,
            self.device,
            snapshot.rows,
            keep_evidence=self.collector.evidence.kept,
            held_out=snapshot.held_out,
        )

    def _finish(self, progress: Progress) -> None:
        if self.setup.gradients.precision != "float32":
            second_look(self.last, self.collector, self.setup.budget, progress)
        if len(self.snapshots) == 1 and any(one.detector.finishes for one in self.last.scorers.each):
            self.raw = self.collector.rows.scores.clone()
        self.last.finish(self.collector)
        # On a GPU a call returns before its work is done, so that detectors cannot be timed.
        if self.device.type == "cpu":
            for name, seconds in self.last.scorers.seconds().items():
                self.seconds[name] = round(self.seconds.get(name, 0) + seconds, 4)

    def _weight(self) -> float:
        """The weight of one of several checkpoints: the squared share of the labels that it does not predict.

        The gradients of a checkpoint that has memorised the labels hardly separate right labels from wrong
        ones. Chosen on `benchmarks/detection.py`: better than equal weights, ranks, or the first half of a
        training.
        """
        unlearned = self.collector.unlearned_share()
        return 1.0 if unlearned is None else unlearned**2

    def _save(self, states: Callable[[], States], now: bool) -> None:
        if self.unfinished is not None:
            self.unfinished.save(self.collector, states, now=now)
