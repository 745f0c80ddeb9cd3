"""Previews of samples -> what an HTML page can show of them, in a bounded number of bytes."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, UnidentifiedImageError

from ogacli import wording

_SIDE = 160
"""Longest side of a thumbnail that had to be made smaller, in pixels."""
_BYTES = 10_000
"""Pictures up to this size are shown as they are."""
_PIXELATED = 64
"""Pictures of fewer pixels a side are enlarged with hard edges."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture as a ``data:`` URI, or a text; both are None where there is no preview."""

    picture: str | None = None
    pixelated: bool = False
    text: str | None = None


def shown(previews: pa.Table, positions: list[int], length: int) -> Mapping[int, Shown]:
    """The previews at some positions; texts are cut to ``length`` characters."""
    rows = previews.filter(pc.is_in(previews["position"], pa.array(positions, previews["position"].type)))
    return {row["position"]: look(row["kind"], row["content"], length) for row in rows.to_pylist()}


def look(kind: str, content: bytes, length: int) -> Shown:
    """What can be shown of one preview; of a text at most ``length`` characters."""
    if kind == "text":
        return Shown(text=wording.cut(content.decode(errors="replace").strip(), length))
    try:
        with Image.open(BytesIO(content)) as picture:
            pixelated = max(picture.size) < _PIXELATED
            if picture.format == "PNG" and len(content) <= _BYTES:
                return Shown(picture=_uri("png", content), pixelated=pixelated)
            return Shown(picture=_uri("jpeg", _smaller(picture)), pixelated=pixelated)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return Shown()


def _smaller(picture: Image.Image) -> bytes:
    small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    file = BytesIO()
    small.save(file, "JPEG", quality=80)
    return file.getvalue()


def _uri(type: str, content: bytes) -> str:
    return f"data:image/{type};base64,{base64.b64encode(content).decode()}"
