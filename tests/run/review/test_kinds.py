"""The page on every kind of data, in a real browser: filter, decide, reload, export, trim by the export."""

import json

import numpy as np
import pytest

import ogacli
from browsing import exported, ids, visit
from ogacli.config import load_config
from ogacli.config.commands import scan, train
from ogacli.run.decisions import read_decisions

pytestmark = pytest.mark.browser


def digits(folder):
    config = {
        "data": {"source": "digits", "flip": 0.1},
        "model": {"source": "mlp", "hidden": [16], "checkpoint": "c/epoch-*.safetensors"},
        "train": {"epochs": 3, "output": "c"},
        "output": "run",
    }
    return config, True


def pictures(folder):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (50_000, 6, 6), dtype=np.uint8)
    y = rng.integers(0, 5, 50_000)
    np.savez(folder / "data.npz", x=x, y=y)
    config = {
        "data": {"source": "arrays", "path": "data.npz", "x": "x", "y": "y"},
        "model": {"source": "mlp", "hidden": [8], "checkpoint": "c/epoch-001.safetensors"},
        "train": {"epochs": 1, "output": "c"},
        "detector": "l2",
        "output": "run",
    }
    return config, True


def texts(folder):
    rng = np.random.default_rng(0)
    labels = ["praise" if i % 2 else "blame" for i in range(400)]
    words = {"praise": "a fine and moving film", "blame": "a dull and lifeless film"}
    rows = [{"text": f"{words[label]} {i}", "label": label} for i, label in enumerate(labels)]
    rows[10]["label"] = "praise"
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    right = np.array([i % 2 for i in range(400)])
    p = np.clip(0.9 - 0.2 * rng.random(400), 0, 1)
    both = np.stack([np.where(right == 0, p, 1 - p), np.where(right == 1, p, 1 - p)], 1)
    np.save(folder / "p.npy", both.astype(np.float32))
    return {
        "data": {"source": "text", "path": "t.jsonl", "text": "text", "label": "label"},
        "model": {"source": "precomputed", "probabilities": "p.npy", "held_out": True},
        "output": "run",
    }, False


def table(folder):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 3))
    rows = ["a,b,c,label"] + [
        f"{r[0]:.3f},{r[1]:.3f},{r[2]:.3f},{'yes' if r[0] > 0 else 'no'}" for r in x.tolist()
    ]
    (folder / "t.csv").write_text("\n".join(rows) + "\n")
    return {
        "data": {"source": "table", "path": "t.csv", "label": "label"},
        "model": {"source": "logistic", "checkpoint": "c/epoch-003.safetensors"},
        "train": {"epochs": 3, "output": "c"},
        "output": "run",
    }, True


@pytest.mark.parametrize("make", [digits, pictures, texts, table])
def test_filter_decide_reload_export_and_trim(browser, tmp_path, make):
    config, trains = make(tmp_path)
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(config))
    loaded = load_config(file)
    if trains:
        train(loaded)
    run = scan(loaded)
    opened = visit(browser, (run.path / "report.html").as_uri())
    page = opened.page
    flagged = run.summary.flagged
    assert page.locator("#shown").text_content().startswith(f"{flagged:,} sample")
    assert len(ids(page)) == min(24, flagged)
    seen = [page.locator("#samples img").count(), page.locator("#samples .text").count()]
    assert max(seen) == min(24, flagged)
    first, second, third = ids(page)[:3]
    page.click("#start")
    page.keyboard.press("d")
    page.keyboard.press("k")
    page.keyboard.press("d")
    assert page.locator("#decided").text_content().startswith(f"3 of {flagged:,} decided")
    page.keyboard.press("u")
    page.fill("[name=search]", first)
    assert first in ids(page)
    page.click("[type=reset]")
    page.select_option("[name=state]", "undecided")
    assert not {first, second} & set(ids(page))
    page.wait_for_timeout(300)
    page.reload()
    assert page.locator("#decided").text_content() == f"2 of {flagged:,} decided: 1 keep, 1 drop"
    decisions = exported(page, tmp_path)
    opened.check()
    assert [one.action for one in read_decisions(decisions, run).decided].count("drop") == 1
    ogacli.trim(run, tmp_path / "kept.npy", format="indices", decisions=decisions)
    kept = set(np.load(tmp_path / "kept.npy").tolist())
    position = dict(
        zip(map(str, run.scores["id"].to_pylist()), run.scores["position"].to_pylist(), strict=True)
    )
    assert position[first] not in kept
    assert position[second] in kept
    assert position[third] not in kept  # flagged, and nobody kept it
