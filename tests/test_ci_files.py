"""The files for CI in docs/ci: a workflow and a hook, run as far as that is possible without a network."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from small_scans import H, make_place

CI = Path(__file__).parents[1] / "docs" / "ci"


@pytest.fixture
def repository(tmp_path):
    """A repository with data, a config, a policy and the run that was released; ``oga`` is on the path."""
    place = make_place(tmp_path)
    place.config_file.rename(tmp_path / "oga.yaml")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "oga"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m ogacli "$@"\n')
    command.chmod(0o755)
    shell(tmp_path, "oga gate --init && oga scan oga.yaml --output runs/released")
    return place


def shell(folder: Path, line: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    """A step as a runner of GitHub executes it."""
    done = subprocess.run(
        ["bash", "-e", "-c", line],
        cwd=folder,
        env=os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"} | env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def with_strangers(place):
    """20 samples far from the others."""
    rng = np.random.default_rng(5)
    x = np.concatenate([place.arrays["x"], rng.normal(size=(20, H)).astype(np.float32) * 9])
    y = np.concatenate([place.arrays["y"], rng.integers(0, 3, 20)])
    place.write(x=x, y=y, truth=y)


def run_workflow(folder: Path) -> tuple[bool, str, str]:
    """Its steps: whether the job passed, what the steps printed on stderr, and the summary of the job."""
    workflow = yaml.safe_load((CI / "gate-workflow.yml").read_text())
    summary = folder / "summary.md"
    summary.write_text("what another step wrote\n")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)} | workflow["env"]
    passed, err = True, ""
    for step in workflow["jobs"]["gate"]["steps"]:
        if "run" in step and "pip install" not in step["run"] and (passed or step.get("if") == "always()"):
            done = shell(folder, step["run"], check=False, **github)
            passed &= done.returncode == 0
            assert done.returncode in (0, 1), done.stderr
            err += done.stderr
    return passed, err, summary.read_text()


def test_the_workflow_lets_unchanged_data_through(repository):
    passed, err, summary = run_workflow(repository.folder)
    assert passed, err
    assert "::notice title=oga gate::passed" in err.splitlines()
    assert summary.startswith("what another step wrote\n## oga gate passed")
    assert "## oga diff" in summary


def test_the_workflow_stops_new_samples_that_are_flagged(repository):
    with_strangers(repository)
    passed, err, summary = run_workflow(repository.folder)
    assert not passed
    (line,) = [line for line in err.splitlines() if line.startswith("::error")]
    assert line.startswith("::error title=oga gate%3A max_new_flagged::found ")
    assert "`max_new_flagged`" in summary
    assert "### new, flagged" in summary
    root = ElementTree.parse(repository.folder / "gate.xml").getroot()
    assert [case.get("name") for case in root.iter("testcase") if case.find("failure") is not None] == [
        "max_new_flagged"
    ]


def test_the_workflow_names_actions_and_options_that_exist():
    steps = yaml.safe_load((CI / "gate-workflow.yml").read_text())["jobs"]["gate"]["steps"]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    assert all("@v" in step["uses"] for step in steps if "uses" in step)


def hooks():
    return yaml.safe_load((CI / "pre-commit-config.yaml").read_text())["repos"][0]["hooks"]


def test_the_hook_judges_the_run(repository):
    (hook,) = hooks()
    shell(repository.folder, "oga scan oga.yaml --output runs/candidate")
    assert "gate passed" in shell(repository.folder, hook["entry"]).stdout
    (repository.folder / "gate.yaml").write_text("max_flagged: 0\n")
    done = shell(repository.folder, hook["entry"], check=False)
    assert done.returncode == 1


@pytest.mark.skipif(importlib.util.find_spec("pre_commit") is None, reason="pre-commit is not installed")
def test_pre_commit_runs_the_hook(repository):
    folder = repository.folder
    (folder / ".pre-commit-config.yaml").write_text((CI / "pre-commit-config.yaml").read_text())
    shell(folder, "git init -q . && oga scan oga.yaml --output runs/candidate && git add runs *.yaml .pre*")
    env = {"PRE_COMMIT_HOME": str(folder / "home"), "GIT_CONFIG_GLOBAL": os.devnull}
    run = f"{sys.executable} -m pre_commit run --all-files"
    assert "Passed" in shell(folder, run, **env).stdout
    (folder / "gate.yaml").write_text("max_flagged: 0\n")
    shell(folder, "git add gate.yaml")
    done = shell(folder, run, check=False, **env)
    assert done.returncode == 1
    assert "gate failed" in done.stdout
