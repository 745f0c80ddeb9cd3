"""What the Trainer of transformers and PEFT leave on disk is scanned as it lies there."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ogacli.config import load_config
from ogacli.config.commands import attribute, plan, scan, train
from ogacli.errors import ConfigError, OgaError
from ogacli.run.reports import report
from small_transformers import reviews, write_config, write_network, write_rows, write_tokenizer

pytest.importorskip("transformers")
pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

STEPS = (90, 200, 1000)
"""In the order of text: 1000, 200, 90."""
ROWS = reviews(120)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def learned(module: Any, tokenizer: Any, *, last: int, order: tuple[str, str]) -> Any:
    """Yields the network after each of ``STEPS``, trained on the true classes of ``ROWS``."""
    texts = tokenizer([row["text"] for row in ROWS], padding=True, return_tensors="pt")
    labels = torch.tensor([order.index(row["truth"]) for row in ROWS])
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.01)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for step in range(1, last + 1):
            module.train()
            optimizer.zero_grad()
            module(**texts, labels=labels).loss.backward()
            optimizer.step()
            yield step, module.eval()


def write_run(
    folder: Path, *, adapters: bool = False, order: tuple[str, str] = ("no", "yes"), named: bool = False
) -> None:
    """``base`` and ``out/checkpoint-*``, with files beside the weights as the Trainer writes them."""
    import peft
    import transformers

    base = write_network(folder / "base", "bert", head=2, num_hidden_layers=1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    module = transformers.AutoModelForSequenceClassification.from_pretrained(base)
    if named:
        module.config.id2label = dict(enumerate(order))
        module.config.label2id = {name: i for i, name in enumerate(order)}
        module.save_pretrained(base)
    if adapters:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            lora = peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"])
            module = peft.get_peft_model(module, lora)
    when = dict(zip((1, 3, 40), STEPS, strict=True))
    for step, trained in learned(module, tokenizer, last=40, order=order):
        if step in when:
            out = folder / "out" / f"checkpoint-{when[step]}"
            trained.save_pretrained(out)
            if not adapters:
                tokenizer.save_pretrained(out)
            for name in ("trainer_state.json", "training_args.bin", "optimizer.pt", "README.md"):
                (out / name).write_bytes(b"{}")
    (folder / "out" / "checkpoint-best.txt").write_text("not a folder")


def config(folder: Path, model: dict[str, Any], **sections: Any) -> Path:
    write_rows(folder / "rows.jsonl", ROWS)
    values = {
        "data": {
            "source": "text",
            "path": "rows.jsonl",
            "text": "text",
            "label": "label",
            "truth": "truth",
        },
        "model": {"source": "transformers"} | model,
        "budget": "auto",
        "detector": ["latent_label", "l2"],
        "output": "run",
    }
    return write_config(folder, values, sections)


NETWORKS = {"name": "out/checkpoint-*"}
ADAPTERS = {"name": "base", "adapter": "out/checkpoint-*"}
WEIGHTS = {"name": "base", "checkpoint": "out/checkpoint-*"}


@pytest.mark.parametrize("model", [NETWORKS, ADAPTERS, WEIGHTS])
def test_a_pattern_of_folders_in_the_order_of_their_steps(tmp_path, model):
    write_run(tmp_path, adapters="adapter" in model)
    file = config(tmp_path, model)
    assert plan(load_config(file)).checkpoints == 3
    run = scan(load_config(file))
    names = [one.name.partition("/")[0] for one in run.summary.checkpoints]
    assert names == [f"checkpoint-{step}" for step in STEPS]
    assert run.summary.checkpoints[-1].diagnosis.verdict == "useful"
    assert run.summary.checkpoints[-1].counts
    assert run.summary.diagnosis.verdict == "useful"
    assert run.summary.diagnosis.fit == pytest.approx(5 / 6, abs=0.05)
    assert run.summary.evaluation is not None
    assert run.summary.evaluation["latent_label"].auroc > 0.95
    assert run.summary.flagged >= 10
    found = run.provenance["checkpoints"]
    assert sum(f"checkpoint-{step}" in path for step in STEPS for path in found) == 3
    assert load_config(run.config_file).resolved == run.config


def test_an_early_checkpoint_does_not_empty_the_flags(tmp_path):
    write_run(tmp_path)
    file = config(tmp_path, NETWORKS)
    run = scan(load_config(file))
    verdicts = [one.diagnosis.verdict for one in run.summary.checkpoints]
    assert verdicts[0] == "fresh"
    assert not run.summary.checkpoints[0].counts
    last = f"model.name={tmp_path}/out/checkpoint-1000"
    alone = scan(load_config(file, [last]), output=tmp_path / "alone")
    assert run.summary.flagged >= alone.summary.flagged > 0
    for format in ("html", "md"):
        text = report(run, format)
        assert "checkpoint-90" in text
        assert "fresh" in text


@pytest.mark.parametrize("model", [NETWORKS, ADAPTERS])
def test_attribution_takes_one_of_them(tmp_path, model):
    write_run(tmp_path, adapters="adapter" in model)
    key = "adapter" if "adapter" in model else "name"
    query = {"source": "text", "path": "rows.jsonl", "text": "text", "label": "label", "limit": 5}
    file = config(tmp_path, model, query=query, detector=None, budget=0.05)
    last = tmp_path / "out" / "checkpoint-1000"
    with pytest.raises(ConfigError) as caught:
        attribute(load_config(file))
    assert f"model.{key}: attribution is that of one set of weights" in str(caught.value)
    assert f"name one of them, such as the last, {last}" in str(caught.value)
    for named in (str(last), f"{tmp_path}/out/checkpoint-1*"):
        found = attribute(load_config(file, [f"model.{key}={named}"]), overwrite=True)
        assert found.queries == 5


def test_training_starts_from_one_network(tmp_path):
    write_run(tmp_path)
    file = config(tmp_path, NETWORKS, train={"epochs": 1, "output": "trained"})
    with pytest.raises(ConfigError, match=r"model.name: a training starts from one network") as caught:
        train(load_config(file))
    assert f"name one of them, such as {tmp_path}/out/checkpoint-90" in str(caught.value)
    one = load_config(file, [f"model.name={tmp_path}/out/checkpoint-1000"])
    training = train(one)
    names = [f"model.name={tmp_path}/base", f"model.checkpoint={training.folder}/epoch-*"]
    assert scan(load_config(file, names)).summary.diagnosis.fit > 0.6


def refusal(file: Path, *overrides: str) -> str:
    with pytest.raises(OgaError) as caught:
        scan(load_config(file, overrides))
    return str(caught.value)


def test_folders_that_are_something_else(tmp_path):
    write_run(tmp_path, adapters=True)
    told = refusal(config(tmp_path, NETWORKS))
    assert f"name it as `adapter`, and as `name` the network that it was made for, {tmp_path}/base" in told
    assert "it holds a network: name it as `name`" in refusal(
        config(tmp_path, {"name": "base", "adapter": "base"})
    )
    assert "it holds an adapter: name it as `adapter`" in refusal(config(tmp_path, WEIGHTS))
    assert "no folder has such a name" in refusal(config(tmp_path, {"name": "out/epoch-*"}))
    told = refusal(config(tmp_path, ADAPTERS | {"name": ["base", "base"]}))
    assert "`name` and `adapter` are given, and one of them names several checkpoints" in told
    told = refusal(config(tmp_path, ADAPTERS | {"checkpoint": "x"}))
    assert "`adapter` and `checkpoint` are given" in told


def test_a_tokenizer_beside_the_checkpoints_or_nowhere(tmp_path):
    write_run(tmp_path)
    for step in STEPS:
        for path in (tmp_path / "out" / f"checkpoint-{step}").glob("*token*"):
            path.unlink()
    file = config(tmp_path, NETWORKS)
    assert "name the tokenizer that the network was trained with as `tokenizer`" in refusal(file)
    assert scan(load_config(file, [f"model.tokenizer={tmp_path}/base"])).summary.scored == len(ROWS)
    write_tokenizer(tmp_path / "out")
    assert scan(load_config(file), output=tmp_path / "second").summary.scored == len(ROWS)


@pytest.mark.parametrize("model", [NETWORKS, ADAPTERS, {"name": "out/checkpoint-1000"}])
def test_outputs_without_names_in_another_order(tmp_path, model):
    """The names of the classes are sorted where nothing gives another order, and that is said."""
    write_run(tmp_path, adapters="adapter" in model, order=("yes", "no"))
    file = config(tmp_path, model)
    told = refusal(file)
    assert "outputs are in another order than the classes of the data" in told
    assert "predicts 'no' as 'yes', 'yes' as 'no'" in told
    assert 'add `classes: ["yes", "no"]` to the data section' in told
    run = scan(load_config(file, ['data.classes=["yes", "no"]']))
    assert run.summary.evaluation is not None
    assert run.summary.evaluation["latent_label"].auroc > 0.95
    assert run.summary.class_order == "given"


@pytest.mark.parametrize("adapters", [False, True])
def test_names_of_the_network_below_are_compared(tmp_path, adapters):
    write_run(tmp_path, adapters=adapters, order=("yes", "no"), named=True)
    file = config(tmp_path, ADAPTERS if adapters else NETWORKS)
    told = refusal(file)
    assert "the network's classes are in another order than those of the data" in told
    assert 'add `classes: ["yes", "no"]` to the data section' in told
    run = scan(load_config(file, ['data.classes=["yes", "no"]']))
    assert run.summary.class_order == "model"
    assert run.summary.evaluation is not None
    assert run.summary.evaluation["latent_label"].auroc > 0.95


def test_names_of_a_network_without_a_head(tmp_path):
    """Such as the base of an adapter that brings its own head."""
    write_run(tmp_path, adapters=True, order=("yes", "no"), named=True)
    values = json.loads((tmp_path / "base" / "config.json").read_text())
    values["architectures"] = ["BertModel"]
    (tmp_path / "base" / "config.json").write_text(json.dumps(values))
    assert 'add `classes: ["yes", "no"]`' in refusal(config(tmp_path, ADAPTERS))


def test_a_guess_is_said(tmp_path):
    write_run(tmp_path)
    run = scan(load_config(config(tmp_path, {"name": "out/checkpoint-1000"})))
    assert run.summary.class_order == "sorted"
    for format in ("html", "md"):
        assert "The model does not name its outputs" in report(run, format)
    shutil.rmtree(tmp_path / "out")
