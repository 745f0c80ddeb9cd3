import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from command_line import oga
from ogacli.config import Config, load_config
from ogacli.config.starter import Starter, init, kinds, starter
from ogacli.errors import ConfigError
from ogacli.run.directory import Run


def written(found: Starter, folder: Path) -> Config:
    """The starter as a config that lies in the folder."""
    file = folder / "oga.yaml"
    file.write_text(found.text, encoding="utf-8")
    return load_config(file)


@pytest.mark.parametrize("kind", kinds())
def test_every_starter_is_a_valid_config(kind: str, tmp_path: Path) -> None:
    assert written(starter(kind=kind), tmp_path).output is not None


def test_the_starters_are_the_example_configs() -> None:
    assert {"arrays", "digits", "image_folder", "precomputed", "table"} <= set(kinds())


def test_a_table_is_told_by_its_name_and_its_label_column_found(tmp_path: Path) -> None:
    table = tmp_path / "it's mine.csv"
    table.write_text("a,Target\n1,x\n2,y\n", encoding="utf-8")
    found = starter(table)
    assert (found.kind, found.columns) == ("table", {"label": "Target"})
    samples = written(found, tmp_path).data.open()
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
    assert (found.kind, found.columns) == ("text", {"text": "Sentence", "label": "Category"})
    assert written(found, tmp_path).data.open().read([0]).inputs == ["a film"]
    assert starter(table, kind="table").kind == "table"


def test_pairs_of_texts(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("premise,hypothesis,label\na,b,x\nc,d,y\n", encoding="utf-8")
    found = starter(table)
    assert (found.kind, found.columns["text"], found.open) == ("text", ["premise", "hypothesis"], ())
    assert written(found, tmp_path).data.open().read([1]).inputs == [("c", "d")]


def test_prompts_and_completions(tmp_path: Path) -> None:
    table = tmp_path / "talk.jsonl"
    table.write_text('{"Instruction": "say a", "Response": "a", "text": "say a a"}\n', encoding="utf-8")
    found = starter(table)
    assert found.kind == "causal_lm"
    assert found.columns == {"prompt": "Instruction", "completion": "Response"}
    assert (found.open, found.known) == ((), ("Instruction", "Response", "text"))
    assert found.text.count("completion: Response") == 2, "of the samples and of the queries"
    config = written(found, tmp_path)
    assert (len(config.data.open()), config.attribute.group) == (1, None), "it has no groups"
    table.write_text('{"prompt": "a", "answer": "b", "text": "c", "label": "d"}\n', encoding="utf-8")
    assert starter(table).kind == "text", "a question and its answer may be right or wrong"
    assert starter(table, kind="causal_lm").columns["label"] == "label"


def test_a_table_whose_label_cannot_be_told(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("height,verdict\n1,x\n2,y\n", encoding="utf-8")
    found = starter(table)
    assert (found.open, found.known) == (("label",), ("height", "verdict"))


def test_arrays_are_looked_into(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 3)), labels=np.arange(2))
    found = starter(tmp_path / "a.npz")
    assert (found.kind, found.columns, found.open) == ("arrays", {"x": "images", "y": "labels"}, ())
    assert len(written(found, tmp_path).data.open()) == 2


def test_shards_are_looked_into(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name in ("0.png", "0.label"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    found = starter(tmp_path)
    assert (found.kind, found.columns) == ("webdataset", {"image": "png", "label": "label"})
    assert re.search("^  image: png ", found.text, re.M)


def test_a_saved_dataset_is_looked_into(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"review": ["a", "b"], "stars": [0, 1]})
    datasets.DatasetDict(train=rows).save_to_disk(tmp_path / "d")
    found = starter(tmp_path / "d")
    assert (found.kind, found.columns, found.open) == ("huggingface", {"text": "review"}, ("label",))


@pytest.mark.parametrize("kind", ["sklearn", "lora", "tagger"])
def test_kinds_of_tables(tmp_path: Path, kind: str) -> None:
    table = tmp_path / "t.jsonl"
    table.write_text('{"review": "a", "tokens": ["a"], "tags": ["x"], "target": "d"}\n', encoding="utf-8")
    found = starter(table, kind=kind)
    assert (set(found.columns.values()) <= {"review", "tokens", "tags", "target"}, found.open) == (True, ())


def test_splits_of_saved_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(fit=rows, test=rows).save_to_disk(tmp_path / "two")
    for name in ("one", "two"):
        assert len(written(starter(tmp_path / name), tmp_path).data.open()) == 2
    (tmp_path / "one" / "dataset_info.json").write_text("{}", encoding="utf-8")
    assert starter(tmp_path / "one").open == ("text", "label")


def test_paths_are_seen_from_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("label,Label,a\nx,1,1\ny,2,2\n", encoding="utf-8")
    found = starter("t.csv", folder=Path("sub"))
    assert found.columns == {"label": "label"}
    Path("sub").mkdir()
    assert written(found, Path("sub")).data.open().classes == ("x", "y")


def test_a_broken_file_still_gives_a_starter(tmp_path: Path) -> None:
    for name in ("a.npz", "a.parquet", "a.tar"):
        (tmp_path / name).write_bytes(b"broken")
        assert starter(tmp_path / name).columns == {}


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


def test_a_new_kind_is_a_new_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = tmp_path / "configs"
    examples.mkdir()
    for name, lines in (
        (
            "sounds",
            "# Sounds.\n# init: files: [.wavs]\n# init: columns: {wave: [wav, sound], label: [label]}\n",
        ),
        ("speech", "# Speech.\n# init: files: [.wavs, .csv]\n# init: columns: {wave: [wav], said: [said]}\n"),
    ):
        keys = "data:\n  source: sounds\n  path: x\n  wave: w\n  label: l\n  said: s\n"
        (examples / f"{name}.yaml").write_text(lines + keys)
    monkeypatch.setattr("ogacli.config.starter._folder", lambda: examples)
    table = tmp_path / "a.csv"
    table.write_text("wav,said\n1,2\n")
    assert kinds() == ["sounds", "speech"]
    found = starter(table)
    assert (found.kind, found.columns, found.open) == ("speech", {"wave": "wav", "said": "said"}, ())
    assert "init:" not in found.text
    assert starter("b.wavs").kind == "sounds", "nothing is known of it: the first one"


def test_importing_and_writing_it_imports_no_torch(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("label,a\nx,1\n")
    code = (
        "import sys\nfrom ogacli.cli import app\n"
        "app(['init', 't.csv'], standalone_mode=False)\nprint('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("`\nFalse\n"), done.stdout


def test_what_cannot_be_told_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"cannot be told from the name[\s\S]*--kind"):
        starter("data.bin")
    with pytest.raises(ConfigError, match="no such kind of data"):
        starter(kind="sounds")


def test_what_is_still_to_be_filled_in_is_the_first_line(tmp_path: Path) -> None:
    """Files and code of the example, and keys without a column; not what the user has given or has there."""
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3)), y=np.arange(2))
    found = starter(tmp_path / "a.npz", folder=tmp_path)
    first = found.text.splitlines()[0]
    assert first == "# Fill in before the first command: model.factory, model.checkpoint."
    assert found.placeholders == ("model.factory", "model.checkpoint")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "model.safetensors").write_bytes(b"")
    assert starter(tmp_path / "a.npz", folder=tmp_path).placeholders == ("model.factory",)
    table = tmp_path / "data" / "t.csv"
    table.write_text("height,verdict\n1,x\n2,y\n", encoding="utf-8")
    found = starter(table, folder=tmp_path)
    assert found.text.startswith("# Fill in before the first command: data.label.\n")


def test_what_needs_nothing_runs_as_it_stands(tmp_path: Path) -> None:
    """A table: the checkpoint is that of `oga train`, and the commands in the comments name this config."""
    rows = "".join(f"{i % 7},{i % 3},{'xy'[i % 2]},{'xy'[i % 2]}\n" for i in range(40))
    (tmp_path / "t.csv").write_text("a,b,label,gold\n" + rows, encoding="utf-8")
    assert oga("init", "t.csv", cwd=tmp_path).code == 0
    text = (tmp_path / "oga.yaml").read_text(encoding="utf-8")
    assert "Fill in" not in text
    assert "truth: gold" in text
    for command in ("train", "scan"):
        done = oga(command, "oga.yaml", cwd=tmp_path)
        assert done.code == 0, done.err
    run = Run.open(tmp_path / "runs" / "table")
    assert run.summary.detectors == ("latent_label", "l2", "isolation_forest")
    assert run.summary.evaluation is not None


def test_commands_in_the_comments_name_the_written_config(tmp_path: Path) -> None:
    for kind in ("image_folder", "lora", "moons"):
        init(kind=kind, output=tmp_path / f"{kind}-mine.yaml")
        text = (tmp_path / f"{kind}-mine.yaml").read_text(encoding="utf-8")
        assert f"oga scan {tmp_path / f'{kind}-mine.yaml'}" in text
        assert f"configs/{kind}.yaml" not in text
