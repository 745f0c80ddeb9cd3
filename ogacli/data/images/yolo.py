"""Annotations in the form of YOLO: a text file a picture, with a line a box.

In: the names of pictures and the text files. Out: the boxes of all pictures, and the pictures whose text file
cannot be read. A line is ``class x y width height``: the centre and the size of the box as parts of the
picture's width and height. A picture without a text file has no boxes.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ogacli.base.documents.json_document import read_bytes
from ogacli.base.documents.yaml_values import plain_values
from ogacli.base.wording import listed
from ogacli.data.files import Tree
from ogacli.data.images.box_lists import BoxLists
from ogacli.data.originals.yolo import text_name
from ogacli.data.unreadable import Unreadable
from ogacli.errors import DataError

_AT_ONCE = 256
"""Text files that are fetched together."""


@dataclass(slots=True)
class Lines:
    """The boxes of pictures, in the order of the pictures."""

    owners: list[int] = field(default_factory=list)
    corners: list[tuple[float, ...]] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    lost: dict[int, str] = field(default_factory=dict)
    """Why the boxes of a picture are not known."""


def read_boxes(
    files: Tree, place: str, pictures: Sequence[str], k: int
) -> tuple[BoxLists, Mapping[int, str]]:
    """The boxes of all pictures, and why those of some are not known.

    Args:
        files: The text files, named as the pictures but for the suffix.
        place: Where they are, for messages.
        pictures: The names of the pictures.
        k: The number of classes.

    Raises:
        DataError: A class is not one of 0 to k - 1.
    """
    there, found = set(files.names()), Lines()
    texts = {i: text_name(name) for i, name in enumerate(pictures)}
    known = [i for i, name in texts.items() if name in there]
    for start in range(0, len(known), _AT_ONCE):
        some = known[start : start + _AT_ONCE]
        for owner, content in zip(some, files.fetch([texts[i] for i in some]), strict=True):
            _add(found, owner, content, f"{place}/{texts[owner]}", k)
    return BoxLists.of(found.owners, found.corners, found.classes, len(pictures), relative=True), found.lost


def read_names(path: str) -> tuple[str, ...]:
    """The class names in a text file with a name a line, or under ``names`` in a YAML file.

    Raises:
        ConfigError: It is no YAML.
        DataError: There is no such file, or it holds no names.
    """
    try:
        text = read_bytes(path, DataError).decode()
    except FileNotFoundError:
        raise DataError("no such file", place=path, hint="check the path") from None
    except UnicodeDecodeError as error:
        raise DataError("not a text in UTF-8", place=path, found=str(error)) from None
    if Path(path).suffix.lower() not in (".yaml", ".yml"):
        names = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        found = plain_values(text, path)
        given = found.get("names") if isinstance(found, dict) else None
        given = [given.get(str(i)) for i in range(len(given))] if isinstance(given, dict) else given
        names = given if isinstance(given, list) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise DataError("no class names", place=path, expected="a name a line, or a list `names` in YAML")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError("a class is named twice", place=path, found=listed(twice, 4))
    return tuple(names)


def _add(found: Lines, owner: int, content: bytes | Unreadable, place: str, k: int) -> None:
    """Add the boxes of one text file; a line that is no box loses the picture.

    Raises:
        DataError: A class is not one of 0 to k - 1.
    """
    if isinstance(content, Unreadable):
        found.lost[owner] = f"its text file cannot be read: {content}"
        return
    rows = list[tuple[int, tuple[float, float, float, float]]]()
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        if not (parts := line.split()):
            continue
        try:
            kind, (x, y, width, height) = int(parts[0]), map(float, parts[1:])
        except ValueError:
            found.lost[owner] = (
                f"line {number} of its text file is not `class x y width height`: {line[:60]!r}"
            )
            return
        if not 0 <= kind < k:
            raise DataError(
                "a class that there is not",
                place=f"{place}:{number}",
                found=parts[0][:20],
                expected=f"0 to {k - 1} ({k} classes)",
                hint="name all classes in `classes` or `names`",
            )
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        if not all(map(math.isfinite, box)):
            found.lost[owner] = f"line {number} of its text file holds no finite numbers: {line[:60]!r}"
            return
        rows.append((kind, box))
    for kind, corners in rows:
        found.owners.append(owner)
        found.corners.append(corners)
        found.classes.append(kind)
