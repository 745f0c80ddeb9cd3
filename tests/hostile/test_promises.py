"""What SECURITY.md promises and no other test shows: names that lead elsewhere, pickles in Arrow, scripts."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import EpsImagePlugin, Image

from ogacli.base.tables import read_table
from ogacli.config import load_config
from ogacli.config.commands import scan
from ogacli.data import Unreadable
from ogacli.data.sources.coco import Coco
from ogacli.data.sources.huggingface import HuggingFace
from ogacli.data.sources.image_folder import ImageFolder
from ogacli.data.sources.webdataset import WebDataset
from ogacli.errors import ConfigError, DataError, OgaError
from ogacli.run.reports import formats
from synthetic_runs import example

SECRET = "the password is swordfish"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of pictures, and beside it a folder with a picture and a text that are no part of it."""
    random = np.random.default_rng(0)
    for name in (*(f"pictures/{i}.png" for i in range(10)), "mine/photo.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "mine" / "notes.txt").write_text(SECRET)
    return tmp_path


def names(elsewhere: Path) -> list[str]:
    """Those of the folder, and five that lead out of it: to a picture, to a text, to nothing."""
    return [
        *(f"{i}.png" for i in range(10)),
        "../mine/photo.png",
        "../mine/notes.txt",
        str(elsewhere / "mine" / "notes.txt"),
        "../../../../../../../../../etc/hostname",
        "../pictures",
    ]


def test_what_a_table_names_elsewhere_is_read_as_a_picture_or_not_at_all(elsewhere: Path) -> None:
    given = names(elsewhere)
    lines = [f"{name},{'cat' if i % 2 else 'dog'}" for i, name in enumerate(given)]
    (elsewhere / "t.csv").write_text("\n".join(["image,label", *lines]) + "\n")
    (elsewhere / "c.yaml").write_text(
        "data: {source: table, path: t.csv, root: pictures, image: image, label: label}\n"
        "model: {source: resnet_cifar, depth: 8}\ntrain: {epochs: 1, output: w}\ndetector: l2\nbudget: 11\n"
    )
    run = scan(load_config(elsewhere / "c.yaml"), output=elsewhere / "run", folds=2)
    found = dict(zip(run.scores["id"].to_pylist(), run.scores["status"].to_pylist(), strict=True))
    assert sorted(found.values()) == ["ok"] * 11 + ["quarantined"] * 4
    written = b"".join(path.read_bytes() for path in (elsewhere / "run").iterdir())
    for content in (written, formats.get("html")(run).encode(), formats.get("json")(run).encode()):
        assert SECRET.encode() not in content


def test_what_a_file_of_coco_names_elsewhere_is_read_as_a_picture_or_not_at_all(elsewhere: Path) -> None:
    given = names(elsewhere)
    document = {
        "images": [{"id": i, "file_name": name, "width": 8, "height": 8} for i, name in enumerate(given)],
        "annotations": [],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (elsewhere / "boxes.json").write_text(json.dumps(document))
    root = str(elsewhere / "pictures")
    samples = Coco(annotations=str(elsewhere / "boxes.json"), root=root).open()
    assert samples.reader.preview(10).kind
    for i in range(11, 15):
        with pytest.raises(Unreadable) as caught:
            samples.reader.preview(i)
        assert SECRET not in str(caught.value)


class Evil:
    """Runs code where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.mark), "w"))


@pytest.mark.parametrize("name", ["arrow.py_extension_type", "torch.tensor", "pandas.period"])
def test_a_pickle_in_a_type_of_arrow_is_not_loaded(tmp_path: Path, name: str) -> None:
    """Old versions of pyarrow made Python types of what a file held (CVE-2023-47248)."""
    import pickle

    pickled = pickle.dumps(Evil(tmp_path / "it-ran"), 0)
    about = {b"ARROW:extension:name": name.encode(), b"ARROW:extension:metadata": pickled}
    run = example().write(tmp_path / "run").path
    table = pa.parquet.read_table(run / "scores.parquet")
    for path in (run / "scores.parquet", tmp_path / "data.parquet"):
        field = pa.field("extra", pa.int64(), metadata=about)
        values = pa.array(range(len(table)), pa.int64())
        pa.parquet.write_table(table.append_column(field, values), path)
    problems = []
    for read in (lambda: read_table(tmp_path / "data.parquet"), lambda: formats.get("md")(_opened(run))):
        try:
            read()
        except OgaError as error:
            problems.append(error)
    assert not (tmp_path / "it-ran").exists()


def _opened(run: Path) -> object:
    from ogacli.run.directory import Run

    return Run.open(run)


@pytest.mark.parametrize("name", ["a.png", "a.eps", "a.jpg"])
def test_a_postscript_file_is_handed_to_no_other_program(tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **keys: pytest.fail("it was run"))
    (tmp_path / "cat").mkdir()
    text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) print\n%%EOF\n"
    (tmp_path / "cat" / name).write_text(text)
    assert read_pictures(tmp_path) == (["not an image"] if name != "a.eps" else None)


def read_pictures(root: Path) -> list[str] | None:
    """Why pictures cannot be read; None where a folder has none."""
    try:
        samples = ImageFolder(root=str(root)).open()
    except DataError:
        return None
    return list(samples.reader.read(range(len(samples)))[1].values())


def test_the_script_of_a_dataset_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "words.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')\n")
    with pytest.raises(DataError):
        HuggingFace(path=str(folder), split="train", text="text", label="label").open()
    assert not (tmp_path / "it-ran").exists()


def test_a_label_of_a_shard_has_at_most_256_megabytes(tmp_path: Path) -> None:
    """The file has a hole of that size, so that it takes no room on the disk."""
    head = tarfile.TarInfo("000001.cls")
    head.size = (1 << 28) + 512
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(head.tobuf(tarfile.GNU_FORMAT))
        file.truncate(512 + head.size + 1024)
    with pytest.raises(DataError, match="268,435,456"):
        WebDataset(path=str(tmp_path / "a.tar"), text="txt", label="cls").open()


def test_a_config_has_at_most_four_megabytes(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("data: '" + "x" * (1 << 22) + "'")
    with pytest.raises(ConfigError, match=r"too large\n  found: 4,194,312 characters\n  expected: 4,194,304"):
        load_config(tmp_path / "c.yaml")


def test_a_number_of_classes_has_a_limit(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\na,0\nb,1\n")
    (tmp_path / "c.yaml").write_text("data: {source: table, path: t.csv, label: label, classes: 1000001}\n")
    with pytest.raises(ConfigError, match="at most 1,000,000 classes"):
        load_config(tmp_path / "c.yaml")
