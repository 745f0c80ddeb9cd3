import pytest
import torch

from gradient_batches import head_batch
from ogacli.config.commands import scan
from ogacli.detectors.forest.stability import SplitHalf, agreement, in_common
from ogacli.detectors.isolation_forest import Isolation, IsolationForest
from ogacli.verdict.ranks import flag
from small_scans import make_place


def forest(batch, detector: Isolation) -> Isolation:
    detector.fit_size(len(batch))
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    detector.fit([batch.select(part) for part in order.split(200)])
    return detector


def test_the_halves_of_a_forest_are_its_trees():
    batch = head_batch(400)
    whole = forest(batch, IsolationForest(trees=7).detector()).forests.whole
    even, odd = whole.halves()
    assert (len(even.usual), len(odd.usual)) == (4, 3)
    assert len(even.left) + len(odd.left) == len(whole.left)
    lengths = [-one.score(batch).log2() * one.usual.sum() for one in (whole, even, odd)]
    torch.testing.assert_close(lengths[1] + lengths[2], lengths[0])


def test_a_tree_alone_has_no_other_half():
    batch = head_batch(100)
    detector = forest(batch, IsolationForest(trees=1).detector())
    detector.score(batch)
    assert detector.overlap(0.05) is None


def test_overlap_is_what_the_halves_have_in_common_whatever_the_batches():
    batch = head_batch(600)
    found = []
    for size in (600, 7):
        detector = forest(batch, IsolationForest(trees=20).detector())
        for part in torch.randperm(600, generator=torch.Generator().manual_seed(size)).split(size):
            detector.score(batch.select(part))
        found.append(detector.overlap(0.05))
    even, odd = (flag(half.score(batch), 30) for half in detector.forests.whole.halves())
    assert found == [int((even & odd).sum()) / 30] * 2
    assert 0 < found[0] < 1


def test_overlap_outlives_an_interruption():
    batch = head_batch(300)
    detector = forest(batch, IsolationForest(trees=10).detector())
    detector.score(batch.select(slice(0, 150)))
    again = IsolationForest(trees=10).detector()
    again.fit_size(300)
    again.restore(detector.state())
    for one in (detector, again):
        one.score(batch.select(slice(150, 300)))
    assert again.overlap(0.1) == detector.overlap(0.1) is not None


def test_of_many_samples_some_are_chosen():
    chosen = SplitHalf(100_000)._chosen(torch.arange(100_000))
    assert 1900 < int(chosen.sum()) < 2200
    blocks = chosen.reshape(10, -1).sum(1)
    assert (blocks > 150).all(), "from everywhere"


def test_in_common():
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0], [4.0, 1.0, 3.0, 2.0]])
    assert [in_common(scores, count) for count in (1, 2, 3, 4)] == [1.0, 0.5, 2 / 3, 1.0]


@pytest.mark.parametrize("per_class", [False, True])
def test_it_grows_until_it_is_stable(monkeypatch, per_class):
    """In doublings, and no further than needed."""
    monkeypatch.setattr("ogacli.detectors.isolation_forest._TREES", 10)
    monkeypatch.setattr("ogacli.detectors.forest.stability._MOST", 80)
    batch = head_batch(500)
    sizes = {}
    for stable in (0.01, 0.6, 0.99):
        options = IsolationForest(trees="auto", stable=stable, per_class=per_class)
        detector = forest(batch, options.detector())
        sizes[stable] = len(detector.forests.whole.usual)
        assert all(len(one.usual) == sizes[stable] for one in detector.forests.classes.values())
        if sizes[stable] < 80:
            assert agreement(detector.forests, [batch]) >= stable
    assert sizes[0.01] == 10 <= sizes[0.6] <= sizes[0.99] == 80


def test_more_trees_agree_more():
    batch = head_batch(800)
    overlaps = []
    for trees in (20, 640):
        detector = forest(batch, IsolationForest(trees=trees).detector())
        detector.score(batch)
        overlaps.append(detector.overlap(0.05))
    assert overlaps[1] > overlaps[0] + 0.1


def test_trees_that_were_added_are_others(monkeypatch):
    monkeypatch.setattr("ogacli.detectors.isolation_forest._TREES", 1)
    monkeypatch.setattr("ogacli.detectors.forest.stability._MOST", 2)
    batch = head_batch(300)
    detector = forest(batch, IsolationForest(trees="auto", stable=0.99).detector())
    first, second = (half.score(batch) for half in detector.forests.whole.halves())
    assert not torch.equal(first, second)
    again = forest(batch, IsolationForest(trees="auto", stable=0.99).detector())
    assert torch.equal(again.score(batch), detector.score(batch)), "one seed is one forest"


def test_in_a_scan(tmp_path):
    place = make_place(tmp_path, detector=[{"name": "isolation_forest", "trees": 20}, "l2"])
    run = scan(place.config("protect=off"))
    assert set(run.summary.overlap) == {"isolation_forest"}
    assert 0 <= run.summary.overlap["isolation_forest"] <= 1
    assert "The trees of isolation_forest are random" in (run.path / "report.html").read_text()
    place.write_config(detector={"name": "isolation_forest", "trees": "auto", "stable": 0.5})
    for layers in ("head", "all"):
        run = scan(place.config(f"gradients.layers={layers}"), output=place.folder / layers)
        assert run.summary.overlap["isolation_forest"] >= 0.4
