import re
import subprocess
import sys
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ogacli import detectors
from ogacli.base.options import Options, field_docs
from ogacli.config import Config, load_config, parse_config
from ogacli.config.sections import _PLAIN
from ogacli.data import sources as data_sources
from ogacli.errors import ConfigError
from ogacli.models import sources as model_sources
from ogacli.models.tasks import tasks
from ogacli.models.tasks.classification import Classification
from ogacli.models.tasks.regression import Regression
from ogacli.verdict.budget import Budget
from ogacli.verdict.protection import Protect

PLAIN = """\
data: {source: digits}
model: {source: mlp, hidden: [8]}
"""


def told(text: str, *overrides: str) -> list[str]:
    """The first line of each problem."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, overrides, place="c.yaml")
    return [line for line in str(caught.value).splitlines() if not line.startswith("  ")]


def message(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, overrides, place="c.yaml")
    return str(caught.value)


# --- what a plain config means -----------------------------------------------------------------------------


def test_defaults():
    config = parse_config(PLAIN)
    assert config.budget == Budget(0.05)
    assert [type(one).__name__ for one in config.detectors] == ["LatentLabel", "L2", "IsolationForest"]
    assert config.loss == Classification()
    assert config.output is None
    assert config.test is None
    assert list(config.resolved) == [
        "data",
        "model",
        "detector",
        "budget",
        "protect",
        "look_for",
        "relabel",
        "gradients",
        "loss",
        "train",
        "verify",
    ]


def test_words_stand_for_sections():
    text = "data: digits\nmodel: logistic\ndetector: l1\nloss: mse\nverify: {test: digits}\n"
    config = parse_config(text)
    assert config.data == parse_config(PLAIN).data == config.test
    assert config.resolved["detector"] == [{"name": "l1", "per_class": False}]
    assert config.loss == Regression()
    assert parse_config(PLAIN + "detector: [l2, {name: l1}]").detectors[1] == config.detectors[0]


def test_an_empty_section_is_a_missing_one():
    assert (
        parse_config(PLAIN + "gradients:\nloss:\ntrain:\ndetector:\n").resolved
        == parse_config(PLAIN).resolved
    )


@pytest.mark.parametrize("section", ["gradients", "loss", "train", "verify"])
@pytest.mark.parametrize("value", ["[]", "0", "false", "[1]", "''"])
def test_what_is_no_section_is_refused(section, value):
    found = message(PLAIN + f"{section}: {value}\n")
    assert found.startswith(f"c.yaml:3: {section}")


# --- every problem, at once, where it stands ---------------------------------------------------------------


def test_every_problem_at_once_with_its_line():
    text = """\
data:
  source: digits
  splt: train
  limit: {cout: 5, seed: 1}
  flip: 2
model: {source: mlpp}
gradients:
  layrs: head
  batch_size: 0
detector:
  - {name: isolation_forest, trees: many}
  - {name: isolationforest}
budget: 150%
lost: mse
train: {epochs: 0, schedule: linear}
verify:
  test: {sauce: digits}
output: [a]
"""
    assert sorted(told(text)) == sorted(
        [
            "c.yaml:14: lost: unknown key; did you mean 'loss'?",
            "c.yaml:3: data.splt: unknown key; did you mean 'split'?",
            "c.yaml:4: data.limit.count: missing",
            "c.yaml:4: data.limit.cout: unknown key; did you mean 'count'?",
            "c.yaml:5: data.flip: not a valid value",
            "c.yaml:6: model.source: unknown model source 'mlpp'; did you mean 'mlp'?",
            "c.yaml:17: verify.test.source: missing",
            "c.yaml:8: gradients.layrs: unknown key; did you mean 'layers'?",
            "c.yaml:9: gradients.batch_size: not a valid value",
            "c.yaml:15: train.epochs: not a valid value",
            "c.yaml:15: train.schedule: not a valid value",
            "c.yaml:11: detector[0].trees: not a valid value",
            "c.yaml:12: detector[1].name: unknown detector 'isolationforest'; "
            "did you mean 'isolation_forest'?",
            "c.yaml:13: budget: not a budget",
            "c.yaml:18: output: not a path",
        ]
    )


def test_what_was_found_and_expected_is_told():
    found = message(PLAIN + "train: {schedule: linear}\nbudget: lots\n")
    assert "found: 'linear'" in found
    assert "expected: 'cosine', 'step' or 'constant'" in found
    assert "found: 'lots'" in found
    assert "a fraction such as 0.05 (or 5%)" in found


def test_missing_sections():
    assert told("budget: 3") == ["c.yaml: data: missing", "c.yaml: model: missing"]
    assert told("data: {}\nmodel: {}") == [
        "c.yaml:1: data.source: missing",
        "c.yaml:2: model.source: missing",
    ]
    assert "one of arrays, coco, digits," in message("data: {}\nmodel: mlp")
    assert told("data: {source: table}\nmodel: mlp") == ["c.yaml:1: data.path: missing"]
    assert told("data: {source: table, path: a.csv}\nmodel: mlp") == [
        "c.yaml:1: data: `label` is missing: the column of the labels"
    ]


def test_the_nearest_right_name_within_a_section_of_a_section():
    text = "data: {source: image_folder, root: x, transform: {rezise: 3}}\nmodel: mlp"
    assert told(text) == ["c.yaml:1: data.transform.rezise: unknown key; did you mean 'resize'?"]


def test_a_key_that_is_like_none_lists_what_there_is():
    assert "expected: one of against, attribute, budget, data, detector" in message(PLAIN + "zzz: 1")


def test_no_detector_at_all():
    assert told(PLAIN + "detector: []") == ["c.yaml:3: detector: empty"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: [", "c.yaml:1: not valid YAML"),
        ("data: {source: digits\nmodel: x\n", "c.yaml:2: not valid YAML"),
        ("a: b: c", "c.yaml:1: not valid YAML"),
        ("\tdata: x", "c.yaml:1: not valid YAML"),
        ("a: 1\n---\nb: 2", "c.yaml:2: not valid YAML"),
        ("a: !!python/object:os.system x", "c.yaml:1: not valid YAML"),
        ("a: &a [*a]", "c.yaml: nested too deeply, or within itself"),
        ("a: \x00", "c.yaml: not valid YAML"),
        ("- a\n- b", "c.yaml: not a config"),
        ("just text", "c.yaml: not a config"),
        ("data: digits\nmodel: mlp\ndata: moons", "c.yaml:3: data: given twice"),
        ("data: {source: digits,\n  split: all, split: test}\nmodel: mlp", "c.yaml:2: split: given twice"),
        ("data: digits\nmodel: mlp\noutput: 2024-02-30", "c.yaml:3: not a value"),
    ],
)
def test_what_is_no_config_file(text, expected):
    assert message(text).startswith(expected)


def test_an_empty_file_lacks_everything():
    assert told("") == ["c.yaml: data: missing", "c.yaml: model: missing"]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.yaml: no such config file\n  next: `oga init`"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        load_config(tmp_path / "bytes.yaml")


def test_a_folder_is_told_from_a_run_directory(tmp_path):
    with pytest.raises(ConfigError, match=r"a folder, not a config file\n  next: `oga init`"):
        load_config(tmp_path)
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"next: did you mean .*config.yaml\?"):
        load_config(tmp_path)


# --- --set -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("budget=7", ("budget",), 7),
        ("budget=20%", ("budget",), 0.2),
        ("model.hidden=[4, 2]", ("model", "hidden"), [4, 2]),
        ("model.hidden.0=4", ("model", "hidden"), [4]),
        ("data.limit={count: 5, seed: 2}", ("data", "limit"), {"count": 5, "seed": 2}),
        ("data.limit.count=5", ("data", "limit"), {"count": 5, "seed": 0}),
        ("train.epochs=3", ("train", "epochs"), 3),
        ("train.learning_rate=1e-3", ("train", "learning_rate"), 0.001),
        ("verify.test.source=digits", ("verify", "test", "source"), "digits"),
        ("detector=l1", ("detector", 0, "name"), "l1"),
        ("detector.per_class=true", ("detector", 0, "per_class"), True),
        ("detector=[l1, l2]", ("detector", 1, "name"), "l2"),
        ("loss=mse", ("loss", "name"), "mse"),
        ("loss.label_smoothing=0.1", ("loss", "label_smoothing"), 0.1),
        ("model={source: logistic}", ("model", "source"), "logistic"),
        (
            "model.checkpoint=null",
            ("model",),
            {"source": "mlp", "hidden": [8], "activation": "relu", "dropout": 0.0},
        ),
    ],
)
def test_set(override, path, expected):
    text = PLAIN + "detector: l2\nloss: cross_entropy\n"
    found: Any = parse_config(text, [override]).resolved
    for part in path:
        found = found[part]
    assert found == expected


def test_set_reaches_into_lists_and_words():
    text = "data: digits\nmodel: mlp\ndetector: [l2, isolation_forest]\nverify: {test: digits}\n"
    config = parse_config(
        text,
        [
            "data.split=train",
            "model.hidden=[3]",
            "detector.1.trees=7",
            "verify.test.split=test",
            "detector.0=l1",
        ],
    )
    assert config.data.split == "train"
    assert config.model.hidden == (3,)
    assert [type(one).__name__ for one in config.detectors] == ["L1", "IsolationForest"]
    assert config.detectors[1].trees == 7
    assert config.test.split == "test"


def test_the_last_set_wins():
    assert parse_config(PLAIN, ["budget=1", "budget=2"]).budget == Budget(2)


def test_a_section_can_be_taken_out():
    text = PLAIN + "verify: {test: digits, seeds: 3}\noutput: x\n"
    config = parse_config(text, ["verify.test=null", "output=null"])
    assert (config.test, config.verify.seeds, config.output) == (None, 3, None)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("budget", "--set: not an override\n  found: budget"),
        ("=3", "--set: not an override"),
        ("budget=[", "--set budget: the value is not valid YAML"),
        ("budget=lots", "--set: budget: not a budget"),
        ("train.epochs.x=3", "--set: train.epochs: not a valid value"),
        ("model.hidden.3=1", "--set model.hidden.3: no such entry\n  found: 3\n  expected: 0 to 0"),
        ("model.hidden.0.x=1", "--set model.hidden.0.x: the key above it holds a value, not keys"),
        ("model.hiden=[1]", "--set: model.hiden: unknown key; did you mean 'hidden'?"),
        ("trian.epochs=1", "--set: trian: unknown key; did you mean 'train'?"),
        ("output=2024-02-30", "--set output: the value is not valid YAML"),
    ],
)
def test_wrong_overrides(override, expected):
    assert message(PLAIN, override).startswith(expected)


def test_problems_of_several_overrides_are_told_together():
    assert told(PLAIN, "budget", "model.hidden.9=1", "train.epochs=2") == [
        "--set: not an override",
        "--set model.hidden.9: no such entry",
    ]


# --- the environment ---------------------------------------------------------------------------------------


def test_environment_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("OGA_TEST_ROOT", str(tmp_path))
    monkeypatch.setenv("OGA_TEST_EMPTY", "")
    monkeypatch.delenv("OGA_TEST_UNSET", raising=False)
    text = """\
data: {source: image_folder, root: "${OGA_TEST_ROOT}/a/${OGA_TEST_UNSET:-b}"}
model: {source: mlp, hidden: ["${OGA_TEST_EMPTY:-12}"]}
budget: ${OGA_TEST_UNSET:-7%}
output: ${OGA_TEST_UNSET:-}
"""
    config = parse_config(text.replace("output: ${OGA_TEST_UNSET:-}\n", ""))
    assert config.data.root == f"{tmp_path}/a/b"
    assert config.model.hidden == (12,)
    assert config.budget == Budget(0.07)


def test_unset_variables_are_all_told(monkeypatch):
    monkeypatch.delenv("OGA_TEST_UNSET", raising=False)
    found = told("data: ${OGA_TEST_UNSET}\nmodel: mlp\noutput: a/${OGA_TEST_UNSET}/b\n")
    assert found == [
        "c.yaml:1: environment variable OGA_TEST_UNSET is not set",
        "c.yaml:3: environment variable OGA_TEST_UNSET is not set",
    ]


# --- paths -------------------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_file_and_those_of_set_to_the_current_folder(tmp_path, monkeypatch):
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    (there / "c.yaml").write_text(
        "data: {source: table, path: t.csv, label: y, root: ../z.zip, image: f}\n"
        "model: {source: mlp, checkpoint: w.pt}\ntrain: {output: ck}\noutput: run\n"
    )
    config = load_config("../there/c.yaml")
    assert config.data.path == f"{there}/t.csv"
    assert Path(config.data.root).resolve() == tmp_path / "z.zip"
    assert config.model.checkpoint == f"{there}/w.pt"
    assert config.train.output == f"{there}/ck"
    assert config.output == f"{there}/run"

    overrides = ["data.path=t.csv", "model.checkpoint=w.pt", "train.output=ck", "output=run"]
    config = load_config("../there/c.yaml", overrides)
    assert config.data.path == f"{here}/t.csv"
    assert config.model.checkpoint == f"{here}/w.pt"
    assert config.train.output == f"{here}/ck"
    assert config.output == f"{here}/run"
    config = load_config("../there/c.yaml", ["data={source: image_folder, root: photos}"])
    assert config.data.root == f"{here}/photos"


def test_a_path_in_a_home_folder(tmp_path, monkeypatch):
    """A name that begins with ``~`` and is no user's is a name of a file."""
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    text = "data: {{source: table, path: {}, label: y}}\nmodel: mlp\n"
    paths = [parse_config(text.format(one), base=tmp_path).data.path for one in ("~/t.csv", "~no-one.csv")]
    assert paths == [f"{tmp_path}/me/t.csv", f"{tmp_path}/~no-one.csv"]


@pytest.mark.parametrize("path", ["/abs/t.csv", "s3://bucket/t.csv", "https://host/t.csv"])
def test_absolute_paths_and_urls_stay(path):
    assert parse_config(f"data: {{source: table, path: '{path}', label: y}}\nmodel: mlp").data.path == path


def test_home():
    config = parse_config("data: {source: table, path: ~/t.csv, label: y}\nmodel: mlp")
    assert config.data.path == str(Path.home() / "t.csv")


# --- the resolved config -----------------------------------------------------------------------------------


def again(config: Config, folder: Path) -> Config:
    """The config as a run directory keeps it, read elsewhere."""
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config.resolved), sort_keys=False))
    return load_config(folder / "config.yaml")


ROUND_TRIPS = [
    PLAIN,
    PLAIN + "budget: auto\n",
    PLAIN + "budget: 1.0\n",
    PLAIN + "budget: 1\n",
    PLAIN + "budget: 1e-05\n",
    PLAIN
    + "detector: [l1, {name: isolation_forest, seed: 3}]\nloss: {name: cross_entropy, label_smoothing: .1}\n",
    "data: {source: digits, limit: 5, flip: 0.1, manifest: m.csv, workers: 2}\nmodel: logistic\n",
    "data: {source: digits, limit: {count: 5}}\nmodel: {source: mlp, checkpoint: w.pt, head: head}\n",
    "data: {source: table, path: t.csv, label: [a, b], id: i, features: [x]}\nmodel: {source: mlp}\n"
    "loss: bce_with_logits\nverify: {seeds: 4, test: {source: table, path: u.csv, label: [a, b]}}\n",
    "data: {source: image_folder, root: p.zip, transform: imagenet, classes: [yes, no, '1']}\n"
    "model: {source: python, factory: 'm:f', args: {a: [1, x], b: null}}\n",
    "data: {source: arrays, path: d.npz, x: x, y: y, target: regression}\n"
    "model: {source: precomputed, logits: z.npy, features: h.npy, bias: false}\nloss: mse\n",
    "data: digits\nmodel: mlp\nloss: {name: python, factory: 'm:f'}\n"
    "train: {output: ck, learning_rate: 0.00001}\n",
]


@pytest.mark.parametrize("text", ROUND_TRIPS)
def test_the_resolved_config_reads_as_itself(text, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    config = load_config(tmp_path / "c.yaml")
    found = again(config, tmp_path / "run")
    assert found.resolved == config.resolved
    for name in ("data", "model", "gradients", "loss", "detectors", "budget", "train", "verify", "test"):
        assert getattr(found, name) == getattr(config, name), name


@given(
    budget=st.one_of(st.floats(0, 1), st.integers(0, 10**9), st.just("auto")),
    rate=st.floats(1e-30, 1e30),
    seed=st.integers(-(2**40), 2**40),
    text=st.text(st.characters(codec="utf-8", exclude_characters="$"), min_size=1, max_size=20),
)
def test_any_value_survives(tmp_path_factory, budget, rate, seed, text):
    values = {
        "data": {"source": "table", "path": "/t.csv", "label": text},
        "model": {"source": "mlp"},
        "detector": {"name": "isolation_forest", "seed": seed},
        "budget": budget,
        "train": {"learning_rate": rate},
    }
    config = parse_config(yaml.safe_dump(values))
    assert config.data.label == text
    assert config.train.learning_rate == rate
    assert config.budget == Budget(budget)
    found = parse_config(yaml.safe_dump(dict(config.resolved)))
    assert found.resolved == config.resolved
    assert found.detectors == config.detectors


def option_classes() -> list[type[Options]]:
    found = list(_PLAIN.values())
    for registry in (data_sources.sources, model_sources.sources, detectors.detectors, tasks):
        found += [registry.get(name) for name in registry.names()]
    return found


def allows_none(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return any(allows_none(part) for part in get_args(annotation))
    return annotation is type(None)


@pytest.mark.parametrize("cls", option_classes(), ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_options_are_documented_and_can_be_left_out_of_a_resolved_config(cls):
    """What is None is not written, so None must be what a missing key means."""
    docs = field_docs(cls)
    for name, field in cls.model_fields.items():
        assert docs.get(name), f"{name} has no docstring"
        if allows_none(field.annotation):
            assert field.default is None, name


def test_options_cannot_be_changed():
    config = parse_config(PLAIN)
    with pytest.raises(ValueError, match="frozen"):
        config.data.limit = 3
    with pytest.raises(AttributeError):
        config.budget = Budget(1)


def test_messages_name_no_python_types():
    """A user writes YAML and need not know how it is checked."""
    found = message(
        PLAIN + "train: {epochs: x}\ngradients: {device: 3}\ndetector: {name: l2, per_class: 7}\n"
    )
    assert not re.search(r"pydantic|str_type|int_parsing|BaseModel|https?://", found)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2", Protect(times=2)),
        ("{keep: 0.75, least: 2}", Protect(keep=0.75, least=2)),
        ("off", "off"),
        ("'off'", "off"),
    ],
)
def test_how_far_classes_are_protected(value, expected):
    config = parse_config(PLAIN + f"protect: {value}\n")
    assert config.protect == expected
    assert config.resolved["protect"] == (expected if expected == "off" else expected.model_dump())
    again = parse_config(yaml.safe_dump(dict(config.resolved)))
    assert again.protect == expected
    assert parse_config(PLAIN).protect == Protect()


def test_a_protection_that_is_none():
    with pytest.raises(ConfigError, match=r"config:\d+: protect\.times: not a valid value(.|\n)*found: 0.5"):
        parse_config(PLAIN + "protect: 0.5\n")
    with pytest.raises(ConfigError, match=r"config:\d+: protect\.keep: not a valid value(.|\n)*found: 2"):
        parse_config(PLAIN + "protect: {keep: 2}\n")


# --- what is imported --------------------------------------------------------------------------------------


def test_importing_the_config_imports_no_torch():
    code = "import sys, ogacli.config; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
