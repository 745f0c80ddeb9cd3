"""The metadata of a safetensors file: texts by name, beside its tensors.

In: tensors and metadata, or an open file. Out: the bytes of a file, equal for equal content; or its metadata.
"""

import json
from collections.abc import Mapping
from typing import Any

from safetensors.torch import save
from torch import Tensor


def packed(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> tuple[bytes, bytes, memoryview]:
    """The parts of a file, in order; metadata is sorted, as the library writes it in random order."""
    data = save(dict(tensors), metadata=dict(metadata))
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size]) | {"__metadata__": dict(sorted(metadata.items()))}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little"), text, memoryview(data)[8 + size :]


def read_metadata(file: Any) -> dict[str, str]:
    """The metadata of an open binary file; empty where it is not safetensors.

    Raises:
        ValueError: The file is cut off.
    """
    start = file.read(9)
    if start[8:9] != b"{":
        return {}
    header: dict[str, Any] = json.loads(start[8:] + file.read(int.from_bytes(start[:8], "little") - 1))
    return header.get("__metadata__") or {}
