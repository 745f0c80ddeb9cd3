"""How related training samples are to queries, by their gradients.

In: per-sample gradients of both. Out: a score for each query and training sample, or each query and group of
training samples; **higher = more related**, so the score of a detector, higher = more anomalous, is negated.

Three methods. *Groups* (Chhabra et al., ICML 2025): a detector is fitted to each group's gradients, and a
query belongs to the group in which it is least an outlier. *Influence*: how far a step on a training sample
would lower the loss of the query. *Cosine* of the two gradients.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.detectors import DetectorOptions
from ogacli.detectors._influence import InfluenceOptions
from ogacli.gradients import GradientBatch
from ogacli.gradients.products import dots
from ogacli.gradients.repeated import Repeated
from ogacli.scan.attribution.options import AttributeOptions

_HELD_BYTES = 1 << 30
"""Gradients that may be held in memory from one pass to the next."""
_VECTORS = 1 << 26
"""Numbers in the queries' gradients that are held as vectors at a time: 256 MB."""


Compute = Callable[[Int64[Tensor, " m"]], Iterable[GradientBatch]]
"""Computes the gradients of some rows; those that cannot be read, or are not finite, are left out."""


class Gradients:
    """The gradients of some samples, for several passes.

    Args:
        compute: Computes them.
        rows: Which samples, in the order in which they come.
        exact: Hold them in float64, the precision in which sums of products are taken.
    """

    def __init__(self, compute: Compute, rows: Int64[Tensor, " m"], *, exact: bool = False) -> None:
        self.rows = rows
        self._compute = compute
        self._batches = Repeated(lambda: compute(rows), hold=_HELD_BYTES, exact=exact)

    def __iter__(self) -> Iterator[GradientBatch]:
        return iter(self._batches)

    def only(self, rows: Int64[Tensor, " k"]) -> Iterator[GradientBatch]:
        """The gradients of some of the samples; in the given order unless they are held in memory."""
        held = self._batches.held()
        if held is None:
            yield from self._compute(rows)
            return
        for batch in held:
            here = torch.isin(batch.rows, rows).nonzero()[:, 0]
            if len(here):
                yield batch.select(here.to(batch.residual.device))


def is_fitted(options: DetectorOptions) -> bool:
    """Whether the detector is fitted to samples; one that is not has the same score for every group."""
    return options.detector().fit_size(2) > 0


def by_groups(
    options: DetectorOptions,
    groups: Sequence[Int64[Tensor, " m"]],
    training: Gradients,
    queries: Iterable[GradientBatch],
    count: int,
) -> Float[Tensor, "q g"]:
    """For each query and group, the negative score of a detector that was fitted to the group.

    Args:
        options: Of the detector, which ``is_fitted``.
        groups: The rows of the training samples in each group.
        training: The gradients of all training samples, in random order.
        queries: The queries' gradients.
        count: How many queries there are.
    """
    fitted = []
    for rows in groups:
        detector = options.detector()
        size = detector.fit_size(len(rows))
        some = training.rows[torch.isin(training.rows, rows)][:size]
        detector.fit(Repeated(functools.partial(training.only, some)))
        fitted.append(detector)
    beyond = len(training.rows)
    scores = torch.full((count, len(groups)), torch.nan, dtype=torch.float64)
    for batch in queries:
        # Detectors recognise by their row the samples that they were fitted to; queries need other rows.
        others = replace(batch, rows=batch.rows + beyond)
        scores[batch.rows] = -torch.stack([one.score(others) for one in fitted], 1).double().cpu()
    return scores


def by_influence(
    options: InfluenceOptions,
    training: Iterable[GradientBatch],
    queries: Iterable[GradientBatch],
    shape: tuple[int, int],
) -> Float[Tensor, "q n"]:
    """For each query and training sample, how much a training step on the sample lowers the query's loss.

    Args:
        options: The influence method; each query takes the place of the validation samples.
        training: The gradients of all training samples; iterated several times.
        queries: The queries' gradients.
        shape: Of the result.
    """
    scores = torch.full(shape, torch.nan, dtype=torch.float64)
    against_query = options.model_copy(update={"against": "validation"})
    for row, vector in vectors(queries):
        detector = against_query.detector()
        detector.see_validation(vector.double())
        detector.fit(training)
        for batch in training:
            scores[row, batch.rows] = -detector.score(batch).cpu()
    return scores


def by_cosine(
    options: AttributeOptions,
    training: Gradients,
    queries: Iterable[GradientBatch],
    shape: tuple[int, int],
) -> Float[Tensor, "q n"]:
    """For each query and training sample, the cosine of their gradients.

    It is estimated in a seeded random projection, and then computed exactly for the ``candidates`` of each
    query, which rank above all others. Gradients with at most as many coordinates as the projection are
    compared directly.

    Args:
        options: Projection, seed and number of candidates.
        training: The gradients of all training samples.
        queries: The queries' gradients.
        shape: Of the result.
    """
    scores = torch.full(shape, torch.nan, dtype=torch.float64)

    def short(batch: GradientBatch) -> Float[Tensor, "b dim"]:
        return F.normalize(batch.reduced(options.projection, options.seed))

    found = [(batch.rows, short(batch)) for batch in queries]
    if not found:
        return scores
    rows, units = (torch.cat(parts) for parts in zip(*found, strict=True))
    exact = True
    for batch in training:
        exact = batch.p <= options.projection
        scores[rows[:, None], batch.rows] = (units @ short(batch).T).double().cpu()
    if not exact:
        _compare_candidates(scores, options.candidates, training, queries)
    return scores


def _compare_candidates(
    scores: Float[Tensor, "q n"], count: int, training: Gradients, queries: Iterable[GradientBatch]
) -> None:
    """Replace the highest estimates by exact cosines, and lower all others below these."""
    highest = scores.nan_to_num(-2).topk(min(count, scores.shape[1]), 1).indices
    chosen = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, highest, True) & ~scores.isnan()
    for some in _chunks(vectors(queries)):
        rows = chosen[[row for row, _ in some]].any(0).nonzero()[:, 0]
        for batch in training.only(rows):
            norms = batch.norm(2).cpu()
            for row, vector in some:
                here = chosen[row, batch.rows].nonzero()[:, 0]
                if len(here):
                    products = dots(batch.select(here.to(vector.device)), vector).sum(1).cpu()
                    lengths = norms[here] * float(torch.linalg.vector_norm(vector.double()))
                    scores[row, batch.rows[here]] = products / lengths.clamp_min(1e-300)
    lowest = scores.masked_fill(~chosen, torch.inf).amin(1, keepdim=True)
    below = torch.minimum(scores, torch.nextafter(lowest, torch.full_like(lowest, -torch.inf)))
    scores.copy_(torch.where(chosen, scores, below))


def vectors(queries: Iterable[GradientBatch]) -> Iterator[tuple[int, Float[Tensor, " p"]]]:
    """The gradient of each query as a vector, with the query's row."""
    for batch in queries:
        for i, row in enumerate(batch.rows.tolist()):
            yield row, batch.select(slice(i, i + 1)).dense()[0]


def _chunks(
    found: Iterable[tuple[int, Float[Tensor, " p"]]],
) -> Iterator[list[tuple[int, Float[Tensor, " p"]]]]:
    """Lists of as many vectors as may be held in memory."""
    chunk: list[tuple[int, Tensor]] = []
    for row, vector in found:
        chunk.append((row, vector))
        if (len(chunk) + 1) * len(vector) > _VECTORS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def auc_and_recall(
    scores: Float[Tensor, "q n"], related: Bool[Tensor, "q n"]
) -> tuple[float | None, float | None]:
    """How well the scores find the related training samples, averaged over the queries.

    For each query the chance that a related sample scores higher than another one, and the share of the
    related ones among as many with the highest scores (Kwon et al., ICLR 2024, section 5.3).

    Args:
        scores: NaN where there is none.
        related: For each query which training samples are, [n]; a query with none, or all, does not count.
    """
    from sklearn.metrics import roc_auc_score

    areas, recalls = [], []
    for of_query, truth in zip(scores, related, strict=True):
        known = ~of_query.isnan()
        of_query, truth = of_query[known], truth[known]
        count = int(truth.sum())
        if 0 < count < len(truth):
            areas.append(float(roc_auc_score(truth.numpy(), of_query.numpy())))
            order = of_query.argsort(dim=0, descending=True, stable=True)
            recalls.append(float(truth[order[:count]].float().mean()))
    return (sum(areas) / len(areas), sum(recalls) / len(recalls)) if areas else (None, None)
