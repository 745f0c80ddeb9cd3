"""Which training samples does a language model owe a completion to? AUC and recall of `oga attribute`.

    python benchmarks/attribution.py [grammars] [math_with_reason] [--seeds 1] [--work DIR] [--out FILE]

The two sets of the DataInf paper (Kwon et al., ICLR 2024): 900 training and 100 test samples of ten
variations each; a training sample is related to a test sample when both are of one variation. A GPT-2-shaped
model on BPE tokens of these texts learns the completions, from random weights; the gradients of one of its
matrices are compared. Trainings are kept in DIR and made once.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

SETS = ("grammars", "math_with_reason")
DATA = Path(os.environ.get("OGA_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
DETECTORS = [
    {"name": "gaussian"},
    {"name": "isolation_forest", "trees": 500},
    {"name": "pyod", "model": "KNN", "projection": 512},
    {"name": "gradient_tracing"},
    {"name": "datainf"},
]


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; both by default")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--vocabulary", type=int, default=512, help="BPE tokens")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--gradients", default="*.h.3.attn.c_proj.weight", help="which parameters")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/attribution"))
    parser.add_argument("--out", type=Path, help="also write the table there")
    options = parser.parse_args()
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"no set {', '.join(sorted(unknown))}")
    torch.set_num_threads(options.threads)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    rows = [
        row
        for seed in range(options.seeds)
        for name in options.sets or SETS
        for row in measured(options, name, seed)
    ]
    table = as_table(rows, options)
    print(table)
    if options.out is not None:
        options.out.write_text(table + "\n", encoding="utf-8")


def measured(options: argparse.Namespace, name: str, seed: int) -> Iterator[dict[str, Any]]:
    """AUC and recall of each method on one set."""
    from ogacli.config import parse_config
    from ogacli.config.commands import attribute, train

    work = options.work.absolute() / f"seed-{seed}"
    folder = work / name
    files = {part: write_texts(name, part, folder / f"{part}.jsonl") for part in ("train", "test")}
    network = fresh_network(options, folder / "network", files["train"], seed)
    columns = {"source": "text", "prompt": "prompt", "completion": "completion", "label": "variation"}
    config = {
        "data": columns | {"path": str(files["train"])},
        "query": columns | {"path": str(files["test"])},
        "model": {"source": "transformers", "name": str(network), "task": "causal_lm"},
        "train": {
            "epochs": options.epochs,
            "batch_size": 16,
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "seed": seed,
            "device": "cpu",
            "output": str(folder / "checkpoints"),
        },
        "gradients": {"layers": [options.gradients], "device": "cpu"},
        "detector": [one | {"seed": seed} for one in DETECTORS],
        "attribute": {"group": "label"},
        "output": str(folder / "run"),
    }
    if not (folder / "checkpoints" / "history.json").is_file():
        print([round(e.loss, 3) for e in train(parse_config(yaml.safe_dump(config))).epochs], flush=True)
    config["model"]["checkpoint"] = str(folder / "checkpoints" / f"epoch-{options.epochs:03d}.safetensors")
    began = time.perf_counter()
    found = attribute(parse_config(yaml.safe_dump(config)), overwrite=True)
    print(name, seed, f"{time.perf_counter() - began:.0f} s", dict(found.evaluation), flush=True)
    for method, figures in found.evaluation.items():
        yield {"set": name, "seed": seed, "method": method, "parameters": found.parameters, **figures}


def fresh_network(options: argparse.Namespace, folder: Path, file: Path, seed: int) -> Path:
    """A folder with a network of random weights, and a BPE tokenizer of these texts."""
    if (folder / "model.safetensors").is_file():
        return folder
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [row["prompt"] + row["completion"] for row in rows]
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=options.vocabulary,
        special_tokens=["</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>").save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=options.vocabulary,
                n_embd=options.width,
                n_layer=options.layers,
                n_head=options.width // 32,
                n_positions=256,
                bos_token_id=0,
                eos_token_id=0,
            )
        )
    module.save_pretrained(folder)
    print(f"{sum(p.numel() for p in module.parameters()):,} parameters", flush=True)
    return folder


def write_texts(name: str, part: str, file: Path) -> Path:
    """A set as prompts, completions and variations."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for line in open(DATA / "llm" / f"{name}_{part}.jsonl", encoding="utf-8"):
        row = json.loads(line)
        completion = row["text"].removeprefix(row["prompt"]).removesuffix("</s>")
        rows.append({"prompt": row["prompt"], "completion": completion, "variation": row["variation"]})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def as_table(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """Means and deviations over the seeds."""
    lines = [
        f"Means over 100 queries and {options.seeds} seed(s), ± deviation over the seeds; "
        f"{options.layers} layers of {options.width}, {rows[0]['parameters']:,} weights compared.",
        "",
        "| set | method | AUC | recall |",
        "| --- | --- | ---: | ---: |",
    ]
    for name, method in dict.fromkeys((row["set"], row["method"]) for row in rows):
        own = [row for row in rows if (row["set"], row["method"]) == (name, method)]
        figures = [torch.tensor([row[key] for row in own]) for key in ("auc", "recall")]
        cells = [
            f"{float(one.mean()):.3f}" + (f" ± {float(one.std()):.3f}" if len(one) > 1 else "")
            for one in figures
        ]
        lines.append(f"| {name} | {method} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
