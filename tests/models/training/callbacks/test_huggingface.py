"""With the Trainer of transformers: train, and type the command that was printed."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from command_line import oga
from ogacli.errors import ConfigError, RunError
from ogacli.models.checkpoints import read_weights, trained_classes
from small_transformers import reviews, write_network, write_rows

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries

CLASSES = ["no", "yes"]


def trained(folder: Path, epochs: int = 2, **options: Any) -> tuple[Any, str]:
    from ogacli.models.training.callbacks.huggingface import ScanCallback

    sizes = {"id2label": dict(enumerate(CLASSES)), "label2id": {name: i for i, name in enumerate(CLASSES)}}
    write_network(folder / "start", "bert", head=2, **sizes)
    rows = reviews()
    write_rows(folder / "rows.jsonl", rows)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder / "start")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "start")
    data = [
        {**tokenizer(row["text"], truncation=True, max_length=40), "label": CLASSES.index(row["label"])}
        for row in rows
    ]
    args = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"),
        num_train_epochs=epochs,
        per_device_train_batch_size=8,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
    )
    trainer = transformers.Trainer(
        model,
        args,
        train_dataset=data,
        processing_class=tokenizer,
        callbacks=[ScanCallback(folder / "epochs", folder / "oga.yaml", **options)],
    )
    trainer.train()
    return trainer, str(folder / "epochs")


def test_the_printed_command_scans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer, folder = trained(tmp_path)
    names = sorted(path.name for path in Path(folder).iterdir())
    assert names == ["epoch-001.safetensors", "epoch-002.safetensors", "network"]
    last = read_weights(f"{folder}/epoch-002.safetensors")
    own = trainer.model.state_dict()
    assert all(torch.equal(last[name], own[name]) for name in own)
    assert trained_classes(f"{folder}/epoch-001.safetensors") == tuple(CLASSES)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next: ")]
    config = {
        "data": {"source": "text", "path": "rows.jsonl", "text": "text", "label": "label"},
        "model": {"source": "transformers", "name": "start"},
        "detector": "l2",
        "output": "run",
    }
    (tmp_path / "oga.yaml").write_text(json.dumps(config))
    program, *arguments = shlex.split(line.removeprefix("next: "))
    assert program == "oga"
    done = oga(*arguments, cwd=tmp_path)
    assert done.code == 0, done.err
    used = json.loads((tmp_path / "run" / "provenance.json").read_text())["checkpoints"]
    assert [Path(name).name for name in used][-2:] == names[:2]
    with pytest.raises(RunError, match="an earlier training left its weights there"):
        trained(tmp_path)


def test_adapters_are_refused(tmp_path: Path) -> None:
    from ogacli.models.training.callbacks.huggingface import ScanCallback

    class Adapted(nn.Module):
        peft_config: Any = None

    with pytest.raises(ConfigError, match=r"adapters of PEFT(.|\n)*model\.adapter"):
        ScanCallback(tmp_path).on_train_begin(None, None, None, model=Adapted())
