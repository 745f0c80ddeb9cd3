"""The reference pages, made from the code: ``python docs/reference.py`` writes ``docs/reference/*.md``.

In: option classes, commands, gate conditions and the models of the JSON documents. Out: a page each. A test
compares the pages with what this makes.
"""

import inspect
import re
import types
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
import click
import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ogacli.base.options import Location, Options, field_docs
from ogacli.base.registry import Registry

FOLDER = Path(__file__).parent / "reference"
_NOTE = "<!-- Made by `python docs/reference.py`. -->\n\n"

# ------------------------------------------------------------------------------------------------- values


def kind(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """The values that a key takes, in words."""
    if annotation == Location or any(repr(one).find("_located") >= 0 for one in metadata):
        return "path"
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(kind(part) for part in parts if part is not type(None)))
    if hasattr(annotation, "__metadata__"):
        return kind(parts[0], annotation.__metadata__)
    if isinstance(annotation, FieldInfo):
        return kind(annotation.annotation, annotation.metadata)
    if origin in (list, tuple):
        inner = " or ".join(dict.fromkeys(kind(part) for part in parts if part is not Ellipsis))
        return f"list of {inner}"
    if (origin is not None and issubclass(origin, dict | types.MappingProxyType)) or annotation is dict:
        return "keys and values"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        if not annotation.model_fields:  # of a registry: its options are those of the one that is named
            return annotation.__name__.removesuffix("Options").lower()
        return f"section, see [{annotation.__name__}](#{annotation.__name__.lower()})"
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return ", ".join(f"`{one.value}`" for one in annotation)
    plain = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    name = plain.get(annotation) or getattr(annotation, "__name__", str(annotation)).lower()
    return f"{name}{_bounds(metadata)}"


def _bounds(metadata: Iterable[Any]) -> str:
    words = {annotated_types.Ge: "from", annotated_types.Gt: "above"}
    words |= {annotated_types.Le: "up to", annotated_types.Lt: "below"}
    found = [
        f"{words[type(one)]} {next(iter(vars_of(one)))}" for one in _flat(metadata) if type(one) in words
    ]
    return "".join(f" {one}" for one in found)


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for one in metadata:
        yield from _flat(one.metadata) if isinstance(one, FieldInfo) else (one,)


def vars_of(bound: Any) -> Iterator[Any]:
    """The limit that a bound of ``annotated_types`` holds."""
    for name in ("ge", "gt", "le", "lt"):
        if hasattr(bound, name):
            yield getattr(bound, name)


def _value(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, Options):
        return ""
    plain = getattr(value, "plain", None)
    if plain is not None:
        value = plain() if callable(plain) else plain
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | tuple):
        return f"`[{', '.join(str(part) for part in value)}]`"
    return f"`{value}`" if value != "" else ""


def text(words: str | None) -> str:
    """A docstring as the text of a cell: one line, and single backticks."""
    return re.sub(r":\w+:`~?\.?([^`]+)`", r"`\1`", " ".join((words or "").split())).replace("``", "`")


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines) + "\n"


# -------------------------------------------------------------------------------------------- option classes


def options(
    cls: type[BaseModel], *, seen: list[type[BaseModel]] | None = None, base: type[BaseModel] = BaseModel
) -> str:
    """The keys of an option class but for those of its base; ``seen`` collects the option classes in it."""
    docs, rows = field_docs(cls), []
    for name, field in cls.model_fields.items():
        if name in base.model_fields:
            continue
        if seen is not None:
            seen += [one for one in models_in(field.annotation) if one not in seen]
        default = "required" if field.is_required() else _value(field.default)
        values = kind(field.annotation, field.metadata)
        rows.append((f"`{field.alias or name}`", values, default, text(field.description or docs.get(name))))
    return table(("key", "values", "default", "meaning"), rows) if rows else ""


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models in an annotation."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [one for part in get_args(annotation) for one in models_in(part)]


def first(words: str | None) -> str:
    """The first paragraph of a docstring."""
    return text(inspect.cleandoc(words or "").partition("\n\n")[0])


def _named(registry: Registry[Any], base: type[Options], seen: list[type[BaseModel]]) -> str:
    """The option classes of a registry; the keys that all of them have come first."""
    keys = options(base, seen=seen)
    parts = [f"### Keys of every {registry.noun}\n\n{keys}" if keys else ""]
    for name in registry.names():
        cls = registry.get(name)
        if cls.__module__.startswith("ogacli."):  # and not of a plug-in
            parts.append(f"### `{name}`\n\n{first(cls.__doc__)}\n\n{options(cls, seen=seen, base=base)}")
    return "".join(parts)


def config_page() -> str:
    """Every key of a config."""
    from ogacli.config import presets, sections
    from ogacli.data.sources import Source
    from ogacli.data.sources import sources as data_sources
    from ogacli.detectors import DetectorOptions, detectors
    from ogacli.models.sources import ModelSource
    from ogacli.models.sources import sources as model_sources
    from ogacli.models.tasks import Task, tasks
    from ogacli.verdict.budget import BenefitOptions
    from ogacli.verdict.look_for import WORDS
    from ogacli.verdict.protection import Protect

    seen: list[type[BaseModel]] = []
    parts = [
        "# Config keys\n\nA config is a YAML file of these sections; `data` and `model` are required. "
        "Relative paths start from its folder, `${NAME}` and `${NAME:-default}` come from the environment, "
        "and `--set section.key=value` changes a key for one call. `oga init` writes a commented one.\n\n",
        table(
            ("section", "holds"),
            [
                ("`data`", "the [samples](#data); its key `source` names the kind"),
                ("`model`", "the [model](#model); its key `source` names the kind"),
                ("`loss`", "the [loss](#loss): a name, or a section with `name`; by default `cross_entropy`"),
                ("`gradients`", "[which gradients](#gradients), on which device"),
                ("`detector`", "a [detector](#detector): a name, a section with `name`, or a list of these"),
                ("`budget`", "[how much](#budget) may be flagged; by default `0.05`"),
                ("`protect`", "[what each class keeps](#protect), or `off`"),
                (
                    "`look_for`",
                    "what is looked for [beside wrong labels](../inputs.md): a list of "
                    f"{', '.join(f'`{word}`' for word in WORDS)}; by default nothing",
                ),
                ("`relabel`", "[when a label is replaced](#relabel)"),
                ("`train`", "the [reference trainer](#train)"),
                ("`verify`", "[`oga verify`](#verify); its key `test` is a data section"),
                (
                    "`validation`",
                    "a data section with right labels, for influence detectors",
                ),
                (
                    "`against`",
                    "a data section that should [share no sample](../inputs.md#other-splits) with `data`",
                ),
                ("`query`, `attribute`", "the samples that [`oga attribute`](#attribute) explains, and how"),
                (
                    "`preset`",
                    f"one of {', '.join(f'`{name}`' for name in presets.PRESETS)}: a set of defaults",
                ),
                ("`output`", "the run directory"),
            ],
        ),
        "## data\n\n" + _named(data_sources, Source, seen),
        "## model\n\n" + _named(model_sources, ModelSource, seen),
        "## loss\n\n" + _named(tasks, Task, seen),
        "## detector\n\n" + _named(detectors, DetectorOptions, seen),
        "## budget\n\nA share (`0.05`, `5%`), a count (`200`), `auto`, `benefit`, `{benefit: {..}}` with the "
        "keys below, or `{review: 100}`.\n\n" + options(BenefitOptions, seen=seen),
        "## protect\n\n" + options(Protect, seen=seen),
    ]
    for name, cls in sections._PLAIN.items():
        parts.append(f"## {name}\n\n{first(cls.__doc__)}\n\n{options(cls, seen=seen)}")
    parts.append("## Sections within sections\n\n")
    for cls in seen:  # grows while it is read
        if keys := options(cls, seen=seen):
            parts.append(f"### {cls.__name__}\n\n{first(cls.__doc__)}\n\n{keys}")
    return "".join(parts)


def policy_page() -> str:
    """Every key of a gate's policy."""
    from ogacli.run.gate.conditions import all_conditions

    parts = [
        "# Policy keys\n\nA policy is a YAML file for `oga gate RUN --policy FILE`; `null` switches a "
        "condition off.\n\n"
    ]
    for cls in all_conditions():
        name = cls.__module__.rpartition(".")[2].replace("_", " ")
        parts.append(f"## {name}\n\n{first(cls.__doc__)}\n\n{options(cls)}")
    return "".join(parts)


# -------------------------------------------------------------------------------------------- documents


def document(cls: type[BaseModel], seen: list[type[BaseModel]]) -> str:
    """The fields of a JSON document."""
    docs, rows = field_docs(cls), []
    for name, field in cls.model_fields.items():
        seen += [one for one in models_in(field.annotation) if one not in seen]
        values = kind(field.annotation, field.metadata)
        null = " or null" if type(None) in get_args(field.annotation) else ""
        rows.append((f"`{name}`", f"{values}{null}", text(docs.get(name))))
    return table(("field", "values", "meaning"), rows)


def documents_page() -> str:
    """The fields of ``summary.json``."""
    from ogacli.run.summary import Summary

    seen: list[type[BaseModel]] = []
    parts = [
        "# JSON documents\n\nEvery command prints one document with `--json`, with the key `schema_version`. "
        "`oga scan` and `oga report --format json` print the summary of the run, which is `summary.json` in "
        "the run directory.\n\n## Summary\n\n" + document(Summary, seen)
    ]
    for cls in seen:  # grows while it is read
        parts.append(f"### {cls.__name__}\n\n{first(cls.__doc__)}\n\n{document(cls, seen)}")
    return "".join(parts)


# --------------------------------------------------------------------------------------------- commands


def commands_page() -> str:
    """Every command, with its arguments and options."""
    from ogacli.cli import app

    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    parts = [
        "# Commands\n\nResults go to stdout, everything else to stderr; `--json` prints one document. "
        "Nothing is overwritten without `--overwrite`.\n\n",
        table(
            ("exit code", "meaning"),
            [
                ("0", "done"),
                ("1", "a gate that did not pass"),
                ("2", "a mistake, with a message, or a bug, with a traceback"),
                ("130", "interrupted"),
            ],
        ),
    ]
    for name, command in group.commands.items():
        rows = []
        for one in command.params:
            if one.name == "help":
                continue
            argument = not one.opts[0].startswith("-")
            shown = one.metavar or one.name.upper() if argument else ", ".join(one.opts)
            if not argument and one.metavar:
                shown += f" {one.metavar}"
            rows.append((f"`{shown}`", text(getattr(one, "help", "")), _value(_default(one))))
        parts.append(f"## oga {name}\n\n{text(command.help)}\n\n")
        parts.append(table(("argument or option", "meaning", "default"), rows))
    return "".join(parts)


def _default(parameter: Any) -> Any:
    default = parameter.default
    return None if callable(default) or default is False or not parameter.opts[0].startswith("-") else default


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "config.md": config_page,
    "policy.md": policy_page,
    "documents.md": documents_page,
}


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    return {name: _NOTE + make().rstrip("\n") + "\n" for name, make in PAGES.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, page in pages().items():
        (FOLDER / name).write_text(page, encoding="utf-8")
