"""The pictures that stay and their text files, in the form of YOLO."""

from __future__ import annotations

from pathlib import Path

from ogacli.base.file_names import safe_name
from ogacli.data.files import Tree, open_files
from ogacli.data.originals.yolo import Yolo as Original
from ogacli.data.originals.yolo import picture_names, text_name
from ogacli.data.unreadable import Unreadable
from ogacli.errors import DataError, RunError
from ogacli.run.trim import FolderFormat, formats
from ogacli.run.trim.chosen import check_rows
from ogacli.run.trim.job import Job


@formats.register
class Yolo(FolderFormat):
    """Copies in the folders ``images`` and ``labels``, byte by byte."""

    def check(self, job: Job) -> None:
        """Refuse samples of another source.

        Raises:
            RunError: The source is not ``yolo``.
        """
        if not isinstance(job.original, Original):
            raise job.without_rows("yolo")

    def write(self, job: Job, folder: Path) -> None:
        """Write each picture, and its text file where it has one."""
        original = job.original
        assert isinstance(original, Original)
        pictures, texts = original.tree(), open_files(original.text_root)
        names, labelled = picture_names(pictures.names()), set(texts.names())
        check_rows(original.root, len(names), job.chosen)
        with job.progress.bar("writing pictures", len(job.chosen.positions)) as advance:
            for position in job.chosen.positions.tolist():
                name = names[position]
                _copy(pictures, name, folder / "images")
                if text_name(name) in labelled:
                    _copy(texts, text_name(name), folder / "labels")
                advance(1)


def _copy(files: Tree, name: str, folder: Path) -> None:
    """Copy a file to the same name in a folder, which it does not leave.

    Raises:
        DataError: It cannot be read any more.
        RunError: It cannot be written.
    """
    (content,) = files.fetch([name])
    if isinstance(content, Unreadable):
        raise DataError("cannot be read any more", place=f"file {name!r}", found=str(content))
    *above, last = name.split("/")
    stem, dot, suffix = last.rpartition(".")
    target = folder.joinpath(*map(safe_name, above), safe_name(stem, dot + suffix))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(content)
    except OSError as error:
        raise RunError("cannot be copied", place=name, found=error.strerror or str(error)) from None
