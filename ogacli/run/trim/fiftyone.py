"""Image classes for FiftyOne: a folder of the type ``FiftyOneImageClassificationDataset``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ogacli.errors import RunError
from ogacli.run.trim import FolderFormat, formats
from ogacli.run.trim._findings import Finding, check_kind, findings, image_paths
from ogacli.run.trim.job import Job


@formats.register
class FiftyOne(FolderFormat):
    """``labels.json`` with the classes of every image, and ``data.json`` with its path; no image is copied.

    It is loaded by ``Dataset.from_dir(dataset_dir=.., dataset_type=FiftyOneImageClassificationDataset,
    data_path="data.json")``. The confidence of a label is the probability that it is right; its attributes
    say what was found.
    """

    def check(self, job: Job) -> None:
        """Refuse samples that are no image files, or have no classes."""
        check_kind(job, "fiftyone", "class", "classes")

    def write(self, job: Job, folder: Path) -> None:
        """Write every sample."""
        path_of = image_paths(job)
        paths: dict[str, str] = {}
        labels: dict[str, Any] = {}
        for one in findings(job):
            path = path_of(one.position)
            if path is None:
                raise RunError(
                    "the samples are no image files in a folder of this machine",
                    place="--format fiftyone",
                    found=f"sample {one.id!r}",
                    hint="unpack the images; or write tasks for another tool: --format label_studio",
                )
            paths[one.id] = str(path)
            several = isinstance(one.label, list)
            each = [_label(one, name) for name in (one.label if several else [one.label])]
            labels[one.id] = each if several else each[0]
        classes = [one.name for one in job.run.summary.classes]
        document = {"classes": classes, "labels": labels}
        (folder / "labels.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        (folder / "data.json").write_text(json.dumps(paths, ensure_ascii=False), encoding="utf-8")


def _label(one: Finding, name: str) -> dict[str, Any]:
    """One class of an image; what was found of the image stands with each of them."""
    label: dict[str, Any] = {"label": name}
    if one.quality is not None:
        label["confidence"] = one.quality
    known = one.metadata | {"issue": one.issue}
    return label | {
        "attributes": known | ({} if one.suggested is None else {"suggested_label": one.suggested})
    }
