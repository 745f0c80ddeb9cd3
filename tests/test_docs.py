"""Every `oga` command and Python example of README and docs runs, in order, in one empty folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.data import TensorDataset

from ogacli.run.directory import Run
from small_scans import K, make_place

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def prepared(page: Path, folder: Path) -> None:
    """Write the configs of a page that begin with their name, and run the Python blocks of the tutorial."""
    text = page.read_text(encoding="utf-8")
    for name, config in re.findall(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```", text, re.M | re.S):
        (folder / name).write_text(config, encoding="utf-8")
    if page.name == "tutorial.md":
        for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
            subprocess.run([sys.executable, "-c", block], cwd=folder, check=True)


def commands(page: Path) -> list[list[str]]:
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    return [shlex.split(line[2:]) for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_commands_run(page: Path, tmp_path: Path) -> None:
    prepared(page, tmp_path)
    for command in commands(page):
        assert command[0] == "oga"
        call = [sys.executable, "-m", "ogacli", *command[1:]]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr}"


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = subprocess.run(
        [sys.executable, "-m", "ogacli", "--help"], capture_output=True, text=True, check=True
    ).stdout
    names = re.findall(r"^  ([a-z]+)  ", shown.partition("Commands:")[2], re.M)
    assert len(names) > 5
    assert [name for name in names if f"`oga {name}" not in readme] == []


def examples() -> list[str]:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


def test_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small dataset and network; the config trains the same network for two epochs."""
    place = make_place(tmp_path)
    config = yaml.safe_load(place.config_file.read_text())
    config["model"]["checkpoint"] = "run-checkpoints/epoch-002.safetensors"
    (tmp_path / "oga.yaml").write_text(yaml.safe_dump(config | {"train": {"epochs": 2}}))
    monkeypatch.chdir(tmp_path)
    labels = torch.tensor(place.arrays["y"])
    names = {
        "dataset": TensorDataset(torch.tensor(place.arrays["x"]), labels),
        "labels": labels,
        "names": [str(i) for i in range(K)],
        "network": place.network()[0],
    }
    assert len(examples()) == 2
    for example in examples():
        exec(compile(example, "python.md", "exec"), dict(names))
    assert sorted(os.listdir("runs")) == ["python"]
    assert Run.open("runs/python").summary.flagged == 6
    assert Run.open("run").summary.flagged == 12
