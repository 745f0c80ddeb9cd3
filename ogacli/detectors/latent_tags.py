"""The probability that the tag of a word is wrong, under a model of label noise."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.base.device import sent
from ogacli.data.labels.label_types import IGNORED
from ogacli.data.labels.spans import beginning, following, strays
from ogacli.detectors import detectors
from ogacli.detectors._cells import CellDetector, CellOptions, Cells
from ogacli.detectors._state import prefixed, under
from ogacli.detectors.label_noise.chain import marginals
from ogacli.detectors.label_noise.model import probability_wrong
from ogacli.detectors.label_noise.transition import FREE, LEAST
from ogacli.detectors.latent_label import Latent, LatentLabel
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch

_NOISE = "noise."
"""Prefix of the names of the tensors of the label noise in the state."""
Places = tuple[Int64[Tensor, " m"], Int64[Tensor, " m"]]
"""The samples of m words, and their places there."""


@detectors.register
class LatentTags(CellOptions):
    """For taggers: score = how probable it is that the tag of some word is wrong.

    Each word has a latent tag, whose noise is that of ``latent_label``, fitted to the words of all samples.
    With tags as in IOB2, IOBES or BILOU, an ``I-PER`` counts as wrong unless a ``PER`` goes on there.
    """

    def detector(self) -> "Tags":
        """A detector that is not fitted yet."""
        return Tags(self)


class Words(Cells):
    """The judgement on each word of a batch."""

    @property
    def score(self) -> Float[Tensor, " b"]:
        """The highest probability of a word, which ranks better than a mean in `benchmarks/tags.py`."""
        return self.wrong.max(1).values.clamp_min(0.0)


class Tags(CellDetector):
    """A cell is a word; the most probable other tag is suggested in its place."""

    def __init__(self, options: LatentTags) -> None:
        self.options = options
        self._latent = Latent(LatentLabel(neighbours=0))
        self._allowed: Bool[Tensor, "before k"] | None = None
        """Which tag may follow which; None where all may."""

    def fit_size(self, n: int) -> int:
        """All samples, up to ``fit_samples``."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit how tags become wrong, and find out how they follow one another.

        Raises:
            DataError: There is no sample.
            GradientError: The labels are of another kind.
        """
        allowed = following(self.classes)
        broken: Tensor | int = 0
        begun: Tensor | int = 0

        def words() -> Iterator[GradientBatch]:
            nonlocal broken, begun
            for batch in batches:
                tags, seen = _tags(batch)
                if allowed is not None:
                    broken = broken + strays(tags, allowed).sum()
                    begun = begun + beginning(tags, self.classes).sum()
                yield _words(batch, tags, _places(seen))

        self._latent.held_out = self.held_out
        self._latent.least_noise = FREE if self.held_out else LEAST
        self._latent.fit(words())
        self._allowed = None if broken > begun else allowed

    def cells(self, batch: GradientBatch) -> Cells:
        """The judgement on each word, once fitted."""
        tags, seen = _tags(batch)
        places = _places(seen)
        found = self._latent.true_class_of(_words(batch, tags, places)).double()
        logs = found.new_zeros(*seen.shape, found.shape[1])
        logs[places] = found
        if self._allowed is not None:
            logs = marginals(logs, sent(self._allowed, logs.device), seen)
        given = tags.clamp_min(0)
        wrong = probability_wrong(logs.flatten(0, 1), given.flatten()).view_as(given)
        suggested = logs.scatter(2, given[:, :, None], -torch.inf).argmax(2)
        return Words(wrong.masked_fill(~seen, -1.0), suggested.double(), torch.zeros_like(wrong))

    def state(self) -> dict[str, Tensor]:
        """The parameters of the label noise, and which tag may follow which."""
        rules = {} if self._allowed is None else {"allowed": self._allowed}
        return rules | prefixed(_NOISE, self._latent.state())

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over the parameters."""
        self._allowed = state.get("allowed")
        self._latent.restore(under(_NOISE, state))


def _tags(batch: GradientBatch) -> tuple[Int64[Tensor, "b w"], Bool[Tensor, "b w"]]:
    """The tag of each word, ``IGNORED`` where there is none; and which words count.

    Raises:
        GradientError: The labels are of another kind.
    """
    labels, logits = batch.labels, batch.logits
    if labels.ndim != 2 or labels.is_floating_point() or logits.ndim != 3:
        raise GradientError(
            "takes samples with a tag a word",
            place="detector.name latent_tags",
            found=f"labels {list(labels.shape)}, logits {list(logits.shape)}",
            expected="a class index for each word, and logits [b, classes, words]",
            hint="`latent_label` takes one class a sample, `latent_label_set` several",
        )
    words = logits.shape[2]
    tags = torch.nn.functional.pad(labels, (0, max(0, words - labels.shape[1])), value=IGNORED)[:, :words]
    return tags.long(), (tags != IGNORED) & (logits > -torch.inf).any(1)


def _places(seen: Bool[Tensor, "b w"]) -> Places:
    """Where the words that count are; found once, as a device is waited for to count them."""
    sample, word = seen.nonzero(as_tuple=True)
    return sample, word


def _words(batch: GradientBatch, tags: Int64[Tensor, "b w"], places: Places) -> GradientBatch:
    """The words at some places, each as a sample of one class."""
    logits: Float[Tensor, "m k"] = batch.logits.transpose(1, 2)[places]
    rows = torch.arange(len(logits))
    return replace(
        batch,
        rows=rows,
        labels=tags[places],
        logits=logits,
        residual=logits,
        features=None,
        parts=(),
        losses=None,
    )
