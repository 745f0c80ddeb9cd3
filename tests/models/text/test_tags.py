"""Taggers: what they learn of a sample, exact gradients, and what a scan finds and shows."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml

from ogacli.config import Config, load_config
from ogacli.config.commands import scan, train
from ogacli.data.labels.label_types import IGNORED
from ogacli.errors import CheckpointError, DataError
from ogacli.gradients.feed import GradientFeed
from ogacli.run.reports import report
from small_transformers import WORDS, sentences, write_config, write_network, write_rows

pytest.importorskip("transformers")
pytest.importorskip("peft")
CPU = torch.device("cpu")


def written(folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Path:
    write_rows(folder / "rows.jsonl", rows)
    values = {
        "data": {"source": "text", "path": "rows.jsonl", "words": "words", "tags": "tags"},
        "model": {"source": "transformers", "task": "token_classification", "name": "network"},
        "gradients": {"layers": "all"},
        "train": {"epochs": 8, "batch_size": 8, "learning_rate": 0.01, "output": "checkpoints"},
        "detector": ["l2", "loss"],
        "budget": 0.1,
        "output": "run",
    }
    return write_config(folder, values, sections)


def tagger(folder: Path, **sections: Any) -> Config:
    write_network(folder / "network", "tagger", head=3)
    return load_config(written(folder, sentences(), **sections))


def test_the_logits_of_a_word_are_those_of_its_first_token(tmp_path: Path) -> None:
    config = tagger(tmp_path)
    samples = config.model.prepare(config.data.open())
    row = next(i for i, one in enumerate(sentences()) if one["words"] == ["ab", "3"])
    inputs = samples.read([row]).inputs
    codes = [4 + WORDS.index(letter) for letter in "ab3"]
    assert inputs["input_ids"].tolist() == [[2, *codes, 3]]
    assert inputs["words"].tolist() == [[2, 4]], "counted from 1"
    network = config.model.open(samples, CPU).module
    longer = samples.read(range(len(samples))).inputs
    with torch.no_grad():
        logits = network(**longer)
        tokens = network.model(longer["input_ids"], longer["attention_mask"], longer["token_type_ids"]).logits
    assert logits.shape == (len(samples), 3, longer["words"].shape[1])
    assert torch.equal(logits[row, :, :2], tokens[row, [1, 3]].T)
    assert (logits[row, :, 2:] == -torch.inf).all(), "after the last word"


def test_a_long_sample_is_cut_and_counted(tmp_path: Path) -> None:
    rows = [{"words": ["abcdef", "3"], "tags": ["O", "NUM"]}, {"words": ["", "3"], "tags": ["O", "NUM"]}]
    write_network(tmp_path / "network", "tagger", head=2)
    config = load_config(written(tmp_path, rows, model={"max_length": 5}))
    samples = config.model.prepare(config.data.open())
    assert samples.read([0, 1]).inputs["words"].tolist() == [[2, 0], [0, 2]]
    assert "cut to 5 tokens" in samples.reader.notes[0]
    assert samples.reader.notes[1] == "1 text has words that the tokenizer makes nothing of"
    samples.read([0, 1])
    assert "1 text was cut" in samples.reader.notes[0], "each is counted once"


def test_words_without_tokens_are_told_as_such(tmp_path: Path) -> None:
    """They are neither cut, nor is a sample without any other words too long."""
    rows = [{"words": ["a", "", "3"], "tags": ["O", "O", "NUM"]}] * 2
    rows += [{"words": ["a", ""], "tags": ["O", "O"]}, {"words": ["", ""], "tags": ["O", "O"]}]
    rows += [{"words": ["", "a", "b", "c"], "tags": ["O"] * 4}, {"words": ["abc", "def"], "tags": ["O"] * 2}]
    write_network(tmp_path / "network", "tagger", head=2)
    config = load_config(written(tmp_path, rows, model={"max_length": 5}))
    samples = config.model.prepare(config.data.open())
    batch = samples.read(range(len(rows)))
    assert batch.quarantined == {3: "the tokenizer makes nothing of the text"}
    assert samples.reader.notes == (
        "1 text was cut to 5 tokens",
        "4 texts have words that the tokenizer makes nothing of",
    )
    longer = load_config(
        written(tmp_path, [{"words": ["", "ab"], "tags": ["O", "O"]}] * 2, model={"max_length": 2})
    )
    failed = longer.model.prepare(longer.data.open()).read([0]).quarantined
    assert failed[0].startswith("no word among the first 2 tokens")


def test_gradients_are_those_of_the_mean_over_the_words(tmp_path: Path) -> None:
    """Against the library's own loss of one sample; padding changes nothing."""
    config = tagger(tmp_path)
    samples = config.model.prepare(config.data.open())
    model = config.model.open(samples, CPU)
    feed = GradientFeed(samples, model, config.loss, config.gradients, device=CPU)
    rows = torch.arange(len(samples))
    found = torch.cat([batch.dense() for batch in feed.finite(rows, {})])
    exact = copy.deepcopy(model.module.model).requires_grad_(True)
    parameters = list(exact.parameters())
    for row in range(0, len(samples), 5):
        inputs = dict(samples.read([row]).inputs)
        targets = torch.full_like(inputs["input_ids"], IGNORED)
        words = inputs.pop("words")[0]
        targets[0, words - 1] = samples.labels[row, : len(words)].long()
        loss = exact(labels=targets, **inputs).loss
        own = torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)])
        torch.testing.assert_close(found[row], own, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lora", [None, {"rank": 2, "target": ["query", "value"]}])
def test_wrong_tags_are_found(tmp_path: Path, lora: Any) -> None:
    """From a bare encoder to a report: words of digits are numbers, but for some that are not so tagged."""
    write_network(tmp_path / "network", "bert")
    rows = sentences(60)
    wrong = [3, 17, 40]
    for row in rows:
        row["true"] = row["tags"]
    for row in wrong:
        rows[row]["tags"] = ["O" if tag == "NUM" else "NUM" for tag in rows[row]["tags"]]
    layers = ["lora", "*classifier*"] if lora else "all"
    data = {"truth": "true"}
    file = written(tmp_path, rows, data=data, model={"lora": lora}, gradients={"layers": layers})
    training = train(load_config(file))
    assert training.epochs[-1].loss < 0.7 * training.epochs[0].loss
    overrides = [f"model.checkpoint={training.checkpoints[-1]}", "budget=3"]
    run = scan(load_config(file, overrides))
    flagged = run.scores.filter(run.scores["flagged"])["id"].to_pylist()
    assert sorted(map(int, flagged)) == wrong
    assert run.summary.evaluation is not None
    assert (run.summary.evaluation["l2"].wrong, run.summary.evaluation["l2"].f1_at_budget) == (3, 1)
    assert [row for row, one in enumerate(run.scores["wrong"].to_pylist()) if one] == wrong
    assert run.scores["label"][0].as_py() == rows[0]["tags"]
    looks = {row["position"]: row for row in run.previews.to_pylist()}
    assert {look["kind"] for look in looks.values()} == {"tokens"}
    parts = json.loads(looks[3]["content"])
    assert "".join(text for text, _ in parts).split() == [
        word if tag == "O" else f"{word}[{tag}]"
        for word, tag in zip(rows[3]["words"], rows[3]["tags"], strict=True)
    ]
    loss = run.scores["score_loss"][3].as_py()
    assert sum(share for _, share in parts) == pytest.approx(loss, rel=1e-4)
    page = report(run, "html")
    assert re.search(r'"parts":\[.*?,5\]', page)
    assert "The darker a part of a text" in page


def test_tags_in_another_order_than_the_network_has_them(tmp_path: Path) -> None:
    write_network(tmp_path / "network", "tagger", head=3)
    file = tmp_path / "network" / "config.json"
    values = json.loads(file.read_text())
    values["id2label"] = {"0": "O", "1": "PUNCT", "2": "NUM"}
    values["label2id"] = {"O": 0, "PUNCT": 1, "NUM": 2}
    file.write_text(json.dumps(values))
    config = load_config(written(tmp_path, sentences()))
    assert set(config.data.open().classes) == {"O", "NUM"}, "one of the network's tags does not occur"
    with pytest.raises(CheckpointError, match="another order") as caught:
        scan(config)
    assert '"O", "PUNCT", "NUM"' in str(caught.value)
    given = load_config(file.parent.parent / "config.yaml", ['data.classes=["O", "PUNCT", "NUM"]'])
    assert scan(given).summary.samples == len(sentences())


def test_texts_where_words_are_expected_and_the_other_way_round(tmp_path: Path) -> None:
    tagger(tmp_path)
    texts = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    write_rows(tmp_path / "texts.jsonl", texts)
    plain = load_config(
        written(
            tmp_path,
            sentences(),
            data={"path": "texts.jsonl", "words": None, "tags": None} | {"text": "text", "label": "label"},
        )
    )
    with pytest.raises(DataError, match="`words` and `tags`"):
        scan(plain)
    write_network(tmp_path / "classifier", "bert", head=2)
    model = {"name": "classifier", "task": "classification"}
    with pytest.raises(DataError, match="pairs of texts"):
        scan(load_config(written(tmp_path, sentences(), model=model, loss="bce_with_logits")))


def test_parts_of_a_language_model_add_up_to_its_loss(tmp_path: Path) -> None:
    write_network(tmp_path / "network", "gpt2")
    rows = [{"prompt": "add 1 2:", "answer": " 3"}, {"prompt": "", "answer": "0123"}]
    write_rows(tmp_path / "rows.jsonl", rows)
    values = {
        "data": {"source": "text", "path": "rows.jsonl", "prompt": "prompt", "completion": "answer"},
        "model": {"source": "transformers", "task": "causal_lm", "name": "network"},
        "gradients": {"layers": "all"},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    for end in (True, False):
        config = load_config(tmp_path / "c.yaml", [f"model.end={str(end).lower()}"])
        samples = config.model.prepare(config.data.open())
        model = config.model.open(samples, CPU)
        for row, given in enumerate(rows):
            parts = json.loads(config.loss.preview(model, samples, row, CPU).content)
            text = given["prompt"] + given["answer"]
            assert "".join(part for part, _ in parts) == text + ("</s>" if end else "")
            inputs = samples.read([row]).inputs
            logits = model.module.model(inputs["input_ids"]).logits[0, :-1]
            exact = F.cross_entropy(logits, inputs["targets"][0, 1:], ignore_index=IGNORED)
            assert sum(share for _, share in parts) == pytest.approx(exact.item(), rel=1e-4)
            assert parts[0] == ([given["prompt"], 0.0] if row == 0 else ["0", 0.0])


def test_long_idle_parts_are_cut(tmp_path: Path) -> None:
    from ogacli.models.tasks.tokens import shortened

    parts = [("word ", 0.0)] * 100 + [("learned ", 0.25)] * 1000
    found = list(shortened(parts))
    assert "…" in found[0][0]
    assert len(found[0][0]) <= 140
    assert set(found[1:]) == {("learned ", 0.25)}
    assert 1900 < sum(len(text) for text, _ in found) < 2200
