"""Sentences with tags of which some are wrong, a small network that tags them, and a run on rows of words."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ogacli.config import load_config
from ogacli.config.commands import scan, train
from ogacli.data.labels.label_types import IGNORED
from ogacli.run.directory import Run
from small_transformers import sentences as right_sentences
from small_transformers import write_config, write_network, write_rows

CLASSES = ["B-PER", "I-PER", "O"]


class Tagger(nn.Module):
    """Knows a word by its code, and its neighbour before it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.layer = nn.Linear(16, 3)

    def forward(self, codes: Tensor) -> Tensor:
        found = self.embedding(codes)
        before = torch.cat([torch.zeros_like(found[:, :1]), found[:, :-1]], 1)
        logits: Tensor = self.layer(torch.cat([found, before], 2))
        return logits.transpose(1, 2)


def sentences(n: int = 240) -> tuple[Tensor, Tensor, Tensor]:
    """Codes of words, right tags, and tags of which some are wrong; names are 1 and 2, and then 3."""
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(4, 12, (n, 7), generator=generator)
    tags = torch.full((n, 7), 2)
    for row in range(n):
        place = int(torch.randint(5, (1,), generator=generator))
        codes[row, place], tags[row, place] = 1 + row % 2, 0
        if row % 3:
            codes[row, place + 1], tags[row, place + 1] = 3, 1
    length = 4 + torch.arange(n) % 4
    tags[torch.arange(7) >= length[:, None]] = IGNORED
    given = tags.clone()
    given[::12, 0] = torch.where(tags[::12, 0] == 0, 2, 0)
    given[5, :3], tags[5, :3], codes[5, :3] = torch.tensor([2, 1, 2]), 2, 5  # a stray inside tag
    return codes, tags, given


def trained(codes: Tensor, tags: Tensor) -> Tagger:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Tagger()
        optimizer = torch.optim.Adam(network.parameters(), 0.05)
        for _ in range(60):
            loss = nn.functional.cross_entropy(network(codes), tags, ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


def tagged_rows(folder: Path) -> tuple[Run, list[Any], list[Any]]:
    """A run of 60 sentences of which 3, 17 and 42 have a wrong tag; their rows, and the right rows."""
    pytest.importorskip("transformers")
    right = right_sentences(60)
    rows = [{"words": row["words"], "tags": list(row["tags"])} for row in right]
    for row in (3, 17, 42):
        rows[row]["tags"][0] = "O" if rows[row]["tags"][0] == "NUM" else "NUM"
    write_rows(folder / "rows.jsonl", rows)
    write_network(folder / "network", "bert")
    values = {
        "data": {"source": "text", "path": "rows.jsonl", "words": "words", "tags": "tags"},
        "model": {"source": "transformers", "task": "token_classification", "name": "network"},
        "gradients": {"layers": ["*classifier*"]},
        "train": {"epochs": 8, "batch_size": 8, "learning_rate": 0.01, "output": "checkpoints"},
        "budget": "auto",
        "output": "run",
    }
    file = write_config(folder, values, {})
    training = train(load_config(file))
    return scan(load_config(file, [f"model.checkpoint={training.checkpoints[-1]}"])), rows, right
