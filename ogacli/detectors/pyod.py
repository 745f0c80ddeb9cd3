"""Any detector of PyOD, by its class name, on seeded random projections of the gradients.

PyOD is optional: ``pip install 'ogacli[pyod]'``. The samples that it is fitted to stay in memory, at most
``fit_samples``. Their scores are PyOD's ``decision_scores_``, in which a sample is not its own nearest
neighbour; all others are scored by ``decision_function``.
"""

import inspect
import pkgutil
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.detectors import Detector, LayeredOptions, detectors
from ogacli.errors import ConfigError, DataError
from ogacli.gradients import GradientBatch


@detectors.register
class PyOD(LayeredOptions):
    """Score = the outlier score of a PyOD detector, in the units of that detector."""

    model: str = "ECOD"
    """The detector's class in ``pyod.models``: ECOD, COPOD, HBOS, KNN, LOF, OCSVM, .. ECOD and COPOD rank the
    samples of a batch among each other as well: the scores of samples that were not fitted vary a little with
    the batch size."""
    projection: Annotated[int, Field(ge=1)] = 512
    """Dimensions that the gradients are projected to; gradients with no more coordinates are taken whole."""
    fit_samples: Annotated[int, Field(ge=2)] = 10_000
    """How many samples it is fitted to, at most."""
    seed: int = 0
    """Seed of the projection, of the choice of samples, and the detector's own ``random_state``."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the class, such as ``{n_neighbors: 20}``."""

    @property
    def column(self) -> str:
        """The name, followed by the model's."""
        return f"{super().column}_{self.model.lower()}"

    def detector(self) -> "Projected":
        """The PyOD detector, not fitted yet.

        Raises:
            ConfigError: PyOD is not installed, has no such detector, or does not take these options.
        """
        return Projected(self)


class Projected(Detector):
    """A PyOD detector on projected gradients."""

    def __init__(self, options: PyOD) -> None:
        self.options = options
        self.model = _model(options)
        self._rows = torch.zeros(0, dtype=torch.int64)
        self._values = torch.zeros(0, 0)

    def fit_size(self, n: int) -> int:
        """All samples, up to ``fit_samples``."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit to all samples at once; O(n dim) memory.

        Raises:
            DataError: There are fewer than two samples.
            ConfigError: The detector cannot be fitted to them.
        """
        found = [(batch.rows, self._projected(batch).cpu()) for batch in batches]
        if sum(len(rows) for rows, _ in found) < 2:
            raise DataError("too few samples to fit to", expected="at least two that can be read")
        self._fit(torch.cat([rows for rows, _ in found]), torch.cat([values for _, values in found]))

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The detector's scores, float64; NaN where the projected gradient is not finite."""
        place = torch.searchsorted(self._rows, batch.rows).clamp_max(len(self._rows) - 1)
        fitted = self._rows[place] == batch.rows
        scores = torch.from_numpy(np.asarray(self.model.decision_scores_, dtype=np.float64))[place]
        others = (~fitted).nonzero()[:, 0]
        if len(others):
            values = self._projected(batch.select(others.to(batch.residual.device))).double().cpu().numpy()
            finite = np.isfinite(values).all(1)
            found = np.full(len(values), np.nan)
            if finite.any():
                with seeded(self.options.seed):
                    found[finite] = self.model.decision_function(values[finite])
            scores[others] = torch.from_numpy(found)
        return scores.to(batch.residual.device)

    def state(self) -> dict[str, Tensor]:
        """The samples that it was fitted to, as a PyOD detector itself can only be pickled."""
        return {"rows": self._rows, "values": self._values}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Fit again to the same samples with the same seed."""
        self._fit(state["rows"], state["values"])

    def _projected(self, batch: GradientBatch) -> Float[Tensor, "b dim"]:
        return batch.reduced(self.options.projection, self.options.seed)

    def _fit(self, rows: Int64[Tensor, " m"], values: Float[Tensor, "m dim"]) -> None:
        order = rows.argsort()
        self._rows, self._values = rows[order], values[order].contiguous()
        try:
            with seeded(self.options.seed):
                self.model.fit(self._values.double().numpy())
        except (ValueError, TypeError, RuntimeError, np.linalg.LinAlgError) as error:
            raise ConfigError(
                f"{self.options.model} cannot be fitted",
                place="detector.model",
                found=f"{len(rows)} samples of {values.shape[1]} dimensions; {error}",
                hint="change its `options`, `projection` or `fit_samples`, or take another model",
            ) from error


def _model(options: PyOD) -> Any:
    """An instance of the class that the options name.

    Raises:
        ConfigError: There is no such class, or it does not take these options.
    """
    cls = _class(options.model)
    arguments = dict(options.options)
    if "random_state" in inspect.signature(cls).parameters:
        arguments.setdefault("random_state", options.seed)
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{options.model} does not take these options",
            place="detector.options",
            found=str(error),
            expected=f"some of {', '.join(inspect.signature(cls).parameters)}",
        ) from error


def _class(name: str) -> Any:
    try:
        models = import_module("pyod.models")
        base = import_module("pyod.models.base").BaseDetector
    except ModuleNotFoundError as error:
        raise ConfigError(
            "PyOD is not installed", place="detector.name pyod", hint="pip install 'ogacli[pyod]'"
        ) from error
    modules = {module.name.replace("_", ""): module.name for module in pkgutil.iter_modules(models.__path__)}
    module = modules.get(name.lower())
    if module is None:
        near = get_close_matches(name.lower(), modules, n=3) or ["ecod", "knn", "lof"]
        raise ConfigError(
            "PyOD has no such detector",
            place="detector.model",
            found=name,
            expected=f"such as {', '.join(map(str.upper, near))}",
        )
    try:
        found = getattr(import_module(f"pyod.models.{module}"), name, None)
    except ImportError as error:
        raise ConfigError(
            f"PyOD's {name} needs another package", place="detector.model", found=str(error)
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(
            "not a detector of PyOD",
            place="detector.model",
            found=name,
            expected="a class of pyod.models, spelt as there, such as ECOD",
        )
    return found


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global random generators, which some PyOD detectors use, and restore them afterwards."""
    before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
