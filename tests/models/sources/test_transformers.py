"""Networks of transformers: padding changes nothing, gradients are exact, and bad folders are told."""

import copy
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from ogacli.base.seeding import seeded
from ogacli.config import Config, load_config
from ogacli.config.commands import scan, train
from ogacli.data import Samples
from ogacli.errors import CheckpointError, ConfigError, OgaError
from ogacli.gradients.feed import GradientFeed
from ogacli.models import Network
from small_transformers import (
    LANGUAGE_MODELS,
    reviews,
    sums,
    write_config,
    write_network,
    write_rows,
    write_tokenizer,
)

pytest.importorskip("transformers")
pytest.importorskip("peft")

LORA = {"rank": 2, "target": ["query", "value"]}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def written(folder: Path, network: str, **sections: Any) -> Path:
    """A config for a classifier or for a language model."""
    if network in LANGUAGE_MODELS:
        write_rows(folder / "rows.jsonl", sums())
        data = {"prompt": "prompt", "completion": "answer", "label": "kind"}
        gradients = {"layers": "all"}
    else:
        write_rows(folder / "rows.jsonl", reviews())
        data = {"text": "text", "label": "label", "truth": "truth"}
        gradients = {"layers": "head"}
    values = {
        "data": {"source": "text", "path": "rows.jsonl"} | data,
        "model": {"source": "transformers", "name": "network"}
        | ({"task": "causal_lm"} if network in LANGUAGE_MODELS else {}),
        "train": {"epochs": 1, "batch_size": 8, "output": "checkpoints"},
        "gradients": gradients,
        "detector": ["l2", "loss"],
        "budget": 0.1,
        "output": "run",
    }
    return write_config(folder, values, sections)


def opened(config: Config) -> tuple[Samples, Network]:
    samples = config.model.prepare(config.data.open())
    with seeded(0, torch.device("cpu")):
        return samples, config.model.load(samples)


def gradients(config: Config, size: int) -> torch.Tensor:
    """All per-sample gradients, computed ``size`` samples at a time."""
    samples, model = opened(config)
    options = config.gradients.model_copy(update={"batch_size": size})
    feed = GradientFeed(samples, model, config.loss, options, device=torch.device("cpu"))
    batches = feed.finite(torch.arange(len(samples)), {})
    found = torch.cat([batch.dense() for batch in batches])
    assert not [note for note in feed.notes if "sample by sample" in note]
    return found


@pytest.mark.parametrize("network", ["bert", "roberta", "gpt2", "llama"])
def test_padding_changes_nothing(tmp_path, network):
    """And all parameters are covered by rules."""
    write_network(tmp_path / "network", network, head=2 if network == "bert" else None)
    config = load_config(written(tmp_path, network), ["gradients.layers=all"])
    padded, alone = gradients(config, 24), gradients(config, 1)
    scale = alone.abs().amax(1, keepdim=True)
    assert (scale > 0).all()
    torch.testing.assert_close(padded / scale, alone / scale, rtol=1e-4, atol=1e-4)


def test_padding_changes_nothing_for_a_classifier_that_reads_the_last_token(tmp_path):
    write_network(tmp_path / "network", "gpt2", head=2)
    config = load_config(written(tmp_path, "bert"), ["gradients.layers=all"])
    torch.testing.assert_close(gradients(config, 24), gradients(config, 1), rtol=1e-4, atol=1e-5)


def test_the_gradient_of_a_language_model_is_that_of_its_own_loss(tmp_path):
    """Against the library's loss of one sample and one backward pass."""
    write_network(tmp_path / "network", "gpt2")
    config = load_config(written(tmp_path, "gpt2"))
    samples, model = opened(config)
    found = gradients(config, 24)
    exact = copy.deepcopy(model.module.model).requires_grad_(True)
    parameters = list(exact.parameters())
    for row in (0, 5, 23):
        inputs = samples.read([row]).inputs
        loss = exact(input_ids=inputs["input_ids"], labels=inputs["targets"]).loss
        own = torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)])
        torch.testing.assert_close(found[row], own, rtol=1e-4, atol=1e-6)


def test_the_score_of_loss_is_the_mean_over_the_completion(tmp_path):
    write_network(tmp_path / "network", "gpt2")
    run = scan(load_config(written(tmp_path, "gpt2")))
    config = load_config(tmp_path / "config.yaml")
    samples, model = opened(config)
    exact = model.module.model
    for row in (0, 7):
        inputs = samples.read([row]).inputs
        loss = exact(input_ids=inputs["input_ids"], labels=inputs["targets"]).loss.item()
        assert run.scores["score_loss"][row].as_py() == pytest.approx(loss, rel=1e-4)
    assert load_config(run.config_file).resolved == run.config
    assert run.config["loss"]["name"] == "output"


@pytest.mark.parametrize("network", ["bert", "gpt2"])
def test_training_adapters_and_scanning_them(tmp_path, network):
    """Checkpoints hold adapters and head alone; all of them are what ``layers: lora`` and ``head`` select."""
    from safetensors.torch import load_file

    write_network(tmp_path / "network", network)
    lora = LORA if network == "bert" else {"rank": 2}
    file = written(tmp_path, network, model={"lora": lora}, train={"epochs": 2, "learning_rate": 0.05})
    training = train(load_config(file))
    assert training.epochs[1].loss < training.epochs[0].loss
    weights = load_file(training.checkpoints[-1])
    head = {"classifier.weight", "classifier.bias"} if network == "bert" else set()
    assert {name for name in weights if "lora_" not in name} == head
    layers = ["lora", "head"] if network == "bert" else ["lora"]
    overrides = [f"model.checkpoint={training.checkpoints[-1]}", f"gradients.layers={json.dumps(layers)}"]
    run = scan(load_config(file, overrides))
    assert set(run.summary.layers) == set(weights)
    assert run.summary.parameters == sum(tensor.numel() for tensor in weights.values())
    assert run.summary.quarantined == 0
    assert set(run.provenance["checkpoints"]) >= {str(training.checkpoints[-1])}
    assert any(name.endswith("network/model.safetensors") for name in run.provenance["checkpoints"])


def test_one_seed_is_one_training(tmp_path):
    write_network(tmp_path / "network", "bert")
    file = written(tmp_path, "bert", model={"lora": LORA})
    one, two = (
        train(load_config(file, [f"train.output={tmp_path / name}"])).checkpoints[0].read_bytes()
        for name in ("one", "two")
    )
    assert one == two


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of PEFT's own calls, in the lines of this test
def test_an_adapter_that_peft_wrote(tmp_path):
    """The logits are those of PEFT's own model; its parameters are what ``lora`` selects."""
    import peft
    import transformers

    write_network(tmp_path / "network", "bert")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        base = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "network")
        config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"], init_lora_weights=False)
        adapted = peft.get_peft_model(base, config).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    file = written(tmp_path, "bert", model={"adapter": "adapter"}, gradients={"layers": "lora"})
    samples, model = opened(load_config(file))
    batch = samples.read(range(5))
    with torch.no_grad():
        expected = adapted(**batch.inputs).logits
        torch.testing.assert_close(model.module(**batch.inputs).logits, expected)
    run = scan(load_config(file))
    assert run.summary.parameters == sum(p.numel() for n, p in adapted.named_parameters() if "lora_" in n)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_for_another_network(tmp_path):
    import peft
    import transformers

    write_network(tmp_path / "wide", "bert", head=2, hidden_size=32)
    base = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "wide")
    with torch.random.fork_rng(devices=[]):
        adapted = peft.get_peft_model(
            base, peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"])
        )
    adapted.save_pretrained(tmp_path / "adapter")
    for kind in ("bert", "gpt2"):
        write_network(tmp_path / "network", kind, head=2)
        with pytest.raises(CheckpointError, match="adapter does not fit the network") as caught:
            opened(load_config(written(tmp_path, "bert", model={"adapter": "adapter"})))
        assert f"it was made for {tmp_path / 'wide'}" in str(caught.value)


def test_a_folder_without_an_adapter(tmp_path):
    write_network(tmp_path / "network", "bert", head=2)
    with pytest.raises(CheckpointError, match="no adapter in this folder"):
        opened(load_config(written(tmp_path, "bert", model={"adapter": "network"})))


def test_a_checkpoint_of_other_adapters(tmp_path):
    write_network(tmp_path / "network", "bert")
    file = written(tmp_path, "bert", model={"lora": LORA})
    overrides = [f"model.checkpoint={train(load_config(file)).checkpoints[0]}", "model.lora.rank=3"]
    with pytest.raises(
        CheckpointError, match=r"8 of another shape: .*lora_A.default.weight \[2, 16\], not \[3, 16\]"
    ):
        opened(load_config(file, overrides))


def message(error: type[OgaError], file: Path, *overrides: str) -> str:
    with pytest.raises(error) as caught:
        opened(load_config(file, overrides))
    return str(caught.value)


def test_a_head_that_was_never_trained(tmp_path):
    write_network(tmp_path / "network", "bert")
    file = written(tmp_path, "bert")
    assert "the model has a new head and no checkpoint" in message(CheckpointError, file)
    assert "the model has new adapters and no checkpoint" in message(
        CheckpointError, file, "model.lora={rank: 2}"
    )


def test_no_such_folder_and_no_network(tmp_path):
    write_network(tmp_path / "network", "bert", head=2)
    file = written(tmp_path, "bert")
    told = message(ConfigError, file, "model.name=someone/something")
    assert told.startswith("model.name someone/something: no such network within reach")
    assert "download it elsewhere and name its folder" in told
    (tmp_path / "empty").mkdir()
    assert "of transformers in this folder" in message(ConfigError, file, f"model.name={tmp_path / 'empty'}")
    assert f"model.name {tmp_path / 'nowhere'}" in message(
        ConfigError, file, f"model.name={tmp_path / 'nowhere'}"
    )


EVIL = """
from pathlib import Path
Path({marker!r}).touch()
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer
class Config(BertConfig):
    model_type = "evil"
class Network(BertForSequenceClassification):
    config_class = Config
class Words(BertTokenizer):
    pass
"""


def asking(folder: Path, file: str, **keys: Any) -> None:
    """A network whose file ``file`` has these keys, and the code that some of them ask for."""
    write_network(folder, "bert", head=2)
    (folder / "evil.py").write_text(EVIL.format(marker=str(folder.parent / "ran")))
    values = json.loads((folder / file).read_text()) if (folder / file).is_file() else {}
    (folder / file).write_text(json.dumps(values | keys))


OWN_CONFIG = {
    "model_type": "evil",
    "auto_map": {
        "AutoConfig": "evil.Config",
        "AutoModelForSequenceClassification": "evil.Network",
    },
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The questions on stdin, each answered with yes."""
    questions: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question="": questions.append(question) or "y")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    return questions


@pytest.mark.parametrize(
    ("file", "keys", "told"),
    [
        ("config.json", OWN_CONFIG, "`auto_map`"),
        ("config.json", {"auto_map": OWN_CONFIG["auto_map"]}, "`auto_map`"),
        ("config.json", {"text_config": {"auto_map": {"AutoConfig": "evil.Config"}}}, "`auto_map`"),
        ("config.json", {"attn_implementation": "someone/kernel"}, "`attn_implementation`"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Words", None]}}, "`auto_map`"),
    ],
)
def test_code_that_comes_with_a_network_is_not_run(tmp_path, asked, file, keys, told):
    asking(tmp_path / "network", file, **keys)
    said = message(CheckpointError, written(tmp_path, "bert"))
    assert said.startswith(f"{tmp_path / 'network' / file}: it needs Python code")
    assert f"found: {told}" in said
    assert "set `trust: true` in the model section if you trust the author" in said
    assert not asked
    assert not (tmp_path / "ran").exists()


def test_code_of_the_network_below_an_adapter_is_not_run(tmp_path, asked):
    asking(tmp_path / "below", "config.json", **OWN_CONFIG)
    write_network(tmp_path / "network", "bert", head=2)
    adapter = {"peft_type": "LORA", "base_model_name_or_path": str(tmp_path / "below")}
    (tmp_path / "network" / "adapter_config.json").write_text(json.dumps(adapter))
    assert f"{tmp_path / 'below' / 'config.json'}: it needs" in message(
        CheckpointError, written(tmp_path, "bert")
    )
    assert not asked
    assert not (tmp_path / "ran").exists()


def test_a_module_that_an_adapter_names_is_not_imported(tmp_path, monkeypatch):
    write_network(tmp_path / "network", "bert", head=2)
    adapter = {
        "peft_type": "LORA",
        "r": 2,
        "target_modules": ["query"],
        "megatron_config": {"x": 1},
        "megatron_core": "evil",
    }
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(adapter))
    said = message(CheckpointError, written(tmp_path, "bert", model={"adapter": "adapter"}))
    assert said.startswith(f"{tmp_path / 'adapter' / 'adapter_config.json'}: it needs Python code")
    assert '`megatron_core`: "evil"' in said


def test_code_of_a_network_on_the_hub_is_not_run(tmp_path, asked, monkeypatch):
    """The library finds what a name stands for; here it is told of a folder behind our back."""
    import transformers

    asking(tmp_path / "network", "config.json", **OWN_CONFIG)
    load = transformers.AutoConfig.from_pretrained
    monkeypatch.setattr(
        transformers.AutoConfig, "from_pretrained", lambda name, **how: load(tmp_path / "network", **how)
    )
    said = message(CheckpointError, written(tmp_path, "bert"), "model.name=someone/something")
    assert said.startswith("model.name someone/something: it needs Python code")
    assert not asked
    assert not (tmp_path / "ran").exists()


def test_code_of_a_network_is_run_where_it_is_trusted(tmp_path, asked):
    asking(tmp_path / "network", "config.json", **OWN_CONFIG)
    _, model = opened(load_config(written(tmp_path, "bert", model={"trust": True})))
    assert type(model.module).__name__ == "Network"
    assert (tmp_path / "ran").exists()
    assert not asked


def test_a_tokenizer_of_another_network(tmp_path):
    write_network(tmp_path / "network", "bert", head=2)
    write_tokenizer(tmp_path / "large", [chr(i) for i in range(300, 900)])
    told = message(CheckpointError, written(tmp_path, "bert"), f"model.tokenizer={tmp_path / 'large'}")
    assert "the tokenizer has tokens that the network lacks" in told
    assert "found: token 603" in told
    write_tokenizer(tmp_path / "small", [])
    told = message(CheckpointError, written(tmp_path, "bert"), f"model.tokenizer={tmp_path / 'small'}")
    assert "far fewer tokens than the network" in told


def test_a_task_that_the_folder_was_not_trained_for(tmp_path):
    write_network(tmp_path / "network", "bert", head=2)
    told = message(CheckpointError, written(tmp_path, "gpt2"))
    assert "the folder lacks weights of the network" in told
    assert "cls.predictions" in told


def test_more_classes_than_outputs(tmp_path):
    write_network(tmp_path / "network", "bert", head=2)
    file = written(tmp_path, "bert")
    rows = [*reviews(), {"text": "neither", "label": "neutral", "truth": "no"}]
    write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(OgaError, match="more classes in the data than the model has outputs"):
        scan(load_config(file))


def test_classes_in_another_order(tmp_path):
    write_network(tmp_path / "network", "bert", head=2)
    config = json.loads((tmp_path / "network" / "config.json").read_text())
    config["id2label"] = {"0": "YES", "1": "NO"}
    (tmp_path / "network" / "config.json").write_text(json.dumps(config))
    file = written(tmp_path, "bert")
    assert 'add `classes: ["yes", "no"]` to the data section' in message(CheckpointError, file)
    opened(load_config(file, ['data.classes=["yes", "no"]']))


def test_layers_that_adapters_do_not_fit(tmp_path):
    write_network(tmp_path / "network", "bert")
    told = message(
        ConfigError, written(tmp_path, "bert", model={"checkpoint": "x"}), "model.lora={target: [q_proj]}"
    )
    assert "adapters cannot be put into these layers" in told
    assert "query, key, value" in told


def test_a_language_model_takes_no_other_loss_and_has_no_head(tmp_path):
    write_network(tmp_path / "network", "gpt2")
    file = written(tmp_path, "gpt2", loss={"name": "mse"}, gradients={"layers": "head"})
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert "loss: this model returns its loss\n  found: mse" in str(caught.value)
    assert "gradients.layers: a model that returns its loss has no head" in str(caught.value)


def test_adapters_old_and_new(tmp_path):
    write_network(tmp_path / "network", "bert")
    with pytest.raises(ConfigError, match="`lora` makes new adapters and `adapter` loads some"):
        load_config(written(tmp_path, "bert", model={"adapter": "x", "lora": LORA}))


def test_cut_texts_are_reported(tmp_path):
    write_network(tmp_path / "network", "bert", head=2)
    run = scan(load_config(written(tmp_path, "bert", model={"max_length": 8})))
    assert run.provenance["notes"] == ["22 texts were cut to 8 tokens"]


def test_longer_texts_come_fewer_at_a_time(tmp_path, monkeypatch):
    """The first texts decide how many fit in memory; those behind them may be longer."""
    write_network(tmp_path / "network", "bert", head=2)
    file = written(tmp_path, "bert", gradients={"layers": "all"})
    rows = [{"text": "a" * (2 if i < 8 else 30), "label": "yes", "truth": "no"} for i in range(24)]
    write_rows(tmp_path / "rows.jsonl", [*rows, {"text": "b", "label": "no", "truth": "no"}])
    config = load_config(file)
    samples, model = opened(config)
    feed = GradientFeed(samples, model, config.loss, config.gradients, device=torch.device("cpu"))
    taken = feed.gradients(samples.read(range(4))).nbytes // 4
    monkeypatch.setattr(import_module("ogacli.gradients.batch_size"), "_FACTOR_BYTES", 8 * taken)
    sizes = [len(batch) for batch in feed.finite(torch.arange(len(samples)), {})]
    assert sizes == [8, *[1] * 16, 1]
