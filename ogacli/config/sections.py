"""Checks each section of a config by its option class.

In: a ``Document``. Out: the fields of a ``Config``, or one error that lists all problems. The option classes
are defined beside the code that they configure, so importing this module imports torch; ``ogacli.config``
imports it only when a config is loaded.
"""

from collections.abc import Mapping
from typing import Any

from ogacli import detectors
from ogacli.base.documents.yaml_document import Checker, Document
from ogacli.base.options import Options, Where, locate
from ogacli.base.registry import Registry, described, type_name
from ogacli.config.presets import with_preset
from ogacli.data.sources import sources as data_sources
from ogacli.detectors import DetectorOptions
from ogacli.errors import ConfigError
from ogacli.gradients import GradientOptions
from ogacli.models.sources import sources as model_sources
from ogacli.models.tasks import Task, tasks
from ogacli.models.tasks.classification import Classification
from ogacli.models.training.loop import TrainOptions
from ogacli.scan.attribution.options import AttributeOptions
from ogacli.scan.retraining.verify import VerifyOptions
from ogacli.verdict.budget import Budget
from ogacli.verdict.look_for import parse_look_for
from ogacli.verdict.protection import parse_protect
from ogacli.verdict.relabel import Relabel

_PLAIN: Mapping[str, type[Options]] = {
    "gradients": GradientOptions,
    "train": TrainOptions,
    "verify": VerifyOptions,
    "attribute": AttributeOptions,
    "relabel": Relabel,
}
"""Sections with one option class each."""
_SOURCES: Mapping[str, Registry[Any]] = {
    "data": data_sources,
    "model": model_sources,
    "validation": data_sources,
    "query": data_sources,
    "against": data_sources,
}
"""Sections whose option class is named by the key ``source``."""
_REQUIRED = ("data", "model")
_USUAL = type_name(Classification())
"""The loss where none is named and the model has no other."""
_SECTIONS = ("preset", *_SOURCES, *_PLAIN, "loss", "detector", "budget", "protect", "look_for", "output")


def check(document: Document) -> dict[str, Any]:
    """The fields of the ``Config`` that a document describes.

    Raises:
        ConfigError: Keys or values are wrong; each problem is listed with file, line and dotted key.
    """
    checker = Checker(document)
    values = checker.parsed(with_preset, document.values, ("preset",)) or dict(document.values)
    for name in values:
        if name not in _SECTIONS:
            checker.unknown(name, (name,), _SECTIONS)
    found: dict[str, Any] = {}
    for name, registry in _SOURCES.items():
        found[name] = None
        if name in _REQUIRED and name not in values:
            checker.add("missing", (name,), expected=f"{name}: {{source: ..}}")
        elif name in _REQUIRED or values.get(name) is not None:
            found[name] = checker.named(registry, values[name], (name,), by="source")
    found["test"] = _test_split(checker, values)
    for name, cls in _PLAIN.items():
        found[name] = checker.options(cls, {} if values.get(name) is None else values[name], (name,))
    found["loss"] = _loss(checker, values.get("loss"), found)
    detector = values.get("detector")
    detector = _default_detectors(found) if detector is None else detector
    found["detectors"] = checker.all_named(detectors.detectors, detector, ("detector",), by="name")
    found["budget"] = checker.placed(_budget, values.get("budget", 0.05), ("budget",))
    found["protect"] = checker.placed(parse_protect, values.get("protect", {}), ("protect",))
    found["look_for"] = checker.placed(parse_look_for, values.get("look_for"), ("look_for",))
    found["output"] = output = values.get("output")
    if isinstance(output, str):
        found["output"] = locate(output, document.base)
    elif output is not None:
        checker.add("not a path", ("output",), found=repr(output))
    if checker.problems:
        raise ConfigError.of(checker.problems)
    return found | {"resolved": _resolved(found)}


def _budget(value: Any, where: Where) -> Budget:
    return Budget.parse(value, where=where)


def _loss(checker: Checker, section: Any, found: Mapping[str, Any]) -> Task | None:
    """The task; some models take no loss but their own, and have no head."""
    model, gradients = found["model"], found["gradients"]
    usual = _USUAL if model is None else model.usual_loss
    if section is None:
        section = usual
    elif isinstance(section, dict):
        section = {"name": usual} | section
    task = checker.named(tasks, section, ("loss",), by="name")
    if model is None:
        return task
    what = "returns its loss" if model.returns_loss else "returns logits for each word"
    name = None if task is None else type_name(task)
    fits = task is None or (task.returns_loss if model.returns_loss else usual in (_USUAL, name))
    if not fits:
        checker.add(f"this model {what}", ("loss",), name, f"no `loss`, or `loss: {usual}`")
    if not model.has_head and gradients is not None and gradients.layers == "head":
        layers = "lora, all, or patterns of parameter names such as ['*.11.*']"
        checker.add(f"a model that {what} has no head", ("gradients", "layers"), "head", layers)
    return task


def _test_split(checker: Checker, values: dict[str, Any]) -> Any:
    """The data section ``verify.test``, which is removed from the section ``verify``."""
    section = values.get("verify")
    if not isinstance(section, dict) or "test" not in section:
        return None
    values["verify"] = {name: value for name, value in section.items() if name != "test"}
    if section["test"] is None:
        return None
    return checker.named(data_sources, section["test"], ("verify", "test"), by="source")


def _default_detectors(found: Mapping[str, Any]) -> str | list[str]:
    if found["query"] is not None:
        return detectors.ATTRIBUTING
    deciding = Classification.deciding if found["loss"] is None else found["loss"].deciding
    if found["data"] is not None and found["data"].annotators is not None:
        deciding = detectors.OF_ANNOTATORS
    features = found["model"] is None or found["model"].gives_features
    return detectors.defaults(deciding, features=features)


def _resolved(found: Mapping[str, Any]) -> dict[str, Any]:
    """The checked sections as plain YAML values."""
    sources = {name: described(found[name], "source") for name in _SOURCES if found[name] is not None}
    plain: dict[str, Any] = {name: sources.pop(name) for name in _REQUIRED}
    several: tuple[DetectorOptions, ...] = found["detectors"]
    plain["detector"] = [described(options, "name") for options in several]
    plain["budget"] = found["budget"].plain
    plain["protect"] = "off" if found["protect"] == "off" else found["protect"].plain()
    plain["look_for"] = sorted(found["look_for"])
    plain["relabel"] = found["relabel"].plain()
    plain["gradients"] = found["gradients"].plain()
    plain["loss"] = described(found["loss"], "name")
    plain |= {name: found[name].plain() for name in ("train", "verify")}
    plain |= sources
    if found["query"] is not None:
        plain["attribute"] = found["attribute"].plain()
    if found["test"] is not None:
        plain["verify"]["test"] = described(found["test"], "source")
    return plain
