"""Boxes are judged by what a network finds."""

import pytest
import torch
from sklearn.metrics import average_precision_score

from ogacli.detectors.label_noise.boxes import LEAST, PlaceNoise, matched
from ogacli.detectors.latent_boxes import LatentBoxes
from ogacli.errors import GradientError
from ogacli.gradients.batch import Objects
from ogacli.run.boxes import what_is_wrong
from simulated_boxes import ERRORS, planted


@pytest.fixture(scope="module")
def world():
    return planted()


@pytest.fixture(scope="module")
def cells(world):
    detector = LatentBoxes().detector()
    detector.fit([world.batch(slice(0, 150)), world.batch(slice(150, None))])
    return detector.cells(world.batch())


def objects(boxes, classes, found, labels, scores) -> Objects:
    return Objects(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(classes, dtype=torch.int64),
        torch.tensor(found, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(scores, dtype=torch.float32),
    )


def test_the_wrong_pictures_come_first(world, cells):
    wrong = [i in world.errors for i in range(len(world.objects))]
    detector = LatentBoxes().detector()
    detector.fit([world.batch()])
    assert average_precision_score(wrong, detector.score(world.batch())) > 0.9


@pytest.mark.parametrize("kind", ERRORS)
def test_the_reason_is_found(world, cells, kind):
    hits = total = 0
    for i, (error, which) in world.errors.items():
        if error != kind:
            continue
        total += 1
        given, suggested = int(cells.given[i, 0]), int(cells.suggested[i, 0])
        right_box = which is None or int(cells.index[i, 0]) == which
        hits += right_box and what_is_wrong(given, suggested) == kind and float(cells.wrong[i, 0]) > 0.5
    assert total > 10
    assert hits > 0.7 * total


def test_probabilities_are_calibrated(world, cells):
    """The expected number of wrong boxes is right within a factor of two."""
    assert 0.5 < float(cells.wrong.clamp_min(0).sum()) / len(world.errors) < 2


def test_a_suggested_box_is_where_the_object_is(world, cells):
    for i, (error, _) in world.errors.items():
        told = what_is_wrong(int(cells.given[i, 0]), int(cells.suggested[i, 0]))
        if error == told == "badly placed":
            given, other = cells.boxes[i, 0].split(4)
            assert (world.objects[i].found - other).abs().sum(1).min() < 1e-4
            assert not torch.equal(given, other)


def test_scores_do_not_depend_on_the_batch(world, cells):
    detector = LatentBoxes().detector()
    detector.fit([world.batch()])
    whole = detector.score(world.batch())
    assert torch.equal(whole[7:19], detector.score(world.batch(slice(7, 19))))


def test_its_state_can_be_taken_over(world):
    detector, other = LatentBoxes().detector(), LatentBoxes().detector()
    detector.fit([world.batch()])
    other.restore(detector.state())
    assert torch.equal(detector.score(world.batch()), other.score(world.batch()))


def test_pictures_without_boxes_or_objects_have_a_score():
    empty = objects([], [], [], [], [])
    unseen = objects([[1, 1, 9, 9]], [0], [], [], [])
    extra = objects([], [], [[1, 1, 9, 9]], [2], [0.9])
    world = planted(60)
    for one in (empty, unseen, extra):
        some = type(world)([*world.objects, one], world.errors)
        detector = LatentBoxes().detector()
        detector.fit([some.batch()])
        assert torch.isfinite(detector.score(some.batch())).all()
    alone = type(world)([empty], {})
    detector = LatentBoxes().detector()
    detector.fit([alone.batch()])
    assert detector.score(alone.batch()).tolist() == [0.0]


def test_a_box_is_matched_with_the_surest_object():
    found = matched(
        objects(
            [[0, 0, 10, 10]],
            [1],
            [[0, 0, 10, 10], [4, 0, 14, 10], [50, 50, 60, 60]],
            [1, 1, 0],
            [0.05, 0.9, 0.4],
        ),
        2,
    )
    assert found.scores[0].tolist() == pytest.approx([LEAST, 0.9])
    assert found.boxes.tolist() == [[4, 0, 14, 10]]
    assert float(found.overlap) == pytest.approx(6 / 14)
    assert found.free_boxes.tolist() == [[50, 50, 60, 60]]


def test_found_boxes_of_several_classes_are_one_object():
    found = matched(
        objects([[0, 0, 10, 10]], [1], [[0, 0, 10, 10], [0, 1, 10, 10]], [1, 0], [0.6, 0.3]),
        2,
    )
    assert found.scores[0].tolist() == pytest.approx([0.3, 0.6])
    assert len(found.free) == 0


def test_places_are_a_mixture():
    generator = torch.Generator().manual_seed(0)
    right = 0.85 + 0.05 * torch.randn(950, generator=generator)
    noise = PlaceNoise.fitted(
        torch.cat([right.clamp(max=0.99), torch.rand(50, generator=generator) * 0.6 + 0.1])
    )
    assert 0.02 < float(noise.share) < 0.09
    wrong = noise.wrong(torch.tensor([0.3, 0.6, 0.8, 0.95]))
    assert wrong[0] > 0.99
    assert wrong[2] < 0.2
    assert wrong[3] == 0


def test_other_samples_are_refused():
    batch = planted(3).batch()
    from dataclasses import replace

    with pytest.raises(GradientError, match="takes pictures with boxes"):
        LatentBoxes().detector().fit([replace(batch, objects=None)])
