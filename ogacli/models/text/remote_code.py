"""Refuse folders of transformers and PEFT whose configs name Python code to be run.

In: a folder, and whether the user trusts it. Out: nothing, or an error that names the file. Only JSON is read
here; nothing in the folder is imported.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ogacli.base.special_files import refuse_special_in
from ogacli.errors import CheckpointError

_CONFIGS = "*config*.json"
"""config.json and those of single versions, tokenizer_config.json, adapter_config.json."""
_KERNELS = (
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
)
"""Keys that name a function of the library, or one on the hub, which is then downloaded."""


def refuse_code(folder: str, key: str, *, trust: bool) -> None:
    """Check that a folder can be loaded without running code in it.

    Args:
        folder: The folder; a name on the hub is checked by the library itself.
        key: The key in the config that names it.
        trust: Whether the user trusts its author.

    Raises:
        CheckpointError: A file in it names code, or a file of the network that its adapter belongs to; or
            something in it is no file.
    """
    refuse_special_in(folder, CheckpointError)
    places = [] if trust else [Path(folder)]
    for place in places:
        for file in sorted(place.glob(_CONFIGS)) if place.is_dir() else ():
            values = _json(file)
            for entry in _code_entries(values):
                raise code_refused(key, str(file), entry)
            base = values.get("base_model_name_or_path") if isinstance(values, dict) else None
            if isinstance(base, str) and base and Path(base) not in places:
                refuse_special_in(base, CheckpointError)
                places.append(Path(base))  # transformers then loads that network


def code_refused(key: str, place: str, found: str) -> CheckpointError:
    """The error for a folder that names code.

    Args:
        key: The key in the config that names the network.
        place: The file, or the name on the hub.
        found: The entry that names code.
    """
    return CheckpointError(
        "it needs Python code of its author, and that is not run without `trust`",
        place=place,
        found=found,
        expected=f"as `{key}` a network that the installed library has itself",
        hint="set `trust: true` in the model section if you trust the author; or, where the library has the "
        "network itself, remove this key from the file",
    )


def _json(file: Path) -> Any:
    # As the library reads it, with all that is no JSON: what is refused here, it would read without a check.
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None  # the library raises its own error


def _code_entries(values: Any) -> Iterator[str]:
    """Entries of a config that make the library import code from elsewhere."""
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
