"""Scans of taggers: issues by word, entities, and what is decided for sentences."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import ogacli
from ogacli.config import load_config
from ogacli.config.commands import scan
from ogacli.data.labels.label_types import IGNORED
from ogacli.errors import ConfigError, DataError, GradientError
from ogacli.run.trim import trim
from small_tags import CLASSES, sentences, tagged_rows, trained
from small_transformers import write_config, write_network, write_rows


def test_an_own_network_tags_words(tmp_path: Path) -> None:
    codes, tags, given = sentences()
    samples = ogacli.Samples.of(codes.numpy(), labels=given.numpy(), classes=CLASSES, truth=tags.numpy())
    result = ogacli.scan(
        samples, trained(codes, tags), loss="word_cross_entropy", layers="layer.*", budget="auto"
    )
    run = result.save(tmp_path / "run")
    bad = (given != tags).any(1)
    assert run.summary.detectors[0] == "latent_tags"
    assert run.summary.evaluation is not None
    assert run.summary.evaluation["latent_tags"].f1_at_budget > 0.9
    assert run.summary.flagged == pytest.approx(int(bad.sum()), abs=3)
    issues = pq.read_table(tmp_path / "run" / "issues.parquet").to_pylist()
    first = {(int(row["id"]), row["index"]): row for row in issues if row["probability"] > 0.5}
    wrong = {(row, word) for row, word in (given != tags).nonzero().tolist()}
    assert wrong <= first.keys()
    assert first[12, 0]["suggested"] == CLASSES[int(tags[12, 0])]
    assert first[12, 0]["cell"] == "word 0"
    assert (first[5, 1]["reason"], first[5, 1]["given"]) == ("stray inside tag", "I-PER")
    assert {row["reason"] for key, row in first.items() if key[0] == 12} == {"wrong tag"}
    (entity,) = run.summary.entities
    assert entity.name == "PER"
    assert entity.doubted + entity.missing >= len(wrong)
    assert run.scores["label"][0].as_py() == [CLASSES[tag] for tag in given[0].tolist() if tag != IGNORED]
    assert run.scores["suggested_label"][12].as_py() == [
        CLASSES[tag] for tag in tags[12].tolist() if tag != IGNORED
    ]


def test_gradients_are_those_of_one_sentence_alone() -> None:
    codes, tags, given = sentences(12)
    network = trained(codes, tags)
    samples = ogacli.Samples.of(codes.numpy(), labels=given.numpy(), classes=CLASSES)
    batches = ogacli.gradients(samples, network, loss="word_cross_entropy", layers="all", batch_size=5)
    found = torch.cat([batch.dense() for batch in batches])
    parameters = list(network.requires_grad_(True).parameters())
    for row in range(12):
        known = given[row] != IGNORED
        loss = nn.functional.cross_entropy(network(codes[row : row + 1])[0].T[known], given[row][known])
        exact = torch.cat([one.flatten() for one in torch.autograd.grad(loss, parameters)])
        torch.testing.assert_close(found[row], exact, rtol=1e-4, atol=1e-6)


def test_a_network_that_does_not_tag_words() -> None:
    codes, _, given = sentences(12)
    samples = ogacli.Samples.of(codes.numpy(), labels=given.numpy(), classes=CLASSES)
    flat = nn.Sequential(nn.Embedding(12, 3), nn.Flatten(), nn.Linear(21, 3))
    with pytest.raises(GradientError, match="a tag a word and logits for each word"):
        ogacli.scan(samples, flat, loss="word_cross_entropy", layers="all")
    with pytest.raises(DataError, match="label out of range"):
        ogacli.Samples.of(codes.numpy(), labels=given.clamp_min(-3).numpy(), classes=CLASSES)


def written(folder: Path, **sections: Any) -> Path:
    rows = [{"words": ["ab", "3", "cd"], "tags": ["O", "NUM", "O"]}] * 8
    rows[3] = {"words": ["ab", "3", "cd"], "tags": ["O", "O"]}
    write_rows(folder / "rows.jsonl", rows)
    write_network(folder / "network", "tagger", head=2)
    values = {
        "data": {"source": "text", "path": "rows.jsonl", "words": "words", "tags": "tags"},
        "model": {"source": "transformers", "task": "token_classification", "name": "network"},
        "gradients": {"layers": "all"},
        "output": "run",
    }
    return write_config(folder, values, sections)


def test_words_without_a_tag_quarantine_their_sentence(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    run = scan(load_config(written(tmp_path)))
    assert run.summary.quarantined == 1
    assert run.scores["reason"][3].as_py() == "3 words and 2 tags"
    issues = pq.read_table(tmp_path / "run" / "issues.parquet")
    assert issues["id"].to_pylist().count("3") == 0
    assert {row["cell"] for row in issues.to_pylist()} == {"ab", "3", "cd"}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"loss": "output"}, "returns logits for each word[\\s\\S]*word_cross_entropy"),
        ({"gradients": {"layers": "head"}}, "a model that returns logits for each word has no head"),
    ],
)
def test_what_does_not_fit_a_tagger(tmp_path: Path, sections: dict[str, Any], message: str) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ConfigError, match=message):
        load_config(written(tmp_path, **sections))


def test_wrong_tags_are_replaced_in_the_rows(tmp_path: Path) -> None:
    """By ``relabel``, and by a person for one word."""
    run, rows, right = tagged_rows(tmp_path)
    flagged = run.scores.filter(run.scores["flagged"])["position"].to_pylist()
    assert sorted(flagged) == [3, 17, 42]
    trim(run, tmp_path / "clean.jsonl", relabel=True)
    clean = [json.loads(line) for line in (tmp_path / "clean.jsonl").read_text().splitlines()]
    assert [row["tags"] for row in clean] == [row["tags"] for row in right]
    own = [*rows[3]["tags"]]
    own[1] = "NUM" if own[1] == "O" else "O"
    decided = {"schema_version": 1, "run": "", "decisions": [{"id": "3", "action": "relabel", "label": own}]}
    (tmp_path / "decisions.json").write_text(json.dumps(decided))
    trim(run, tmp_path / "mine.jsonl", decisions=tmp_path / "decisions.json")
    mine = [json.loads(line) for line in (tmp_path / "mine.jsonl").read_text().splitlines()]
    assert own in [row["tags"] for row in mine if row["words"] == rows[3]["words"]]
    decided["decisions"][0]["label"] = own[:-1]
    decided["decisions"].append({"id": "4", "action": "relabel", "label": "NUMBER"})
    (tmp_path / "short.json").write_text(json.dumps(decided))
    short = f"'3': another number of new tags than of words[\\s\\S]*found: {len(own) - 1} tags"
    with pytest.raises(
        DataError, match=short + f"[\\s\\S]*{len(own)}, one for each word[\\s\\S]*'4': unknown class"
    ):
        trim(run, tmp_path / "short.jsonl", decisions=tmp_path / "short.json")
    assert not (tmp_path / "short.jsonl").exists()
