import sys
from contextlib import ExitStack
from importlib import import_module, metadata
from pathlib import Path

import pytest
import yaml

import plug_ins
from ogacli import detectors
from ogacli.base.registry import Registry, resolve, resolve_all, type_name
from ogacli.config import parse_config
from ogacli.data import sources as data_sources
from ogacli.errors import ConfigError
from ogacli.models import sources as model_sources
from ogacli.models.tasks import tasks
from ogacli.run import reports

REGISTRIES = {
    "data.sources": data_sources.sources,
    "models.sources": model_sources.sources,
    "detectors": detectors.detectors,
    "run.reports": reports.formats,
}


@pytest.mark.parametrize("package", REGISTRIES)
def test_each_thing_stands_in_the_file_of_its_name(package):
    registry = REGISTRIES[package]
    folder = Path(sys.modules[f"ogacli.{package}"].__path__[0])
    names = registry.names()
    assert names == sorted(names)
    assert names
    for name in names:
        assert (folder / f"{name}.py").is_file()
        assert registry.get(name).__module__ == f"ogacli.{package}.{name}"


@pytest.mark.parametrize(
    ("package", "name", "near"),
    [
        ("data.sources", "digit", "digits"),
        ("models.sources", "resnet_cfar", "resnet_cifar"),
        ("detectors", "isolationforest", "isolation_forest"),
        ("run.reports", "htm", "html"),
    ],
)
def test_an_unknown_name_gets_the_nearest_and_all(package, name, near):
    registry = REGISTRIES[package]
    with pytest.raises(ConfigError) as caught:
        registry.get(name)
    assert f"unknown {registry.noun} {name!r}; did you mean {near!r}?" in str(caught.value)
    assert f"expected: one of {', '.join(registry.names())}" in str(caught.value)


def test_a_name_that_is_like_none():
    with pytest.raises(ConfigError) as caught:
        data_sources.sources.get("zzzz")
    assert "did you mean" not in str(caught.value)


@pytest.fixture
def installed(tmp_path):
    """Installs a module of another author that extends the detectors."""
    with ExitStack() as stack:
        yield lambda module, text: stack.enter_context(
            plug_ins.installed(tmp_path / "site-packages", detectors.detectors, module, text)
        )


def test_another_distribution_adds_a_detector(installed):
    installed(
        "largest_entry",
        '''
        """Score = the largest entry of the gradient."""
        from ogacli.detectors import detectors
        from ogacli.detectors.norm import Norm, NormOptions


        @detectors.register
        class LargestEntry(NormOptions):
            """The largest entry."""

            power: float = 1.0
            """Of what."""

            def detector(self):
                return Norm(1, self.per_class)
        ''',
    )
    assert [entry.name for entry in metadata.entry_points(group="ogacli.detectors")] == ["largest_entry"]
    assert "largest_entry" in detectors.detectors.names()
    text = "data: digits\nmodel: mlp\ndetector: {name: largest_entry, %s: 2}"
    config = parse_config(text % "power")
    assert type_name(config.detectors[0]) == "largest_entry"
    assert config.resolved["detector"] == [{"name": "largest_entry", "per_class": False, "power": 2.0}]
    with pytest.raises(ConfigError, match=r"detector\.pwer: unknown key; did you mean 'power'"):
        parse_config(text % "pwer")


@pytest.mark.parametrize("text", ["import no_such_module_at_all\n", "1 / 0\n", "def f(:\n"])
def test_a_broken_distribution_is_named(installed, text):
    installed("broken_detector", text)
    with pytest.raises(ConfigError, match="broken_detector: the plug-in cannot be imported") as caught:
        detectors.detectors.get("anything")
    assert "distribution others" in str(caught.value)
    assert "uninstall" in str(caught.value)
    assert detectors.detectors.get("l2"), "what is known already is found all the same"


def test_a_module_that_is_imported_meanwhile_stays_registered(tmp_path, shelf):
    with plug_ins.installed(tmp_path / "site-packages", shelf, "plate", SHELVED):
        assert shelf.names() == ["cup", "plate"]
    assert shelf.names() == ["cup"]


SHELVED = "from shelf_of_things import things\n\n@things.register\nclass AnyName:\n    pass\n"


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """The registry of a package with one module, not imported yet."""
    package = tmp_path / "shelf_of_things"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from ogacli.base.registry import Registry\nthings = Registry('shelf_of_things', 'thing')\n"
    )
    (package / "cup.py").write_text(SHELVED)
    (package / "_hidden.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield import_module("shelf_of_things").things
    for name in ("shelf_of_things", "shelf_of_things.cup", "shelf_of_things._hidden"):
        sys.modules.pop(name, None)


def test_a_registry_imports_its_modules_when_asked(shelf):
    assert "shelf_of_things.cup" not in sys.modules
    assert shelf.names() == ["cup"]
    assert shelf.get("cup").__name__ == "AnyName"
    assert type_name(shelf.get("cup")()) == "cup"


# --- names and mappings -> options -------------------------------------------------------------------------


def test_what_resolves_to_options():
    from ogacli.detectors.l2 import L2

    registry = detectors.detectors
    given = L2(per_class=True)
    for value in ("l2", {"name": "l2"}):
        assert resolve(registry, value, by="name", place="detector") == L2()
    assert resolve(registry, {"name": "l2", "per_class": True}, by="name", place="detector") == given
    assert resolve(registry, given, by="name", place="detector") is given
    assert resolve_all(registry, ["l2", given], by="name", place="detector") == (L2(), given)
    assert resolve_all(registry, "l2", by="name", place="detector") == (L2(),)


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ("l22", ["detector.name: unknown detector 'l22'; did you mean 'l2'?"]),
        ({"nam": "l2"}, ["detector.name: missing\n  expected: one of "]),
        (3, ["detector: not a section\n  found: 3\n  expected: keys and values"]),
        ({"name": "l2", "per_clas": 1}, ["detector.per_clas: unknown key; did you mean 'per_class'?"]),
        ({"name": "l2", "trees": 3}, ["detector.trees: `trees` belongs to `name: isolation_forest`"]),
        ({"name": "l2", "per_class": 7}, ["detector.per_class: not a valid value\n  found: 7"]),
        ([], ["detector: empty\n  expected: at least one detector"]),
        (
            ["l2", "x", {"name": 4}],
            [f"detector[{i}].name: unknown detector '{x}'" for i, x in ((1, "x"), (2, 4))],
        ),
    ],
)
def test_what_does_not_gets_the_messages_of_a_config(value, problems):
    with pytest.raises(ConfigError) as called:
        resolve_all(detectors.detectors, value, by="name", place="detector")
    with pytest.raises(ConfigError) as written:
        parse_config(yaml.safe_dump({"data": "digits", "detector": value, "model": "mlp"}))
    for problem in problems:
        assert problem in str(called.value)
        assert problem in str(written.value)


def test_a_thing_may_have_a_name_of_its_own():
    registry: Registry = Registry("ogacli.detectors", "thing")

    @registry.register_as("a name")
    class Thing:
        pass

    assert registry.get("a name") is Thing
    assert type_name(Thing()) == "a name"
    assert type_name(Registry("ogacli.detectors", "thing")) == "registry"


def test_each_task_has_the_name_of_its_loss():
    for name in tasks.names():
        assert type_name(tasks.get(name).model_construct()) == name
