"""Whether a new scan computes what an earlier run did, so that the results of samples can be taken from it.

In: a run and the input of a scan. Out: nothing; or one error with everything that differs.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ogacli._version import __version__
from ogacli.base.options import dotted
from ogacli.base.wording import cut
from ogacli.errors import RunError
from ogacli.run.directory import Run
from ogacli.scan.setup import Setup

_SECTIONS = ("model", "gradients", "loss", "detector")
_ELSEWHERE = ("model.checkpoint", "gradients.batch_size", "gradients.device")
"""Keys that do not matter: of weights the content is compared."""
_LONGEST = 60


def check_same(run: Run, setup: Setup, weights: Mapping[str, str]) -> None:
    """Compare options, weights, classes and version.

    Raises:
        RunError: Something differs, or the run was changed since it was written.
    """
    if doubts := run.counts.doubts:
        raise RunError(
            "the earlier run is not as its scan wrote it",
            place=str(run.path),
            found="; ".join(doubts),
            hint="scan without --since",
        )
    differs = list(_differences(run, setup, weights))
    if differs:
        raise RunError(
            "the earlier run was made otherwise, so that its scores are not those of this scan",
            place=str(run.path),
            found="".join(f"\n    {one}" for one in differs),
            expected="the same checkpoint, options, classes and version of oga",
            hint="restore what was changed, or scan without --since",
        )


def _differences(run: Run, setup: Setup, weights: Mapping[str, str]) -> Iterator[str]:
    provenance = run.provenance
    version = provenance.get("versions", {}).get("ogacli")
    if version != __version__:
        yield _told("version of oga", version, __version__)
    before, now = (sorted(each) for each in (provenance.get("checkpoints", {}).values(), weights.values()))
    if before != now:
        yield _told("checkpoint", *(", ".join(one[:12] for one in each) for each in (before, now)))
    old, new = _flat(run.config), _flat(setup.settings)
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield _told(key, old.get(key, "not set"), new.get(key, "not set"))
    classes = tuple(one.name for one in run.summary.classes)
    if classes != tuple(setup.samples.classes):
        yield _told("classes", ", ".join(classes), ", ".join(setup.samples.classes))
    validation = None if setup.validation is None else setup.validation.fingerprint
    known = (provenance.get("validation") or {}).get("fingerprint")
    if validation != known:
        yield _told("validation samples", str(known)[:12], str(validation)[:12])
    if len(setup.source.snapshots(setup.samples)) > 1:
        yield "checkpoint: several, of which each would have to be known of every sample"
    if setup.gradients.residual == "neighbours":
        yield "gradients.residual: `neighbours` looks at all samples"
    if run.scores["fingerprint"].null_count == len(run.scores):
        yield "fingerprints: the inputs were not read, so that nothing tells which samples have changed"


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the sections that matter, by dotted key."""
    found: dict[str, Any] = {}

    def add(key: tuple[str | int, ...], value: Any) -> None:
        name = dotted(key)
        if any(name == one or name.startswith((f"{one}.", f"{one}[")) for one in _ELSEWHERE):
            return
        if isinstance(value, Mapping):
            for inner in value:
                add((*key, inner), value[inner])
        elif isinstance(value, list | tuple):
            for i, inner in enumerate(value):
                add((*key, i), inner)
        else:
            found[name] = value

    for section in _SECTIONS:
        if section in settings:
            add((section,), settings[section])
    return found


def _told(what: str, before: object, now: object) -> str:
    return f"{what}: {cut(str(before), _LONGEST)} there, {cut(str(now), _LONGEST)} here"
