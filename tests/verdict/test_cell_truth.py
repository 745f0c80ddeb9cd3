"""Doubtful cells beside the truth."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from ogacli.data import Samples
from ogacli.data.images.masks import wrong_regions
from ogacli.data.sources.coco import Coco
from ogacli.data.sources.yolo import Yolo
from ogacli.verdict.boxes import BoxFindings
from ogacli.verdict.cell_truth import evaluate_cells
from ogacli.verdict.cells import CellFindings

BOTH = torch.ones(2, dtype=torch.bool)


def test_values_of_labels() -> None:
    """Of three wrong classes one is doubted, one is doubtful, and one is not among the judged cells."""
    labels = torch.tensor([[0.0, 1, 1, 0], [1, 0, 0, 1]])
    truth = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0]])
    samples = Samples.of(np.zeros((2, 3)), labels=labels, classes=4, truth=truth)
    wrong = torch.tensor([[0.9, 0.8], [0.4, 0.0]])
    cells = CellFindings(torch.tensor([[0, 1], [3, -1]]), wrong, torch.zeros(2, 2), torch.zeros(2, 2))
    found = evaluate_cells(cells, samples, BOTH)
    assert found is not None
    assert (found.wrong, found.precision_at_budget, found.recall_at_budget) == (3, 0.5, 1 / 3)
    assert found.average_precision == pytest.approx((1 + 2 / 3) / 3)
    first = evaluate_cells(cells, samples, torch.tensor([True, False]))
    assert first is not None
    assert (first.wrong, first.f1_at_budget) == (2, 0.5)
    assert evaluate_cells(cells, samples.select(torch.arange(2)), BOTH) == found


def test_without_the_truth_there_is_nothing() -> None:
    samples = Samples.of(np.zeros((2, 3)), labels=torch.zeros(2, 4), classes=4)
    cells = CellFindings(*(torch.zeros(2, 1) for _ in range(4)))
    assert evaluate_cells(cells, samples, BOTH) is None


def test_words_after_the_last_one_are_none() -> None:
    labels, truth = [["a", "b"], ["a"]], [["a", "a"], ["a"]]
    samples = tagged(labels, truth)
    cells = CellFindings(torch.tensor([[1], [0]]), torch.tensor([[0.9], [0.7]]), *torch.zeros(2, 2, 1))
    found = evaluate_cells(cells, samples, BOTH)
    assert found is not None
    assert (found.wrong, found.precision_at_budget, found.recall_at_budget) == (1, 0.5, 1.0)


def tagged(labels: list[list[str]], truth: list[list[str]]) -> Samples:
    names = ("a", "b")
    both = [
        torch.tensor([[names.index(tag) for tag in (*tags, "a")][:2] for tags in rows])
        for rows in (labels, truth)
    ]
    for one in both:
        one[1, 1] = -100
    plain = Samples.of(np.zeros((2, 3)), labels=[0, 1], classes=names)
    return Samples(pa.array(["0", "1"]), torch.arange(2), both[0], names, plain.reader, "", truth=both[1])


def test_regions_of_one_given_class() -> None:
    given, true = np.zeros((2, 20, 20), np.int64)
    true[2:8, 3:9] = 1  # forgotten
    given[10:16, 0:6], true[10:16, 0:6] = 1, 2
    given[18, :], true[18, :5] = 1, -100
    given[0, 0] = 1  # one pixel
    found = wrong_regions(given, true)
    assert found.given.tolist() == [0, 1]
    assert found.boxes.tolist() == [[3, 2, 9, 8], [0, 10, 6, 16]]


@pytest.mark.parametrize("source", ["coco", "yolo"])
def test_boxes(tmp_path: Path, source: str) -> None:
    """A moved one, another class, one too many, and a missing one; the last picture has no error."""
    given = [(0, 2, 2, 12, 12), (1, 20, 2, 30, 12), (2, 2, 30, 12, 39), (0, 20, 20, 30, 30)]
    true = [(0, 2, 2, 12, 12), (0, 20, 2, 30, 12), (0, 22, 20, 32, 30), (1, 50, 10, 60, 20)]
    samples = written(tmp_path, source, [given, true[:1]], [true, true[:1]])
    errors = samples.reader.errors(0)
    assert errors.given.tolist() == [1, 2, 0, -1]
    wanted = torch.tensor([given[1][1:], given[2][1:], given[3][1:], true[3][1:]]).float()
    torch.testing.assert_close(errors.boxes, wanted)
    nothing = torch.full((4,), torch.nan)
    found = [
        (1, torch.tensor([20.0, 2, 30, 12]), 0.9),
        (0, torch.tensor([2.0, 2, 12, 12]), 0.8),
        (-1, torch.tensor([51.0, 10, 61, 20]), 0.7),
        (2, torch.tensor([2.0, 30, 12, 39]), 0.2),
    ]
    cells = BoxFindings(
        index=torch.tensor([[0, 1, 2, 3], [-1] * 4]),
        wrong=torch.tensor([[p for *_, p in found], [0.0] * 4]),
        suggested=torch.zeros(2, 4),
        margin=torch.zeros(2, 4),
        given=torch.tensor([[c for c, *_ in found], [-1] * 4]),
        boxes=torch.stack(
            [
                torch.stack([torch.cat([box, box] if c >= 0 else [nothing, box]) for c, box, _ in found]),
                torch.full((4, 8), torch.nan),
            ]
        ),
    )
    figures = evaluate_cells(cells, samples, BOTH)
    assert figures is not None
    assert (figures.wrong, figures.precision_at_budget, figures.recall_at_budget) == (4, 2 / 3, 0.5)


def written(folder: Path, source: str, given: list, true: list) -> Samples:
    """Two pictures of 80 x 40 pixels, with given and true boxes."""
    (folder / "images").mkdir()
    for i in range(2):
        Image.new("RGB", (80, 40), (i, 0, 0)).save(folder / "images" / f"{i}.png")
    for name, lists in (("labels", given), ("true", true)):
        boxes = []
        (folder / name).mkdir()
        for i, own in enumerate(lists):
            lines = []
            for c, left, top, right, bottom in own:
                boxes.append(
                    {"image_id": i, "category_id": c, "bbox": [left, top, right - left, bottom - top]}
                )
                middle = (left + right) / 160, (top + bottom) / 80
                lines.append(f"{c} {middle[0]} {middle[1]} {(right - left) / 80} {(bottom - top) / 40}")
            (folder / name / f"{i}.txt").write_text("\n".join(lines))
        images = [{"id": i, "file_name": f"{i}.png"} for i in range(2)]
        categories = [{"id": c, "name": str(c)} for c in range(3)]
        document = {"images": images, "annotations": boxes, "categories": categories}
        (folder / f"{name}.json").write_text(json.dumps(document))
    root = str(folder / "images")
    if source == "yolo":
        return Yolo(root=root, classes=("0", "1", "2"), truth=str(folder / "true")).open()
    return Coco(annotations=str(folder / "labels.json"), root=root, truth=str(folder / "true.json")).open()
