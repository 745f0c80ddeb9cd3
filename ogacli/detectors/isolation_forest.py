"""The isolation forest over per-sample gradients, grown and scored without the gradient matrix.

Liu et al., ICDM 2008. The trees read a few thousand coordinates that are drawn beforehand; see ``forest/``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ogacli.detectors import Detector, LayeredOptions, Needs, detectors
from ogacli.detectors._state import prefixed, under
from ogacli.detectors.forest.fitting import ForestFit
from ogacli.detectors.forest.forests import Forests
from ogacli.detectors.forest.stability import SplitHalf, grown_until_stable
from ogacli.gradients import GradientBatch

_TREES = 100
"""Trees that ``auto`` grows at a time."""
_SEEDS_APART = 1 << 20
"""Between the seeds of trees that are grown one after the other, so that neighbouring seeds share none."""
_SPLIT_HALF = "spread."
"""Prefix of the names of the split-half scores in the state."""


@detectors.register
class IsolationForest(LayeredOptions):
    """Score = how soon random cuts isolate the sample's gradient, from 0 to 1 (Liu et al., ICDM 2008)."""

    trees: Annotated[int, Field(ge=1)] | Literal["auto"] = 100
    """How many trees; ``auto``: a hundred, doubled until what is flagged is ``stable``."""
    stable: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """For ``trees: auto``: the share of the most anomalous twentieth of the samples that two halves of the
    trees have in common. At most 1,600 trees are grown."""
    subsample: Annotated[int, Field(ge=2)] = 256
    """How many samples each tree is grown from."""
    seed: int = 0
    """Seed of the samples, coordinates and cuts."""
    per_class: bool = False
    """Compare each sample with the samples of its own given label only."""

    @property
    def column(self) -> str:
        """The detector's name, followed by ``per_class`` where samples are compared within classes."""
        return super().column + ("_per_class" if self.per_class else "")

    def detector(self) -> "Isolation":
        """A forest that is not grown yet."""
        return Isolation(self)


class Isolation(Detector):
    """An isolation forest, or one for each class."""

    def __init__(self, options: IsolationForest) -> None:
        self.options = options
        self.forests: Forests | None = None
        self._fit = ForestFit(
            trees=_TREES if options.trees == "auto" else options.trees,
            subsample=options.subsample,
            per_class=options.per_class,
            seed=options.seed,
        )
        self._split_half = SplitHalf(0)

    def fit_size(self, n: int) -> int:
        """As many samples as the trees take."""
        self._split_half = SplitHalf(n)
        return self._fit.expect(n)

    def needs(self, batch: GradientBatch | None = None) -> Needs:
        """The coordinates that the trees share, or once fitted those of all inner nodes.

        Everything where each tree has coordinates of its own, as these are too many to keep.
        """
        if batch is None:
            assert self.forests is not None, "fit or restore first"
            return Needs(coordinates=self.forests.coordinates())
        shared = self._fit.shared(batch)
        return Needs(everything=True) if shared is None else Needs(coordinates=shared.sort().values)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Grow the forest; for ``trees: auto`` the batches are read again for each hundred trees.

        Raises:
            DataError: There is no sample.
            ConfigError: ``per_class``, but the labels are not classes.
        """

        def grow(number: int) -> Forests:
            return self._fit.grow(batches, self.options.seed + number * _SEEDS_APART)

        auto = self.options.trees == "auto"
        self.forests = grown_until_stable(grow, batches, self.options.stable) if auto else grow(0)

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """From 0 to 1, about 0.5 for an ordinary sample; float64."""
        assert self.forests is not None, "fit or restore first"
        self.forests = self.forests.to(batch.residual.device)
        if self.forests.classes:
            return self.forests.score(batch)
        whole = self.forests.whole
        if batch.residual.device.type == "cpu" or not whole.splits:
            self._split_half.see(whole, batch)
            return whole.score(batch)
        scores, halves = whole.score_with_halves(batch)
        self._split_half.note(batch, halves)
        return scores

    def overlap(self, share: float) -> float | None:
        """Split-half stability; None for a forest a class, a single tree or too few samples."""
        return self._split_half.overlap(share)

    def state(self) -> dict[str, Tensor]:
        """The trees, and the split-half scores so far."""
        assert self.forests is not None, "fit first"
        return self.forests.state() | prefixed(_SPLIT_HALF, self._split_half.state())

    def join(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Take the split-half scores of other samples."""
        self._split_half.join([under(_SPLIT_HALF, state) for state in states])

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` returned."""
        self._split_half.restore(under(_SPLIT_HALF, state))
        self.forests = Forests.of({k: v for k, v in state.items() if not k.startswith(_SPLIT_HALF)})
