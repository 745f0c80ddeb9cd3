from pathlib import Path

import pytest

from ogacli.config import load_config
from ogacli.errors import ConfigError
from ogacli.init import kinds, starter


@pytest.mark.parametrize("kind", kinds())
def test_every_starter_is_a_valid_config(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "oga.yaml"
    file.write_text(starter(kind=kind).text, encoding="utf-8")
    assert load_config(file).output is not None


def test_the_starters_are_the_example_configs() -> None:
    assert {"arrays", "digits", "image_folder", "precomputed", "table"} <= set(kinds())


def test_a_table_is_told_by_its_name_and_its_label_column_found(tmp_path: Path) -> None:
    table = tmp_path / "it's mine.csv"
    table.write_text("a,Target\n1,x\n2,y\n", encoding="utf-8")
    found = starter(table)
    assert (found.kind, found.label) == ("table", "Target")
    file = tmp_path / "oga.yaml"
    file.write_text(found.text, encoding="utf-8")
    samples = load_config(file).data.open()
    assert samples.classes == ("x", "y")


def test_a_folder_is_pictures(tmp_path: Path) -> None:
    found = starter(tmp_path)
    assert found.kind == "image_folder"
    assert f"root: {tmp_path}" in found.text


def test_arrays_by_suffix() -> None:
    assert starter("some/where.npz").kind == "arrays"


def test_a_table_of_texts_is_told_by_its_columns(tmp_path: Path) -> None:
    table = tmp_path / "reviews.jsonl"
    table.write_text('{"stars": "good", "Sentence": "a film", "Category": "x"}\n', encoding="utf-8")
    found = starter(table)
    assert (found.kind, found.label) == ("text", "Category")
    file = tmp_path / "oga.yaml"
    file.write_text(found.text, encoding="utf-8")
    assert load_config(file).data.open().read([0]).inputs == ["a film"]
    assert starter(table, kind="table").kind == "table"


def test_shards_and_saved_datasets(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.tar").touch()
    found = starter(tmp_path / "a")
    assert found.kind == "webdataset"
    assert f"path: {tmp_path}/a/*.tar" in found.text.replace("'", "")
    assert starter(tmp_path / "a" / "0.tar").kind == "webdataset"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "dataset_dict.json").touch()
    found = starter(tmp_path / "b")
    assert found.kind == "huggingface"
    assert f"path: {tmp_path}/b" in found.text


def test_what_cannot_be_told_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"cannot be told from the name[\s\S]*--kind"):
        starter("data.bin")
    with pytest.raises(ConfigError, match="no such kind of data"):
        starter(kind="sounds")
