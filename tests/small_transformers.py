"""Folders with small networks of transformers, random weights, and tables of texts for them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

WORDS = [*"abcdefghijklmnopqrstuvwxyz", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *"0123456789 .,:;-+*/=!?$%\n"]
"""One token a character."""
LANGUAGE_MODELS = ("gpt2", "llama")


def write_tokenizer(folder: Path, words: Sequence[str] = WORDS, *, kind: str = "bert") -> None:
    """A tokenizer that reads character by character; with [CLS] and [SEP] for ``bert``."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<unk>", "<s>", "</s>"]
    vocabulary = {word: i for i, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    names: dict[str, Any] = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>"}
    inputs = ["input_ids", "attention_mask"]
    if kind == "bert":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>",
            pair="<s> $A </s> $B:1 </s>:1",
            special_tokens=[("<s>", 2), ("</s>", 3)],
        )
        names |= {"cls_token": "<s>", "sep_token": "</s>"}
        inputs.append("token_type_ids")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **names).save_pretrained(
        folder
    )


def write_network(folder: Path, kind: str, *, seed: int = 0, head: int | None = None, **sizes: Any) -> Path:
    """A folder with a network and its tokenizer.

    Args:
        folder: To be.
        kind: ``bert``, a bare encoder where ``head`` is None; ``tagger`` and ``roberta``, a classifier;
            ``gpt2``, a language model where ``head`` is None; ``llama``, a language model.
        seed: Of the weights.
        head: Outputs of a classifier.
        sizes: Of the network, in its library's words.
    """
    import transformers

    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    words = {"vocab_size": 4 + len(WORDS), "max_position_embeddings": 40, "pad_token_id": 0}
    ends = {"bos_token_id": 3, "eos_token_id": 3}
    given = {"num_labels": head or 2, **sizes}
    config: Any
    match kind:
        case "bert":
            config = transformers.BertConfig(**{**small, **words, **given})
            make = transformers.BertForSequenceClassification if head else transformers.BertModel
        case "tagger":
            config = transformers.BertConfig(**{**small, **words, **given})
            make = transformers.BertForTokenClassification
        case "roberta":
            config = transformers.RobertaConfig(**{**small, **words, **given})
            make = transformers.RobertaForSequenceClassification
        case "llama":
            config = transformers.LlamaConfig(**{**small, **words, **ends, **given})
            make = transformers.LlamaForCausalLM
        case _:
            small = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}
            config = transformers.GPT2Config(**{"vocab_size": 4 + len(WORDS), **small, **ends, **given})
            make = transformers.GPT2ForSequenceClassification if head else transformers.GPT2LMHeadModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = make(config)
        for parameter in module.parameters():
            if parameter.ndim == 1:  # zeros and ones would hide what is done with them
                parameter.data += 0.1 * torch.randn_like(parameter)
    module.save_pretrained(folder)
    write_tokenizer(folder, kind="gpt2" if kind in LANGUAGE_MODELS else "bert")
    return folder


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A jsonl table."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_config(folder: Path, values: dict[str, Any], sections: dict[str, Any]) -> Path:
    """``config.yaml`` of the values, with sections laid over them."""
    for name, section in sections.items():
        values[name] = values[name] | section if isinstance(values.get(name), dict) else section
    file = folder / "config.yaml"
    file.write_text(json.dumps(values))
    return file


def reviews(n: int = 24) -> list[dict[str, Any]]:
    """Texts of different lengths whose class is in their letters; every sixth under the other label."""
    rows = []
    for i in range(n):
        good = i % 2 == 0
        text = ("good " if good else "bad ") * (1 + i % 4) + "0123456789"[: i % 7]
        label = good != (i % 6 == 5)
        rows.append({"text": text, "label": "yes" if label else "no", "truth": "yes" if good else "no"})
    return rows


def sums(n: int = 24) -> list[dict[str, Any]]:
    """Prompts with two kinds of completion."""
    rows = []
    for i in range(n):
        kind = "double" if i % 2 else "count"
        word = "abcdefgh"[i % 5 : i % 5 + 2 + i % 3]
        answer = "".join(2 * letter for letter in word) if i % 2 else str(len(word))
        rows.append({"prompt": f"{kind} {word}: ", "answer": answer, "kind": kind})
    return rows


def sentences(n: int = 24) -> list[dict[str, Any]]:
    """Words, of which those of digits are numbers."""
    rows = []
    for i in range(n):
        words = [("ab", "cde", "3", "42", "f")[(i + 2 * j) % 5] for j in range(1 + i % 5)]
        if i == 1:
            words = ["ab", "3"]
        rows.append({"words": words, "tags": ["NUM" if word.isdigit() else "O" for word in words]})
    return rows
