"""Scans that ``torchrun`` starts: on one machine, and on two, which one machine plays here."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from command_line import Done, oga
from several_ranks import SAME
from slow_scans import scoring, slow_place, wait
from small_scans import Place, contents, make_place

pytestmark = pytest.mark.slow

SIZE = ("--set", "gradients.batch_size=16")
Agents = Sequence[subprocess.Popen[str]]


def torchrun(
    place: Place, nodes: int, *arguments: str, meanwhile: Callable[[Agents], None] = lambda agents: None
) -> list[Done]:
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
        meanwhile(agents)
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


def rank_of(process: int) -> str | None:
    """The number of a rank, by its environment."""
    entries = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    return next((one[5:].decode() for one in entries if one.startswith(b"RANK=")), None)


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_killed_rank_ends_the_others(tmp_path: Path, rank: str, nodes: int) -> None:
    """The other one saves what it has. ``torchrun`` tells of the death; the other one does so, too, unless
    it is interrupted before (``test_ranks.py`` kills ranks without ``torchrun``)."""
    place = slow_place(tmp_path)
    began = list[float]()

    def kill(agents: Agents) -> None:
        while not scoring(place):
            assert all(agent.poll() is None for agent in agents)
            time.sleep(0.2)
        for agent in agents:
            for child in Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split():
                if rank_of(int(child)) == rank:
                    os.kill(int(child), signal.SIGKILL)
                    began.append(time.monotonic())

    found = torchrun(place, nodes, meanwhile=kill)
    assert len(began) == 1
    assert time.monotonic() - began[0] < 90
    assert [done.code for done in found] == [1] * nodes
    told = "".join(done.err for done in found)
    assert "SIGKILL" in told
    assert [*(tmp_path / "run.partial").glob("state-*")]
    wait(place, 0)
    resumed = torchrun(place, nodes, "--resume")
    assert [done.code for done in resumed] == [0] * nodes, [done.err for done in resumed]
    same_as_one(place, "run")
