"""A fit that several processes share: which of them computes while another one does."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import torch
from jaxtyping import Int64
from torch import Tensor

from gradient_batches import head_batch
from ogacli.base.documents.json_tensor import to_json
from ogacli.base.processes.ranks import Ranks
from ogacli.scan import shared_fit


class Recorded(Ranks):
    """The first of two ranks; the other one sends nothing."""

    count = 2

    def __init__(self) -> None:
        self.events: list[str] = []

    def of_first(self, make):
        self.events.append(("begin", "send", "drop", "end")[int(make()["what"])])
        return {}

    def gathered(self, own: Mapping[str, Tensor]) -> Sequence[Mapping[str, Tensor]]:
        return [own, {"count": torch.tensor(0), "unread": to_json([])}]


def test_the_first_rank_computes_its_part_before_it_waits_for_the_others(monkeypatch):
    """They compute theirs meanwhile, and send when they are told."""
    ranks = Recorded()
    rows = torch.arange(8)
    batch = head_batch(4)

    def by_read(feed: object, collector: object, own: Int64[Tensor, " n"], *rest: object):
        for _ in own.split(2):
            ranks.events.append("compute")
            yield [batch]

    monkeypatch.setattr(shared_fit, "_by_read", by_read)
    feed = SimpleNamespace(read_size=2)
    collector = SimpleNamespace(rows=SimpleNamespace(quarantine=lambda _: None))
    lead = shared_fit.Lead(feed, collector, ranks)
    list(lead.computed(rows, len(rows), batch, shared_fit.Reduction(0)))
    assert ranks.events == ["begin", "compute", "send", "compute", "send"]
