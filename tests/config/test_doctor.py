import builtins
import re
import tomllib
from argparse import Namespace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from command_line import oga
from ogacli.config.commands import doctor, plan, scan
from ogacli.config.doctor import _EXTRAS, examine
from ogacli.errors import OgaError
from small_scans import make_place


def test_versions_and_devices() -> None:
    found = examine()
    assert found.versions["torch"] == torch.__version__
    assert found.devices[-1].startswith("cpu")
    assert found.problems == ()


def test_a_torchvision_that_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    found = examine()
    assert found.versions["torchvision"] == "does not import"
    assert "do not match" in found.problems[0]
    assert "pip install --upgrade torch torchvision" in found.problems[0]


def test_extras_are_named_as_their_distributions():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for name, extra in _EXTRAS.items():
        assert name in {re.split(r"[^\w-]", line)[0] for line in extras[extra]}


def test_facts_come_first_and_then_everything_that_is_missing(tmp_path: Path) -> None:
    """The data, both checkpoints and the validation samples; nothing is left for the next call."""
    (tmp_path / "config.yaml").write_text(
        "data: {source: table, path: none.csv, label: label}\n"
        "model: {source: mlp, checkpoint: [one.safetensors, two.safetensors]}\n"
        "validation: {source: table, path: other.csv, label: label}\n"
        "output: run\n"
    )
    asked = oga("doctor", "config.yaml", cwd=tmp_path)
    assert asked.code == 2
    assert asked.out.index("torch") < asked.out.index("missing:")
    for name in ("none.csv", "other.csv", "one.safetensors", "two.safetensors"):
        assert name in asked.out, name
    found = doctor(tmp_path / "config.yaml")
    assert found.plan is None
    assert len(found.missing) == 4
    assert not (tmp_path / "run").exists()


def test_mistakes_in_the_config_are_told_after_the_facts(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data: digits\nmodel: mlp\nbudgets: 3\noutput: run\n")
    asked = oga("doctor", "config.yaml", cwd=tmp_path)
    assert asked.code == 2
    assert asked.out.index("torch") < asked.out.index("budgets: unknown key")


def test_a_dry_run_opens_every_checkpoint_also_where_the_output_exists(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    scan(place.config())
    for name in ("two", "three"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"not weights")
    names = "weights.safetensors, two.safetensors, three.safetensors"
    with pytest.raises(OgaError, match=r"(?s)run: already exists.*two\.safetensors.*three\.safetensors"):
        plan(place.config(f"model.checkpoint=[{names}]"))
    assert plan(place.config(), overwrite=True).checkpoints == 1


def test_another_distribution_of_faiss_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def found(name: str) -> str:
        if name == "faiss-cpu":
            raise metadata.PackageNotFoundError(name)
        return "1.9.0" if name == "faiss-gpu" else version(name)

    monkeypatch.setattr(metadata, "version", found)
    monkeypatch.setattr(metadata, "packages_distributions", lambda: {"faiss": ["faiss-gpu"]})
    monkeypatch.setattr("ogacli.config.doctor.find_spec", lambda name: object())
    assert examine().versions["faiss-cpu"] == "1.9.0 (faiss-gpu)"


def test_devices_are_listed_and_mps_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Namespace(total_memory=80 << 30))
    assert examine().devices == (
        "cuda:0 GPU 0, 80 GiB",
        "cuda:1 GPU 1, 80 GiB",
        "mps, refused: norms are summed in float64, which MPS does not have",
        f"cpu, {torch.get_num_threads()} threads",
    )
