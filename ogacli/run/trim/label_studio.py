"""Tasks for Label Studio: the flagged samples, with the suggested label as a prediction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from ogacli.data.originals._labelled import Labelled
from ogacli.run.label_kind import LabelKind, label_kind
from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim._findings import AGENT, Finding, Words, check_kind, contents, issues
from ogacli.run.trim.job import Job

_TEXT = "text"


@formats.register
class LabelStudio(FileFormat):
    """A JSON list of tasks, the most anomalous sample first; *Import* of Label Studio takes it.

    The columns of a row are the keys of ``data``; its labels stand under the control ``label``, for which
    ``toName`` is ``text`` or ``image``: ``<Choices>``, with ``choice="multiple"`` for several classes;
    ``<Number>``, of several targets one of the name of each column; ``<Labels>`` over the words of ``text``.
    """

    def check(self, job: Job) -> None:
        """Refuse masks, boxes and prompts, and tagged words that are in no column."""
        check_kind(job, "label_studio", "class", "classes", "tags", "numbers")
        if label_kind(job.run) == "tags":
            Words(job)

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write a task for each flagged sample."""
        flagged, made = issues(job), _Tasks(job)
        shown = contents(job, flagged)
        tasks = [made.task(one, shown.get(one.position, {})) for one in flagged]
        file.write(json.dumps(tasks, ensure_ascii=False, indent=1).encode() + b"\n")
        job.notes.append(f"{len(tasks):,} tasks: the flagged samples")


class _Tasks:
    def __init__(self, job: Job) -> None:
        self._kind: LabelKind | None = label_kind(job.run)
        self._words = Words(job) if self._kind == "tags" else None
        columns = job.original.label_columns if isinstance(job.original, Labelled) else ()
        self._targets = columns if len(columns) > 1 else ("label",)

    def task(self, one: Finding, content: Mapping[str, Any]) -> dict[str, Any]:
        """The task of a sample, with its columns."""
        data = {name: value for name, value in content.items() if value is not None}
        if self._words is not None:
            data[_TEXT] = self._words.text(content)
        target = next((name for name in (_TEXT, "image") if name in data), next(iter(data), "sample_id"))
        task: dict[str, Any] = {
            "data": data | {"sample_id": one.id, "given_label": one.label},
            "meta": one.metadata,
        }
        if one.suggested is not None:
            result = [{"to_name": target} | part for part in self._result(one.suggested, content)]
            score = {} if one.confidence is None else {"score": one.confidence}
            task["predictions"] = [{"model_version": AGENT, "result": result} | score]
        return task

    def _result(self, label: Any, content: Mapping[str, Any]) -> list[dict[str, Any]]:
        """A label as results of the control, or controls."""
        if self._words is not None:
            text = self._words.text(content)
            places = [
                {"start": start, "end": end, "text": text[start:end], "labels": [kind]}
                for start, end, kind in self._words.parts(content, label)
            ]
            return [{"from_name": "label", "type": "labels", "value": place} for place in places]
        values = label if isinstance(label, list) else [label]
        if self._kind != "numbers":
            return [{"from_name": "label", "type": "choices", "value": {"choices": values}}]
        names = (
            self._targets if len(self._targets) == len(values) else [f"label_{i}" for i in range(len(values))]
        )
        pairs = zip(names, values, strict=True)
        return [{"from_name": name, "type": "number", "value": {"number": value}} for name, value in pairs]
