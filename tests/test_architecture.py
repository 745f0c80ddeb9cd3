"""The rooms of ``ogacli`` import one way, as CONTRIBUTING.md shows them, and no test imports from another."""

import ast
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

import ogacli

ROOMS: list[tuple[str, ...]] = [
    ("errors", "_version"),
    ("base",),
    ("data",),
    ("data.sources",),
    ("models", "models.neighbours", "models.tasks", "models.checkpoints"),
    ("models.sources",),
    ("models.training",),
    ("gradients.layers",),
    ("gradients",),
    ("detectors.forest", "detectors.influence", "detectors.label_noise"),
    ("detectors",),
    ("verdict",),
    ("run",),
    ("run.trim", "run.gate", "run.reports", "run.review"),
    ("scan",),
    ("scan.attribution",),
    ("config",),
    ("cli",),
]
"""Lowest first. A module belongs to the longest of these names that it begins with, and imports from its own
row and the rows before it."""
FACE = ("ogacli", "ogacli.__main__")
"""The modules that show the rooms to a user; they are above all rooms."""

MOST_ENTRIES = 14
LONGEST_CHAIN = 12
MOST_ARROWS = 90

Arrow = tuple[str, str]
"""The importing module and the imported one."""


# --- the checks ---------------------------------------------------------------------------------------


def arrows(graph: grimp.ImportGraph) -> set[Arrow]:
    """The imports between modules of ``ogacli``."""
    ours = {name for name in graph.modules if name.split(".")[0] == "ogacli"}
    return {(one, other) for one in ours for other in graph.find_modules_directly_imported_by(one) & ours}


def level(module: str) -> int:
    """The row of ``ROOMS`` that a module belongs to."""
    if module in FACE:
        return len(ROOMS)
    levels = {f"ogacli.{room}": row for row, rooms in enumerate(ROOMS) for room in rooms}
    parts = module.split(".")
    names = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    found = next((levels[name] for name in names if name in levels), None)
    assert found is not None, f"{module} is in no room: add its folder to ROOMS, and to CONTRIBUTING.md"
    return found


def upward(imports: Iterable[Arrow]) -> list[Arrow]:
    """The imports of a room that comes after the importing one."""
    return sorted((one, other) for one, other in imports if level(one) < level(other))


def circle(imports: Iterable[Arrow]) -> list[str]:
    """A circle of imports, first module again at the end; empty where there is none."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for one, other in imports:
        sorter.add(one, other)
    try:
        sorter.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def between_rooms(imports: Iterable[Arrow]) -> set[Arrow]:
    """The imports between files at the top and first-level folders."""
    pairs = {(".".join(one.split(".")[:2]), ".".join(other.split(".")[:2])) for one, other in imports}
    return {(one, other) for one, other in pairs if one != other}


def chain(imports: Iterable[Arrow]) -> int:
    """The number of nodes on the longest chain of imports without a circle."""
    imported: dict[str, set[str]] = {}
    for one, other in imports:
        imported.setdefault(one, set()).add(other)
    length: dict[str, int] = {}
    for node in TopologicalSorter(imported).static_order():
        length[node] = 1 + max((length[other] for other in imported.get(node, ())), default=0)
    return max(length.values(), default=0)


def importers(graph: grimp.ImportGraph, target: str, allowed: Iterable[str]) -> list[str]:
    """The modules that import ``target``, or something in it, and lie in none of the ``allowed`` rooms."""

    def inside(module: str, room: str) -> bool:
        return module == room or module.startswith(f"{room}.")

    targets = [module for module in graph.modules if inside(module, target)]
    found = {one for module in targets for one in graph.find_modules_that_directly_import(module)}
    return sorted(one for one in found if not any(inside(one, room) for room in (*allowed, target)))


def from_tests(source: str) -> list[str]:
    """What a source imports, anywhere in it, from a file of tests, or by ``tests.`` as a second module."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{'.' * node.level}{node.module or ''}.{one.name}" for one in node.names]
    parts = {name: name.split(".") for name in found}
    return [
        name for name in found if parts[name][0] == "tests" or any(p.startswith("test_") for p in parts[name])
    ]


# --- ogacli ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        "ogacli", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


@pytest.fixture(scope="module")
def imports(graph: grimp.ImportGraph) -> set[Arrow]:
    return arrows(graph)


def test_no_import_goes_up(imports: set[Arrow]) -> None:
    assert upward(imports) == []


def test_modules_import_in_no_circle(imports: set[Arrow]) -> None:
    assert circle(imports) == []


def test_rooms_are_few_and_loosely_joined(imports: set[Arrow]) -> None:
    between = between_rooms(imports)
    assert chain(between) <= LONGEST_CHAIN
    assert len(between) < MOST_ARROWS


def test_the_top_is_short() -> None:
    beside = {"py.typed", "__pycache__", "configs"}  # a wheel holds the example configs, too
    entries = {path.name for path in Path(ogacli.__file__).parent.iterdir()} - beside
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


def test_only_the_commands_know_the_config() -> None:
    everything = grimp.build_graph("ogacli", exclude_type_checking_imports=False, cache_dir=None)
    assert set(importers(everything, "ogacli.config", ["ogacli.cli"])) <= set(FACE)


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_only_the_command_line_knows_the_terminal(graph: grimp.ImportGraph, library: str) -> None:
    assert importers(graph, library, ["ogacli.cli"]) == []


# --- tests -----------------------------------------------------------------------------------------------


def test_no_test_imports_from_another() -> None:
    """What they share is in modules beside this one, and fixtures are in ``conftest.py``."""
    folder = Path(__file__).parent
    found = {
        str(file.relative_to(folder)): names
        for file in sorted(folder.rglob("*.py"))
        if (names := from_tests(file.read_text(encoding="utf-8")))
    }
    assert found == {}


# --- the checks themselves -------------------------------------------------------------------------------


def graph_of(*imports: Arrow) -> grimp.ImportGraph:
    made = grimp.ImportGraph()
    for one, other in imports:
        made.add_import(importer=one, imported=other)
    return made


DOWN = [("ogacli.scan.plan", "ogacli.run.directory"), ("ogacli.run.directory", "ogacli.errors")]


@pytest.mark.parametrize(
    "planted",
    [
        ("ogacli.errors", "ogacli.base.options"),
        ("ogacli.data.samples", "ogacli.data.sources.table"),
        ("ogacli.models.tasks", "ogacli.models.sources"),
        ("ogacli.gradients.layers.linear", "ogacli.gradients"),
        ("ogacli.detectors.forest.growth", "ogacli.detectors.l2"),
        ("ogacli.run.directory", "ogacli.run.gate.conditions.max_flagged"),
        ("ogacli.scan", "ogacli.scan.attribution.report"),
        ("ogacli.config.demo", "ogacli.cli.terminal"),
        ("ogacli.cli.runs", "ogacli"),
    ],
)
def test_an_import_that_goes_up_is_found(planted: Arrow) -> None:
    assert upward(arrows(graph_of(*DOWN))) == []
    assert upward(arrows(graph_of(*DOWN, planted))) == [planted]


def test_a_file_outside_of_the_rooms_is_found() -> None:
    with pytest.raises(AssertionError, match=r"ogacli\.helpers is in no room"):
        upward(arrows(graph_of(("ogacli.scan.plan", "ogacli.helpers"))))


def test_a_circle_is_found() -> None:
    assert circle(arrows(graph_of(*DOWN))) == []
    back = ("ogacli.errors", "ogacli.scan.plan")
    assert set(circle(arrows(graph_of(*DOWN, back)))) == {module for arrow in DOWN for module in arrow}


def test_chains_and_arrows_are_counted_between_rooms() -> None:
    inside = ("ogacli.run.trim.csv", "ogacli.run.directory")
    between = between_rooms(arrows(graph_of(*DOWN, inside)))
    assert between == {("ogacli.scan", "ogacli.run"), ("ogacli.run", "ogacli.errors")}
    assert chain(between) == 3


def test_whoever_imports_a_room_is_found() -> None:
    made = graph_of(
        ("ogacli.cli.runs", "ogacli.config.folds"),
        ("ogacli.config.demo", "ogacli.config"),
        ("ogacli.scan.plan", "ogacli.config"),
    )
    assert importers(made, "ogacli.config", ["ogacli.cli"]) == ["ogacli.scan.plan"]


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        ("from scan.test_tags import Tagger", "scan.test_tags.Tagger"),
        ("from run.trim import test_cells as cells", "run.trim.test_cells"),
        ("from .test_tags import Tagger", ".test_tags.Tagger"),
        ("import test_errors", "test_errors"),
        ("def inside():\n    from tests.simulated import predictions", "tests.simulated.predictions"),
    ],
)
def test_an_import_from_a_test_is_found(planted: str, name: str) -> None:
    allowed = "import torch\nfrom small_scans import make_place\nfrom ogacli import scan\n"
    assert from_tests(allowed) == []
    assert from_tests(allowed + planted) == [name]
