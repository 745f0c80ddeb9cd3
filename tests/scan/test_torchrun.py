"""Scans that ``torchrun`` starts: on one machine, and on two, which one machine plays here."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import Done, oga
from small_scans import Place, contents, make_place

pytestmark = pytest.mark.slow

SAME = ("scores.parquet", "summary.json", "provenance.json", "beside.parquet", "gradient_map.parquet")
SIZE = ("--set", "gradients.batch_size=16")


def torchrun(place: Place, nodes: int, *arguments: str) -> list[Done]:
    """A scan by two ranks, on one node or one on each of two; how each ``torchrun`` ended."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    at = ["--rdzv-id", "oga", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(nodes)]
    command += ["--nproc-per-node", str(2 // nodes), *at, "-m", "ogacli", "scan", "config.yaml"]
    agents = [
        subprocess.Popen(
            [*command, *SIZE, *arguments],
            cwd=place.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(nodes)
    ]
    try:
        streams = [agent.communicate(timeout=300) for agent in agents]
    finally:
        for agent in agents:
            agent.terminate()
    return [Done(agent.returncode, *both) for agent, both in zip(agents, streams, strict=True)]


def same_as_one(place: Place, name: str) -> None:
    """The run ``name`` is equal to that of one process, byte for byte."""
    one = oga("scan", "config.yaml", "--output", "one", *SIZE, cwd=place.folder)
    assert one.code == 0, one.err
    first, second = (contents(place.folder / folder) for folder in ("one", name))
    assert {file: second[file] == first[file] for file in SAME} == dict.fromkeys(SAME, True)


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_same_as_one_process(tmp_path: Path, nodes: int) -> None:
    place = make_place(tmp_path, detector=["l2", {"name": "latent_label", "fit_samples": 60}])
    found = torchrun(place, nodes)
    assert [done.code for done in found] == [0] * nodes, [done.err for done in found]
    assert sum("samples flagged" in done.out for done in found) == 1
    same_as_one(place, "run")


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_mistake_is_told_once(tmp_path: Path, nodes: int) -> None:
    """``torchrun`` itself ends with 1, and tells the exit code of each rank."""
    place = make_place(tmp_path)
    found = torchrun(place, nodes, "--set", "model.checkpoint=nowhere.safetensors")
    told = "".join(done.err for done in found)
    assert [done.code for done in found] == [1] * nodes
    assert told.count("nowhere.safetensors: no such checkpoint") == 1
    assert "exitcode  : 2 " in told
    assert not (tmp_path / "run").exists()
