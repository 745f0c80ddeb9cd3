import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from pydantic import ValidationError

from ogacli.config import parse_config
from ogacli.data.arrays import ArrayReader
from ogacli.data.sources.table import Table
from ogacli.errors import ConfigError, DataError

Rows = list[dict[str, Any]]

FEATURES: Rows = [
    {"who": "007", "age": 1.5, "height": 3, "kind": "b", "true": "a"},
    {"who": "008", "age": None, "height": 4, "kind": "a", "true": "a"},
    {"who": "010", "age": -2.5, "height": 5, "kind": "b", "true": "c"},
]


def write(rows: Rows, path: Path) -> str:
    match path.suffix:
        case ".csv" | ".tsv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
                writer.writeheader()
                writer.writerows(rows)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case _:
            pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_numeric_columns_are_features(suffix: str, tmp_path: Path) -> None:
    path = write(FEATURES, tmp_path / f"people{suffix}")
    samples = Table(path=path, label="kind", truth="true", id="who").open()
    assert samples.ids.to_pylist() == ["007", "008", "010"]
    assert samples.classes == ("a", "b", "c")
    assert samples.labels.tolist() == [1, 0, 1]
    assert samples.truth is not None
    assert samples.truth.tolist() == [0, 0, 2]
    batch = samples.read([0, 1, 2])
    assert batch.inputs.tolist() == [[1.5, 3.0], [-2.5, 5.0]]
    assert batch.quarantined == {1: "missing or not finite: age"}
    assert samples.reader.preview(0).content == b"age: 1.5, height: 3"


def test_named_features_keep_their_order(tmp_path: Path) -> None:
    path = write(FEATURES, tmp_path / "people.parquet")
    samples = Table(path=path, label="kind", features=("height", "age")).open()
    assert samples.read([0]).inputs.tolist() == [[3.0, 1.5]]
    assert samples.ids.to_pylist() == ["0", "1", "2"]


PEOPLE: Rows = [
    {"age": 1.5, "colour": "red", "floor": "10", "y": 0},
    {"age": 2.0, "colour": None, "floor": "2", "y": 1},
    {"age": 3.0, "colour": "blue", "floor": "007", "y": 1},
    {"age": 4.0, "colour": "red", "floor": "2", "y": 0},
]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_categories_are_encoded_after_the_numbers(suffix: str, tmp_path: Path) -> None:
    path = write(PEOPLE, tmp_path / f"people{suffix}")
    samples = Table(path=path, label="y", categorical=("colour", "floor")).open()
    reader = samples.reader
    assert isinstance(reader, ArrayReader)
    assert reader.columns == ("age", "colour=blue", "colour=red", "floor=2", "floor=007", "floor=10")
    batch = samples.read([0, 1, 2, 3])
    assert batch.inputs.tolist() == [[1.5, 0, 1, 0, 0, 1], [3, 1, 0, 0, 1, 0], [4, 0, 1, 1, 0, 0]]
    assert batch.quarantined == {1: "missing or not finite: colour=blue, colour=red"}
    codes = Table(path=path, label="y", categorical=("floor",), encoding="codes", features=("age",)).open()
    assert codes.read([0, 1, 2]).inputs.tolist() == [[1.5, 2], [2, 0], [3, 1]]
    only = Table(path=path, label="y", categorical=("floor",), features=()).open()
    assert only.read([0]).inputs.tolist() == [[0, 0, 1]]


def test_categories_of_the_training_keep_their_order(tmp_path: Path) -> None:
    path = write(PEOPLE, tmp_path / "people.csv")
    section = (
        f"data: {{source: table, path: {path}, label: y, features: [age],"
        " categorical: {colour: [red, green]}}\nmodel: logistic"
    )
    samples = parse_config(section).data.open()
    batch = samples.read([0, 1, 2, 3])
    assert batch.inputs.tolist() == [[1.5, 1, 0], [4, 1, 0]]
    assert sorted(batch.quarantined) == [1, 2]


def test_the_order_of_rows_does_not_change_the_encoding(tmp_path: Path) -> None:
    options: dict[str, Any] = {"label": "y", "categorical": ("colour", "floor")}
    one = Table(path=write(PEOPLE, tmp_path / "a.parquet"), **options).open()
    other = Table(path=write(PEOPLE[::-1], tmp_path / "b.parquet"), **options).open()
    assert torch.equal(one.read([0, 2, 3]).inputs, other.read([3, 1, 0]).inputs)


def test_an_id_is_no_category(tmp_path: Path) -> None:
    path = write([{"name": f"n{i}", "y": 0} for i in range(1001)], tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"column 'name' has 1,001 different values"):
        Table(path=path, label="y", categorical=("name",)).open()


def test_regression_and_several_classes(tmp_path: Path) -> None:
    rows = [
        {"x": 1.0, "price": 2.5, "red": 1, "big": 0, "tags": "big|red", "list": ["u"]},
        {"x": 2.0, "price": -1.0, "red": 0, "big": 0, "tags": "", "list": []},
    ]
    path = write(rows, tmp_path / "t.parquet")
    kept = {"path": path, "features": ("x",)}
    assert Table(label="price", target="regression", **kept).open().labels.tolist() == [[2.5], [-1.0]]
    several = Table(label=("red", "big"), **kept).open()
    assert (several.labels.tolist(), several.classes) == ([[1, 0], [0, 0]], ("red", "big"))
    separated = Table(label="tags", separator="|", **kept).open()
    assert (separated.labels.tolist(), separated.classes) == ([[1, 1], [0, 0]], ("big", "red"))
    assert Table(label="list", **kept).open().labels.tolist() == [[1], [0]]


@pytest.fixture(params=["folder", "zip", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path, encode: Callable[..., bytes], pixels: Any) -> str:
    content = {f"{i:03d}.png": encode(pixels(i)) for i in range(3)}
    match request.param:
        case "folder":
            (tmp_path / "images").mkdir()
            for name, value in content.items():
                (tmp_path / "images" / name).write_bytes(value)
            return str(tmp_path / "images")
        case "zip":
            with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
                for name, value in content.items():
                    archive.writestr(name, value)
            return str(tmp_path / "images.zip")
        case _:
            url = f"memory://{tmp_path.name}/images"
            for name, value in content.items():
                fsspec.filesystem("memory").pipe(f"{url}/{name}", value)
            return url


@pytest.mark.parametrize(
    ("image", "rows"),
    [
        ("{i:03d}.png", [{"i": i, "y": i % 2} for i in (2, 0, 1)]),
        ("{stem}.png", [{"stem": f"{i:03d}", "y": i % 2} for i in (2, 0, 1)]),
        ("file", [{"file": f"{i:03d}.png", "y": i % 2} for i in (2, 0, 1)]),
    ],
)
def test_images_by_column_or_pattern(root: str, image: str, rows: Rows, tmp_path: Path, pixels: Any) -> None:
    path = write(rows, tmp_path / "labels.csv")
    samples = Table(path=path, label="y", image=image, root=root).open()
    batch = samples.read([0, 1, 2])
    expected = np.stack([pixels(i) for i in (2, 0, 1)]).transpose(0, 3, 1, 2)
    assert torch.equal(batch.inputs, torch.from_numpy(expected).float() / 255)
    assert batch.labels.tolist() == [0, 0, 1]
    assert samples.classes == ("0", "1")


def test_images_lie_beside_the_table_by_default(tmp_path: Path, encode: Any, pixels: Any) -> None:
    (tmp_path / "a.png").write_bytes(encode(pixels(0)))
    path = write([{"file": "a.png", "y": 0}, {"file": None, "y": 0}], tmp_path / "labels.csv")
    batch = Table(path=path, label="y", image="file").open().read([0, 1])
    assert batch.rows.tolist() == [0]
    assert list(batch.quarantined) == [1]


def test_paths_are_relative_to_the_config(tmp_path: Path, encode: Any, pixels: Any) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(encode(pixels(0)))
    write([{"file": "a.png", "y": 0}], tmp_path / "labels.csv")
    text = """
    data:
      {source: table, path: labels.csv, root: images, image: file, label: y, transform: cifar10, classes: 4}
    model: {source: logistic}
    """
    config = parse_config(text, base=tmp_path)
    samples = config.data.open()
    assert len(samples.read([0]).rows) == 1
    assert samples.classes == ("0", "1", "2", "3")
    assert config.resolved["data"]["root"] == str(tmp_path / "images")
    again = parse_config(json.dumps({"data": config.resolved["data"], "model": {"source": "logistic"}}))
    assert again.data == config.data


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"label": "kinds"},
            r"no column 'kinds'; did you mean 'kind'\?\n  found: who, age, height, kind, true",
        ),
        ({"label": "kind", "features": ("who",)}, r"column 'who' is not numeric\n  found: string"),
        ({"label": "kind", "features": ("weight",)}, r"no column 'weight'; did you mean 'height'\?"),
        (
            {"label": "who", "target": "regression"},
            r"column who: sample '0': label 'who' is not a number\n  found: '007'",
        ),
        (
            {"label": "kind", "classes": ("a",)},
            r"people.parquet, column kind: sample '0': label is not a class",
        ),
        ({"label": "age", "id": "who"}, r"column age: sample '007': label is not a class"),
        ({"label": "height", "image": "{hight:03d}"}, r"no column 'hight'; did you mean 'height'"),
        (
            {"label": "height", "classes": 9, "image": "{who:03d}"},
            r"sample '0': image '{who:03d}': the pattern does",
        ),
        (
            {"label": "kind", "id": "kind"},
            r"1 ids occur more than once\n  found: 'b'\n  expected: unique ids",
        ),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(FEATURES, tmp_path / "people.parquet")
    with pytest.raises(DataError, match=message):
        Table(path=path, **options).open()


def test_no_numeric_column(tmp_path: Path) -> None:
    path = write([{"who": "x", "y": 0}], tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"no numeric column for the features(.|\n)*`image`"):
        Table(path=path, label="y").open()
    (tmp_path / "empty.csv").write_text("a,y\n")
    with pytest.raises(DataError, match=r"empty.csv: the table has no rows"):
        Table(path=str(tmp_path / "empty.csv"), label="y").open()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "a", "features": ("b",)}, "`image` and `features` exclude each other"),
        ({"image": "a", "categorical": ("b",)}, "`image` and `categorical` exclude each other"),
        ({"features": ()}, "`features` is empty"),
        ({"root": "images"}, "`root` needs `image`"),
        ({"truth": ("t", "u"), "target": "regression"}, "`truth` needs as many columns as the label: 1"),
        ({"features": ("a",), "leave_out": ("b",)}, "`features` and `leave_out` exclude each other"),
    ],
)
def test_options_that_exclude_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Table(path="t.csv", label="y", **options)


def test_a_bad_transform_is_told_with_its_line() -> None:
    text = "data:\n  source: table\n  path: t.csv\n  label: y\n  transform: imagnet\nmodel: logistic\n"
    with pytest.raises(ConfigError, match=r"config:5: data.transform: no such transform"):
        parse_config(text)


def test_cifar10n(real_data: Path) -> None:
    folder = real_data / "cifar10n"
    samples = Table(
        path=str(folder / "labels.csv"),
        root=str(folder / "images_train.zip"),
        image="{index:05d}.jpg",
        label="worse",
        truth="clean",
        limit=3000,
    ).open()
    assert len(samples) == 3000
    assert samples.truth is not None
    assert (samples.labels != samples.truth).float().mean() == pytest.approx(0.4021, abs=0.03)
    with zipfile.ZipFile(folder / "images_train.zip") as archive:
        from PIL import Image

        with Image.open(archive.open("02999.jpg")) as image:
            expected = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    assert torch.equal(samples.read([2999]).inputs[0], expected)


# --- files of spreadsheets, and other tables that people have ---------------------------------------------


def csv_of(path: Path, header: str, *rows: str) -> str:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def test_a_spreadsheet_export_is_read_and_what_was_found_is_said(tmp_path: Path) -> None:
    rows = [f"{1000 + i},5;{i % 7},25;ja" for i in range(20)]
    path = tmp_path / "t.csv"
    path.write_bytes("\n".join(["Größe;b;y", *rows, "7,5;1,5;nein"]).encode("latin-1"))
    samples = Table(path=str(path), label="y").open()
    assert samples.columns is not None
    assert samples.columns.features == ("Größe", "b")
    assert samples.columns.notes == (
        "read with a semicolon between columns, encoding cp1252 (such as 'Größe'), decimal commas",
    )
    assert samples.read([0]).inputs.tolist() == [[1000.5, 0.25]]


def test_keys_of_the_file_are_checked(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "t.csv", "a_b_y", "1_2_u", "3_4_v")
    assert Table(path=path, label="y", delimiter="_").open().classes == ("u", "v")
    with pytest.raises(ValidationError, match="no such encoding: 'utf-9'"):
        Table(path=path, label="y", encoding="utf-9")
    former = Table(path=path, label="y", encoding="codes")
    assert (former.encoding, former.category_encoding) == (None, "codes"), "the key of earlier versions"


def test_labels_keep_their_leading_zeros(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "t.csv", "f,y,true", "1.5,01,01", "2.5,02,10", "4.5,10,10")
    samples = Table(path=path, label="y", truth="true").open()
    assert samples.classes == ("01", "02", "10")
    assert samples.truth is not None
    assert samples.truth.tolist() == [0, 2, 2]
    assert Table(path=path, label="y", classes=["01", "02", "10"]).open().labels.tolist() == [0, 1, 2]


def test_the_row_number_of_pandas_is_no_feature(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"f": [0.5, 1.5, 4.5], "y": [0, 0, 1]})
    frame.to_csv(tmp_path / "t.csv")
    frame.set_index(pandas.Index([9, 3, 5])).to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        samples = Table(path=str(tmp_path / name), label="y").open()
        assert samples.columns is not None
        assert samples.columns.features == ("f",)
        assert samples.columns.left_out[0].why.startswith("has no name")


def test_columns_that_cannot_be_features_say_why(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "t.csv", "name,y", "u,0", "v,1")
    with pytest.raises(DataError, match=r"no numeric column .*\n  found: name \(text, such as 'u'\)"):
        Table(path=path, label="y").open()


def test_ids_are_the_names_of_images(tmp_path: Path, encode: Any, pixels: Any) -> None:
    (tmp_path / "a.png").write_bytes(encode(pixels(0)))
    rows = [{"file": name, "n": i, "y": 0} for i, name in enumerate(["a.png", "b.png", None, "a.png"])]
    path = write(rows, tmp_path / "labels.csv")
    samples = Table(path=path, label="y", image="file").open()
    assert samples.ids.to_pylist() == ["a.png", "b.png", "row 2", "a.png (row 3)"]
    assert samples.columns is not None
    assert samples.columns.notes == ("1 row names a file again; its id has the number of the row",)
    assert samples.columns.features == ()
    assert Table(path=path, label="y", image="{n:02d}.png").open().ids.to_pylist()[0] == "00.png"
    assert Table(path=path, label="y", image="file", id="n").open().ids.to_pylist()[2] == "2"


def test_true_labels_of_several_kinds(tmp_path: Path) -> None:
    rows = [
        {"x": 1.5, "a": 1, "b": 0, "ta": 1, "tb": 1, "n": 2.5, "tn": 2.5, "l": ["u"], "tl": ["u"]},
        {"x": 0.5, "a": 0, "b": 0, "ta": 0, "tb": 0, "n": -1.0, "tn": 7.0, "l": [], "tl": ["v"]},
    ]
    path = write(rows, tmp_path / "t.parquet")
    kept: dict[str, Any] = {"path": path, "features": ("x",)}
    several = Table(label=("a", "b"), truth=("ta", "tb"), **kept).open()
    number = Table(label="n", truth="tn", target="regression", **kept).open()
    lists = Table(label="l", truth="tl", **kept).open()
    for samples, wrong in ((several, [True, False]), (number, [False, True]), (lists, [False, True])):
        assert samples.wrong is not None
        assert samples.wrong.tolist() == wrong
        assert samples.select(torch.tensor([1])).wrong.tolist() == wrong[1:]  # type: ignore[union-attr]
    with pytest.raises(ValidationError, match="`truth` needs as many columns as the label: 2"):
        Table(label=("a", "b"), truth="ta", **kept)


def test_numbers_and_several_classes_are_not_read_as_names(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "t.csv", "f,red,big,n", "1.5,True,FALSE,007", "2.5,False,true,008")
    several = Table(path=path, label=("red", "big"), features=("f",)).open()
    assert several.labels.tolist() == [[1, 0], [0, 1]]
    numbers = Table(path=path, label="n", target="regression", features=("f",)).open()
    assert numbers.labels.tolist() == [[7], [8]]
