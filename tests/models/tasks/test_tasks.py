"""The ``loss:`` section: its tasks, and the errors for keys of other tasks."""

import pytest

from ogacli.config import parse_config
from ogacli.errors import ConfigError
from ogacli.models.tasks.multi_label import MultiLabel

PLAIN = "data: {source: digits}\nmodel: {source: mlp}\n"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{name: python}", r"loss.factory: missing"),
        ("{name: mse, factory: 'a:b'}", r"c.yaml:3: loss.factory: `factory` belongs to `name: python`"),
        ("{name: mse, label_smoothing: 0.1}", r"`label_smoothing` belongs to `name: cross_entropy`"),
        ("{label_smothing: 0.1}", r"loss.label_smothing: unknown key; did you mean 'label_smoothing'"),
        ("{label_smoothing: 1.5}", r"loss.label_smoothing: not a valid value"),
        ("crossentropy", r"loss.name: unknown loss 'crossentropy'; did you mean 'cross_entropy'"),
        ("{name: mse, factory: 3, fold: x}", r"loss.fold: unknown key"),
    ],
)
def test_mistakes(section, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(f"{PLAIN}loss: {section}\n", place="c.yaml")


def test_a_section_holds_the_keys_of_its_task_only():
    config = parse_config(f"{PLAIN}loss: bce_with_logits\ndetector: l2\n")
    assert config.loss == MultiLabel()
    assert config.resolved["loss"] == {"name": "bce_with_logits"}
    config = parse_config(f"{PLAIN}loss: {{label_smoothing: 0.25}}\n")
    assert config.resolved["loss"] == {"name": "cross_entropy", "label_smoothing": 0.25}
