"""What every detector must do, whichever are registered."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gradient_batches import dense_batch, head_batch
from ogacli.base.registry import type_name
from ogacli.config import parse_config
from ogacli.detectors import Detector, DetectorOptions, Needs, detectors
from ogacli.errors import ConfigError
from ogacli.gradients import GradientBatch
from ogacli.gradients.kept import kept
from simulated_boxes import one_box_each

N = 400


@pytest.fixture(params=detectors.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[{}, {"per_class": True}], ids=["all", "per class"])
def options(request: pytest.FixtureRequest, name: str) -> DetectorOptions:
    cls = detectors.get(name)
    if not set(request.param) <= set(cls.model_fields):
        pytest.skip("no such option")
    found = cls.model_validate(request.param)
    try:
        found.detector()
    except ConfigError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))
    return found


def one_hot(batch: GradientBatch) -> Tensor:
    return F.one_hot(batch.labels, batch.logits.shape[1]).double()


KINDS: dict[str, Callable[[GradientBatch], GradientBatch]] = {
    "latent_boxes": one_box_each,
    "latent_label_set": lambda batch: replace(batch, labels=one_hot(batch)),
    "latent_target": lambda batch: replace(batch, labels=6.0 * one_hot(batch)),
    "latent_mask": lambda batch: replace(
        batch, labels=batch.labels[:, None, None], logits=batch.logits[:, :, None, None]
    ),
    "latent_tags": lambda batch: replace(
        batch, labels=batch.labels[:, None], logits=batch.logits[:, :, None]
    ),
}
"""The batch with labels of the kind that a detector judges; one class a sample for all others."""


def labelled_for(options: DetectorOptions, batch: GradientBatch) -> GradientBatch:
    """The batch with labels of the kind that the detector judges."""
    make = KINDS.get(type_name(options))
    return batch if make is None else make(batch)


def fitted(options: DetectorOptions, batch: GradientBatch, size: int = 64) -> Detector:
    detector = options.detector()
    wanted = detector.fit_size(len(batch))
    assert 0 <= wanted <= len(batch)
    if wanted:
        rows = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))[:wanted]
        detector.fit([batch.select(part) for part in rows.split(size)])
    return detector


def scores(detector: Detector, batch: GradientBatch, size: int = 64) -> Tensor:
    parts = [detector.score(batch.select(slice(i, i + size))) for i in range(0, len(batch), size)]
    return detector.finish(torch.cat(parts), batch.labels)


def planted() -> tuple[GradientBatch, int]:
    """Gradients of which one stands out, within its class too.

    It is large, points against the others, and its label has the lowest predicted probability.
    """
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(N) % 3
    values = 0.5 + torch.randn(N, 12, generator=generator)
    logits = torch.randn(N, 3, generator=generator) + 5 * F.one_hot(labels)
    values[137] = -30
    logits[137] = -5.0 * F.one_hot(labels[137], 3)
    return dense_batch(values, labels, logits), 137


def test_scores_are_one_finite_number_a_sample(options: DetectorOptions) -> None:
    batch = labelled_for(options, head_batch(N))
    found = scores(fitted(options, batch), batch)
    assert found.shape == (N,)
    assert found.is_floating_point()
    assert not found.requires_grad
    assert torch.isfinite(found).all()
    assert len(torch.unique(found)) > N / 4


def test_the_planted_outlier_is_on_top(options: DetectorOptions) -> None:
    batch, outlier = planted()
    given = batch.labels
    batch = labelled_for(options, batch)
    found = scores(fitted(options, batch), batch)
    own = given == given[outlier]
    assert found[outlier] == found.max()
    assert (found[own] == found[outlier]).sum() == 1


def test_the_same_again_is_the_same(options: DetectorOptions) -> None:
    batch = labelled_for(options, head_batch(N))
    assert torch.equal(scores(fitted(options, batch), batch), scores(fitted(options, batch), batch))


@pytest.mark.parametrize("size", [1, 7, N])
def test_the_batch_size_does_not_matter(options: DetectorOptions, size: int) -> None:
    batch = labelled_for(options, head_batch(N))
    expected = scores(fitted(options, batch), batch)
    # Products of float64 matrices are rounded differently in matrices of other sizes.
    torch.testing.assert_close(scores(fitted(options, batch, size), batch, size), expected, rtol=1e-9, atol=0)


def test_global_random_state_is_left_alone(options: DetectorOptions) -> None:
    before = torch.random.get_rng_state()
    scores(fitted(options, labelled_for(options, head_batch(50))), labelled_for(options, head_batch(50)))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_state_makes_another_detector_the_same(options: DetectorOptions) -> None:
    batch = labelled_for(options, head_batch(N))
    detector, other = fitted(options, batch), options.detector()
    state = detector.state()
    assert all(tensor.device.type == "cpu" for tensor in state.values())
    other.restore(state)
    assert torch.equal(scores(other, batch), scores(detector, batch))


def test_no_samples_no_scores(options: DetectorOptions) -> None:
    batch = labelled_for(options, head_batch(20))
    detector = fitted(options, batch)
    assert detector.score(batch.select(slice(0, 0))).shape == (0,)


def reduced(batch: GradientBatch, needs: Needs) -> GradientBatch:
    """The batch without its factors: norms and coordinates only."""
    none = torch.empty(0, dtype=torch.int64)
    return kept(batch, needs.norms, none if needs.coordinates is None else needs.coordinates)


def test_a_detector_reads_no_more_than_it_needs(options: DetectorOptions) -> None:
    batch = labelled_for(options, head_batch(N))
    expected = scores(fitted(options, batch), batch)
    detector = options.detector()
    detector.fit_size(N)
    before, after = detector.needs(batch), fitted(options, batch).needs()
    if not before.everything:
        short = reduced(batch, before)
        assert torch.equal(scores(fitted(options, short), short), expected)
    if not after.everything:
        detector = fitted(options, batch)
        assert torch.equal(scores(detector, reduced(batch, after)), expected)


def test_options_survive_the_config(name: str) -> None:
    """Every option, given another value than its default, comes back from the resolved config."""
    cls = detectors.get(name)
    given: dict[str, Any] = {}
    for key, field in cls.model_fields.items():
        default = field.default
        if isinstance(default, bool):
            given[key] = not default
        elif isinstance(default, int | float):
            given[key] = default / 2 if 0 < default < 1 else default + 1
    text = "data: {source: digits}\nmodel: {source: logistic}\ndetector: {name: %s%s}\n"
    config = parse_config(text % (name, "".join(f", {key}: {value}" for key, value in given.items())))
    assert config.detectors == (cls.model_validate(given),)
    (resolved,) = config.resolved["detector"]
    assert resolved == {"name": name} | cls.model_validate(given).model_dump(mode="json", exclude_none=True)


def test_what_several_detectors_need_together() -> None:
    coords = [torch.tensor([1, 5]), torch.tensor([0, 5])]
    found = Needs.union([Needs(norms=(2,)), Needs(coordinates=coords[0]), Needs((1, 2), coords[1]), Needs()])
    assert found.norms == (1, 2)
    assert found.coordinates is not None
    assert found.coordinates.tolist() == [0, 1, 5]
    assert not found.everything
    assert Needs.union([Needs(), Needs(everything=True)]).everything
    assert Needs.union([]) == Needs.union([Needs()]) == Needs()
