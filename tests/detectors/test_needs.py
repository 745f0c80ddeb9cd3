"""Which detectors let the scan drop the factors of the gradients: norms, coordinates, or neither."""

import pytest
import torch

from gradient_batches import head_batch
from ogacli.detectors import Needs, detectors

N = 300
OF_LOGITS = ["latent_label", "loss", "self_confidence", "normalized_margin", "confidence_weighted_entropy"]


def needs(name: str, **options: object) -> list[Needs]:
    """Before the fit, and after it."""
    detector, batch = detectors.get(name).model_validate(options).detector(), head_batch(N)
    size = detector.fit_size(N)
    before = detector.needs(batch)
    if size:
        detector.fit([batch.select(slice(0, size))])
    return [before, detector.needs()]


@pytest.mark.parametrize("name", OF_LOGITS)
def test_detectors_of_logits_need_nothing_of_the_gradient(name: str) -> None:
    assert needs(name) == [Needs(), Needs()]


@pytest.mark.parametrize("order", [1, 2])
def test_norms(order: int) -> None:
    assert needs(f"l{order}") == [Needs(norms=(order,))] * 2


def test_a_forest_needs_coordinates_and_fewer_once_fitted() -> None:
    before, after = needs("isolation_forest", trees=5, subsample=8)
    assert before.coordinates is not None
    assert after.coordinates is not None
    assert torch.isin(after.coordinates, before.coordinates).all()
    assert 0 < len(after.coordinates) < len(before.coordinates)
    assert not before.everything | after.everything


@pytest.mark.parametrize("name", ["gaussian", "gradient_tracing", "datainf", "lissa"])
def test_projections_and_products_need_everything(name: str) -> None:
    assert needs(name) == [Needs(everything=True)] * 2


def test_an_ensemble_needs_what_its_members_need() -> None:
    assert needs("ensemble", of=["l2", "latent_label", "l1"]) == [Needs(norms=(1, 2))] * 2
    assert needs("ensemble", of=["l2", "gaussian"])[1].everything
