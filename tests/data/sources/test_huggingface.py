import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from ogacli.config import parse_config
from ogacli.data.loader import batches
from ogacli.data.sources.huggingface import HuggingFace
from ogacli.errors import ConfigError, DataError

datasets = pytest.importorskip("datasets")

MOODS = datasets.ClassLabel(names=["sad", "glad"])
ROWS: dict[str, list[Any]] = {
    "text": ["a fine film", None, "dull", ""],
    "other": ["x", "y", "z", "w"],
    "mood": [1, 0, 0, 1],
    "true": [1, 0, 1, 1],
    "tags": [[0], [0, 1], [], [1]],
    "score": [0.5, 1.0, 2.0, 3.0],
    "who": ["007", "008", "009", "010"],
}
FEATURES = datasets.Features(
    {name: datasets.Value("string") for name in ("text", "other", "who")}
    | {"mood": MOODS, "true": MOODS, "score": datasets.Value("float32")}
    | {"tags": datasets.Sequence(datasets.ClassLabel(names=["10", "7"]))}
)


@pytest.fixture(autouse=True)
def quiet_and_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., str]:
    """A dataset as ``save_to_disk`` leaves it."""

    def save(found: Any, name: str = "dataset") -> str:
        datasets.disable_progress_bars()
        found.save_to_disk(tmp_path / name)
        datasets.enable_progress_bars()
        return str(tmp_path / name)

    return save


def reviews() -> Any:
    return datasets.Dataset.from_dict(ROWS, features=FEATURES)


def test_texts_and_class_names(saved: Callable[..., str]) -> None:
    samples = HuggingFace(path=saved(reviews()), text="text", label="mood", truth="true", id="who").open()
    assert samples.ids.to_pylist() == ROWS["who"]
    assert samples.classes == ("sad", "glad")
    assert samples.labels.tolist() == ROWS["mood"]
    assert samples.truth is not None
    assert samples.truth.tolist() == ROWS["true"]
    batch = samples.read([3, 2, 1, 0])
    assert batch.inputs == ["dull", "a fine film"]
    assert batch.quarantined == {1: "no text in column text", 3: "no text in column text"}
    assert samples.reader.preview(2).content == b"dull"
    again = pickle.loads(pickle.dumps(samples.reader))
    assert again.read([0])[0] == ["a fine film"]


def test_pairs_completions_and_several_labels(saved: Callable[..., str]) -> None:
    path = saved(reviews())
    pairs = HuggingFace(path=path, text=("other", "who"), label="mood").open()
    assert pairs.read([1, 0]).inputs == [("y", "008"), ("x", "007")]
    learned = HuggingFace(path=path, prompt="text", completion="other").open()
    assert learned.read([0, 1]).inputs == [("a fine film", "x"), ("", "y")]
    assert learned.labels.shape == (4, 0)
    several = HuggingFace(path=path, text="other", label="tags").open()
    assert several.classes == ("10", "7")
    assert several.labels.tolist() == [[1, 0], [1, 1], [0, 0], [0, 1]]


def test_names_that_are_numbers_are_not_mixed_up_with_indices(saved: Callable[..., str]) -> None:
    features = datasets.Features({"t": datasets.Value("string"), "y": datasets.ClassLabel(names=["1", "0"])})
    path = saved(datasets.Dataset.from_dict({"t": ["a", "b"], "y": [0, 1]}, features=features))
    samples = HuggingFace(path=path, text="t", label="y").open()
    assert [samples.classes[i] for i in samples.labels.tolist()] == ["1", "0"]
    turned = HuggingFace(path=path, text="t", label="y", classes=("0", "1")).open()
    assert turned.labels.tolist() == [1, 0]


def test_a_missing_label_is_told(saved: Callable[..., str]) -> None:
    features = datasets.Features({"t": datasets.Value("string"), "y": MOODS})
    path = saved(datasets.Dataset.from_dict({"t": ["a", "b"], "y": [0, -1]}, features=features))
    with pytest.raises(DataError, match=r"column y: sample '1': label is missing"):
        HuggingFace(path=path, text="t", label="y").open()


def test_the_source_s_own_order_survives_a_shuffle(saved: Callable[..., str]) -> None:
    shuffled = reviews().shuffle(seed=3)
    samples = HuggingFace(path=saved(shuffled), text="other", label="mood", id="who").open()
    assert samples.ids.to_pylist() == shuffled["who"][:]
    assert samples.read([0, 1, 2, 3]).inputs == shuffled["other"][:]


@pytest.mark.parametrize("kind", ["parquet", "json", "csv", "arrow"])
def test_files(kind: str, tmp_path: Path, saved: Callable[..., str]) -> None:
    found = reviews().remove_columns(["tags"])
    datasets.disable_progress_bars()
    if kind == "arrow":
        path = f"{saved(found)}/*.arrow"
    else:
        path = f"{tmp_path}/t.{kind}"
        getattr(found, f"to_{kind}")(path)
    datasets.enable_progress_bars()
    samples = HuggingFace(path=path, text="other", label="mood").open()
    assert samples.read([0, 3]).inputs == ["x", "w"]
    assert samples.labels.tolist() == ROWS["mood"]


def test_splits(saved: Callable[..., str]) -> None:
    both = datasets.DatasetDict({"train": reviews(), "dev": reviews().select([0])})
    path = saved(both)
    keys = {"path": path, "text": "other", "label": "mood"}
    assert len(HuggingFace(**keys, split="dev").open()) == 1
    with pytest.raises(DataError, match=r"several splits\n  found: train, dev\n  next: name one as `split`"):
        HuggingFace(**keys).open()
    with pytest.raises(DataError, match="no split 'test'"):
        HuggingFace(**keys, split="test").open()
    alone = saved(datasets.DatasetDict({"train": reviews()}), "alone")
    assert len(HuggingFace(**{**keys, "path": alone}).open()) == 4
    single = saved(reviews(), "single")
    with pytest.raises(DataError, match=r"one dataset without splits\n  found: split: test"):
        HuggingFace(**{**keys, "path": single}, split="test").open()


def encoded(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(random(seed)).save(buffer, format="PNG")
    return buffer.getvalue()


def random(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def test_pictures(saved: Callable[..., str]) -> None:
    pictures = [
        {"bytes": encoded(0), "path": "a.png"},
        {"bytes": encoded(1), "path": None},
        {"bytes": b"no picture", "path": None},
        None,
    ]
    features = datasets.Features({"picture": datasets.Image(decode=False), "kind": MOODS})
    found = datasets.Dataset.from_dict({"picture": pictures, "kind": [0, 1, 0, 1]}, features=features)
    samples = HuggingFace(path=saved(found), image="picture", label="kind").open()
    (batch,) = batches(samples, torch.arange(4), 4, workers=1)
    expected = torch.from_numpy(np.stack([random(0), random(1)])).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(batch.inputs, expected)
    assert batch.quarantined == {
        2: "not an image",
        3: "no picture in this row",
    }
    assert samples.reader.file(0) == encoded(0)
    assert samples.reader.preview(1).kind == "image"
    changed = datasets.Dataset.from_dict(
        {"picture": [pictures[0], *pictures[:3]], "kind": [0, 1, 0, 1]}, features=features
    )
    other = HuggingFace(path=saved(changed, "other"), image="picture", label="kind").open()
    assert other.fingerprint != samples.fingerprint


def test_pictures_that_stay_in_their_folder(tmp_path: Path) -> None:
    for i, name in enumerate(("cat/a.png", "dog/b.png", "dog/c.png")):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(encoded(i))
    samples = HuggingFace(path=str(tmp_path / "pets"), image="image", label="label").open()
    (tmp_path / "pets" / "dog" / "b.png").unlink()
    batch = samples.read([0, 1, 2])
    assert (samples.classes, batch.labels.tolist()) == (("cat", "dog"), [0, 1])
    assert batch.quarantined == {1: "no such file or directory"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "txt", "label": "mood"}, r"no column 'txt'; did you mean 'text'\?\n  found: text, other"),
        ({"text": "text", "label": "mod"}, r"no column 'mod'; did you mean 'mood'\?\n  found: text, other"),
        ({"text": "score", "label": "mood"}, r"column 'score' holds no text\n  found: float"),
        ({"image": "score", "label": "mood"}, r"column 'score' holds no pictures"),
        ({"text": "text", "label": "score"}, "column score: sample '0': label is not a class"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str, saved: Callable[..., str]) -> None:
    with pytest.raises(DataError, match=message):
        HuggingFace(path=saved(reviews()), **options).open()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "t"}, "give either `path`, a place on this machine, or `name`"),
        ({"path": "a", "name": "b", "text": "t"}, "give either `path`"),
        ({"path": "a"}, "give one of `text`, `completion`, `words`, `image`"),
        ({"path": "a", "text": "t", "image": "i"}, "give one of `text`, `completion`, `words`, `image`"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        HuggingFace(label="y", **options)


def test_a_hub_name_without_a_network_is_one_error() -> None:
    config = parse_config(
        "data: {source: huggingface, name: somebody/reviews, split: train, text: text, label: label}\n"
        "model: logistic\n"
    )
    with pytest.raises(DataError, match=r"somebody/reviews, split train: cannot be loaded") as caught:
        config.data.open()
    assert "save_to_disk" in str(caught.value)
    assert "Couldn't reach" in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_files_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"t\.parquet: cannot be loaded\n  found: \w+: .+\n  next: check `path`"
    ):
        HuggingFace(path=str(path), text="text", label="mood").open()
    (tmp_path / "t.xml").write_text("<t/>")
    with pytest.raises(DataError, match=r"found: FileNotFoundError: not one of .parquet"):
        HuggingFace(path=str(tmp_path / "t.xml"), text="text", label="mood").open()


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("ogacli.base.user_code.import_module", fail)
    with pytest.raises(
        ConfigError, match=r"data.source huggingface: the package datasets is not installed"
    ) as e:
        HuggingFace(path="t", text="text", label="mood").open()
    assert "pip install 'ogacli[hf]'" in str(e.value)


SCRIPT = """
from pathlib import Path
Path({marker!r}).touch()
"""


@pytest.mark.parametrize("where", ["folder", "script", "name"])
def test_a_script_of_the_dataset_is_never_run(tmp_path: Path, where: str, monkeypatch: Any) -> None:
    folder = tmp_path / "reviews"
    folder.mkdir()
    script = folder / "reviews.py"
    script.write_text(SCRIPT.format(marker=str(tmp_path / "ran")))
    (folder / "rows.csv").write_text("text,mood\na,sad\nb,glad\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    monkeypatch.chdir(tmp_path)
    place = {"folder": {"path": str(folder)}, "script": {"path": str(script)}, "name": {"name": "reviews"}}[
        where
    ]
    with pytest.raises(DataError, match="is loaded by Python code of its author, which is never run") as told:
        HuggingFace(text="text", label="mood", **place).open()
    assert "reviews/reviews.py: " in str(told.value)
    assert "remove the script from the folder" in str(told.value)
    assert not (tmp_path / "ran").exists()
    script.unlink()
    if where == "folder":
        assert len(HuggingFace(text="text", label="mood", split="train", **place).open()) == 2


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows of a parquet file are read, in batches of two."""
    read: list[int] = []
    batches_of = datasets.IterableDataset.iter

    def counted(self: Any, *given: Any, **options: Any) -> Any:
        for rows in batches_of(self, *given, **options):
            read.append(len(rows))
            yield rows

    monkeypatch.setattr(datasets.IterableDataset, "iter", counted)
    monkeypatch.setattr("ogacli.data.streamed._TOGETHER", 2)
    return read


def test_a_stream_is_read_once(tmp_path: Path, opened: list[int]) -> None:
    """It gives what the dataset gives; of the first rows only these are read."""
    reviews().to_parquet(tmp_path / "r.parquet")
    given = {
        "path": str(tmp_path / "r.parquet"),
        "text": "text",
        "label": "mood",
        "truth": "true",
        "id": "who",
    }
    whole, stream = (HuggingFace(**given, streaming=one).open() for one in (False, True))
    assert opened == [2, 2]
    assert stream.fingerprint == whole.fingerprint
    assert stream.ids.to_pylist() == whole.ids.to_pylist()
    assert stream.read([3, 0]).inputs == whole.read([3, 0]).inputs
    opened.clear()
    some = HuggingFace(**given, streaming=True, limit=2).open()
    assert (opened, some.ids.to_pylist(), some.classes) == ([2], ["007", "008"], ("sad", "glad"))


def test_a_stream_of_pictures(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    rows = {"image": [Image.fromarray(one) for one in pixels], "mood": [0, 1, 0, 1, 1]}
    kinds = datasets.Features({"image": datasets.Image(), "mood": MOODS})
    datasets.Dataset.from_dict(rows, features=kinds).to_parquet(tmp_path / "p.parquet")
    given = {"path": str(tmp_path / "p.parquet"), "image": "image", "label": "mood"}
    whole, stream = (HuggingFace(**given, streaming=one).open() for one in (False, True))
    assert stream.fingerprint == whole.fingerprint
    assert torch.equal(stream.read([4, 1]).inputs, whole.read([4, 1]).inputs)


def test_what_a_stream_cannot_do(tmp_path: Path, saved: Callable[..., str]) -> None:
    with pytest.raises(DataError, match="on this machine already; leave out `streaming`"):
        HuggingFace(path=saved(reviews()), text="text", label="mood", streaming=True).open()
    reviews().to_parquet(tmp_path / "r.parquet")
    source = HuggingFace(path=str(tmp_path / "r.parquet"), text="text", label="mood", streaming=True)
    with pytest.raises(DataError, match="a streamed dataset is not written again"):
        source.rows()
    with pytest.raises(DataError, match="no column 'lable'"):
        source.model_copy(update={"label": "lable"}).open()
