import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ogacli.config.demo import demo
from ogacli.errors import RunError
from ogacli.run.directory import Run
from small_scans import contents

OGA = [sys.executable, "-m", "ogacli"]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OGA, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_the_whole_way(tmp_path):
    done = run("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "l2" in done.stdout
    assert "trimming:" in done.stdout
    paths = dict(re.findall(r"^(\w+) +(runs/digits/\S+)$", done.stdout, re.M))
    assert set(paths) == {"config", "report", "manifest"}
    assert all((tmp_path / path).is_file() for path in paths.values())

    found = Run.open(tmp_path / "runs/digits/run")
    first = next(iter(found.summary.evaluation.values()))
    assert first.auroc >= 0.97
    assert first.precision_at_budget >= 0.8
    assert found.summary.samples == 1198
    assert first.wrong == 120
    again = run("demo", cwd=tmp_path)
    assert again.returncode == 2
    assert "already exists" in again.stderr
    assert again.stdout == ""

    # What it wrote can be gone on with.
    assert run("scan", "runs/digits/config.yaml", "--output", "again", cwd=tmp_path).returncode == 0
    assert run("scan", "runs/digits/run/config.yaml", "--output", "resolved", cwd=tmp_path).returncode == 0
    scores = [
        (tmp_path / name / "scores.parquet").read_bytes() for name in ("runs/digits/run", "again", "resolved")
    ]
    assert scores[0] == scores[1] == scores[2]
    assert len(found.provenance["checkpoints"]) == 40
    assert all(Path(path).is_file() for path in found.provenance["checkpoints"])


@pytest.mark.slow
def test_as_a_document_and_once_more(tmp_path):
    first = run("demo", "--output", "here", "--json", cwd=tmp_path)
    document = json.loads(first.stdout)
    assert document["schema_version"] == 1
    assert document["summary"]["evaluation"]["l2"]["auroc"] >= 0.97
    assert {arm["name"] for arm in document["verification"]["arms"]} == {"all", "trimmed", "random", "oracle"}
    for name in ("config", "run", "report", "manifest"):
        assert Path(document[name]).exists()
    before = (tmp_path / "here/run/scores.parquet").read_bytes()
    assert run("demo", "--output", "here", "--overwrite", "-q", cwd=tmp_path).returncode == 0
    assert (tmp_path / "here/run/scores.parquet").read_bytes() == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["config.yaml", "thesis.txt"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path, name, overwrite):
    (tmp_path / name).write_bytes(b"\xff mine")
    with pytest.raises(RunError, match="something else stands there"):
        demo(tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == {name: b"\xff mine"}


def test_an_earlier_demo_is_replaced_only_when_asked(tmp_path):
    from ogacli.config.demo import CONFIG

    (tmp_path / "config.yaml").write_text(CONFIG)
    with pytest.raises(RunError, match="already exists\n  next: add --overwrite"):
        demo(tmp_path)


def test_a_config_that_was_changed_is_not_written_again(tmp_path):
    from ogacli.config.demo import CONFIG

    changed = CONFIG.replace("budget: 0.1", "budget: 0.2")
    (tmp_path / "config.yaml").write_text(changed)
    with pytest.raises(RunError, match="something else stands there"):
        demo(tmp_path, overwrite=True)
    assert (tmp_path / "config.yaml").read_text() == changed


def test_its_config_says_what_the_readme_says():
    from ogacli.config.demo import CONFIG

    values = yaml.safe_load(CONFIG)
    assert values["data"]["flip"] == values["budget"] == 0.1
