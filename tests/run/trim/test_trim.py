import csv
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from command_line import oga
from ogacli.base.tables import read_table
from ogacli.config import load_config
from ogacli.config.commands import scan, train
from ogacli.errors import ConfigError, DataError, RunError
from ogacli.run.directory import Run
from ogacli.run.reports import report
from ogacli.run.trim import formats, trim
from ogacli.run.trim.fates import Options, fates_of
from ogacli.run.trim.kept import load_kept
from ogacli.run.trim.manifest import manifest_table
from ogacli.verdict.budget import Budget
from small_scans import K, N, Place, contents, make_place
from synthetic_runs import Recipe

COLUMNS = [
    "id",
    "position",
    "label",
    "fate",
    "new_label",
    "score",
    "rank",
    "reason",
    "suggested_label",
    "confidence",
]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path / "place")


@pytest.fixture
def run(place: Place) -> Run:
    x = place.arrays["x"]
    x[[2, 50]] = np.nan
    place.write(x=x)
    return scan(place.config())


def fates(table: pa.Table) -> list[str]:
    return table["fate"].to_pylist()


def decided(folder: Path, text: str, name: str = "decisions.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


# --- manifests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_manifest_has_every_sample_and_its_fate(run, tmp_path, suffix):
    found = trim(run, manifest=tmp_path / f"clean.{suffix}")
    assert (found.path, found.format) == (None, None)
    table = read_table(found.manifest, text=("id", "label"))
    assert table.column_names == COLUMNS
    assert table["id"].to_pylist() == [str(i) for i in range(N)]
    rows = run.scores.to_pylist()
    for row, fate, line in zip(rows, fates(table), table.to_pylist(), strict=True):
        expected = "quarantined" if row["status"] != "ok" else "dropped" if row["flagged"] else "kept"
        assert fate == expected
        assert line["label"] == row["label"]
        assert line["score"] == row["score"]
        assert (line["reason"] or None) == row["reason"]
    assert dict(found.fates) == {"kept": N - 2 - 12, "dropped": 12, "relabelled": 0, "quarantined": 2}


def test_kept_positions(run, tmp_path):
    found = trim(run, tmp_path / "kept.npy")
    positions = np.load(found.path, allow_pickle=False)
    rows = run.scores.to_pylist()
    expected = [row["position"] for row in rows if row["status"] == "ok" and not row["flagged"]]
    assert positions.tolist() == expected
    assert positions.dtype == np.int64


def test_load_kept(run, tmp_path):
    dataset: Any = [f"sample {i}" for i in range(N)]
    trim(run, tmp_path / "kept.npy")
    expected = [dataset[i] for i in np.load(tmp_path / "kept.npy")]
    for kept in (run, run.path, str(run.path), tmp_path / "kept.npy"):
        assert list(load_kept(dataset, kept)) == expected
    assert len(load_kept(dataset, run, budget=Budget(30))) == N - 2 - 30
    with pytest.raises(DataError, match="the dataset is smaller than the one that was scanned"):
        load_kept(dataset[:10], run)
    longer = [*dataset, "one more"]
    with pytest.raises(
        DataError, match=rf"kept\.npy: .*not the one that was scanned\n  found: {N + 1} samples"
    ):
        load_kept(longer, tmp_path / "kept.npy")
    np.save(tmp_path / "alone.npy", np.load(tmp_path / "kept.npy"))
    assert list(load_kept(longer, tmp_path / "alone.npy")) == expected
    with pytest.raises(DataError, match=r"nowhere\.npy: cannot be read as positions"):
        load_kept(dataset, tmp_path / "nowhere.npy")
    np.save(tmp_path / "x.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"x\.npy: not positions"):
        load_kept(dataset, tmp_path / "x.npy")


def test_positions_are_those_of_the_source(place, tmp_path):
    """Of a run over a part of it."""
    run = scan(place.config("data.limit={count: 40, seed: 3}"))
    fates = fates_of(run, Options())
    kept = fates.position[fates.staying]
    assert len(kept) == 36
    assert set(kept) < set(run.scores["position"].to_pylist())
    assert kept.max() > 40


def test_as_many_as_seem_to_be_wrong(place):
    training = train(place.config("train={epochs: 30, learning_rate: 0.01}"))
    run = scan(place.config(f"model.checkpoint={training.checkpoints[-1]}"))
    count = run.summary.estimate.count(run.summary.scored)
    assert 3 < count < 40
    assert fates(manifest_table(run, budget=Budget.parse("auto"))).count("dropped") == count


@pytest.mark.parametrize(("budget", "dropped"), [("0.25", 30), ("7", 7), ("0", 0), ("50%", 59), ("auto", 0)])
def test_another_budget(place, run, budget, dropped):
    """The weights are random ones, of which `auto` knows that nothing can be told."""
    kept = manifest_table(run, budget=Budget.parse(budget))
    for name in set(kept["label"].to_pylist()):
        own = [
            fate for fate, label in zip(fates(kept), kept["label"].to_pylist(), strict=True) if label == name
        ]
        assert own.count("dropped") <= own.count("kept"), "half of each class is kept, whatever the budget"
    run = scan(place.config("protect=off"), output=place.folder / "free")
    table = manifest_table(run, budget=Budget.parse(budget))
    rows = run.scores.to_pylist()
    assert fates(table).count("dropped") == (dropped if dropped != 30 else round(0.25 * (N - 2)))
    for row, line in zip(rows, table.to_pylist(), strict=True):
        gone = line["fate"] == "dropped"
        assert gone == (row["rank"] is not None and row["rank"] <= fates(table).count("dropped"))
        if gone and row["suggested_label"]:
            sure = row["confidence"] >= 2 * row["probability"]
            assert line["reason"] == ("mislabelled" if sure else "ambiguous")
        elif gone:
            assert line["reason"] == ("ambiguous" if row["probability"] < 0.6 else "atypical")


def test_the_scan_s_own_budget_changes_nothing(run):
    found, expected = manifest_table(run, budget=Budget(0.1)), manifest_table(run)
    assert found.combine_chunks().equals(expected.combine_chunks())


# --- decisions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_decisions_overrule_the_flags(run, tmp_path, suffix):
    rows = run.scores.to_pylist()
    flagged = next(row["id"] for row in rows if row["flagged"])
    plain = [row["id"] for row in rows if row["status"] == "ok" and not row["flagged"]]
    taken = {flagged, plain[0], plain[1]}
    suggested = next(row for row in rows if row["suggested_label"] and row["id"] not in taken)
    table = pa.table(
        {
            "id": [flagged, plain[0], plain[1], suggested["id"], "2"],
            "action": ["keep", "drop", "relabel", "relabel", "keep"],
            "label": [None, None, "1", None, None],
        }
    )
    path = tmp_path / f"decisions.{suffix}"
    if suffix == "parquet":
        pa.parquet.write_table(table, path)
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in table.to_pylist()))
    else:
        path.write_text("id,action,label\n" + "".join(
            f"{row['id']},{row['action']},{row['label'] or ''}\n" for row in table.to_pylist()
        ))  # fmt: skip
    found = {row["id"]: row for row in manifest_table(run, decisions=path).to_pylist()}
    assert found[flagged]["fate"] == "kept"
    assert found[plain[0]]["fate"] == "dropped"
    assert (found[plain[1]]["fate"], found[plain[1]]["new_label"]) == ("relabelled", "1")
    assert found[suggested["id"]]["fate"] == "relabelled"
    assert found[suggested["id"]]["new_label"] == suggested["suggested_label"]
    assert found["2"]["fate"] == "kept", "a quarantined one, too"
    changed = {flagged, plain[0], plain[1], suggested["id"], "2"}
    before = {row["id"]: row for row in manifest_table(run).to_pylist()}
    assert all(found[name] == before[name] for name in found if name not in changed)


def test_ids_and_labels_that_look_like_numbers_stay_text(tmp_path):
    run = Recipe(n=4, classes=("01", "1"), ids=["007", "7", "1e3", "x"], labels=[0, 1, 0, 1]).write(
        tmp_path / "run"
    )
    path = decided(tmp_path, "id,action,label\n007,relabel,1\n1e3,relabel,01\n")
    table = manifest_table(run, decisions=path)
    assert table["new_label"].to_pylist() == ["1", None, "01", None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\n1,2\n", "no column action"),
        ("id,action\nnobody,keep\n", "row 1: sample 'nobody': not a sample of the run"),
        ("id,action\n0,keep\n1,remove\n", "row 2: sample '1': not an action\n  found: 'remove'"),
        ("id,action,label\n0,relabel,cat\n", "unknown class\n  found: 'cat'\n  expected: one of 0, 1, 2"),
    ],
)
def test_wrong_decisions(run, tmp_path, text, message):
    path = decided(tmp_path, text)
    with pytest.raises(DataError) as caught:
        trim(run, manifest=tmp_path / "clean.csv", decisions=path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "clean.csv").exists()


def test_relabel_without_a_label_or_suggestion(tmp_path):
    run = Recipe(n=4).write(tmp_path / "run")
    with pytest.raises(DataError, match="no new label"):
        manifest_table(run, decisions=decided(tmp_path, "id,action\nimg-001,relabel\n"))


# --- the way back into a scan ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_manifest_is_a_dataset(place, run, tmp_path, suffix):
    kept = [row["id"] for row in run.scores.to_pylist() if row["status"] == "ok" and not row["flagged"]]
    given = int(run.scores["label"][int(kept[0])].as_py())
    decisions = decided(tmp_path, f"id,action,label\n{kept[0]},relabel,{(given + 1) % K}\n")
    path = trim(run, manifest=tmp_path / f"clean.{suffix}", decisions=decisions).manifest
    samples = place.config(f"data.manifest={path}").data.open()
    assert samples.ids.to_pylist() == kept
    y = place.arrays["y"][[int(name) for name in kept]]
    assert samples.labels[0] == (given + 1) % K
    assert samples.labels[1:].tolist() == y[1:].tolist()
    assert scan(place.config(f"data.manifest={path}"), output=tmp_path / "again").summary.samples == len(kept)


@pytest.mark.parametrize("kind", ["several classes", "no classes at all", "one target", "two targets"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_labels_that_are_not_one_class(place, tmp_path, suffix, kind):
    rng = np.random.default_rng(0)
    y = {
        "several classes": rng.integers(0, 2, (N, K)),
        "no classes at all": np.zeros((N, K), dtype=int),
        "one target": rng.normal(size=N),
        "two targets": rng.normal(size=(N, 2)),
    }[kind]
    place.write(y=y)
    several = "classes" in kind
    data = {"source": "arrays", "path": "data.npz", "x": "x", "y": "y"}
    place.write_config(
        loss="bce_with_logits" if several else "mse",
        data=data | ({} if several else {"target": "regression"}),
    )
    place.new_weights(1, "model.checkpoint=null")
    found = trim(scan(place.config()), manifest=tmp_path / f"clean.{suffix}")
    assert dict(found.fates) == {"kept": N - 12, "dropped": 12, "relabelled": 0, "quarantined": 0}
    if suffix == "csv":
        with found.manifest.open(newline="") as file:
            label = list(csv.DictReader(file))[1]["label"]
        shown = "|".join(str(k) for k in range(K) if y[1, k]) if several else None
        assert label == shown or np.allclose([float(part) for part in label.split("|")], y[1], atol=1e-6)


# --- where to, and what is refused -------------------------------------------------------------------------


def test_the_format_must_be_known(run, tmp_path):
    with pytest.raises(ConfigError, match="the format cannot be told from the name") as caught:
        trim(run, tmp_path / "clean")
    assert all(name in str(caught.value) for name in formats.names())
    with pytest.raises(ConfigError, match="unknown trim format 'xml'"):
        trim(run, tmp_path / "clean", format="xml")
    assert trim(run, tmp_path / "clean", format="npz").format == "npz"
    assert set(np.load(tmp_path / "clean")) == {"x", "y", "truth"}


@pytest.mark.parametrize("name", ["clean.npz", "kept.npy"])
def test_an_existing_file_is_replaced_only_when_asked(run, tmp_path, name):
    (tmp_path / name).write_text("old")
    with pytest.raises(RunError, match=f"{name}: already exists"):
        trim(run, tmp_path / name)
    assert (tmp_path / name).read_text() == "old"
    trim(run, tmp_path / name, overwrite=True)
    assert (tmp_path / name).read_bytes() != b"old"


# --- pictures ----------------------------------------------------------------------------------------------

NAMES = ("cat/a.png", "cat/b.PNG", "cat/deep/a.png", "cat/deep-a.png", "cat/-a.png", "dog/a.png", "dog/A.png")


def pictures(folder: Path, names: tuple[str, ...] = NAMES) -> dict[str, bytes]:
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, format="PNG")
    return contents(folder)


def picture_run(folder: Path, root: str = "pictures", **config: Any) -> Run:
    """A scan of pictures that flags none of them."""
    place = Place(folder)
    sections = {
        "data": {"source": "image_folder", "root": root},
        "model": {"source": "logistic", "checkpoint": "weights.safetensors"},
        "detector": "l2",
        "budget": 0,
        "output": "run",
    }
    place.config_file.write_text(json.dumps(sections | config))
    place.new_weights(0, "model.checkpoint=null")
    return scan(place.config())


def inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.rglob("*") if path.suffix.lower() == ".png"}


def files_of(folder: Path) -> dict[str, bytes]:
    return contents(folder, leave_out=["manifest.csv", ".oga.json"])


@pytest.mark.parametrize("link", [False, True])
def test_pictures_are_copied_or_linked_under_unique_names(tmp_path, link):
    before = pictures(tmp_path / "pictures")
    run = picture_run(tmp_path)
    found = trim(run, tmp_path / "clean", format="image_folder", link=link)
    written = files_of(found.path)
    assert sorted(written.values()) == sorted(before.values()), "each picture once"
    for name in NAMES:
        label = name.partition("/")[0]
        assert any(path.startswith(f"{label}/") and data == before[name] for path, data in written.items())
    assert len({path.lower() for path in written}) == len(NAMES)
    assert not any(part.startswith(".") for path in written for part in path.split("/")), "none is hidden"
    both = inodes(found.path) & inodes(tmp_path / "pictures")
    assert both == (inodes(tmp_path / "pictures") if link else set()), "copies unless links are asked for"
    assert contents(tmp_path / "pictures") == before
    assert read_table(found.path / "manifest.csv").num_rows == len(NAMES)


def test_the_written_folder_is_a_dataset(tmp_path):
    before = pictures(tmp_path / "pictures")
    run = picture_run(tmp_path, budget=2)
    path = decided(tmp_path, "id,action,label\ncat/b.PNG,relabel,dog\ncat/a.png,drop,\n")
    found = trim(run, tmp_path / "clean", format="image_folder", decisions=path)
    config = load_config(tmp_path / "config.yaml", [f"data.root={found.path}"])
    samples = config.data.open()
    kept = sum(found.fates[fate] for fate in ("kept", "relabelled"))
    assert len(samples) == kept < len(NAMES)
    assert "dog/b.PNG" in samples.ids.to_pylist()
    assert before["cat/a.png"] not in files_of(found.path).values(), "it was dropped"


def test_files_that_are_no_samples_are_handed_on(tmp_path):
    pictures(tmp_path / "pictures")
    others = {"cat/x.gif": b"GIF89a", "cat/deep/x.gif": b"other", "dog/a.txt": b"a caption"}
    for name, content in others.items():
        (tmp_path / "pictures" / name).write_bytes(content)
    (tmp_path / "pictures" / ".trash").mkdir()
    pictures(tmp_path / "pictures", (".trash/old.png", "loose.png"))
    (tmp_path / "pictures" / "dog" / "Thumbs.db").write_bytes(b"rubbish")
    done = oga("scan", "config.yaml", cwd=picture_run(tmp_path).path.parent)
    assert "already exists" in done.err
    run = Run.open(tmp_path / "run")
    told = "\n".join(run.summary.notes)
    assert "3 files have another suffix (.gif 2, .txt 1) and were not read: cat/deep/x.gif, cat/x.gif" in told
    assert "2 hidden names were left out: .trash, dog/Thumbs.db" in told
    assert "1 image lies in no folder of a class and was left out: loose.png" in told
    assert all(note in report(run, "json") for note in run.summary.notes)
    assert "3 files have another suffix" in report(run, "html")
    assert "3 files have another suffix" in report(run, "md")
    trimmed = oga("trim", "run", "--to", "clean", "--format", "image_folder", cwd=tmp_path)
    assert "3 files beside the samples handed on unread" in trimmed.out
    written = files_of(tmp_path / "clean")
    assert written["cat/x.gif"] in others.values()
    assert sorted(data for name, data in written.items() if not name.lower().endswith(".png")) == sorted(
        others.values()
    )
    assert len(written) == len(NAMES) + len(others)


def test_copies_across_file_systems_leave_the_original_alone(tmp_path, monkeypatch):
    before = pictures(tmp_path / "pictures")
    run = picture_run(tmp_path)

    def refuses(*args: Any, **options: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuses)
    found = trim(run, tmp_path / "clean", format="image_folder", link=True)
    assert "7 of the files are copies" in found.notes[0]
    assert sorted(files_of(found.path).values()) == sorted(before.values())
    assert not inodes(found.path) & inodes(tmp_path / "pictures")
    (found.path / "cat/a.png").write_bytes(b"changed")
    assert contents(tmp_path / "pictures") == before


def test_an_archive_is_unpacked(tmp_path):
    before = pictures(tmp_path / "plain")
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for name, data in before.items():
            archive.writestr(name, data)
    found = trim(picture_run(tmp_path, "pictures.zip"), tmp_path / "clean", format="image_folder")
    assert sorted(files_of(found.path).values()) == sorted(before.values())


@pytest.mark.parametrize("packed", [False, True])
def test_names_without_a_suffix_get_that_of_the_file(tmp_path, packed):
    """A table may number its samples; the files must still be found as pictures afterwards."""
    before = pictures(tmp_path / "plain", ("x.png", "y.png", "z.png"))
    root = "plain"
    if packed:
        root = "pictures.zip"
        with zipfile.ZipFile(tmp_path / root, "w") as archive:
            for name, data in before.items():
                archive.writestr(name, data)
    (tmp_path / "labels.csv").write_text("n,file,label\n0,x.png,cat\n1,y.png,dog\n2,z.png,cat\n")
    data = {"source": "table", "path": "labels.csv", "root": root, "image": "file", "label": "label"}
    data |= {"id": "n"}
    found = trim(picture_run(tmp_path, data=data), tmp_path / "clean", format="image_folder")
    assert sorted(files_of(found.path)) == ["cat/0.png", "cat/2.png", "dog/1.png"]


HOSTILE = [
    "../../outside.png",
    "/etc/passwd.png",
    "..",
    ".hidden.png",
    "a\\..\\b.png",
    "nul\x00byte.png",
    "line\nbreak.png",
    "x" * 300 + ".png",
    "manifest.csv",
    "ü" * 200,
    "con.png ",
    "<b>&.png",
]


def test_hostile_names_stay_inside(tmp_path):
    """Ids and labels of every kind; each picture arrives once, below the folder of a label of its own."""
    n = len(HOSTILE)
    pictures(tmp_path / "plain", tuple(f"{i}.png" for i in range(n)))
    labels = ["..", ".", "/", "a/b", "a-b", "manifest.csv", "A-B", "x" * 300, "\x01", "", " ", "ok"]
    labels = [label or "empty" for label in labels][:n]
    rows = [
        {"name": name, "file": f"{i}.png", "label": label}
        for i, (name, label) in enumerate(zip(HOSTILE, labels, strict=True))
    ]
    rows = [row for row in rows if row["label"].strip()]
    (tmp_path / "labels.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    data = {
        "source": "table",
        "path": "labels.jsonl",
        "id": "name",
        "root": "plain",
        "image": "file",
        "label": "label",
    }
    run = picture_run(tmp_path, data=data)
    inside = tmp_path / "inside"
    found = trim(run, inside / "clean", format="image_folder")
    assert sorted(files_of(found.path).values()) == sorted(
        (tmp_path / "plain" / row["file"]).read_bytes() for row in rows
    )
    assert [path.name for path in inside.iterdir()] == ["clean"]
    assert not any(path.name.startswith(".") for path in found.path.rglob("*.png")), "none is hidden"
    folders = {path.parent.name.lower() for path in found.path.rglob("*.png")}
    assert len(folders) == len({row["label"] for row in rows}), "two labels never share a folder"
    assert all(path.parent.parent == found.path for path in found.path.rglob("*.png"))
    assert (found.path / "manifest.csv").is_file()


MARKING = """
from pathlib import Path
Path({marker!r}).touch()
def items():
    return [([0.0], 0)]
def loss(logits, labels):
    raise AssertionError
"""


def run_with(run: Run, **sections: Any) -> Run:
    """The run with other sections in its config, as somebody may have sent it; it names code in itself."""
    values = run.config | sections
    run.config_file.write_text(json.dumps(values))
    (run.path / "evil.py").write_text(MARKING.format(marker=str(run.path / "ran")))
    return Run.open(run.path)


@pytest.mark.parametrize(
    ("format", "message"),
    [("image_folder", "this source of data may run code, and none is run"), ("hf", "no rows of its own")],
)
def test_a_run_directory_cannot_name_code(tmp_path, format, message):
    pictures(tmp_path / "pictures")
    run = picture_run(tmp_path)
    given = {"source": "python", "factory": "evil:items", "folder": str(run.path)}
    with pytest.raises(RunError, match=message) as caught:
        trim(run_with(run, data=given), tmp_path / "clean", format=format)
    if format == "image_folder":
        assert f"{run.config_file}: data.source" in str(caught.value)
        assert "found: python\n  next: add --config FILE" in str(caught.value)
    assert not (run.path / "ran").exists()
    assert not (tmp_path / "clean").exists()


def test_a_plug_in_is_not_opened_for_a_run_directory(tmp_path, monkeypatch):
    from ogacli.data.sources import Source, sources

    class Foreign(Source):
        def load(self):
            raise AssertionError

    Foreign.__module__ = "plug_in.foreign"
    monkeypatch.setitem(sources._found, "foreign", Foreign)
    pictures(tmp_path / "pictures")
    with pytest.raises(RunError, match="may run code"):
        trim(run_with(picture_run(tmp_path), data="foreign"), tmp_path / "clean", format="image_folder")


def test_only_the_data_section_of_a_run_is_opened(tmp_path):
    """Neither its loss nor its model is looked at; what stands there cannot even be wrong."""
    pictures(tmp_path / "pictures")
    run = picture_run(tmp_path)
    evil = {"source": "python", "factory": "evil:items", "folder": str(run.path)}
    others = {"loss": {"name": "python", "function": "evil:loss"}, "model": evil, "verify": {"test": evil}}
    found = trim(run_with(run, **others, detector="nonsense"), tmp_path / "clean", format="image_folder")
    assert len(files_of(found.path)) == len(NAMES)
    assert not (run.path / "ran").exists()


def test_variables_in_a_run_directory_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "expanded")
    before = pictures(tmp_path / "pictures")
    run = picture_run(tmp_path)
    (tmp_path / "pictures").rename(tmp_path / "${SECRET}")
    data = run.config["data"] | {"root": str(tmp_path / "${SECRET}")}
    found = trim(run_with(run, data=data), tmp_path / "clean", format="image_folder")
    assert sorted(files_of(found.path).values()) == sorted(before.values())


@pytest.mark.parametrize("data", [None, [], {}, "nonsense", {"source": "image_folder", "rot": "x"}])
def test_a_run_whose_data_section_is_none(tmp_path, data):
    pictures(tmp_path / "pictures")
    run = run_with(picture_run(tmp_path), data=data)
    with pytest.raises(ConfigError) as caught:
        trim(run, tmp_path / "clean", format="image_folder")
    assert str(caught.value).startswith(f"{run.config_file}: data")


def test_a_config_that_the_user_names_is_opened(tmp_path):
    pictures(tmp_path / "pictures")
    run = run_with(picture_run(tmp_path), data={"source": "python", "factory": "evil:items"})
    arguments = ["trim", str(run.path), "--to", "clean", "--format", "image_folder"]
    refused = oga(*arguments, cwd=tmp_path)
    assert refused.code == 2
    assert "add --config FILE" in refused.err
    done = oga(*arguments, "--config", "config.yaml", cwd=tmp_path)
    assert done.code == 0, done.err
    assert len(files_of(tmp_path / "clean")) == len(NAMES)
    named = load_config(tmp_path / "config.yaml").data
    with pytest.raises(RunError, match="the dataset itself lies there"):
        trim(run, tmp_path, format="image_folder", source=named, overwrite=True)
    (tmp_path / "pictures/dog/a.png").unlink()
    with pytest.raises(DataError, match="the dataset has changed since the scan"):
        trim(run, tmp_path / "again", format="image_folder", source=named)


def test_samples_that_are_not_files(run, tmp_path):
    with pytest.raises(DataError, match="sample '0': the samples of this dataset are not files"):
        trim(run, tmp_path / "clean", format="image_folder")
    assert not list(tmp_path.glob("*clean*"))


def test_a_dataset_that_has_changed(tmp_path):
    pictures(tmp_path / "pictures")
    run = picture_run(tmp_path)
    (tmp_path / "pictures/dog/a.png").unlink()
    with pytest.raises(DataError, match="the dataset has changed since the scan"):
        trim(run, tmp_path / "clean", format="image_folder")
    assert not list(tmp_path.glob("*clean*"))


@pytest.mark.parametrize("where", ["pictures", "pictures/clean", "."])
def test_the_dataset_is_never_overwritten(tmp_path, where):
    """Not even where a manifest of ours lies in its folder and --overwrite is given."""
    pictures(tmp_path / "all/pictures")
    place = tmp_path / "all"
    run = picture_run(place)
    for folder in (place, place / "pictures"):
        trim(run, manifest=folder / "manifest.csv")
    before = contents(place)
    with pytest.raises(RunError, match="the dataset itself lies there"):
        trim(run, place / where, format="image_folder", overwrite=True)
    assert contents(place) == before


def test_a_folder_that_somebody_changed_is_not_replaced(tmp_path):
    pictures(tmp_path / "pictures")
    run, clean = picture_run(tmp_path), tmp_path / "clean"
    trim(run, clean, format="image_folder")
    (clean / "cat" / "mine.png").write_bytes(b"mine")
    with pytest.raises(RunError, match="something else stands there"):
        trim(run, clean, format="image_folder", overwrite=True)
    assert (clean / "cat" / "mine.png").read_bytes() == b"mine"
    (clean / "cat" / "mine.png").unlink()
    (clean / ".oga.json").rename(tmp_path / "mark")
    with pytest.raises(RunError, match="something else stands there"):
        trim(run, clean, format="image_folder", overwrite=True)
    (tmp_path / "mark").rename(clean / ".oga.json")
    trim(run, clean, format="image_folder", overwrite=True)
    assert len(files_of(clean)) == len(NAMES)


def test_only_a_folder_of_ours_is_replaced(tmp_path):
    pictures(tmp_path / "pictures")
    run = picture_run(tmp_path)
    theirs = tmp_path / "clean"
    theirs.mkdir()
    (theirs / "manifest.csv").write_text("file,author\n")
    with pytest.raises(RunError, match="something else stands there"):
        trim(run, theirs, format="image_folder", overwrite=True)
    assert contents(theirs) == {"manifest.csv": b"file,author\n"}
    (theirs / "manifest.csv").unlink()
    trim(run, theirs, format="image_folder")
    with pytest.raises(RunError, match="already exists"):
        trim(run, theirs, format="image_folder")
    trim(run, theirs, format="image_folder", overwrite=True)
    assert len(files_of(theirs)) == len(NAMES)


# --- what is added is one file -----------------------------------------------------------------------------


def test_a_format_is_one_file(tmp_path, added_module):
    added_module(
        "ogacli.run.trim.names",
        """
        from ogacli.run.trim import FileFormat, formats


        @formats.register
        class Names(FileFormat):
            suffixes = (".names",)
            own_rows = False

            def write(self, job, file):
                ids = job.run.scores["id"].take(job.fates.staying).to_pylist()
                file.write("\\n".join(ids).encode())
        """,
    )
    run = Recipe().write(tmp_path / "run")
    found = trim(run.path, tmp_path / "clean.names", budget="50%")
    assert (found.format, found.fates["kept"]) == ("names", 16)
    assert len(found.path.read_text().splitlines()) == 16


@pytest.mark.parametrize("budget", [7, 7 / 32, "7", Budget(7)])
def test_plain_arguments(tmp_path, budget):
    run = Recipe().write(tmp_path / "run")
    for given in (run, run.path, str(run.path)):
        assert trim(given, tmp_path / "kept.npy", budget=budget, overwrite=True).fates["dropped"] == 7
    with pytest.raises(ConfigError, match="budget: not a budget"):
        trim(run, tmp_path / "kept.npy", budget="many")
