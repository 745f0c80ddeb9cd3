import sys
from typing import Any

import numpy as np
import pytest
import torch

from gradient_batches import dense_batch, head_batch
from ogacli.detectors import detectors
from ogacli.detectors.pyod import Projected
from ogacli.errors import ConfigError, DataError
from ogacli.gradients import GradientBatch

MODELS = ["ECOD", "COPOD", "HBOS", "KNN", "LOF", "OCSVM", "IForest"]


def made(**options: Any) -> Projected:
    found = detectors.get("pyod").model_validate(options).detector()
    assert isinstance(found, Projected)
    return found


def fitted(detector: Projected, batch: GradientBatch) -> Projected:
    rows = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))[
        : detector.fit_size(len(batch))
    ]
    detector.fit([batch.select(part) for part in rows.split(50)])
    return detector


@pytest.fixture
def installed() -> None:
    pytest.importorskip("pyod")


@pytest.mark.usefixtures("installed")
class TestInstalled:
    @pytest.mark.parametrize("model", MODELS)
    def test_scores_are_those_of_pyod(self, model: str) -> None:
        """All samples fitted: the scores that PyOD's own fit leaves, for few coordinates unprojected."""
        batch = dense_batch(torch.randn(150, 12, generator=torch.Generator().manual_seed(0)))
        detector = fitted(made(model=model), batch)
        module = __import__(f"pyod.models.{model.lower()}", fromlist=[model])
        arguments = {"random_state": 0} if model == "IForest" else {}
        theirs = getattr(module, model)(**arguments).fit(batch.dense().double().numpy())
        np.testing.assert_allclose(detector.score(batch).numpy(), theirs.decision_scores_, rtol=1e-9)

    @pytest.mark.parametrize("model", MODELS)
    def test_samples_beyond_the_fit(self, model: str) -> None:
        """They go through ``decision_function``; a far one is on top there too."""
        values = torch.randn(300, 20, generator=torch.Generator().manual_seed(1))
        values[200:] += 0.0
        detector = made(model=model, fit_samples=200)
        detector.fit([dense_batch(values[:200])])
        rest = dense_batch(values)
        rest = rest.select(torch.arange(200, 300))
        rest.parts[0].values[7] = 40  # type: ignore[attr-defined]
        found = detector.score(rest)
        assert found.isfinite().all()
        assert int(found.argmax()) == 7

    def test_many_coordinates_are_projected(self) -> None:
        batch = head_batch(120, k=10, h=64)
        detector = fitted(made(model="KNN", projection=16, seed=3), batch)
        assert detector.state()["values"].shape == (120, 16)
        torch.testing.assert_close(detector.state()["values"], batch.project(16, 3))

    def test_a_detector_that_draws_at_random_is_seeded(self) -> None:
        batch = head_batch(100)
        first, again = (fitted(made(model="IForest", seed=5), batch).score(batch) for _ in range(2))
        other = fitted(made(model="IForest", seed=6), batch).score(batch)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_numpy_s_global_state_is_left_alone(self) -> None:
        np.random.seed(4)
        expected = np.random.rand()
        np.random.seed(4)
        fitted(made(model="CBLOF"), head_batch(100))
        assert np.random.rand() == expected

    def test_options_reach_the_class(self) -> None:
        assert made(model="KNN", options={"n_neighbors": 9}).model.n_neighbors == 9

    def test_options_that_it_does_not_take(self) -> None:
        with pytest.raises(ConfigError, match=r"detector.options: KNN does not take[\s\S]*n_neighbors"):
            made(model="KNN", options={"neighbours": 9})

    @pytest.mark.parametrize(
        ("model", "words"),
        [
            ("EKOD", r"no such detector[\s\S]*ECOD"),
            ("knn", "not a detector of PyOD"),
            ("base", "not a detector of PyOD"),
        ],
    )
    def test_unknown_models(self, model: str, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            made(model=model)

    def test_a_detector_that_refuses_the_samples(self) -> None:
        with pytest.raises(ConfigError, match=r"KNN cannot be fitted[\s\S]*3 samples of 12 dimensions"):
            fitted(made(model="KNN", options={"n_neighbors": 20}), dense_batch(torch.randn(3, 12)))

    def test_no_samples(self) -> None:
        with pytest.raises(DataError, match="too few samples"):
            made().fit([])


def test_a_missing_pyod_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyod"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyod", None)
    with pytest.raises(ConfigError, match=r"PyOD is not installed[\s\S]*pip install 'ogacli\[pyod\]'"):
        made()
