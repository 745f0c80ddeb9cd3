import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from torchvision import transforms

from ogacli.data.files import Folder
from ogacli.data.images import ImageReader, Transform
from ogacli.data.reading import Unreadable
from ogacli.errors import DataError

Pixels = Callable[..., np.ndarray]
Encode = Callable[..., bytes]


def reader(folder: Path, transform: Transform | None = None) -> ImageReader:
    names = sorted(path.name for path in folder.iterdir())
    return ImageReader(Folder(folder), pa.array(names, pa.string()), transform or Transform())


def reference(transform: Transform) -> transforms.Compose:
    steps: list[object] = []
    if transform.grayscale:
        steps.append(transforms.Grayscale())
    if transform.resize is not None:
        size = transform.resize if isinstance(transform.resize, int) else list(transform.resize)
        steps.append(transforms.Resize(size))
    if transform.crop is not None:
        steps.append(transforms.CenterCrop(transform.crop))
    steps.append(transforms.ToTensor())
    if transform.mean is not None and transform.std is not None:
        steps.append(transforms.Normalize(transform.mean, transform.std))
    return transforms.Compose(steps)


sides = st.integers(1, 12)


@given(
    size=st.tuples(sides, sides),
    resize=st.none() | sides | st.tuples(sides, sides),
    crop=st.none() | sides | st.tuples(sides, sides),
    grayscale=st.booleans(),
    normalised=st.booleans(),
    format=st.sampled_from(["PNG", "JPEG", "BMP", "WEBP"]),
)
def test_transforms_agree_with_torchvision(
    tmp_path_factory: pytest.TempPathFactory,
    size: tuple[int, int],
    resize: int | tuple[int, int] | None,
    crop: int | tuple[int, int] | None,
    grayscale: bool,
    normalised: bool,
    format: str,
) -> None:
    channels = 1 if grayscale else 3
    transform = Transform(
        resize=resize,
        crop=crop,
        grayscale=grayscale,
        mean=(0.5, 0.4, 0.3)[:channels] if normalised else None,
        std=(0.2, 0.3, 0.4)[:channels] if normalised else None,
    )
    folder = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a", format=format)
    found, failures = reader(folder, transform).read([0])
    with Image.open(folder / "a") as image:
        expected = reference(transform)(image.convert("RGB"))
    assert not failures
    assert found is not None
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("preset", ["imagenet", "cifar10"])
def test_presets(preset: str, tmp_path: Path, pixels: Pixels) -> None:
    transform = Transform.model_validate(preset)
    Image.fromarray(pixels(0, (300, 280, 3))).save(tmp_path / "a.png")
    found, _ = reader(tmp_path, transform).read([0])
    with Image.open(tmp_path / "a.png") as image:
        torch.testing.assert_close(found, reference(transform)(image)[None], rtol=0, atol=1e-6)


def test_transform_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValidationError, match="no such transform; one of imagenet, cifar10"):
        Transform.model_validate("imagnet")
    with pytest.raises(ValidationError, match="`mean` needs one value, or one for each of 1 channels"):
        Transform(grayscale=True, mean=(0.1, 0.2, 0.3))
    with pytest.raises(ValidationError, match="greater than 0"):
        Transform(std=(0.0,))
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Transform(resize=0)


def test_transform_survives_a_round_trip() -> None:
    transform = Transform.model_validate("imagenet")
    assert Transform.model_validate(transform.model_dump(mode="json", exclude_none=True)) == transform


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16", "I"])
@pytest.mark.filterwarnings("error")
def test_every_colour_mode_comes_out_as_three_channels(mode: str, tmp_path: Path, pixels: Pixels) -> None:
    gray = pixels(0, (4, 4))
    if mode.startswith("I"):
        wide = (gray.astype(np.uint16) << 8).astype(np.uint16 if mode == "I;16" else np.int32)
        image = Image.fromarray(wide)
    else:
        image = Image.fromarray(gray).convert(mode)
    image.save(tmp_path / "a", format={"CMYK": "JPEG", "I": "TIFF"}.get(mode, "PNG"))
    found, failures = reader(tmp_path).read([0])
    assert not failures
    assert found is not None
    assert found.shape == (1, 3, 4, 4)
    if mode not in ("CMYK", "1"):
        expected = torch.from_numpy(gray).float() / 255
        torch.testing.assert_close(found[0], expected.expand(3, 4, 4), rtol=0, atol=1e-6)


def test_a_transparent_palette_does_not_warn(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).convert("P")
    image.save(tmp_path / "a.png", transparency=bytes(range(16)))
    found, failures = reader(tmp_path).read([0])
    assert (found is not None, failures) == (True, {})


def test_jpegs_have_the_pixels_that_pillow_gives(tmp_path: Path, pixels: Pixels) -> None:
    for i in range(20):
        side = 8 + i
        picture = Image.fromarray(pixels(i, (side, side, 3))).resize((33, 41))
        picture.save(tmp_path / f"{i:02d}.jpg", quality=40 + 3 * i, subsampling=i % 3)
    found, _ = reader(tmp_path).read(range(20))
    expected = [np.asarray(Image.open(tmp_path / f"{i:02d}.jpg")) for i in range(20)]
    assert found is not None
    assert torch.equal(found, torch.from_numpy(np.stack(expected)).permute(0, 3, 1, 2).float() / 255)


def damaged(kind: str, encode: Encode, pixels: np.ndarray) -> bytes:
    match kind:
        case "empty":
            return b""
        case "text":
            return b"<html>404</html>"
        case "truncated jpeg":
            return encode(pixels, "JPEG")[:-40]
        case "truncated png":
            return encode(pixels)[:60]
        case "scrambled png":
            content = bytearray(encode(pixels))
            content[50:60] = bytes(10)
            return bytes(content)
        case _:
            return b"\xff\xd8\xff\xe0 no jpeg"


@pytest.mark.parametrize(
    "kind", ["empty", "text", "truncated jpeg", "truncated png", "scrambled png", "jpeg magic"]
)
def test_damaged_files_are_quarantined_with_a_reason(
    kind: str, tmp_path: Path, encode: Encode, pixels: Pixels
) -> None:
    for i in (0, 2):
        (tmp_path / f"{i}").write_bytes(encode(pixels(i, (30, 30, 3))))
    (tmp_path / "1").write_bytes(damaged(kind, encode, pixels(1, (30, 30, 3))))
    images = reader(tmp_path)
    found, failures = images.read([0, 1, 2])
    assert list(failures) == [1]
    assert failures[1] in ("the file is empty", "not an image") or failures[1].startswith(
        "cannot be decoded: "
    )
    assert found is not None
    assert torch.equal(
        (found * 255).round().byte()[1].permute(1, 2, 0), torch.from_numpy(pixels(2, (30, 30, 3)))
    )
    assert images.read([1])[0] is None
    with pytest.raises(Unreadable):
        images.preview(1)


def test_missing_files_are_quarantined(tmp_path: Path) -> None:
    images = ImageReader(Folder(tmp_path), pa.array(["gone.png", ""]), Transform())
    assert images.read([0, 1])[0] is None
    assert images.read([0, 1])[1][0] == "no such file"
    assert images.shape is None


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_quarantined(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "a").chmod(0)
    assert reader(tmp_path).read([0])[1] == {0: "permission denied"}


def test_images_of_different_sizes_need_a_transform(tmp_path: Path, pixels: Pixels) -> None:
    for i, side in enumerate((5, 6, 6)):
        Image.fromarray(pixels(i, (side, 7, 3))).save(tmp_path / f"{i}.png")
    message = (
        r"the images differ in size\n  found: 5 x 7 \(position 0\), 6 x 7 \(position 1\)(.|\n)*transform"
    )
    with pytest.raises(DataError, match=message):
        reader(tmp_path)
    assert reader(tmp_path, Transform(resize=(4, 4))).read([0, 1, 2])[1] == {}


def test_one_odd_size_among_many_is_quarantined(tmp_path: Path, pixels: Pixels) -> None:
    for i in range(40):
        Image.fromarray(pixels(i, (7 if i == 13 else 5, 5, 3))).save(tmp_path / f"{i:02d}.png")
    images = reader(tmp_path)
    assert images.read(range(40))[1] == {13: "7 x 5 pixels, the others 5 x 5"}
    assert images.read([13]) == (None, {0: "7 x 5 pixels, the others 5 x 5"})


def test_previews_are_small_pngs(tmp_path: Path, pixels: Pixels) -> None:
    Image.fromarray(pixels(0, (400, 200, 3))).save(tmp_path / "a.jpg")
    preview = reader(tmp_path).preview(0)
    assert preview.kind == "image"
    with Image.open(io.BytesIO(preview.content)) as image:
        assert (image.format, image.size) == ("PNG", (48, 96))
    assert len(preview.content) < 20_000


def test_readers_pickle(picture_folder: Path) -> None:
    images = ImageReader(Folder(picture_folder), pa.array(["cat/a.png"]), Transform())
    found = pickle.loads(pickle.dumps(images)).read([0])[0]
    assert torch.equal(found, images.read([0])[0])
    assert images.file(0) == picture_folder / "cat" / "a.png"
