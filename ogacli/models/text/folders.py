"""Folders as the Trainer of transformers and PEFT leave them.

In: the name of a folder, a pattern such as ``out/checkpoint-*``, or several. Out: the folders in the order of
their steps, and what they hold.
"""

from collections.abc import Sequence
from pathlib import Path

from ogacli.base.documents.json_document import read_json
from ogacli.errors import CheckpointError
from ogacli.models.checkpoints.snapshots import is_pattern, matching

_NETWORK, _ADAPTER = "config.json", "adapter_config.json"
_TOKENIZER = (
    "tokenizer_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
)


def several(named: str | Sequence[str] | None) -> bool:
    """Whether a key names more than one folder."""
    return named is not None and (not isinstance(named, str) or is_pattern(named))


def folders(named: str | Sequence[str], key: str) -> list[str]:
    """The folders that a key names; those of a pattern in the order of their numbers.

    Raises:
        CheckpointError: A pattern matches no folder.
    """
    found: list[str] = []
    for name in (named,) if isinstance(named, str) else named:
        matched = [path for path in matching(name) if not is_pattern(name) or Path(path).is_dir()]
        if not matched:
            raise CheckpointError(
                "no folder has such a name",
                place=f"model.{key} {name}",
                hint="check the path; the Trainer of transformers writes folders such as checkpoint-500",
            )
        found += matched
    return found


def tokenizer_folder(name: str) -> str:
    """The folder with the tokenizer of a network: its own, or the one above, where only that has one."""
    folder = Path(name)
    if not folder.is_dir() or any((folder / file).is_file() for file in _TOKENIZER):
        return name
    above = folder.parent
    return str(above) if any((above / file).is_file() for file in _TOKENIZER) else name


def misplaced(name: str, noun: str) -> str | None:
    """What to do where a folder has no network, tokenizer or adapter; None where that is not known."""
    folder = Path(name)
    has_network, has_adapter = ((folder / file).is_file() for file in (_NETWORK, _ADAPTER))
    if noun == "tokenizer" and (has_network or has_adapter):
        return "name the tokenizer that the network was trained with as `tokenizer`"
    if noun == "network" and has_adapter and not has_network:
        below = _base(folder)
        return (
            "it holds an adapter: name it as `adapter`, and as `name` the network that it was made for"
            f"{f', {below}' if below else ''}"
        )
    if noun == "adapter" and has_network and not has_adapter:
        return "it holds a network: name it as `name`, without `adapter`"
    return None


def _base(folder: Path) -> str | None:
    """The network that an adapter was made for, by its config."""
    try:
        values = read_json(folder / _ADAPTER, CheckpointError)
    except (OSError, CheckpointError):
        return None
    found = values.get("base_model_name_or_path") if isinstance(values, dict) else None
    return found if isinstance(found, str) else None
