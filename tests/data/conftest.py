"""Pictures in folders and archives, as users have them."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def encoded(pixels: np.ndarray, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=format)
    return buffer.getvalue()


def random_pixels(seed: int, shape: tuple[int, ...] = (6, 5, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def pixels() -> Callable[..., np.ndarray]:
    return random_pixels


@pytest.fixture
def encode() -> Callable[..., bytes]:
    return encoded


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """Four PNGs of two classes; picture i is ``random_pixels(i)``."""
    root = tmp_path / "pictures"
    for i, name in enumerate(("cat/a.png", "cat/b.png", "dog/a.png", "dog/deep/c.PNG")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(random_pixels(i)))
    (root / "dog" / "notes.txt").write_text("not a picture")
    return root


@pytest.fixture
def zipped() -> Callable[..., Path]:
    def pack(folder: Path, to: Path, prefix: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
        with zipfile.ZipFile(to, "w", method) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, prefix + path.relative_to(folder).as_posix())
        return to

    return pack


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("OGA_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set OGA_DATA")
    return folder
