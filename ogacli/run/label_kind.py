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
    """The kind of the labels that samples of a run can be given; None for masks and prompts."""
    kind = run.schema.field("label").type
    one = kind.value_type if pa.types.is_dictionary(kind) or pa.types.is_list(kind) else kind
    if pa.types.is_floating(one):
        return None if run.summary.classes else "numbers"
    section, loss = run.config.get("data"), run.config.get("loss")
    if isinstance(section, dict) and section.get("source") == "segmentation":
        return None
    if not run.summary.classes or not pa.types.is_string(one):
        return None
    if isinstance(loss, dict) and loss.get("name") == "word_cross_entropy":
        return "tags"
    return "classes" if pa.types.is_list(kind) else "class"


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
