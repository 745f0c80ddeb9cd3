"""What a label of a run is, and labels as texts: a class, several classes, or numbers.

In: a run. Out: the kind of its labels. A text of several classes or numbers has ``|`` between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from ogacli.run.directory import Run

LabelKind = Literal["class", "classes", "tags", "numbers"]
SEPARATOR = "|"


def label_kind(run: Run) -> LabelKind | None:
    """The kind of the labels that samples of a run can be given; None for masks, boxes and prompts."""
    kind = run.schema.field("label").type
    one = kind.value_type if pa.types.is_dictionary(kind) or pa.types.is_list(kind) else kind
    if pa.types.is_floating(one):
        return None if run.summary.classes else "numbers"
    if not run.summary.classes or not pa.types.is_string(one) or pixels_or_boxes(run) is not None:
        return None
    if _named(run, "loss", "name") == "word_cross_entropy":
        return "tags"
    return "classes" if pa.types.is_list(kind) else "class"


def pixels_or_boxes(run: Run) -> Literal["masks", "boxes"] | None:
    """Whether labels are masks or boxes, which are not texts."""
    loss, source = _named(run, "loss", "name"), _named(run, "data", "source")
    if loss == "pixel_cross_entropy" or source == "segmentation":
        return "masks"
    return "boxes" if loss == "boxes" or source in ("coco", "yolo") else None


def _named(run: Run, section: str, key: str) -> Any:
    found = run.config.get(section)
    return found.get(key) if isinstance(found, dict) else None


def label_values(label: Any, kind: LabelKind | None) -> Any:
    """A label of a run, or of a decision as a text: a class or number, or a list of either."""
    if kind == "class" or label is None:
        return label
    parts = parts_of(label_text(label) or "")
    if kind != "numbers":
        return parts
    numbers = [float(one) for one in parts]  # of the digits that the source has, and not of float32
    return numbers if len(numbers) > 1 else numbers[0]


def label_text(label: Any) -> str | None:
    """A label of a run as a text; None without one."""
    if isinstance(label, list):
        return SEPARATOR.join(str(label_text(one)) for one in label)
    if isinstance(label, float):
        return str(np.float32(label))  # the shortest digits that mean the number; labels are float32
    return None if label is None else str(label)


def parts_of(label: str) -> list[str]:
    """The names of classes, or the digits of numbers, in a text; none in an empty one."""
    return [one for one in label.split(SEPARATOR) if one]
