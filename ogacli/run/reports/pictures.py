"""Previews of samples -> pictures and texts for a report, each in a bounded number of bytes."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from ogacli.base import wording
from ogacli.base.arrow import numbers
from ogacli.base.documents.json_document import parse_json
from ogacli.base.pictures import Undecodable, decoding, opened_picture
from ogacli.errors import RunError

_SIDE = 160
"""Longest side of a thumbnail, in pixels."""
_BYTES = 10_000
"""PNG pictures up to this size are shown as they are."""
_PIXELATED = 64
"""Pictures with fewer pixels on their longest side are enlarged with hard edges."""
_WEIGHTED = TypeAdapter(list[tuple[str, float]])
_LEVELS = 5
"""Shades that mark parts of a text."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture as a ``data:`` URI, or a text; both are None where there is no preview."""

    picture: str | None = None
    pixelated: bool = False
    text: str | None = None
    parts: tuple["Part", ...] = ()
    """The same text in parts, where their shares of the loss are known."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text."""

    text: str
    share: float
    """Of the sample's loss."""
    level: int
    """The shade, 0 to 5: the share relative to the largest one of the sample."""


def shown(previews: pa.Table, positions: list[int], length: int) -> Mapping[int, Shown]:
    """The previews at some positions; texts are cut to ``length`` characters."""
    wanted = numbers(np.array(positions, dtype=np.int64))
    rows = previews.filter(pc.is_in(previews["position"], wanted))
    return {row["position"]: look(row["kind"], row["content"], length) for row in rows.to_pylist()}


def look(kind: str, content: bytes, length: int) -> Shown:
    """One preview; of a text at most ``length`` characters."""
    if kind == "text":
        return Shown(text=wording.cut(content.decode(errors="replace").strip(), length))
    if kind == "tokens":
        return _in_parts(_weighted(content), length)
    try:
        with opened_picture(content) as picture, decoding():
            pixelated = max(picture.size) < _PIXELATED
            if picture.format == "PNG" and len(content) <= _BYTES:
                return Shown(picture=_uri("png", content), pixelated=pixelated)
            return Shown(picture=_uri("jpeg", _smaller(picture)), pixelated=pixelated)
    except Undecodable:
        return Shown()


def _weighted(content: bytes) -> list[tuple[str, float]]:
    """The parts of a text and their shares; of a run that may come from anybody.

    Raises:
        RunError: It is something else.
    """
    try:
        return _WEIGHTED.validate_python(parse_json(content, "previews.parquet", RunError))
    except ValidationError:
        raise RunError("not a preview that oga wrote", place="previews.parquet", hint="scan again") from None


def _in_parts(found: list[tuple[str, float]], length: int) -> Shown:
    """Parts whose texts together have at most about ``length`` characters."""
    total, most = sum(loss for _, loss in found) or 1.0, max((loss for _, loss in found), default=0.0) or 1.0
    parts: list[Part] = []
    for text, loss in found:
        if length <= 0:
            parts.append(Part("…", 0.0, 0))
            break
        shown = wording.cut(text, length)
        parts.append(Part(shown, loss / total, round(_LEVELS * max(0.0, loss) / most)))
        length -= len(shown)
    return Shown(text="".join(part.text for part in parts).strip(), parts=tuple(parts))


def _smaller(picture: Image.Image) -> bytes:
    small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    file = BytesIO()
    small.save(file, "JPEG", quality=80)
    return file.getvalue()


def _uri(type: str, content: bytes) -> str:
    return f"data:image/{type};base64,{base64.b64encode(content).decode()}"
