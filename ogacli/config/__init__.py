"""YAML -> a frozen ``Config``.

In: a file, ``--set`` overrides, the environment (``${NAME}`` and ``${NAME:-default}`` inside values).
Out: a ``Config`` whose every section has been checked by the option class of the thing that it names.
All mistakes are told at once, each with file, line and dotted key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ogacli import detectors
from ogacli.base.options import Options, ShellText, locate
from ogacli.base.registry import type_name
from ogacli.base.yaml_document import Checker, Document, Key, parse, read
from ogacli.config.presets import with_preset
from ogacli.data import sources as data_sources
from ogacli.data.sources import Source
from ogacli.detectors import DetectorOptions
from ogacli.errors import ConfigError
from ogacli.gradients import GradientOptions
from ogacli.models import sources as model_sources
from ogacli.models.sources import ModelSource
from ogacli.models.tasks.losses import LossOptions
from ogacli.models.training.fit import TrainOptions, VerifyOptions
from ogacli.scan.attribution.relation import AttributeOptions
from ogacli.verdict.budget import Budget
from ogacli.verdict.protection import DEFAULT, Protect, parse_protect


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a command needs to know, checked."""

    data: Source
    model: ModelSource
    gradients: GradientOptions
    loss: LossOptions
    detectors: tuple[DetectorOptions, ...]
    budget: Budget
    protect: Protect
    """How many times the share of all that is flagged may be flagged of one class, or ``off``."""
    train: TrainOptions
    verify: VerifyOptions
    test: Source | None
    """The test split, ``verify.test``."""
    validation: Source | None
    """Samples whose labels are right, for detectors that hold others against them."""
    query: Source | None
    """The samples that ``oga attribute`` asks about."""
    attribute: AttributeOptions
    output: str | None
    resolved: Mapping[str, Any]
    """The same as plain YAML values, paths absolute, without ``output``: what a run directory keeps."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read and check a config file.

    Args:
        path: The YAML file.
        overrides: ``dotted.key=value`` each, the value in YAML.

    Raises:
        ConfigError: The file cannot be read or parsed, or keys or values in it are wrong; every problem
            is listed.
    """
    document = read(path, "config", hint="`oga init` writes a starter config")
    return _resolve(document, overrides)


def parse_config(
    text: str, overrides: Sequence[str] = (), *, place: str = "config", base: Path | None = None
) -> Config:
    """As :func:`load_config`, from text; relative paths are taken from ``base`` (the current folder)."""
    return _resolve(parse(text, place, base or Path.cwd()), overrides)


def _resolve(document: Document, overrides: Sequence[str]) -> Config:
    problems = []
    for override in overrides:
        try:
            _override(document, override)
        except ConfigError as problem:
            problems.append(problem)
    if problems:
        raise ConfigError.of(problems)
    return _check(document)


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
    except (yaml.YAMLError, ValueError):
        raise ConfigError("the value is not valid YAML", place=place, found=text) from None
    key: list[str | int] = []
    target: Any = document.values
    parts = dotted.split(".")
    for part in parts[:-1]:
        key.append(_step(target, part, place))
        target = _opened(target, key)
    key.append(_step(target, parts[-1], place))
    target[key[-1]] = value
    for depth in range(1, len(key)):
        document.lines.setdefault(tuple(key[:depth]), "--set")  # sections that only this makes
    document.replaced(tuple(key), "--set")


def _step(target: Any, part: str, place: str) -> str | int:
    """The key or index by which ``part`` is found in ``target``."""
    if isinstance(target, dict):
        return part
    if not isinstance(target, list):
        raise ConfigError("the key above it holds a value, not keys", place=place, found=repr(target))
    if not part.isdecimal() or int(part) >= len(target):
        raise ConfigError("no such entry", place=place, found=part, expected=f"0 to {len(target) - 1}")
    return int(part)


def _opened(above: Any, key: Sequence[str | int]) -> Any:
    """The section at ``key``, the last of which is in ``above``; a missing one is made, a word spelt out."""
    found = above.get(key[-1]) if isinstance(above, dict) else above[key[-1]]
    if found is None:
        found = {}
    by = _WORDS.get(tuple(part for part in key if isinstance(part, str)))
    if by is not None and isinstance(found, str):
        found = {by: found}
    above[key[-1]] = found
    return found


def _from_shell(value: Any) -> Any:
    if isinstance(value, str):
        return ShellText(value)
    if isinstance(value, list):
        return [_from_shell(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _from_shell(item) for name, item in value.items()}
    return value


_PLAIN: Mapping[str, type[Options]] = {
    "gradients": GradientOptions,
    "loss": LossOptions,
    "train": TrainOptions,
    "verify": VerifyOptions,
}
"""Sections of one option class each."""
_WORDS = {
    ("data",): "source",
    ("model",): "source",
    ("detector",): "name",
    ("loss",): "name",
    ("verify", "test"): "source",
    ("validation",): "source",
    ("query",): "source",
}
"""Sections that may be a single word, and the key that it stands for."""
_OTHERS = ("data", "model", "detector", "validation", "query", "attribute", "budget", "protect", "output")
_SECTIONS = ("preset", *_OTHERS, *_PLAIN)


def _check(document: Document) -> Config:
    checker = Checker(document)
    values = checker.parsed(with_preset, document.values, ("preset",)) or dict(document.values)
    for name in values:
        if name not in _SECTIONS:
            checker.unknown(name, (name,), _SECTIONS)
    found: dict[str, Any] = {}
    for name, registry in (("data", data_sources.sources), ("model", model_sources.sources)):
        if name in values:
            found[name] = checker.named(registry, values[name], (name,), by="source")
        else:
            checker.add("missing", (name,), expected=f"{name}: {{source: ..}}")
    if isinstance(values.get("loss"), str):
        values["loss"] = {"name": values["loss"]}
    found["test"] = _test_split(checker, values)
    for name in ("validation", "query"):
        found[name] = None
        if values.get(name) is not None:
            found[name] = checker.named(data_sources.sources, values[name], (name,), by="source")
    attribute = {} if values.get("attribute") is None else values["attribute"]
    found["attribute"] = checker.options(AttributeOptions, attribute, ("attribute",))
    for name, cls in _PLAIN.items():
        found[name] = checker.options(cls, {} if values.get(name) is None else values[name], (name,))
    _fit_loss(checker, values, found)
    found["detectors"] = _detectors(checker, values.get("detector"), found)
    found["budget"] = checker.parsed(Budget.parse, values.get("budget", 0.05), ("budget",))
    found["protect"] = checker.parsed(parse_protect, values.get("protect", DEFAULT), ("protect",))
    found["output"] = output = values.get("output")
    if isinstance(output, str):
        found["output"] = locate(output, document.base)
    elif output is not None:
        checker.add("not a path", ("output",), found=repr(output))
    if checker.problems:
        raise ConfigError.of(checker.problems)
    return Config(**found, resolved=_resolved(found))


def _fit_loss(checker: Checker, values: Mapping[str, Any], found: dict[str, Any]) -> None:
    """A model that returns its loss is given no other, and its head alone does not decide it."""
    model, loss, gradients = found.get("model"), found["loss"], found["gradients"]
    if model is None or not model.returns_loss:
        return
    if values.get("loss") is None:
        found["loss"] = LossOptions(name="output")
    elif loss is not None and loss.name != "output":
        checker.add(
            "this model returns its loss itself", ("loss",), loss.name, "no `loss`, or `loss: output`"
        )
    if gradients is not None and gradients.layers == "head":
        layers = "lora, all, or patterns of parameter names such as ['*.11.*']"
        checker.add("a model that returns its loss has no head", ("gradients", "layers"), "head", layers)


def _test_split(checker: Checker, values: dict[str, Any]) -> Any:
    """The data section ``verify.test``, taken out of its section."""
    section = values.get("verify")
    if not isinstance(section, dict) or "test" not in section:
        return None
    values["verify"] = {name: value for name, value in section.items() if name != "test"}
    if section["test"] is None:
        return None
    return checker.named(data_sources.sources, section["test"], ("verify", "test"), by="source")


def _resolved(found: Mapping[str, Any]) -> dict[str, Any]:
    """The checked sections as plain YAML values."""
    plain: dict[str, Any] = {}
    for name in ("data", "model"):
        plain[name] = {"source": type_name(found[name])} | _plain(found[name])
    plain["detector"] = [{"name": type_name(options)} | _plain(options) for options in found["detectors"]]
    plain["budget"] = found["budget"].value
    plain["protect"] = found["protect"]
    plain |= {name: _plain(found[name]) for name in _PLAIN}
    for name in ("validation", "query"):
        if found[name] is not None:
            plain[name] = {"source": type_name(found[name])} | _plain(found[name])
    if found["query"] is not None:
        plain["attribute"] = _plain(found["attribute"])
    if found["test"] is not None:
        plain["verify"]["test"] = {"source": type_name(found["test"])} | _plain(found["test"])
    return plain


def _detectors(checker: Checker, values: Any, sections: Mapping[str, Any]) -> tuple[DetectorOptions, ...]:
    """One detector or a list of them; the first decides what is flagged."""
    if values is None:
        values = _default_detector(sections)
    several = values if isinstance(values, list) else [values]
    if not several:
        checker.add("empty", ("detector",), expected="at least one detector")
    found = []
    for i, item in enumerate(several):
        key: Key = ("detector", i) if isinstance(values, list) else ("detector",)
        found.append(checker.named(detectors.detectors, item, key, by="name"))
    return tuple(found)


def _default_detector(found: Mapping[str, Any]) -> str:
    if found["query"] is not None:
        return detectors.ATTRIBUTING
    classes = found["loss"] is None or found["loss"].name == "cross_entropy"
    return detectors.DEFAULT if classes else detectors.WITHOUT_CLASSES


def _plain(options: Options) -> dict[str, Any]:
    return options.model_dump(mode="json", exclude_none=True)
