"""The gradients of the sample that detectors are fitted to, computed by all ranks for the first one.

In: rows, and what is needed of their gradients. Out: on the first rank the batches, in the order and of the
sizes that one process computes; on the others those that they have computed and will score. The first rank
sends messages, which the others follow until the fit ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.base.documents.json_tensor import of_json, to_json
from ogacli.base.processes.ranks import Ranks
from ogacli.detectors._state import prefixed, under
from ogacli.gradients import GradientBatch, HeadGradients
from ogacli.gradients.feed import GradientFeed, finite, only
from ogacli.gradients.kept import Kept, kept
from ogacli.gradients.layers.linear import Outer, Plain
from ogacli.gradients.layers.part import Part
from ogacli.scan.collected.collect import Collector

_BEGIN, _NEXT, _DROP, _END = range(4)
"""Messages: begin with other rows, send the next read, hold nothing any more, the fit has ended."""
_FIELDS = ("rows", "labels", "logits", "residual", "features", "losses")


@dataclass(frozen=True, slots=True)
class Reduction:
    """What is needed of gradient batches: all of them, or norms and single coordinates."""

    most: int
    """Bytes of them that may be held."""
    norms: tuple[int, ...] = ()
    coordinates: Int64[Tensor, " f"] | None = None
    """Ascending, each once; None: the whole batches are needed."""

    def of(self, batch: GradientBatch) -> GradientBatch:
        """What is needed of a batch."""
        return batch if self.coordinates is None else kept(batch, self.norms, self.coordinates)


def computed(feed: GradientFeed, collector: Collector, rows: Int64[Tensor, " n"]) -> Iterator[GradientBatch]:
    """The finite gradients of some rows, batch by batch; those that cannot be read are noted."""
    for step in feed(rows):
        collector.note(step)
        if step.gradients is not None:
            batch = only(step.gradients, finite(step.gradients))
            del step
            yield batch
            del batch  # before the next one is computed


def shareable(feed: GradientFeed, reduction: Reduction) -> bool:
    """Whether batches can be sent: the factors of all layers are too large."""
    return feed.model.reads_inputs and (
        reduction.coordinates is not None or isinstance(feed.gradients, HeadGradients)
    )


class Lead:
    """The side of the first rank."""

    def __init__(self, feed: GradientFeed, collector: Collector, ranks: Ranks) -> None:
        self._feed = feed
        self._collector = collector
        self._ranks = ranks
        self._held = torch.zeros(ranks.count, dtype=torch.int64)
        """How many batches of the last read each rank is to hold."""
        self._of = 0
        """The rank that has computed the current batch."""

    def computed(
        self, rows: Int64[Tensor, " n"], size: int, first: GradientBatch, reduction: Reduction
    ) -> Iterator[tuple[GradientBatch, bool]]:
        """What is needed of the batches of these rows, and whether this rank has computed them.

        Args:
            rows: In order.
            size: How many samples are needed; more are computed where some have no gradient.
            first: A sample, for what the batches of all ranks have in common.
            reduction: What is needed.
        """
        read = self._feed.read_size
        while size > 0 and len(rows):
            some, rows = rows.split(
                [expected := min(len(rows), -(-size // read) * read), len(rows) - expected]
            )
            for batch, own in self._reads(some, read, first, reduction):
                size -= len(batch)
                yield batch, own
                del batch

    def _reads(
        self, rows: Int64[Tensor, " n"], read: int, first: GradientBatch, reduction: Reduction
    ) -> Iterator[tuple[GradientBatch, bool]]:
        options: dict[str, Tensor] = {"rows": rows, "read": torch.tensor(read)}
        if reduction.coordinates is not None:
            options |= {"norms": torch.tensor(reduction.norms), "coordinates": reduction.coordinates}
        self._tell(_BEGIN, options)
        own = _by_read(self._feed, self._collector, self._ranks.share(rows, read), read, reduction)
        for _ in range(0, len(rows), read * self._ranks.count):
            mine = next(own, [])  # while the others compute theirs, which they send when told
            self._tell(_NEXT)
            for rank, found in enumerate(self._ranks.gathered({})):
                batches = mine if rank == self._ranks.rank else self._received(found, first)
                self._of = rank
                for batch in batches:
                    yield batch, rank == self._ranks.rank
                    del batch

    def hold(self) -> None:
        """Let the rank that has computed the current batch hold it."""
        self._held[self._of] += 1

    def drop(self) -> None:
        """Let no rank hold any batch."""
        if self._ranks.several:
            self._tell(_DROP)

    def end(self) -> None:
        """The fit has ended."""
        if self._ranks.several:
            self._tell(_END)

    def _tell(self, what: int, options: Mapping[str, Tensor] | None = None) -> None:
        message = {"what": torch.tensor(what), "held": self._held.clone()} | dict(options or {})
        self._ranks.of_first(lambda: message)
        self._held.zero_()

    def _received(self, found: Mapping[str, Tensor], first: GradientBatch) -> list[GradientBatch]:
        """The batches of another rank; samples that it could not read are noted."""
        self._collector.rows.quarantine(dict(of_json(found["unread"])))
        count = int(found["count"])
        return [_unpacked(under(f"{number}/", found), first) for number in range(count)]


def help_to_fit(feed: GradientFeed, collector: Collector, ranks: Ranks) -> list[GradientBatch]:
    """The side of the other ranks; returns the batches that this one holds, to be scored from there."""
    held, last, ahead = list[GradientBatch](), list[GradientBatch](), list[GradientBatch]()
    reads: Iterator[list[GradientBatch]] = iter(())
    told = set[int]()
    while True:
        message = ranks.of_first(dict)
        what = int(message["what"])
        held += last[: int(message["held"][ranks.rank])]
        last = []
        if what == _END:
            return held
        if what == _DROP:
            held.clear()
        elif what == _BEGIN:
            read, reduction = int(message["read"]), _reduction(message, feed)
            reads = _by_read(feed, collector, ranks.share(message["rows"], read), read, reduction)
            ahead = next(reads, [])
        else:
            last = ahead
            unread = [(row, why) for row, why in collector.rows.quarantined.items() if row not in told]
            told |= {row for row, _ in unread}
            ranks.gathered(_packed(last) | {"unread": to_json(unread)})
            ahead = next(reads, [])


def _reduction(message: Mapping[str, Tensor], feed: GradientFeed) -> Reduction:
    if "coordinates" not in message:
        return Reduction(0)
    return Reduction(0, tuple(message["norms"].tolist()), message["coordinates"].clone().to(feed.device))


def _by_read(
    feed: GradientFeed, collector: Collector, rows: Int64[Tensor, " n"], read: int, reduction: Reduction
) -> Iterator[list[GradientBatch]]:
    """What is needed of the batches of each read of some rows."""
    feed.limit(read)
    found, seen = list[GradientBatch](), 0
    for step in feed(rows):
        collector.note(step)
        seen += len(step.batch.rows) + len(step.batch.quarantined)
        if step.gradients is not None:
            found.append(reduction.of(only(step.gradients, finite(step.gradients))))
        del step
        if seen >= read:
            yield found
            found, seen = [], 0
    if seen:
        yield found


def _packed(batches: Sequence[GradientBatch]) -> dict[str, Tensor]:
    """The tensors of some batches, of which the first rank knows the rest."""
    packed = {"count": torch.tensor(len(batches))}
    for number, batch in enumerate(batches):
        fields = {name: getattr(batch, name) for name in _FIELDS}
        one = {name: tensor for name, tensor in fields.items() if tensor is not None}
        part = batch.parts[0]
        if isinstance(part, Kept):
            one |= {"values": part.values} | {f"sums-{order}": found for order, found in part.known.items()}
        packed |= prefixed(f"{number}/", one)
    return packed


def _unpacked(found: Mapping[str, Tensor], first: GradientBatch) -> GradientBatch:
    """A batch like the ``first``, from what ``_packed`` returned; on the same device."""
    device = first.residual.device
    tensors = {name: one.clone().to(device) for name, one in found.items()}
    part: Part = first.parts[0]
    if isinstance(part, Kept):
        known = {order: tensors[f"sums-{order}"] for order in part.known}
        part = replace(part, known=known, values=tensors["values"])
    elif isinstance(part, Outer):
        part = Outer(tensors["features"], tensors["residual"], part.bias)
    else:
        part = Plain(tensors["residual"])
    return replace(
        first,
        rows=found["rows"].clone(),
        labels=tensors["labels"],
        logits=tensors["logits"],
        residual=tensors["residual"],
        features=tensors.get("features"),
        losses=tensors.get("losses"),
        parts=[part],
    )
