"""Folders of transformers and PEFT that ask for Python code of their own to be run.

In: a folder, and whether the user trusts it. Out: nothing, or a refusal that names the file which asks. Only
JSON is read here, so nothing in the folder is imported.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ogacli.errors import CheckpointError

_CONFIGS = "*config*.json"
"""config.json and those of single versions, tokenizer_config.json, adapter_config.json."""
_KERNELS = (
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
)
"""Keys of functions that the library has itself, or downloads where the name is one on the hub."""


def refuse_code(folder: str, key: str, *, trust: bool) -> None:
    """Make sure that a folder can be loaded without running code that came with it.

    Args:
        folder: What the library is to load; a name on the hub is left to the library's own check.
        key: The key in the config that names it.
        trust: Whether the user trusts its author.

    Raises:
        CheckpointError: A file in it asks for code, or one of the network below the adapter in it does.
    """
    places = [] if trust else [Path(folder)]
    for place in places:
        for file in sorted(place.glob(_CONFIGS)) if place.is_dir() else ():
            values = _json(file)
            for asked in _asked(values):
                raise asks_for_code(key, str(file), asked)
            base = values.get("base_model_name_or_path") if isinstance(values, dict) else None
            if isinstance(base, str) and base and Path(base) not in places:
                places.append(Path(base))  # transformers loads the network below an adapter in place of it


def asks_for_code(key: str, place: str, found: str) -> CheckpointError:
    """The refusal.

    Args:
        key: The key in the config that names the network.
        place: The file, or the name on the hub.
        found: What in it asks for code.
    """
    return CheckpointError(
        "it asks for Python code of its author to be run, and that is not done unasked",
        place=place,
        found=found,
        expected=f"as `{key}` a network that the installed library has itself",
        hint="say `trust: true` in the model section if you trust the author; or, where the library has the "
        "network itself, take this key out of the file",
    )


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None  # the library tells what is wrong with it


def _asked(values: Any) -> Iterator[str]:
    """What in a config makes the library import something that is no part of it."""
    waiting = [values]
    while waiting:
        section = waiting.pop()
        if isinstance(section, list):
            waiting.extend(section)
        if not isinstance(section, dict):
            continue
        waiting.extend(section.values())
        if section.get("auto_map"):
            yield f"`auto_map`: {json.dumps(section['auto_map'])[:200]}"
        if section.get("megatron_config"):  # PEFT then imports the module that `megatron_core` names
            yield f"`megatron_config`, with `megatron_core`: {json.dumps(section.get('megatron_core'))[:200]}"
        for name in _KERNELS:
            if "/" in json.dumps(section.get(name)):
                yield f"`{name}`: {json.dumps(section[name])[:200]}, which is downloaded"
