"""Annotations in the form of COCO, and the pictures that they name."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import fsspec

from ogacli.base.documents.json_document import parse_json
from ogacli.base.options import Location
from ogacli.base.special_files import refuse_special
from ogacli.data.originals import Original, originals
from ogacli.errors import DataError

FORM = "the object detection form of COCO: images, annotations and categories"


@originals.register
class Coco(Original):
    """A JSON file and a folder of pictures."""

    annotations: Location
    """As in the source."""
    root: Location
    """As in the source."""

    def files(self) -> Sequence[str]:
        """The JSON file, and all files below the folder."""
        if os.path.isdir(self.root):
            below = (os.path.join(folder, name) for folder, _, names in os.walk(self.root) for name in names)
            return [self.annotations, *sorted(below)]
        return [self.annotations, self.root]

    @property
    def own_format(self) -> str:
        """A JSON file of the same form."""
        return "coco"


def read_document(path: str) -> dict[str, Any]:
    """The file as plain values; each picture has an ``id`` of its own and a ``file_name``.

    Raises:
        DataError: There is none, or it is not of this form.
    """
    refuse_special(path, DataError)
    try:
        with fsspec.open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise DataError("no such file", place=path, hint="check the path") from None
    except (OSError, ValueError, ImportError) as error:
        raise DataError("cannot be read", place=path, found=str(error)) from None
    found = parse_json(content, path, DataError)
    for part in ("images", "annotations", "categories"):
        rows = found.get(part) if isinstance(found, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DataError(f"no list of {part}", place=path, expected=FORM)
    ids = set[int | str]()
    for number, row in enumerate(found["images"]):
        where, key, name = f"{path}: images[{number}]", id_of(row, "id"), row.get("file_name")
        if key is None or not isinstance(name, str) or not name:
            raise DataError("a picture without id and file_name", place=where, found=str(row)[:120])
        if key in ids:
            raise DataError("the id of another picture", place=where, found=f"id {key!r}")
        ids.add(key)
    return found  # type: ignore[no-any-return]


def id_of(row: Mapping[str, Any], name: str) -> int | str | None:
    """An id; None where there is none, or something that can be none."""
    found = row.get(name)
    return found if isinstance(found, int | str) else None
