"""The script for a GPU runs to its end without one, in small, on the stand-in."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = {
    "exact", "pace resnet18", "scan head", "scan all", "scans", "training", "vmap resnet18", "pace resnet34",
    "pace encoder-4", "pace vit-b16", "pace resnet50-224", "pace gpt2", "pace encoder-125m", "lora",
}  # fmt: skip


def run(*parts: str) -> list[dict[str, object]]:
    program = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *parts, "--small", "--device", "standin"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert not [line for line in lines if "failed" in line or "cut_off_after" in line]
    return lines


def test_the_pace_of_a_network():
    lines = run("pace resnet18")
    passes = {line["what"] for line in lines if "what" in line}
    ours = {"head, l2", "all, capture", "all, l2", "all, l1", "all, forest", "all, all three"}
    last = {"forward, channels last", "forward + backward, channels last", "all, l2, channels last"}
    assert passes == ours | last


@pytest.mark.slow
def test_all_parts():
    ends = {line["part"]: line["exit"] for line in run() if "exit" in line}
    assert ends == dict.fromkeys(PARTS, 0)
