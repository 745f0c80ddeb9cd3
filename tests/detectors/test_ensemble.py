import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradient_batches import head_batch
from ogacli.config import parse_config
from ogacli.detectors import DetectorOptions, detectors
from ogacli.detectors.ensemble import share_below
from ogacli.errors import ConfigError, DataError

HEAD = "data: {source: digits}\nmodel: {source: logistic}\n"


def scored(options: DetectorOptions, n: int = 300) -> Tensor:
    batch, detector = head_batch(n), options.detector()
    size = detector.fit_size(n)
    if size:
        rows = torch.randperm(n, generator=torch.Generator().manual_seed(0))
        detector.fit([batch.select(part) for part in rows[:size].split(50)])
    return detector.score(batch).double()


def test_it_is_the_mean_of_the_shares() -> None:
    """Where all samples are compared, a score is placed exactly among all."""
    together = detectors.get("ensemble").model_validate({"of": ["l1", "l2", "latent_label"]})
    alone = [scored(detectors.get(name)()) for name in ("l1", "l2", "latent_label")]
    shares = torch.stack([(own[:, None] > own).double().mean(1) for own in alone])
    torch.testing.assert_close(scored(together), shares.mean(0), atol=2 / 300, rtol=0)


def test_of_one_it_keeps_the_order() -> None:
    alone = scored(detectors.get("isolation_forest")())
    together = scored(detectors.get("ensemble").model_validate({"of": ["isolation_forest"]}))
    assert torch.equal(together.argsort(), alone.argsort())


def test_members_have_options_and_come_back_from_the_config() -> None:
    text = HEAD + "detector: {name: ensemble, of: [l2, {name: isolation_forest, trees: 7}]}"
    (found,) = parse_config(text).detectors
    assert [type(one).__name__ for one in found.of] == ["L2", "IsolationForest"]
    assert found.of[1].trees == 7
    (resolved,) = parse_config(text).resolved["detector"]
    assert resolved["of"][0] == {"name": "l2", "per_class": False}
    name = resolved.pop("name")
    assert detectors.get(name).model_validate(resolved) == found


@pytest.mark.parametrize(
    ("of", "message"),
    [
        ("[l3]", r"unknown detector 'l3'"),
        ("[{name: isolation_forest, trees: 0}]", r"isolation_forest: trees.*greater than or equal to 1"),
        ("[{trees: 5}]", "a detector's name, or a section with `name`"),
        ("[{name: l2, per_class: true}]", "`per_class` ranks need all samples"),
        ("[]", "at least 1"),
    ],
)
def test_a_member_that_cannot_be(of: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(HEAD + f"detector: {{name: ensemble, of: {of}}}")


def test_no_sample() -> None:
    detector = detectors.get("ensemble")().detector()
    detector.fit_size(0)
    with pytest.raises(DataError, match="no sample"):
        detector.fit([])


@settings(max_examples=100, deadline=None)
@given(
    known=st.lists(st.integers(-50, 50), min_size=1, max_size=30),
    others=st.lists(st.integers(-1000, 1000), min_size=2, max_size=30, unique=True),
)
def test_shares_keep_the_order_and_lie_between_0_and_1(known: list[int], others: list[int]) -> None:
    reference = torch.tensor(sorted(known), dtype=torch.float64)
    scores = torch.tensor(sorted(others), dtype=torch.float64) / 10
    shares = share_below(reference, scores)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (shares.diff() > 0).all()
    for score, share in zip(scores.tolist(), shares.tolist(), strict=True):
        below = sum(one < score for one in known)
        assert abs(share * (len(known) + 2) - 1 - below) <= 1 + 1e-9
