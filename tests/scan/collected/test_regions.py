"""Scans of masks: what is judged, counted and suggested, region by region."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

import ogacli
from ogacli.config import load_config
from ogacli.config.commands import scan
from ogacli.data import Samples
from ogacli.detectors.latent_mask import RegionCells
from ogacli.errors import ConfigError
from ogacli.models.checkpoints.writing import save_weights
from ogacli.run.directory import Run
from ogacli.run.trim import trim
from ogacli.scan.collected.regions import DoubtfulRegions
from small_masks import CLASSES, WRONG, Pixels, open_masks, trained, write_masks


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    return open_masks(tmp_path)


def test_wrong_regions_are_found_with_their_classes(samples: Samples, tmp_path: Path) -> None:
    found = ogacli.scan(samples, trained(samples), loss="pixel_cross_entropy", budget="auto")
    run = found.save(tmp_path / "run")
    summary = run.summary
    assert summary.detectors[0] == "latent_mask"
    flagged = run.scores.filter(run.scores["flagged"]).to_pylist()
    assert {row["position"] for row in flagged} == set(range(WRONG))
    assert {row["reason"] for row in flagged} == {"mislabelled"}
    assert all(row["suggested_label"] is None for row in flagged)
    assert summary.evaluation is not None
    assert summary.evaluation["latent_mask"].average_precision == 1.0
    assert [one.samples for one in summary.classes] == [30, 30, 30 - WRONG]
    assert summary.cell_evaluation is not None
    cells = summary.cell_evaluation.model_dump()
    assert cells.pop("auroc") is None
    assert cells.pop("wrong") == WRONG
    assert set(cells.values()) == {1.0}
    assert "| `cells` |" in ogacli.report(run, "md")
    issues = pq.read_table(run.path / "issues.parquet").to_pylist()
    doubted = {one["position"]: one for one in issues if one["probability"] > 0.5}
    assert set(doubted) == set(range(WRONG))
    for position, one in doubted.items():
        assert (one["given"], one["suggested"]) == (CLASSES[position % 2], "dog")
        wrong = np.argwhere(samples.read([position]).labels[0].numpy() != true_mask(tmp_path, position))
        (top, left), (bottom, right) = wrong.min(0), wrong.max(0) + 1
        np.testing.assert_allclose(one["box"], [left, top, right, bottom], atol=2)
        assert (
            one["cell"] == f"{int(one['cell'].split()[0])} pixels at {one['box'][0]:.0f}, {one['box'][1]:.0f}"
        )
        assert one["reason"] == "wrong region"


def true_mask(folder: Path, position: int) -> np.ndarray:
    found = np.asarray(Image.open(folder / "true" / f"{position:02d}.png")).astype(int)
    found[0] = -100
    return found


@pytest.mark.parametrize("layers", ["head", "all", ["body.*"]])
def test_every_detector_of_gradients_runs(samples: Samples, layers: str | list[str]) -> None:
    forest = {"name": "isolation_forest", "trees": 10, "subsample": 16}
    names = ["l1", "l2", "loss", forest, "gaussian", "datainf"]
    options = {"layers": layers, "detector": names, "budget": WRONG}
    found = ogacli.scan(samples, trained(samples), loss="pixel_cross_entropy", **options)
    assert found.summary.evaluation is not None
    precision = {name: one.average_precision for name, one in found.summary.evaluation.items()}
    assert all(precision.values())
    assert [precision[name] for name in ("l1", "l2", "loss")] == [1.0, 1.0, 1.0]


def test_scores_do_not_depend_on_the_size_of_batches(samples: Samples) -> None:
    network = trained(samples)

    def scores(size: int) -> np.ndarray:
        detector = ["latent_mask", "l2"]
        found = ogacli.scan(samples, network, loss="pixel_cross_entropy", detector=detector, batch_size=size)
        return np.array([found.table()["score"].to_pylist(), found.table()["score_l2"].to_pylist()])

    np.testing.assert_allclose(scores(7), scores(30), rtol=1e-5)


def run_config(folder: Path, **more: object) -> Run:
    """A scan by a config, with a network of the user's."""
    section = write_masks(folder)
    (folder / "own.py").write_text("from small_masks import Pixels\n\n\ndef make():\n    return Pixels()\n")
    network = trained(open_masks(folder))
    save_weights(network, folder / "net.safetensors", classes=CLASSES)
    config = {
        "data": section,
        "model": {"source": "python", "factory": "own:make", "checkpoint": "net.safetensors"},
        "loss": "pixel_cross_entropy",
        "budget": "auto",
        "output": "run",
        **more,
    }
    (folder / "oga.yaml").write_text(yaml.safe_dump(config))
    return scan(load_config(folder / "oga.yaml"))


def test_a_config(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    run = run_config(tmp_path)
    assert run.summary.flagged == WRONG
    assert run.summary.estimate is not None
    assert run.summary.estimate.share == pytest.approx(WRONG / 30)
    shown = run.previews.slice(0, 1).to_pylist()[0]
    assert shown["kind"] == "image"
    with pytest.raises(ConfigError, match=r"masks are not relabelled[\s\S]*kept or dropped"):
        trim(run, tmp_path / "kept.npy", relabel=True)
    trim(run, tmp_path / "kept.npy")
    assert len(np.load(tmp_path / "kept.npy")) == run.summary.scored - run.summary.flagged


def test_a_mask_that_cannot_be_used_is_quarantined(tmp_path: Path) -> None:
    samples = open_masks(tmp_path)
    network = trained(samples)
    (tmp_path / "masks" / "07.png").unlink()
    found = ogacli.scan(open_again(tmp_path), network, loss="pixel_cross_entropy", budget="auto")
    assert found.summary.quarantined == 1
    row = found.table().to_pylist()[7]
    assert (row["status"], row["reason"]) == ("quarantined", "mask: no such file")


def open_again(folder: Path) -> Samples:
    from ogacli.data.sources.segmentation import Segmentation

    return Segmentation(
        images=str(folder / "images"), masks=str(folder / "masks"), classes=CLASSES, ignore_index=255
    ).open()


def cells(*regions: tuple[float, int, int]) -> RegionCells:
    """Regions of one mask: probability, left end (of 10 x 10 pixels) and suggested class."""
    region = torch.zeros(1, 16, 6, dtype=torch.int64)
    wrong, suggested = torch.zeros(2, 1, 16, dtype=torch.float64)
    for i, (p, left, suggestion) in enumerate(regions):
        region[0, i] = torch.tensor([0, left, 0, left + 10, 10, 90])
        wrong[0, i], suggested[0, i] = p, suggestion
    return RegionCells(wrong, suggested, torch.zeros_like(wrong), region, wrong.max(1).values)


def test_regions_of_several_checkpoints_are_averaged() -> None:
    """A region that is shifted by two pixels is the same; what a checkpoint does not have counts as right."""
    totals, row = DoubtfulRegions(1, 16, torch.device("cpu")), torch.tensor([0])
    for weight, found in ((1.0, cells((0.9, 0, 1), (0.6, 50, 2))), (3.0, cells((0.7, 2, 1), (0.8, 100, 1)))):
        one = totals.emptied()
        one.set(row, found)
        totals.add(one, row, weight)
    findings = totals.findings(torch.tensor([4.0]))
    assert findings is not None
    left = findings.region[0, :, 1]
    assert left[:3].tolist() == [0, 100, 50]
    torch.testing.assert_close(findings.wrong[0, :3], torch.tensor([0.75, 0.6, 0.15]))
    assert findings.index[0].tolist() == [0, 1, 2, *[-1] * 13]
    assert findings.suggested[0, :3].tolist() == [1, 1, 2]


def test_a_loss_of_one_class_a_sample_is_refused(samples: Samples) -> None:
    with pytest.raises(ConfigError, match=r"masks have a class a pixel(.|\n)*`loss: pixel_cross_entropy`"):
        ogacli.scan(samples, Pixels())


def test_regions_of_an_unfinished_scan_are_taken_again() -> None:
    rows, one = torch.tensor([0]), DoubtfulRegions(1, 16, torch.device("cpu"))
    one.set(rows, cells((0.9, 0, 1), (0.6, 50, 2)))
    other = one.emptied()
    other.put(rows, one.found(rows))
    for name, kept in one.tensors().items():
        assert torch.equal(other.tensors()[name], kept), name


def test_only_changed_masks_are_scored_again(tmp_path: Path) -> None:
    """The classes of the mask stay the same; a shifted object is a change all the same."""
    first = run_config(tmp_path)
    shift(tmp_path / "masks" / "09.png")
    found = scan(load_config(tmp_path / "oga.yaml"), output=tmp_path / "since", since=first)
    assert found.provenance["since"] == {"copied": 29, "new_or_changed": 1}
    old, new = (run.scores["score"].to_pylist() for run in (first, found))
    assert [i for i in range(30) if old[i] != new[i]] == [9]
    again = scan(load_config(tmp_path / "oga.yaml"), output=tmp_path / "again", since=found)
    assert again.provenance["since"] == {"copied": 30, "new_or_changed": 0}


def test_equal_pictures_with_other_masks_are_told(tmp_path: Path) -> None:
    samples = open_masks(tmp_path)
    network = trained(samples)
    for name in ("images", "masks"):
        for copy in ("40", "41"):
            shutil.copy(tmp_path / name / "20.png", tmp_path / name / f"{copy}.png")
    shift(tmp_path / "masks" / "41.png")
    rows = ogacli.scan(open_again(tmp_path), network, loss="pixel_cross_entropy").table().to_pylist()
    same = {row["id"]: row["duplicate_of"] for row in rows if row["duplicate_of"]}
    assert same == {"20.png": "41.png", "40.png": "41.png", "41.png": "20.png"}


def shift(file: Path) -> None:
    """Shift the objects of a mask by two pixels."""
    mask = np.asarray(Image.open(file))
    Image.fromarray(np.vstack([mask[:1], np.roll(mask[1:], 2, 1)])).save(file)
