import importlib
import sys
import textwrap

import pytest


@pytest.fixture
def added_module(tmp_path, monkeypatch):
    """Adds a file to the folder of an extension point, as somebody would who extends the tool."""
    added = []

    def add(name: str, text: str) -> None:
        package, _, module = name.rpartition(".")
        folder = tmp_path / "added" / package
        folder.mkdir(parents=True)
        (folder / f"{module}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        owner = importlib.import_module(package)
        monkeypatch.setattr(owner, "__path__", [*owner.__path__, str(folder)])
        importlib.invalidate_caches()
        added.append((owner, name))

    yield add
    for owner, name in added:
        module = name.rpartition(".")[2]
        sys.modules.pop(name, None)
        owner.__dict__.pop(module, None)
        for thing in vars(owner).values():
            if hasattr(thing, "_found"):
                thing._found.pop(module, None)
