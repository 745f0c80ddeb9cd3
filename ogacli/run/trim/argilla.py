"""Records for Argilla: the flagged samples, with the suggested label as a suggestion."""

from __future__ import annotations

from typing import IO, Any

from ogacli.base.tables.json_text import text
from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim._findings import AGENT, Finding, check_classes, contents, issues
from ogacli.run.trim._rows import shown
from ogacli.run.trim.job import Job


@formats.register
class Argilla(FileFormat):
    """A JSON line for each record, the most anomalous sample first, for ``Record.from_dict`` of Argilla.

    The columns of a row are its fields, as texts; the suggestion answers the question ``label``.
    """

    def check(self, job: Job) -> None:
        """Refuse samples that do not have one class each."""
        check_classes(job, "argilla")

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write a record for each flagged sample."""
        flagged = issues(job)
        content = contents(job, flagged)
        for one in flagged:
            file.write(text(_record(one, content.get(one.position, {}))).encode() + b"\n")
        job.notes.append(f"{len(flagged):,} records: the flagged samples")


def _record(one: Finding, content: dict[str, Any]) -> dict[str, Any]:
    label = one.suggested or one.label
    suggestion = {"value": label, "score": one.confidence if one.suggested else one.quality, "agent": AGENT}
    return {
        "id": one.id,
        "fields": {name: shown(value) for name, value in content.items()} or {"sample": one.id},
        "metadata": one.metadata | {"given_label": one.label},
        "suggestions": {"label": suggestion},
        "responses": {},
        "vectors": {},
    }
