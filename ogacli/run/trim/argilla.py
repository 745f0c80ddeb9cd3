"""Records for Argilla: the flagged samples, with the suggested label as a suggestion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from ogacli.base.tables.json_text import text
from ogacli.run.label_kind import label_kind, label_text
from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim._findings import AGENT, Finding, Words, check_kind, contents, issues
from ogacli.run.trim._rows import shown
from ogacli.run.trim.job import Job


@formats.register
class Argilla(FileFormat):
    """A JSON line for each record, the most anomalous sample first, for ``Record.from_dict`` of Argilla.

    The columns of a row are its fields, as texts. The suggestion answers the question ``label``: a
    ``LabelQuestion``, or a ``MultiLabelQuestion`` of several classes; a ``TextQuestion`` of numbers, as
    ratings are whole numbers there; a ``SpanQuestion`` of tagged words, over the field ``text``.
    """

    def check(self, job: Job) -> None:
        """Refuse masks, boxes and prompts, and tagged words that are in no column."""
        check_kind(job, "argilla", "class", "classes", "tags", "numbers")
        if label_kind(job.run) == "tags":
            Words(job)

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write a record for each flagged sample."""
        flagged = issues(job)
        content = contents(job, flagged)
        kind = label_kind(job.run)
        words = Words(job) if kind == "tags" else None
        for one in flagged:
            columns = content.get(one.position, {})
            fields = {name: shown(value) for name, value in columns.items()} or {"sample": one.id}
            if words is not None:
                fields["text"] = words.text(columns)
            label = one.label if one.suggested is None else one.suggested
            answer = label_text(label) if kind == "numbers" else label
            if words is not None:
                answer = [dict(zip(_SPAN, part, strict=True)) for part in words.parts(columns, label)]
            file.write(text(_record(one, fields, answer)).encode() + b"\n")
        job.notes.append(f"{len(flagged):,} records: the flagged samples")


_SPAN = ("start", "end", "label")


def _record(one: Finding, fields: Mapping[str, str], answer: Any) -> dict[str, Any]:
    score = one.quality if one.suggested is None else one.confidence
    given = one.label if isinstance(one.label, str | float) else label_text(one.label)
    return {
        "id": one.id,
        "fields": fields,
        "metadata": one.metadata | {"given_label": given},
        "suggestions": {"label": {"value": answer, "score": score, "agent": AGENT}},
        "responses": {},
        "vectors": {},
    }
