"""The metadata of a safetensors file: texts by name, beside its tensors.

In: tensors and metadata, or an open file. Out: the bytes of a file, equal for equal content; or its metadata.
"""

import json
from collections.abc import Mapping
from typing import Any

from safetensors.torch import save
from torch import Tensor

from ogacli.base.documents.json_document import parse_json
from ogacli.base.wording import cut, number
from ogacli.errors import CheckpointError


def packed(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> tuple[bytes, bytes, memoryview]:
    """The parts of a file, in order; metadata is sorted, as the library writes it in random order."""
    data = save(dict(tensors), metadata=dict(metadata))
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size]) | {"__metadata__": dict(sorted(metadata.items()))}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little"), text, memoryview(data)[8 + size :]


_LONGEST_HEADER = 100_000_000
"""Bytes, as in the library."""
_AGAIN = "copy or save the file again; it may have been cut off"


def read_metadata(file: Any, path: str) -> dict[str, str]:
    """The metadata of an open binary file; empty where it is not safetensors.

    Args:
        file: At its start.
        path: Its path, for messages.

    Raises:
        CheckpointError: The file is cut off or damaged.
    """
    start = file.read(9)
    size = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{":
        return {}
    if size > _LONGEST_HEADER:
        raise CheckpointError(
            "not a whole safetensors file", place=path, found=f"a header of {number(size)} bytes", hint=_AGAIN
        )
    header = parse_json(start[8:] + file.read(size - 1), path, CheckpointError)
    found = header.get("__metadata__") or {}
    if not isinstance(found, dict):
        raise CheckpointError(
            "not a whole safetensors file",
            place=path,
            found=f"metadata of {cut(repr(found), 60)}",
            hint=_AGAIN,
        )
    return {name: value for name, value in found.items() if isinstance(value, str)}


def names_in(metadata: Mapping[str, str], key: str, path: str) -> tuple[str, ...] | None:
    """A list of names that oga wrote into the metadata of a file; None where it wrote ``null`` or nothing.

    Raises:
        CheckpointError: It is something else.
    """
    found = parse_json(metadata.get(key, "null"), path, CheckpointError)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise CheckpointError(
            "the metadata are not as oga writes them",
            place=path,
            found=f"{key}: {cut(metadata[key], 60)}",
            expected="a list of names",
            hint=_AGAIN,
        )
    return tuple(found)
