import json
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ogacli.base.options import field_docs
from ogacli.data import Samples
from ogacli.data.labels.label_types import Numbers
from ogacli.data.selection import Limit, flip_labels, kept_ids, limited
from ogacli.data.sources import Source, sources
from ogacli.errors import DataError


def digits(**options: Any) -> Samples:
    return sources.get("digits")(**options).open()


WHOLE = digits(limit=60)


def manifest(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_first_so_many() -> None:
    assert digits(limit=5).ids.to_pylist() == digits().ids.to_pylist()[:5]
    assert len(digits(limit=10_000)) == 1797


@given(count=st.integers(1, 80), seed=st.integers(0, 5))
def test_a_random_part_keeps_the_order_of_the_source(count: int, seed: int) -> None:
    part = limited(WHOLE, Limit(count=count, seed=seed))
    assert len(part) == min(count, 60)
    assert part.positions.tolist() == sorted(set(part.positions.tolist()))
    assert part.ids.to_pylist() == [str(position) for position in part.positions.tolist()]
    assert part.fingerprint == limited(WHOLE, Limit(count=count, seed=seed)).fingerprint


def test_another_seed_is_another_part() -> None:
    parts = [digits(limit={"count": 50, "seed": seed}) for seed in (0, 1)]
    assert parts[0].ids != parts[1].ids


@given(share=st.floats(0, 1), seed=st.integers(0, 5))
def test_flipped_labels_are_other_classes(share: float, seed: int) -> None:
    flipped = flip_labels(WHOLE, share, seed)
    assert flipped.truth is not None
    assert torch.equal(flipped.truth, WHOLE.labels)
    assert int((flipped.labels != WHOLE.labels).sum()) == round(share * 60)
    assert int(flipped.labels.min()) >= 0
    assert int(flipped.labels.max()) <= 9


def test_flips_are_spread_over_all_other_classes() -> None:
    flipped = digits(flip=1.0)
    assert flipped.truth is not None
    moved = ((flipped.labels - flipped.truth) % 10).bincount(minlength=10)
    assert moved[0] == 0
    assert int(moved[1:].min()) > 150


def test_a_known_truth_survives_the_flip() -> None:
    train = sources.get("moons")(flip=0.5).open()
    assert torch.equal(train.truth, sources.get("moons")().open().truth)


def test_what_cannot_be_flipped() -> None:
    from dataclasses import replace

    numbers = replace(WHOLE, labels=torch.zeros(60, 1), label_type=Numbers(), classes=())
    with pytest.raises(DataError, match="cannot flip these labels\n  expected: one of at least two classes"):
        flip_labels(numbers, 0.1, 0)


def test_flip_and_limit_do_not_depend_on_each_other() -> None:
    """A sample keeps its (flipped) label whatever part of the source is asked for."""
    whole, part = digits(flip=0.3), digits(flip=0.3, limit={"count": 100, "seed": 1})
    assert torch.equal(part.labels, whole.labels[part.positions])
    assert torch.equal(part.positions, torch.tensor([int(name) for name in part.ids.to_pylist()]))


def test_manifest_keeps_drops_and_relabels(tmp_path: Path) -> None:
    fates = ["kept", "dropped", "relabelled", "quarantined", "kept"]
    rows = [
        {"id": str(i), "fate": fate, "new_label": "7" if i == 2 else None} for i, fate in enumerate(fates)
    ]
    samples = kept_ids(WHOLE, manifest(tmp_path / "m.jsonl", rows))
    assert samples.ids.to_pylist() == ["0", "2", "4"]
    assert samples.positions.tolist() == [0, 2, 4]
    assert samples.labels.tolist() == [0, 7, 4]
    both = digits(manifest=str(tmp_path / "m.jsonl"), limit=2)
    assert both.ids.to_pylist() == ["0", "2"]


def test_ids_in_a_manifest_keep_their_zeros(tmp_path: Path) -> None:
    from dataclasses import replace

    import pyarrow as pa

    (tmp_path / "m.csv").write_text("id,fate,new_label\n000,dropped,\n001,kept,\n002,relabelled,3\n")
    samples = replace(WHOLE, ids=pa.array([f"{i:03d}" for i in range(60)]))
    kept = kept_ids(samples, tmp_path / "m.csv")
    assert kept.ids.to_pylist() == ["001", "002"]
    assert kept.labels.tolist() == [1, 3]


def test_a_manifest_behind_a_url(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/m.csv"
    fsspec.filesystem("memory").pipe(url, b"id,fate\n3,kept\n")
    assert digits(manifest=url).ids.to_pylist() == ["3"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"name": "0"}], r"m.jsonl: no column fate, id\n  found: name\n  expected: a manifest"),
        (
            [{"id": "x", "fate": "kept"}],
            r"keeps none of the samples\n  found: ids such as 'x'(.|\n)*such as '0'",
        ),
        (
            [{"id": "0", "fate": "relabelled", "new_label": "ten"}],
            r"m.jsonl: sample '0': unknown class\n  found: 'ten'",
        ),
    ],
)
def test_manifests_that_do_not_fit(rows: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        kept_ids(WHOLE, manifest(tmp_path / "m.jsonl", rows))


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": {"count": 0}}, {"flip": 1.5}, {"workers": -1}])
def test_values_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        sources.get("digits")(**options)


def test_every_source_says_what_its_keys_mean() -> None:
    for name in sources.names():
        source: type[Source] = sources.get(name)
        missing = source.model_fields.keys() - field_docs(source).keys()
        assert not missing, f"{name}: {missing}"


def test_a_random_part_is_flipped_as_the_whole_is() -> None:
    """With equal seeds, too: the part must not be made of the flipped ones."""
    part = digits(flip=0.2, limit={"count": 300, "seed": 0})
    assert part.truth is not None
    assert 30 < int((part.labels != part.truth).sum()) < 90
