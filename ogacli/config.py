"""YAML -> a frozen ``Config``.

In: a file, ``--set`` overrides, the environment (``${NAME}`` and ``${NAME:-default}`` inside values).
Out: a ``Config`` whose every section has been checked by the option class of the thing that it names.
All mistakes are told at once, each with file, line and dotted key.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ogacli import data, detectors, models
from ogacli.budget import Budget
from ogacli.data import Source
from ogacli.detectors import DetectorOptions
from ogacli.errors import ConfigError
from ogacli.gradients import GradientOptions
from ogacli.losses import LossOptions
from ogacli.models import ModelSource
from ogacli.options import Options, ShellText, locate
from ogacli.registry import Registry
from ogacli.train import TrainOptions

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a command needs to know, checked."""

    data: Source
    model: ModelSource
    gradients: GradientOptions
    loss: LossOptions
    detectors: tuple[DetectorOptions, ...]
    budget: Budget
    train: TrainOptions
    output: str | None
    resolved: Mapping[str, Any]
    """The same as plain YAML values, paths absolute, without ``output``: what a run directory keeps."""


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file: its values, and where each key stands."""

    place: str
    base: Path
    values: dict[str, Any]
    lines: Mapping[Key, str]

    def where(self, key: Key) -> str:
        """``file:line: dotted.key`` of a key, or of the nearest key above it that is written."""
        known = key
        while known and known not in self.lines:
            known = known[:-1]
        dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")
        place = self.lines.get(known, self.place)
        return f"{place}: {dotted}" if dotted else place


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read and check a config file.

    Args:
        path: The YAML file.
        overrides: ``dotted.key=value`` each, the value in YAML.

    Raises:
        ConfigError: The file cannot be read or parsed, or keys or values in it are wrong; every problem
            is listed.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            "no such config file", place=str(path), hint="`oga init` writes a starter config"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("cannot be read as text", place=str(path), found=str(error)) from None
    return parse_config(text, overrides, place=str(path), base=file.absolute().parent)


def parse_config(
    text: str, overrides: Sequence[str] = (), *, place: str = "config", base: Path | None = None
) -> Config:
    """As :func:`load_config`, from text; relative paths are taken from ``base`` (the current folder)."""
    document = _parse(text, place, base or Path.cwd())
    for override in overrides:
        _override(document, override)
    return _check(document)


# --- YAML -> Document ---------------------------------------------------------------------------------


def _parse(text: str, place: str, base: Path) -> Document:
    lines: dict[Key, str] = {}
    problems: list[ConfigError] = []
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = {} if node is None else _build(node, (), place, lines, problems)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(
            "not valid YAML", place=place + line, found=str(error.problem), expected="key: value lines"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError("not valid YAML", place=place, found=str(error)) from None
    if not isinstance(values, dict):
        raise ConfigError(
            "not a config", place=place, found=type(values).__name__, expected="a mapping of keys"
        )
    if problems:
        raise ConfigError.of(problems)
    return Document(place, base, values, lines)


def _build(node: yaml.Node, key: Key, place: str, lines: dict[Key, str], problems: list[ConfigError]) -> Any:
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = str(name_node.value)
            here = f"{place}:{name_node.start_mark.line + 1}"
            if name in values:
                problems.append(ConfigError("given twice", place=f"{here}: {name}"))
            lines[(*key, name)] = here
            values[name] = _build(value_node, (*key, name), place, lines, problems)
        return values
    if isinstance(node, yaml.SequenceNode):
        items = []
        for i, item in enumerate(node.value):
            lines[(*key, i)] = f"{place}:{item.start_mark.line + 1}"
            items.append(_build(item, (*key, i), place, lines, problems))
        return items
    value = yaml.SafeLoader("").construct_object(node)
    if isinstance(value, str):
        return _expand(value, f"{place}:{node.start_mark.line + 1}", problems)
    return value


_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def _expand(text: str, place: str, problems: list[ConfigError]) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}``; an unset name without a default is a problem."""

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name) or default
        if found is None:
            problems.append(
                ConfigError(
                    f"environment variable {name} is not set",
                    place=place,
                    hint=f"set it, or write ${{{name}:-default}}",
                )
            )
            return ""
        return found

    return _VARIABLE.sub(value, text)


def _override(document: Document, override: str) -> None:
    """Apply one ``dotted.key=value`` to the document, in place."""
    dotted, equals, text = override.partition("=")
    place = f"--set {dotted}"
    if not equals or not dotted:
        raise ConfigError(
            "not an override", place="--set", found=override, expected="key=value, such as budget=0.1"
        )
    try:
        value = _from_shell(yaml.safe_load(text))
    except yaml.YAMLError:
        raise ConfigError("the value is not valid YAML", place=place, found=text) from None
    key: list[str | int] = []
    target: Any = document.values
    parts = dotted.split(".")
    for depth, part in enumerate(parts):
        step: str | int = int(part) if isinstance(target, list) and part.isdigit() else part
        last = depth == len(parts) - 1
        key.append(step)
        if isinstance(target, list) and not (isinstance(step, int) and step < len(target)):
            raise ConfigError(
                "no such entry", place=place, found=str(part), expected=f"0 to {len(target) - 1}"
            )
        if not isinstance(target, dict | list):
            raise ConfigError("the key above it holds a value, not keys", place=place, found=str(target))
        if last:
            target[step] = value  # type: ignore[index]
        else:
            if isinstance(target, dict) and not isinstance(target.get(part), dict | list):
                target[part] = {}
            target = target[step]  # type: ignore[index]
    assert isinstance(document.lines, dict)
    stale = [known for known in document.lines if known[: len(key)] == tuple(key)]
    for known in stale:
        del document.lines[known]
    document.lines[tuple(key)] = "--set"


def _from_shell(value: Any) -> Any:
    if isinstance(value, str):
        return ShellText(value)
    if isinstance(value, list):
        return [_from_shell(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _from_shell(item) for name, item in value.items()}
    return value


# --- Document -> Config -------------------------------------------------------------------------------

_SECTIONS = ("data", "model", "gradients", "loss", "detector", "budget", "train", "output")


class _Checker:
    """Checks one section after the other and remembers every problem."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[ConfigError] = []

    def options(self, cls: type[Options], values: Any, key: Key) -> Any:
        """``values`` as an instance of ``cls``; None where they are wrong."""
        if not isinstance(values, dict):
            self.add("not a section", key, found=repr(values), expected="keys and values")
            return None
        try:
            return cls.model_validate(values, context={"base": self.document.base})
        except ValidationError as error:
            for details in error.errors():
                self.add_invalid(cls, details, key)
        except ConfigError as error:
            self.add(str(error), key)
        return None

    def named(self, registry: Registry[Any], values: Any, key: Key, by: str) -> Any:
        """A section whose key ``by`` names the class that the other keys belong to."""
        if isinstance(values, str):
            values = {by: values}
        if isinstance(values, dict) and by not in values:
            self.add("missing", (*key, by), expected=f"one of {', '.join(registry.names())}")
            return None
        if not isinstance(values, dict):
            return self.options(Options, values, key)
        try:
            cls = registry.get(str(values[by]))
        except ConfigError as error:
            self.add(str(error), (*key, by))
            return None
        return self.options(cls, {name: value for name, value in values.items() if name != by}, key)

    def add(self, problem: str, key: Key, found: object = None, expected: str | None = None) -> None:
        self.problems.append(
            ConfigError(problem, place=self.document.where(key), found=found, expected=expected)
        )

    def add_invalid(self, cls: type[Options], details: Any, key: Key) -> None:
        """One pydantic complaint, in our words."""
        place: Key = (*key, *(part for part in details["loc"] if not str(part).startswith("function-")))
        match details["type"]:
            case "extra_forbidden":
                self.unknown(str(details["loc"][-1]), place, list(cls.model_fields))
            case "missing":
                self.add("missing", place)
            case "value_error":
                self.add(str(details["ctx"]["error"]), place, found=repr(details["input"]))
            case _:
                message = str(details["msg"])
                expected = message.removeprefix("Input should be ")
                self.add("not a valid value", place, found=repr(details["input"]), expected=expected)

    def unknown(self, name: str, key: Key, known: Sequence[str]) -> None:
        near = get_close_matches(name, known, n=1)
        self.add(
            "unknown key" + (f"; did you mean {near[0]!r}?" if near else ""),
            key,
            expected=None if near else f"one of {', '.join(sorted(known))}",
        )


def _check(document: Document) -> Config:
    values, checker = document.values, _Checker(document)
    for name in values:
        if name not in _SECTIONS:
            checker.unknown(name, (name,), _SECTIONS)
    sources: dict[str, Any] = {}
    for name, registry in (("data", data.sources), ("model", models.sources)):
        if name in values:
            sources[name] = checker.named(registry, values[name], (name,), by="source")
        else:
            checker.add("missing", (name,), expected=f"{name}: {{source: ..}}")
    gradients = checker.options(GradientOptions, values.get("gradients", {}), ("gradients",))
    loss = checker.options(LossOptions, _named(values.get("loss", {})), ("loss",))
    found = _detectors(checker, values.get("detector", {"name": detectors.DEFAULT}))
    try:
        budget = Budget.parse(values.get("budget", 0.05))
    except ConfigError as error:
        checker.add(str(error), ("budget",))
    train = checker.options(TrainOptions, values.get("train", {}), ("train",))
    output = values.get("output")
    if output is not None and not isinstance(output, str):
        checker.add("not a path", ("output",), found=repr(output))
    if checker.problems:
        raise ConfigError.of(checker.problems)
    return Config(
        data=sources["data"],
        model=sources["model"],
        gradients=gradients,
        loss=loss,
        detectors=found,
        budget=budget,
        train=train,
        output=None if output is None else locate(output, document.base),
        resolved={
            "data": {"source": _name(sources["data"])} | _plain(sources["data"]),
            "model": {"source": _name(sources["model"])} | _plain(sources["model"]),
            "gradients": _plain(gradients),
            "loss": _plain(loss),
            "detector": [{"name": _name(options)} | _plain(options) for options in found],
            "budget": budget.value,
            "train": _plain(train),
        },
    )


def _detectors(checker: _Checker, values: Any) -> tuple[DetectorOptions, ...]:
    """One detector or a list of them; the first decides what is flagged."""
    several = values if isinstance(values, list) else [values]
    if not several:
        checker.add("empty", ("detector",), expected="at least one detector")
    found = []
    for i, item in enumerate(several):
        key: Key = ("detector", i) if isinstance(values, list) else ("detector",)
        found.append(checker.named(detectors.detectors, item, key, by="name"))
    return tuple(found)


def _named(values: Any) -> Any:
    return {"name": values} if isinstance(values, str) else values


def _name(options: Options) -> str:
    return type(options).__module__.rpartition(".")[2]


def _plain(options: Options) -> dict[str, Any]:
    return options.model_dump(mode="json", exclude_none=True)
