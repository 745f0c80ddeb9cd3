from pathlib import Path

import numpy as np
import pytest
import torch

from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.data.loader import batches
from ogacli.data.samples import Samples
from ogacli.errors import ConfigError, DataError

CODE = """
import numpy as np
import torch
from torch.utils.data import Dataset

PICTURES = torch.rand(6, 3, 8, 9, generator=torch.Generator().manual_seed(0))


class Pictures(Dataset):
    def __init__(self, n=6, broken=()):
        self.n, self.broken = n, broken

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i in self.broken:
            raise OSError("damaged")
        return PICTURES[i], i % 3


class Targeted(Pictures):
    classes = ["10", "7", "8"]

    @property
    def targets(self):
        return torch.arange(self.n) % 3


class Items(list):
    pass


def named():
    return Items([(np.ones(2, np.float32) * i, ["b", "a"][i % 2]) for i in range(4)])


def mapped():
    return Items([({"x": torch.ones(3) * i, "mask": torch.tensor([True, False])}, i % 2) for i in range(4)])


def texts():
    return Items([(("one", "two") if i % 2 else ("three", "four"), 0) for i in range(4)])


def several():
    return Items([(torch.ones(1), torch.tensor([i % 2, 1])) for i in range(4)])


def odd():
    items = [(torch.ones(2), 0), (torch.ones(3), 0), (object(), 0), (torch.tensor([0.0, torch.nan]), 0)]
    return Items([*items, (torch.ones(2, dtype=torch.int64), 0), (torch.zeros(2), 0)])


def ragged():
    return Items([(torch.ones(1), [0, 1]), (torch.ones(1), [0])])


def failing(x):
    raise KeyError("nothing there")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_sets.py").write_text(CODE)
    return tmp_path


@pytest.fixture(autouse=True)
def imported_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "my_sets", raising=False)


def opened(folder: Path, name: str, more: str = "") -> Samples:
    text = f"data: {{source: python, factory: 'my_sets:{name}'{more}}}\nmodel: logistic\n"
    return parse_config(text, base=folder).data.open()


def test_a_torch_dataset(folder: Path) -> None:
    samples = opened(folder, "Pictures")
    assert (len(samples), samples.classes, samples.labels.tolist()) == (
        6,
        ("0", "1", "2"),
        [0, 1, 2, 0, 1, 2],
    )
    expected = torch.rand(6, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    (batch,) = batches(samples, torch.tensor([4, 1]), 2, workers=1)
    assert torch.equal(batch.inputs, expected[[4, 1]])
    assert samples.reader.preview(0).kind == "image"
    assert len(opened(folder, "Pictures", ", args: {n: 4}")) == 4


def test_a_broken_sample_is_quarantined_where_the_labels_are_known(folder: Path) -> None:
    samples = opened(folder, "Targeted", ", args: {broken: [2]}")
    assert samples.classes == ("10", "7", "8")
    batch = samples.read([1, 2, 3])
    assert (batch.rows.tolist(), batch.quarantined) == ([1, 3], {2: "OSError: damaged"})
    with pytest.raises(
        DataError, match=r"sample 2: the label cannot be read\n  found: OSError: damaged"
    ) as e:
        opened(folder, "Pictures", ", args: {broken: [2]}")
    assert "a list `targets`" in str(e.value)


def test_names_mappings_texts_and_several_labels(folder: Path) -> None:
    named = opened(folder, "named")
    assert (named.classes, named.labels.tolist()) == (("a", "b"), [1, 0, 1, 0])
    assert named.read([3]).inputs.tolist() == [[3, 3]]
    assert named.reader.preview(1).content == b"1, 1"
    mapped = opened(folder, "mapped").read([2, 3]).inputs
    assert mapped["x"].tolist() == [[2] * 3, [3] * 3]
    assert mapped["mask"].shape == (2, 2)
    texts = opened(folder, "texts")
    assert texts.read([0, 1]).inputs == [("three", "four"), ("one", "two")]
    assert texts.reader.preview(1).content == b"one\ntwo"
    several = opened(folder, "several", ", classes: [u, v]")
    assert (several.labels.tolist(), several.classes) == ([[0, 1], [1, 1]] * 2, ("u", "v"))
    assert opened(folder, "several", ", target: regression").labels.tolist() == [[0, 1], [1, 1]] * 2


def test_inputs_unlike_the_others_are_quarantined(folder: Path) -> None:
    batch = opened(folder, "odd").read(range(6))
    assert batch.rows.tolist() == [0, 5]
    assert batch.quarantined == {
        1: "[3] float32, the others [2] float32",
        2: "a object; expected a tensor, a mapping of tensors, or a text",
        3: "a value of the input is not finite",
        4: "[2] int64, the others [2] float32",
    }


@pytest.mark.parametrize(
    ("factory", "error", "message"),
    [
        ("missing", ConfigError, "my_sets:missing: cannot be imported"),
        (
            "failing, args: {x: 1}",
            ConfigError,
            r"the factory fails\n  found: KeyError: 'nothing there' \(my_sets",
        ),
        ("failing", ConfigError, r"the factory fails\n  found: TypeError: failing\(\) missing 1"),
        ("Items, args: {}", DataError, "the dataset is empty"),
        ("ragged", DataError, "data.factory my_sets:ragged: the labels differ in shape|not labels"),
        ("np", ConfigError, "fails"),
        ("Items, classes: 2", DataError, "empty"),
    ],
)
def test_mistakes_are_told(factory: str, error: type[Exception], message: str, folder: Path) -> None:
    name, _, more = factory.partition(", ")
    with pytest.raises(error, match=message):
        opened(folder, name, f", {more}" if more else "")


def test_something_that_is_no_dataset(folder: Path) -> None:
    text = "data: {source: python, factory: 'builtins:object'}\nmodel: logistic\n"
    found = parse_config(text, base=folder).data
    with pytest.raises(ConfigError, match=r"does not return a dataset\n  found: object"):
        found.open()


def test_it_is_scanned(folder: Path) -> None:
    np.save(folder / "p.npy", np.full((6, 3), 1 / 3, dtype=np.float32))
    config = parse_config(
        "data: {source: python, factory: 'my_sets:Targeted', workers: 0}\n"
        "model: {source: precomputed, probabilities: p.npy}\ndetector: {name: l2}\nbudget: 1\n",
        base=folder,
    )
    assert scan(config, output=folder / "run").summary.samples == 6
