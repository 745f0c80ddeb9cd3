"""The versions that matter for a result: of oga, Python and the libraries that compute.

In: the installed distributions, none of which is imported. Out: names and versions.
"""

import platform
from collections.abc import Iterator
from importlib import metadata

from ogacli._version import __version__

_NEEDED = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pyarrow", "pydantic", "safetensors")
_OPTIONAL = ("transformers", "peft", "datasets", "timm", "pyod", "faiss-cpu")


def versions() -> Iterator[tuple[str, str]]:
    """Names and versions; optional libraries where they are installed."""
    yield "oga", __version__
    yield "python", platform.python_version()
    for name in (*_NEEDED, *_OPTIONAL):
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            if name in _NEEDED:
                yield name, "not installed"
    yield "platform", f"{platform.system()} {platform.machine()}"
