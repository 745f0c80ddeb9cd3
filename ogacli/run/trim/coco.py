"""The pictures that stay and their boxes, in the form of COCO."""

from __future__ import annotations

import json
from typing import IO

from ogacli.data.originals.coco import Coco as Original
from ogacli.data.originals.coco import id_of, read_document
from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim.chosen import check_rows
from ogacli.run.trim.job import Job


@formats.register
class Coco(FileFormat):
    """The JSON file without the pictures that go and their annotations; all else of it stays."""

    suffixes = (".json",)

    def check(self, job: Job) -> None:
        """Refuse samples of another source.

        Raises:
            RunError: The source is not ``coco``.
        """
        if not isinstance(job.original, Original):
            raise job.without_rows("coco")

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write the pictures in their order."""
        original = job.original
        assert isinstance(original, Original)
        document = read_document(original.annotations)
        check_rows(original.annotations, len(document["images"]), job.chosen)
        images = [document["images"][position] for position in job.chosen.positions.tolist()]
        kept = {image["id"] for image in images}
        boxes = [box for box in document["annotations"] if id_of(box, "image_id") in kept]
        written = document | {"images": images, "annotations": boxes}
        file.write(json.dumps(written, ensure_ascii=False).encode())
