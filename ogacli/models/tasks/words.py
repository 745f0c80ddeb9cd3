"""A class a word: the mean cross-entropy over the tagged words of a sample."""

import json

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.data import Preview, Samples
from ogacli.data.labels.label_types import IGNORED
from ogacli.data.tagged import words_with_tags
from ogacli.errors import GradientError
from ogacli.models.network import Model, Network
from ogacli.models.outputs import call
from ogacli.models.tasks import Labels, Logits, tasks
from ogacli.models.tasks._places import Places
from ogacli.models.tasks.tokens import shortened


@tasks.register_as("word_cross_entropy")
class WordTags(Places):
    """Softmax over the logits of each word, [b, k, w], and cross-entropy with its tag; the mean over words.

    Left out are words without a tag, and those whose logits are all minus infinity, as the model does not see
    them.
    """

    deciding = "latent_tags"
    places = "words"

    def loss(self, logits: Logits, labels: Labels) -> Float[Tensor, " b"]:
        """The mean cross-entropy of each sample.

        Raises:
            GradientError: The labels are not one class a word, or the logits do not fit them.
        """
        return self._losses(logits, labels).sum(1)

    @torch.no_grad()
    def residual(self, logits: Logits, labels: Labels) -> Logits:
        """Softmax minus the given tag, over the number of words; 0 at words that are left out.

        For the given tag that difference cancels to zero where it is predicted confidently, so it is computed
        as minus the sum of the others.

        Raises:
            GradientError: As :meth:`loss`.
        """
        tags, seen = tags_of(logits, labels)
        found = logits.masked_fill(~seen[:, None], 0.0).softmax(1)
        index = tags[:, None]
        others = found.scatter(1, index, 0.0).sum(1, keepdim=True)
        return found.scatter(1, index, -others) * (seen / _count(seen))[:, None]

    def preview(self, model: Model, samples: Samples, row: int, device: torch.device) -> Preview:
        """The words, those with a tag other than ``O`` with it, each with its share of the loss.

        Raises:
            Unreadable: It cannot be read.
        """
        batch = samples.read_one(row)
        if not isinstance(model, Network) or not samples.reader.words(int(samples.positions[row])):
            return super().preview(model, samples, row, device)
        batch = batch.to(device)
        with torch.inference_mode():
            losses = self._losses(call(model.module, batch.inputs).float(), batch.labels)[0].tolist()
        words = samples.reader.words(int(samples.positions[row]))
        names = [samples.classes[tag] for tag in samples.labels[row].tolist() if tag != IGNORED]
        tagged = zip(words_with_tags(words, names), losses, strict=False)
        parts = ((f"{word} ", loss) for word, loss in tagged)
        return Preview("tokens", json.dumps(list(shortened(parts))).encode())

    def _losses(self, logits: Logits, labels: Labels) -> Float[Tensor, "b w"]:
        """The share of each word in the loss of its sample."""
        tags, seen = tags_of(logits, labels)
        losses = F.cross_entropy(logits.masked_fill(~seen[:, None], 0.0), tags, reduction="none")
        return losses * (seen / _count(seen))


def tags_of(logits: Logits, labels: Labels) -> tuple[Int64[Tensor, "b w"], Bool[Tensor, "b w"]]:
    """The tag of each word that there are logits for, 0 where there is none; and which words count.

    Raises:
        GradientError: There is not one class a word, or not one column of logits a word.
    """
    words = labels.ndim == 2 and not labels.is_floating_point() and logits.ndim == 3
    if not words or _cut_off(labels, logits.shape[2]):
        raise GradientError(
            "takes a tag a word and logits for each word",
            place="loss.name word_cross_entropy",
            found=f"labels {list(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}, logits "
            f"{list(logits.shape)}",
            expected=f"class indices [b, w], {IGNORED} after the last word, and logits [b, classes, w]",
            hint="read words and tags by `data: {source: text, words: .., tags: ..}`",
        )
    tags = F.pad(labels, (0, max(0, logits.shape[2] - labels.shape[1])), value=IGNORED)[:, : logits.shape[2]]
    seen = (tags != IGNORED) & (logits > -torch.inf).any(1)
    return tags.long().masked_fill(~seen, 0), seen


def _cut_off(labels: Labels, words: int) -> bool:
    """Whether a word beyond the first so many has a tag."""
    return labels.shape[1] > words and bool((labels[:, words:] != IGNORED).any())


def _count(seen: Bool[Tensor, "b w"]) -> Float[Tensor, "b 1"]:
    """The number of words that count; at least 1."""
    return seen.sum(1, keepdim=True).clamp_min(1).float()
