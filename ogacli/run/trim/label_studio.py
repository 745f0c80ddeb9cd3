"""Tasks for Label Studio: the flagged samples, with the suggested label as a prediction."""

from __future__ import annotations

import json
from typing import IO, Any

from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim._findings import AGENT, Finding, check_classes, contents, issues
from ogacli.run.trim.job import Job


@formats.register
class LabelStudio(FileFormat):
    """A JSON list of tasks, the most anomalous sample first; *Import* of Label Studio takes it.

    The columns of a row are the keys of ``data``; its labels stand under the control ``label``, which is a
    ``<Choices name="label" toName="..">``.
    """

    def check(self, job: Job) -> None:
        """Refuse samples that do not have one class each."""
        check_classes(job, "label_studio")

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write a task for each flagged sample."""
        flagged = issues(job)
        shown = contents(job, flagged)
        tasks = [_task(one, shown.get(one.position, {})) for one in flagged]
        file.write(json.dumps(tasks, ensure_ascii=False, indent=1).encode() + b"\n")
        job.notes.append(f"{len(tasks):,} tasks: the flagged samples")


def _task(one: Finding, content: dict[str, Any]) -> dict[str, Any]:
    data = {name: value for name, value in content.items() if value is not None}
    target = next((name for name in ("text", "image") if name in data), next(iter(data), "sample_id"))
    task: dict[str, Any] = {
        "data": data | {"sample_id": one.id, "given_label": one.label},
        "meta": one.metadata,
    }
    if one.suggested is not None:
        choice = {
            "from_name": "label",
            "to_name": target,
            "type": "choices",
            "value": {"choices": [one.suggested]},
        }
        score = {} if one.confidence is None else {"score": one.confidence}
        task["predictions"] = [{"model_version": AGENT, "result": [choice]} | score]
    return task
