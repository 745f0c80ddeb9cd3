"""Annotations in the form of COCO: a JSON file with pictures, boxes and categories.

In: the file. Out: ``Annotations``: names and sizes of the pictures, and their boxes. Format:
https://cocodataset.org/#format-data
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from ogacli.base.wording import listed
from ogacli.data.images.box_lists import BoxLists
from ogacli.data.originals.coco import FORM, id_of, read_document
from ogacli.errors import DataError


@dataclass(frozen=True, slots=True)
class Annotations:
    """The pictures of a file, in its order."""

    names: Sequence[str]
    sizes: Int64[np.ndarray, "n 2"]
    """Width and height; 0 where the file does not have them, or they can be no sizes."""
    lists: BoxLists
    classes: tuple[str, ...]
    crowds: int
    """Annotations of several objects at once (``iscrowd``), which are left out."""


def read_coco(
    path: str, *, classes: Sequence[str] | None = None, by_id: bool = False, like: Sequence[str] | None = None
) -> Annotations:
    """The pictures and boxes of a file.

    Args:
        path: A path or URL.
        classes: The class names in order; by default the categories by ascending id.
        by_id: Whether the class of a category is its id - 1.
        like: The names of pictures in the order that is wanted, all of which must be there.

    Raises:
        DataError: It is not of this form, or a box names a picture or category that is not there.
    """
    document = read_document(path)
    pictures = document["images"]
    names, sizes = [row["file_name"] for row in pictures], _sizes(pictures)
    place = {row["id"]: i for i, row in enumerate(pictures)}
    index, named = _categories(document["categories"], path, classes, by_id=by_id)
    if like is not None:
        at = {name: i for i, name in enumerate(names)}
        if lacking := [name for name in like if name not in at]:
            raise DataError("pictures are not there", place=path, found=listed(lacking, 3))
        order = {at[name]: i for i, name in enumerate(like)}
        place = {key: order[i] for key, i in place.items() if i in order}
        names, sizes = list(like), sizes[[at[name] for name in like]]
    owners, corners, kinds, crowds = [], [], [], 0
    for number, row in enumerate(document["annotations"]):
        where = f"{path}: annotations[{number}]"
        picture, category = id_of(row, "image_id"), id_of(row, "category_id")
        owner = place.get(picture)
        if owner is None:
            if like is not None:
                continue
            raise DataError("a box of no picture", place=where, found=f"image_id {row.get('image_id')!r}")
        if category not in index:
            found, known = f"category_id {row.get('category_id')!r}", listed([str(one) for one in index], 12)
            raise DataError("a box of no category", place=where, found=found, expected=f"one of {known}")
        if row.get("iscrowd"):
            crowds += 1
            continue
        left, top, width, height = _box(row.get("bbox"), where)
        owners.append(owner)
        corners.append((left, top, left + width, top + height))
        kinds.append(index[category])
    return Annotations(names, sizes, BoxLists.of(owners, corners, kinds, len(names)), named, crowds)


def _sizes(rows: Sequence[Mapping[str, Any]]) -> Int64[np.ndarray, "n 2"]:
    """Width and height of each picture."""
    sizes = [(row.get("width"), row.get("height")) for row in rows]
    known = [all(type(one) is int and 0 < one <= _MOST_PIXELS for one in size) for size in sizes]
    found = [size if there else (0, 0) for size, there in zip(sizes, known, strict=True)]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _categories(
    rows: Sequence[Mapping[str, Any]], path: str, classes: Sequence[str] | None, *, by_id: bool
) -> tuple[dict[Any, int], tuple[str, ...]]:
    """The class of each category, and the class names."""
    named, taken = dict[int, str](), set[str]()
    for number, row in enumerate(rows):
        where, key, name = f"{path}: categories[{number}]", row.get("id"), row.get("name")
        if not isinstance(key, int) or isinstance(key, bool) or key < 0 or not isinstance(name, str):
            raise DataError("a category without id and name", place=where, found=str(row)[:120])
        if key in named or name in taken:
            raise DataError("the id or name of another category", place=where, found=f"{key}: {name!r}")
        named[key] = name
        taken.add(name)
    if not named:
        raise DataError("no categories", place=path, expected=FORM)
    if by_id:
        least, most = min(named), max(named)
        if least < 1 or most > _MOST_IDS:
            found = f"{least} to {most}"
            raise DataError("ids that are no outputs", place=path, found=found, expected=f"1 to {_MOST_IDS}")
        names = tuple(named.get(key, f"unused {key}") for key in range(1, most + 1))
        return {key: key - 1 for key in named}, names
    names = tuple(classes or (named[key] for key in sorted(named)))
    at = {name: i for i, name in enumerate(names)}
    if strange := [name for name in named.values() if name not in at]:
        expected = f"one of {listed(list(names), 12)}"
        raise DataError(
            "categories that `classes` does not name", place=path, found=listed(strange, 3), expected=expected
        )
    return {key: at[name] for key, name in named.items()}, names


_MOST_PIXELS = 1 << 24
"""Width or height that a picture may have."""
_MOST_IDS = 10_000
"""Highest id of a category that can be an output."""


def _box(found: object, place: str) -> tuple[float, float, float, float]:
    """Left, top, width and height."""
    if isinstance(found, list) and len(found) == 4 and all(type(value) in (int, float) for value in found):
        return tuple(map(float, found))  # type: ignore[return-value]
    raise DataError(
        "not a box",
        place=place,
        found=f"bbox {str(found)[:80]}",
        expected="[left, top, width, height] in pixels",
    )
