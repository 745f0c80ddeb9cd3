import io
import pickle
import resource
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from ogacli.config import parse_config
from ogacli.data.arrays import ArrayReader, NoInputs, digest
from ogacli.data.files.npy import MappedArray, open_array
from ogacli.data.reading import Unreadable
from ogacli.data.sources.arrays import Arrays
from ogacli.errors import DataError


def saved(folder: Path, **arrays: Any) -> dict[str, str]:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.asarray(array))
    return {name: str(folder / f"{name}.npy") for name in arrays}


def test_npy_files(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float64).reshape(4, 3)
    files = saved(tmp_path, x=x, y=[0, 1, 1, 0], truth=[0, 0, 1, 2], ids=["a", "b", "c", "d"])
    samples = Arrays(**files).open()
    assert samples.ids.to_pylist() == ["a", "b", "c", "d"]
    assert samples.classes == ("0", "1", "2")
    assert samples.truth is not None
    assert samples.truth.tolist() == [0, 0, 1, 2]
    batch = samples.read([3, 1])
    assert batch.inputs.dtype == torch.float32
    assert batch.inputs.tolist() == x[[3, 1]].tolist()
    assert isinstance(samples.reader, ArrayReader)
    assert isinstance(samples.reader.inputs, MappedArray)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_names_in_an_npz(save: Any, tmp_path: Path) -> None:
    x, y = (
        np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32),
        np.array(["u", "v", "u", "w", "v"]),
    )
    save(tmp_path / "d.npz", inputs=x, labels=y)
    samples = Arrays(path=str(tmp_path / "d.npz"), x="inputs", y="labels").open()
    assert samples.classes == ("u", "v", "w")
    assert np.array_equal(samples.read([4, 0]).inputs.numpy(), x[[4, 0]])
    plain = saved(tmp_path, inputs=x, labels=y)
    assert samples.fingerprint == Arrays(x=plain["inputs"], y=plain["labels"]).open().fingerprint


@given(
    array=hnp.arrays(
        st.sampled_from(["f2", "f4", ">f8", "i8", "u1", ">i4"]),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4),
    ),
    fortran=st.booleans(),
    packed=st.booleans(),
    data=st.data(),
)
def test_mapped_rows_are_the_rows(
    tmp_path_factory: pytest.TempPathFactory,
    array: np.ndarray,
    fortran: bool,
    packed: bool,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("npy")
    array = np.asfortranarray(array) if fortran else array
    if packed:
        np.savez(folder / "a.npz", before=np.zeros(3), a=array)
        found = open_array(str(folder / "a.npz"), "a")
    else:
        np.save(folder / "a.npy", array)
        found = open_array(str(folder / "a.npy"))
    assert isinstance(found, MappedArray)
    rows = data.draw(st.lists(st.integers(0, len(array) - 1), max_size=6))
    assert np.array_equal(found[rows], array[rows], equal_nan=array.dtype.kind == "f")
    assert digest(found) == digest(array)
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3), (6, 4, 1), (3, 6, 4), (1, 6, 4)])
def test_pictures_become_floats_channels_first(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    samples = Arrays(**saved(tmp_path, x=x, y=[0, 1])).open()
    found = samples.read([0, 1]).inputs
    channels = 3 if 3 in shape else 1
    assert found.shape == (2, channels, 6, 4)
    rows = x if len(shape) == 3 and shape[0] in (1, 3) else x.reshape(2, 6, 4, channels).transpose(0, 3, 1, 2)
    assert np.array_equal((found.numpy() * 255).round(), rows.reshape(2, channels, 6, 4))
    preview = samples.reader.preview(1)
    with Image.open(io.BytesIO(preview.content)) as image:
        shown = np.asarray(image).transpose(2, 0, 1)[:channels]
    assert np.array_equal(shown, rows.reshape(2, channels, 6, 4)[1])


def test_pictures_take_a_transform(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3), dtype=np.uint8)
    files = saved(tmp_path, x=x, y=[0, 1])
    moved = Arrays(**files, transform={"crop": 4, "mean": [0.5], "std": [0.25]}).open().read([0, 1]).inputs
    expected = (x[:, 2:6, 1:5].transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(moved.numpy(), expected, atol=1e-6)
    gray = Arrays(**files, transform={"grayscale": True}).open().read([0]).inputs
    assert gray.shape == (1, 1, 8, 6)


def test_integers_stay_integers(tmp_path: Path) -> None:
    found = (
        Arrays(**saved(tmp_path, x=np.array([[5, 7], [9, 2]], np.int32), y=[0, 1])).open().read([1]).inputs
    )
    assert (found.dtype, found.tolist()) == (torch.int64, [[9, 2]])


def test_bytes_that_are_no_picture_are_scaled_all_the_same(tmp_path: Path) -> None:
    found = Arrays(**saved(tmp_path, x=np.array([[0, 255]], np.uint8), y=[0])).open().read([0]).inputs
    assert found.tolist() == [[0.0, 1.0]]


def test_rows_that_are_not_finite_are_quarantined(tmp_path: Path) -> None:
    x = np.array([[1.0, 2.0], [np.nan, 0.0], [np.inf, 1.0]])
    samples = Arrays(**saved(tmp_path, x=x, y=[0, 1, 0])).open()
    batch = samples.read([2, 0, 1])
    reason = "a value of the input is not finite"
    assert (batch.rows.tolist(), batch.inputs.tolist()) == ([0], [[1.0, 2.0]])
    assert batch.quarantined == {2: reason, 1: reason}
    assert samples.read([1]).inputs is None


def test_inputs_may_be_left_out(tmp_path: Path) -> None:
    samples = Arrays(**saved(tmp_path, y=[0, 1, 1])).open()
    assert isinstance(samples.reader, NoInputs)
    batch = samples.read([2, 0])
    assert (batch.inputs, batch.rows.tolist(), batch.labels.tolist()) == (None, [2, 0], [1, 0])
    with pytest.raises(Unreadable, match="the inputs were not given"):
        samples.reader.preview(0)
    assert samples.reader.file(0) is None


def test_two_dimensional_labels(tmp_path: Path) -> None:
    files = saved(tmp_path, y=np.array([[1, 0], [1, 1]]), z=np.array([0.5, 1.5]))
    several = Arrays(y=files["y"], classes=("red", "big")).open()
    assert (several.labels.tolist(), several.classes) == ([[1, 0], [1, 1]], ("red", "big"))
    assert Arrays(y=files["z"], target="regression").open().labels.tolist() == [[0.5], [1.5]]
    assert Arrays(y=files["y"], target="regression").open().labels.tolist() == [[1, 0], [1, 1]]
    true = Arrays(y=files["z"], truth=files["z"], target="regression").open()
    assert true.wrong is not None
    assert true.wrong.tolist() == [False, False]
    with pytest.raises(DataError, match="the truth has another shape than the labels"):
        Arrays(y=files["y"], truth=files["z"]).open()


def test_through_fsspec(tmp_path: Path) -> None:
    files = saved(tmp_path, x=np.eye(3), y=[0, 1, 2])
    for name, path in files.items():
        fsspec.filesystem("memory").pipe(f"memory://{tmp_path.name}/{name}.npy", Path(path).read_bytes())
    samples = Arrays(**{name: f"memory://{tmp_path.name}/{name}.npy" for name in files}).open()
    assert samples.read([1]).inputs.tolist() == [[0, 1, 0]]
    assert samples.fingerprint == Arrays(**files).open().fingerprint


def test_names_are_located_only_outside_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.eye(2), y=[0, 1])
    saved(tmp_path, x=np.eye(2), y=[0, 1])
    for data in ("path: d.npz, x: x, y: y", "x: x.npy, y: y.npy"):
        text = f"data: {{source: arrays, {data}}}\nmodel: logistic"
        assert parse_config(text, base=tmp_path).data.open().read([1]).inputs.tolist() == [[0, 1]]


class Harmless:
    """Any object that must be pickled."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: {"y": str(f / "none.npy")}, r"none.npy: no such file"),
        (lambda f: {"path": str(f / "d.npz"), "y": "z"}, r"d.npz: no array 'z'\n  found: x, y"),
        (
            lambda f: {"y": str(f / "junk.npy")},
            r"junk.npy: cannot be read as an array\n  found: the magic string",
        ),
        (
            lambda f: {"path": str(f / "junk.npy"), "y": "y"},
            r"junk.npy: y: cannot be read(.|\n)*not a zip file",
        ),
        (
            lambda f: {"y": str(f / "objects.npy")},
            r"objects.npy: cannot be read(.|\n)*pickled Python objects",
        ),
        (lambda f: {"y": str(f / "short.npy")}, r"short.npy: cannot be read as an array"),
        (lambda f: {"y": str(f / "y.npy"), "x": str(f / "x3.npy")}, r"data.x \S*x3.npy: 2 labels but 3 rows"),
        (
            lambda f: {"y": str(f / "y.npy"), "x": str(f / "text.npy")},
            r"text.npy: the inputs are not numbers",
        ),
        (lambda f: {"y": str(f / "scalar.npy")}, r"scalar.npy: no labels\n  found: shape \[\]"),
        (
            lambda f: {"y": str(f / "cube.npy")},
            r"data.y \S*cube.npy: too many dimensions\n  found: \[2, 2, 2\]",
        ),
        (
            lambda f: {"y": str(f / "y.npy"), "ids": str(f / "y2.npy")},
            r"1 ids occur more than once\n  found: '0'",
        ),
        (lambda f: {"y": str(f / "y.npy"), "truth": str(f / "cube.npy")}, r"not one value a sample"),
        (lambda f: {"y": str(f / "y.npy"), "classes": 1}, r"sample '1': label is not a class\n  found: 1"),
    ],
)
def test_mistakes_are_told(make: Any, message: str, tmp_path: Path) -> None:
    saved(tmp_path, y=[0, 1], y2=[0, 0], x3=np.eye(3), text=["a", "b"], scalar=3, cube=np.zeros((2, 2, 2)))
    np.savez(tmp_path / "d.npz", x=np.eye(2), y=[0, 1])
    (tmp_path / "junk.npy").write_bytes(b"junk that is no array, long enough for a header to be looked for")
    np.save(tmp_path / "objects.npy", np.array([Harmless(), Harmless()]), allow_pickle=True)
    np.save(tmp_path / "short.npy", np.zeros(5000))
    (tmp_path / "short.npy").write_bytes((tmp_path / "short.npy").read_bytes()[:1000])
    with pytest.raises(DataError, match=message):
        Arrays(**make(tmp_path)).open()


def resident() -> int:
    """Bytes of this process that lie in memory, mapped files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_pages_of_the_file_do_not_pile_up(tmp_path: Path) -> None:
    files = saved(tmp_path, x=np.ones((10_000, 1000), np.float32), y=np.zeros(10_000, int))
    samples = Arrays(**files).open()
    samples.read(range(500))
    before = resident()
    for start in range(0, 10_000, 500):
        samples.read(range(start, start + 500))
    assert resident() - before < 10e6, "40 MB were read"


def test_mnist(real_data: Path) -> None:
    samples = Arrays(path=str(real_data / "images" / "mnist_10k.npz"), x="x", y="y").open()
    assert len(samples) == 10_000
    assert samples.read([0, 1]).inputs.shape == (2, 1, 28, 28)
    assert samples.classes == tuple("0123456789")
