"""The user's own rows: what is written is what was there, without the dropped samples."""

import gc
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest
import yaml

from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.errors import ConfigError, DataError, RunError
from ogacli.run.directory import Run
from ogacli.run.trim import trim

N, FLAGGED = 40, 6
"""Samples; the first ones have a wrong label, and are flagged with a sure suggestion."""
TRUTH = np.random.default_rng(0).integers(0, 3, N)
GIVEN = np.where(np.arange(N) < FLAGGED, (TRUTH + 1) % 3, TRUTH)
KEPT = np.arange(FLAGGED, N)


def scanned(folder: Path, data: dict[str, Any], **sections: Any) -> Run:
    """A scan that flags the first samples."""
    probabilities = np.full((N, 3), 0.04)
    probabilities[np.arange(N), TRUTH] = 0.92
    np.save(folder / "p.npy", probabilities.astype(np.float32))
    config = {
        "data": data,
        "model": {"source": "precomputed", "probabilities": "p.npy"},
        "detector": "loss",
        "protect": "off",
        "budget": FLAGGED,
    }
    run = scan(parse_config(yaml.safe_dump(config | sections), base=folder), output=folder / "run")
    if "detector" not in sections:
        assert run.scores["flagged"].to_numpy().nonzero()[0].tolist() == list(range(FLAGGED))
    return run


# --- csv ---------------------------------------------------------------------------------------------------

NAMES = ("Birne", 'Rohr; 5"', "Äpfel")
NOTES = ("", "two\nlines", 'says "yes"', "a;b,c", "plain", ' 5" pipe', "lone\rreturn")


def quoted(text: str, *, always: bool = False) -> str:
    special = always or (any(sign in text for sign in ';,"\n\r') and not text.startswith(" "))
    return '"' + text.replace('"', '""') + '"' if special else text


def records(end: str = "\n", *, always: bool = False, names: tuple[str, ...] = NAMES) -> list[str]:
    rows = [("key", "size", "label", "note")]
    rows += [
        (f"{i:03d}", f"{i / 8:.3f}".replace(".", ","), names[GIVEN[i]], NOTES[i % len(NOTES)])
        for i in range(N)
    ]
    return [";".join(quoted(cell, always=always) for cell in row) + end for row in rows]


DATA = {"source": "table", "path": "d.csv", "label": "label", "id": "key", "features": ["size"]}


@pytest.mark.parametrize(
    ("codec", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", b"\xef\xbb\xbf"),
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
        ("cp1252", b""),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("always", [False, True])
def test_rows_of_a_csv_file_keep_their_bytes(
    tmp_path: Path, codec: str, mark: bytes, end: str, always: bool
) -> None:
    """German decimal commas, quotes, line ends within cells, encodings, byte order marks."""
    rows = records(end, always=always)
    (tmp_path / "d.csv").write_bytes(mark + "".join(rows).encode(codec))
    run = scanned(tmp_path, DATA)
    trimmed = trim(run, tmp_path / "clean.csv")
    expected = "".join([rows[0], *rows[1 + FLAGGED :]])
    assert trimmed.path.read_bytes() == mark + expected.encode(codec)
    assert (trimmed.notes, trimmed.not_compared) == ((), None)
    assert dict(trimmed.fates) == {"kept": N - FLAGGED, "dropped": FLAGGED, "relabelled": 0, "quarantined": 0}


def test_no_line_end_at_the_end_empty_lines_and_a_named_delimiter(tmp_path: Path) -> None:
    rows = records("\r\n")
    rows[-1] = rows[-1].rstrip()
    (tmp_path / "d.csv").write_bytes("".join(["sep=;\r\n", *rows[:9], "\r\n", *rows[9:]]).encode())
    trim(scanned(tmp_path, DATA), tmp_path / "clean.csv")
    expected = "".join(["sep=;\r\n", rows[0], *rows[1 + FLAGGED : 9], "\r\n", *rows[9:]])
    assert (tmp_path / "clean.csv").read_bytes() == expected.encode()


def test_relabelled_rows_of_a_csv_file(tmp_path: Path) -> None:
    rows = records("\r\n")
    (tmp_path / "d.csv").write_bytes("".join(rows).encode())
    run = scanned(tmp_path, DATA)
    trimmed = trim(run, tmp_path / "clean.csv", relabel=True)
    assert trimmed.fates["relabelled"] == FLAGGED
    assert trimmed.notes == ("added the column `label_before`",)
    read = {"sep": ";", "decimal": ",", "dtype": {"key": str}, "keep_default_na": False}
    before, after = (pd.read_csv(tmp_path / name, **read) for name in ("d.csv", "clean.csv"))
    assert after["label"].tolist() == [NAMES[i] for i in TRUTH]
    assert after["label_before"].tolist() == [NAMES[i] for i in GIVEN[:FLAGGED]] + [""] * (N - FLAGGED)
    pd.testing.assert_frame_equal(before.drop(columns="label"), after[["key", "size", "note"]])
    lines = (tmp_path / "clean.csv").read_bytes().decode()
    assert all(row.rstrip("\r\n") + ";\r\n" in lines for row in rows[1 + FLAGGED :]), "their bytes stay"


def test_weights_of_a_csv_file(tmp_path: Path) -> None:
    """The weight has the decimal mark of the file; a column of that name stays."""
    (tmp_path / "d.csv").write_bytes("".join(records()).replace("size", "weight").encode())
    run = scanned(tmp_path, DATA | {"features": ["weight"]})
    trimmed = trim(run, tmp_path / "w.csv", weights=True)
    assert trimmed.notes == ("added the column `weight_2`",)
    found = pd.read_csv(tmp_path / "w.csv", sep=";", decimal=",")
    assert len(found) == N
    expected = run.scores["given_label_probability"].to_numpy()
    np.testing.assert_allclose(found["weight_2"], expected, rtol=1e-5)
    assert found["weight"].tolist() == [i / 8 for i in range(N)]


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (("00", "01", "02"), None),
        (("0", "1", "2"), ["cat", "dog", "eel"]),
        (("7", "8", "9"), [7, 8, 9]),
        (("0.0", "1.0", "2.0"), None),
        (("a", "b", "c c"), None),
    ],
)
def test_new_labels_are_written_as_the_source_writes_them(
    tmp_path: Path, cells: tuple[str, ...], classes: Any
) -> None:
    """Also a class that no sample has from the source any more."""
    lines = [f"{cells[label]},{i / 8}" for i, label in enumerate(GIVEN)]
    (tmp_path / "d.csv").write_text("label,size\n" + "\n".join(lines) + "\n")
    data = {"source": "table", "path": "d.csv", "label": "label"} | ({"classes": classes} if classes else {})
    trim(scanned(tmp_path, data), tmp_path / "clean.csv", relabel=True)
    found = pd.read_csv(tmp_path / "clean.csv", dtype=str, keep_default_na=False)
    assert found["label"].tolist() == [cells[i] for i in TRUTH]
    assert found["label_before"][:FLAGGED].tolist() == [cells[i] for i in GIVEN[:FLAGGED]]


def test_one_column_a_class(tmp_path: Path) -> None:
    lines = [",".join(str(int(k == label)) for k in range(3)) + f",{i / 8}" for i, label in enumerate(GIVEN)]
    (tmp_path / "d.csv").write_text("a,b,c,size\n" + "\n".join(lines) + "\n")
    data = {"source": "table", "path": "d.csv", "label": ["a", "b", "c"]}
    run = scanned(tmp_path, data, detector="l2", loss="bce_with_logits")
    decisions = [{"id": "9", "action": "relabel", "label": "a|c"}]
    (tmp_path / "d.json").write_text(json.dumps({"schema_version": 1, "decisions": decisions}))
    trim(run, tmp_path / "clean.csv", budget=0, decisions=tmp_path / "d.json")
    found = pd.read_csv(tmp_path / "clean.csv")
    assert found.loc[9, ["a", "b", "c"]].tolist() == [1, 0, 1]
    assert found.loc[9, ["a_before", "b_before", "c_before"]].tolist() == [
        int(k == GIVEN[9]) for k in range(3)
    ]


def test_between_csv_and_tsv(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes("".join(records()).encode())
    run = scanned(tmp_path, DATA)
    trim(run, tmp_path / "clean.tsv")
    old = pd.read_csv(tmp_path / "d.csv", sep=";", dtype=str, keep_default_na=False)
    new = pd.read_csv(tmp_path / "clean.tsv", sep="\t", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(old[FLAGGED:].reset_index(drop=True), new)


# --- other tables ------------------------------------------------------------------------------------------


def test_lines_of_jsonl_keep_their_bytes(tmp_path: Path) -> None:
    names = ("b", 'c"', "ä")
    lines = [
        f'{{"text": "no {i} \\u00e4",  "m": {{"label" : {json.dumps(names[label])}, "x": [1, 2.50]}}}}\n'
        for i, label in enumerate(GIVEN)
    ]
    (tmp_path / "d.jsonl").write_text("".join(lines))
    run = scanned(tmp_path, {"source": "text", "path": "d.jsonl", "text": "text", "label": "m.label"})
    trim(run, tmp_path / "clean.jsonl")
    assert (tmp_path / "clean.jsonl").read_text() == "".join(lines[FLAGGED:])
    trim(run, tmp_path / "new.jsonl", relabel=True)
    found = (tmp_path / "new.jsonl").read_text().splitlines()
    for i, line in enumerate(found):
        row = json.loads(line)
        assert row["m"] == {"label": names[TRUTH[i]], "x": [1, 2.5]}
        assert row["m.label_before"] == (names[GIVEN[i]] if i < FLAGGED else None)
        assert f'"no {i} \\u00e4",  "m"' in line, "the rest keeps its bytes"
    trim(run, tmp_path / "w.jsonl", weights=True)
    assert [
        json.loads(line)["weight"] for line in (tmp_path / "w.jsonl").read_text().splitlines()
    ] == pytest.approx(run.scores["given_label_probability"].to_pylist())


def test_columns_of_parquet_keep_their_types(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "time": pd.date_range("2024-01-01", periods=N, tz="Europe/Berlin"),
            "kind": pd.Categorical(
                np.array(["a", "b", "c"])[GIVEN], categories=["c", "b", "a"], ordered=True
            ),
            "size": np.arange(N, dtype=np.float32),
            "list": [[i, i + 1] for i in range(N)],
            "raw": [bytes([i]) for i in range(N)],
        }
    )
    frame.to_parquet(tmp_path / "d.parquet", compression="zstd")
    data = {"source": "table", "path": "d.parquet", "label": "kind", "features": ["size"]}
    run = scanned(tmp_path, data)
    trim(run, tmp_path / "clean.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "clean.parquet"),
        pd.read_parquet(tmp_path / "d.parquet")[FLAGGED:].reset_index(drop=True),
    )
    trim(run, tmp_path / "new.parquet", relabel=True)
    found = pd.read_parquet(tmp_path / "new.parquet")
    assert found["kind"].dtype == frame["kind"].dtype
    assert found["kind"].tolist() == [("a", "b", "c")[i] for i in TRUTH]
    assert found["kind_before"].tolist()[:FLAGGED] == frame["kind"].tolist()[:FLAGGED]
    trim(run, tmp_path / "clean.jsonl")
    first = json.loads((tmp_path / "clean.jsonl").read_text().splitlines()[0])
    assert first["time"] == frame["time"][FLAGGED].isoformat()
    trim(run, tmp_path / "clean.csv")
    assert pd.read_csv(tmp_path / "clean.csv")["list"][0] == f"[{FLAGGED}, {FLAGGED + 1}]"


def test_a_csv_file_as_jsonl_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes("".join(records()).encode())
    run = scanned(tmp_path, DATA)
    trim(run, tmp_path / "clean.parquet", relabel=True)
    found = pd.read_parquet(tmp_path / "clean.parquet")
    assert found["key"].tolist() == [f"{i:03d}" for i in range(N)]
    assert found["size"].tolist() == [i / 8 for i in range(N)]
    assert found["label"].tolist() == [NAMES[i] for i in TRUTH]
    trim(run, tmp_path / "clean.jsonl")
    assert (
        json.loads((tmp_path / "clean.jsonl").read_text().splitlines()[1])["note"] == NOTES[(FLAGGED + 1) % 7]
    )


def test_a_table_in_a_bucket(tmp_path: Path) -> None:
    with fsspec.open("memory://own-rows/d.csv", "wb") as file:
        file.write("".join(records()).encode())
    run = scanned(tmp_path, DATA | {"path": "memory://own-rows/d.csv"})
    trim(run, tmp_path / "clean.csv")
    assert (tmp_path / "clean.csv").read_bytes() == "".join(
        [records()[0], *records()[1 + FLAGGED :]]
    ).encode()
    with pytest.raises(ConfigError, match="written to this machine only"):
        trim(run, "memory://own-rows/clean.csv")


def test_only_a_part_of_the_table_was_scanned(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes("".join(records()).encode())
    data = DATA | {"limit": {"count": 20, "seed": 1}}
    run = scanned(tmp_path, data, detector="l2")
    trim(run, tmp_path / "clean.csv", budget=0)
    assert (tmp_path / "clean.csv").read_bytes().decode() == "".join(
        [records()[0], *(records()[1 + row] for row in run.scores["position"].to_pylist())]
    )


def test_an_earlier_manifest_still_relabels(tmp_path: Path) -> None:
    """The labels in the source are the old ones then."""
    (tmp_path / "d.csv").write_bytes("".join(records()).encode())
    run = scanned(tmp_path, DATA)
    trim(run, manifest=tmp_path / "first.csv", relabel=True)
    config = parse_config(
        yaml.safe_dump(
            {
                "data": DATA | {"manifest": "first.csv"},
                "model": {"source": "precomputed", "probabilities": "p.npy"},
                "detector": "l2",
                "budget": 0,
            }
        ),
        base=tmp_path,
    )
    second = scan(config, output=tmp_path / "second")
    trim(second, tmp_path / "clean.csv")
    found = pd.read_csv(tmp_path / "clean.csv", sep=";")
    assert found["label"].tolist() == [NAMES[i] for i in TRUTH]


# --- whether the source is the same ------------------------------------------------------------------------


def test_a_changed_file_is_noticed_and_a_copy_is_not(tmp_path: Path) -> None:
    rows = records()
    (tmp_path / "d.csv").write_bytes("".join(rows).encode())
    run = scanned(tmp_path, DATA)
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "d.csv", tmp_path / "copy" / "d.csv")
    (tmp_path / "copy" / "d.csv").replace(tmp_path / "d.csv")
    trim(run, tmp_path / "clean.csv")
    (tmp_path / "d.csv").write_bytes(
        "".join([*rows[:2], rows[2].replace("0,125", "0,126"), *rows[3:]]).encode()
    )
    with pytest.raises(DataError, match="the dataset has changed since the scan"):
        trim(run, tmp_path / "again.csv")
    (tmp_path / "d.csv").write_bytes("".join([*rows[:2], rows[2].replace("two", "new"), *rows[3:]]).encode())
    trim(run, tmp_path / "again.csv", overwrite=True)  # no feature, and no label
    (tmp_path / "d.csv").write_bytes("".join(rows[:-1]).encode())
    with pytest.raises(DataError, match="the dataset has changed since the scan"):
        trim(run, tmp_path / "third.csv")
    assert not (tmp_path / "third.csv").exists()


def test_no_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes("".join(records()).encode())
    run = scanned(tmp_path, DATA)
    code = f"""
import sys
sys.argv = ["oga", "trim", {str(run.path)!r}, "--to", {str(tmp_path / "clean.csv")!r}, "--relabel"]
from ogacli.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert "torch" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clean.csv").exists()


# --- arguments ---------------------------------------------------------------------------------------------


def test_quarantined_rows_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    rows = records()
    rows[20] = rows[20].replace("2,375", "")
    (tmp_path / "d.csv").write_bytes("".join(rows).encode())
    run = scanned(tmp_path, DATA)
    assert run.summary.quarantined in (0, 1)
    if run.summary.quarantined:
        assert trim(run, tmp_path / "a.csv").fates["quarantined"] == 1
        assert rows[20] not in (tmp_path / "a.csv").read_text()
    found = trim(run, tmp_path / "b.csv", keep_quarantined=True)
    assert found.fates["quarantined"] == 0
    assert rows[20] in (tmp_path / "b.csv").read_text()


def test_the_manifest_lies_in_the_run_directory_and_where_it_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes("".join(records()).encode())
    run = scanned(tmp_path, DATA)
    assert trim(run, tmp_path / "clean.csv").manifest == run.path / "manifest.parquet"
    found = pd.read_parquet(run.path / "manifest.parquet")
    assert found["fate"].tolist() == ["dropped"] * FLAGGED + ["kept"] * (N - FLAGGED)
    trim(run, tmp_path / "other.csv", manifest=tmp_path / "m.csv", relabel=True)
    assert pd.read_csv(tmp_path / "m.csv", dtype=str)["new_label"][0] == NAMES[TRUTH[0]]
    with pytest.raises(ConfigError, match="nothing to write"):
        trim(run)
    with pytest.raises(ConfigError, match="are one file"):
        trim(run, tmp_path / "x.csv", manifest=tmp_path / "x.csv")
    with pytest.raises(RunError, match="the dataset itself lies there"):
        trim(run, tmp_path / "d.csv", overwrite=True)
    assert (tmp_path / "d.csv").read_bytes() == "".join(records()).encode()


def test_a_source_without_rows_says_what_it_can_give(tmp_path: Path) -> None:
    text = "data: {source: digits, limit: 40}\nmodel: {source: precomputed, probabilities: q.npy}\n"
    np.save(tmp_path / "q.npy", np.full((40, 10), 0.1, np.float32))
    run = scan(
        parse_config(text + "detector: l2\nbudget: 4\nprotect: off\n", base=tmp_path), output=tmp_path / "run"
    )
    with pytest.raises(RunError, match="this source has no rows of its own") as caught:
        trim(run, tmp_path / "clean.csv")
    assert "--format indices" in str(caught.value)
    assert "--manifest FILE" in str(caught.value)
    assert not (tmp_path / "clean.csv").exists()
    assert len(np.load(trim(run, tmp_path / "kept.npy", manifest=tmp_path / "m.csv").path)) == 36
    assert len(pd.read_csv(tmp_path / "m.csv")) == 40


# --- arrays and shards -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [np.savez, np.savez_compressed])
def test_arrays(tmp_path: Path, pack: Callable[..., None]) -> None:
    names = np.array(["a", "bb", "c"])
    x = np.random.default_rng(0).normal(size=(N, 2, 3))
    pack(
        tmp_path / "d.npz",
        x=x,
        y=names[GIVEN],
        beside=np.arange(5),
        ids=np.array([f"s{i}" for i in range(N)]),
    )
    run = scanned(tmp_path, {"source": "arrays", "path": "d.npz", "x": "x", "y": "y", "ids": "ids"})
    trim(run, tmp_path / "clean.npz")
    found = np.load(tmp_path / "clean.npz")
    assert set(found) == {"x", "y", "beside", "ids"}
    assert np.array_equal(found["x"], x[FLAGGED:])
    assert found["y"].tolist() == names[GIVEN][FLAGGED:].tolist()
    assert found["beside"].tolist() == list(range(5))
    trim(run, tmp_path / "new.npz", relabel=True)
    found = np.load(tmp_path / "new.npz")
    assert found["y"].tolist() == names[TRUTH].tolist()
    assert found["y_before"].tolist() == names[GIVEN].tolist()
    with pytest.raises(RunError, match="arrays cannot be written as csv"):
        trim(run, tmp_path / "clean.csv")


def test_arrays_in_files_of_their_own(tmp_path: Path) -> None:
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32))
    np.save(tmp_path / "inputs.npy", x)
    np.save(tmp_path / "labels.npy", GIVEN.astype(np.int16))
    run = scanned(tmp_path, {"source": "arrays", "x": "inputs.npy", "y": "labels.npy"})
    trimmed = trim(run, tmp_path / "clean", weights=True)
    assert trimmed.format == "npy"
    assert np.array_equal(np.load(tmp_path / "clean" / "x.npy"), x)
    assert np.load(tmp_path / "clean" / "y.npy").dtype == np.int16
    assert np.load(tmp_path / "clean" / "weight.npy") == pytest.approx(
        run.scores["given_label_probability"].to_numpy()
    )


def shards(folder: Path) -> None:
    names = ("cat", "dog", "eel")
    for shard in range(4):
        with tarfile.open(folder / f"s-{shard:03d}.tar", "w") as tar:
            for i in range(10 * shard, 10 * shard + 10):
                members = {
                    "txt": f"text {i}".encode(),
                    "cls": f"{GIVEN[i]}\n".encode(),
                    "json": json.dumps({"kind": names[GIVEN[i]], "n": i}).encode(),
                    "seg.bin": bytes(i * 20),
                }
                for kind, content in members.items():
                    info = tarfile.TarInfo(f"{'deep/' * 30}{i:04d}.{kind}")
                    info.size, info.mtime, info.uname = len(content), 1_700_000_000, "me"
                    tar.addfile(info, io.BytesIO(content))


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("label", ["cls", "kind"])
def test_shards(tmp_path: Path, label: str) -> None:
    shards(tmp_path)
    run = scanned(
        tmp_path, {"source": "webdataset", "path": "s-{000..003}.tar", "text": "txt", "label": label}
    )
    assert trim(run, tmp_path / "clean").format == "webdataset"
    assert (tmp_path / "clean" / "s-001.tar").read_bytes() == (tmp_path / "s-001.tar").read_bytes()
    library = pytest.importorskip("webdataset")

    def read(folder: str) -> list[dict[str, Any]]:
        pattern = str(tmp_path / folder / "s-{000..003}.tar")
        found = list(library.WebDataset(pattern, shardshuffle=False).decode())
        gc.collect()
        return found

    found = read("clean")
    assert [one["json"]["n"] for one in found] == KEPT.tolist()
    assert all(len(one["seg.bin"]) == 20 * one["json"]["n"] for one in found)
    trim(run, tmp_path / "new", relabel=True)
    names = ("cat", "dog", "eel")
    for i, one in enumerate(read("new")):
        assert one["cls"] == (TRUTH if label == "cls" else GIVEN)[i]
        assert one["json"]["kind"] == names[(TRUTH if label == "kind" else GIVEN)[i]]
        before = one.get("cls_before") if label == "cls" else one["json"].get("kind_before")
        old = f"{GIVEN[i]}\n".encode() if label == "cls" else names[GIVEN[i]]
        assert before == (old if i < FLAGGED else None)
    trim(run, tmp_path / "weighted", weights=True)
    assert [one["weight.json"] for one in read("weighted")] == pytest.approx(
        run.scores["given_label_probability"].to_pylist()
    )


def test_a_shard_that_loses_all_its_samples_stays_as_an_empty_one(tmp_path: Path) -> None:
    shards(tmp_path)
    run = scanned(tmp_path, {"source": "webdataset", "path": "s-*.tar", "text": "txt", "label": "cls"})
    lines = "".join(f"s-000.tar/{'deep/' * 30}{i:04d},drop\n" for i in range(10))
    (tmp_path / "d.csv").write_text("id,action\n" + lines)
    trimmed = trim(run, tmp_path / "clean", decisions=tmp_path / "d.csv")
    assert trimmed.notes == ("1 shard without any sample that stays",)
    with tarfile.open(tmp_path / "clean" / "s-000.tar") as shard:
        assert shard.getnames() == []
