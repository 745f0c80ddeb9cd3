"""Named sets of values, selected by ``preset:`` at the top of a config.

In: the values of a config. Out: the same values, and those of the preset for keys that the config leaves out.
"""

from collections.abc import Mapping
from typing import Any

from ogacli.errors import ConfigError

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {
        "gradients": {"layers": "head", "bias": False, "residual": "loss"},
        "detector": {"name": "isolation_forest", "trees": 100, "subsample": 256, "per_class": False},
        "budget": 0.05,
        "protect": "off",
    }
}
"""``paper``: the CIFAR setting of Chhabra et al. (ICML 2025, arXiv 2405.03869): the gradient of the last
layer's weight, an isolation forest of 100 trees of 256 samples each, the 5 % most anomalous of all samples.
Its GLUE experiments trim 30 %; its half moons use second derivatives as well."""


def with_preset(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, completed by those of their preset; a key of the config takes precedence.

    Raises:
        ConfigError: There is no such preset.
    """
    completed = {name: value for name, value in values.items() if name != "preset"}
    chosen = values.get("preset")
    if chosen is None:
        return completed
    if not isinstance(chosen, str) or chosen not in PRESETS:
        raise ConfigError("no such preset", found=repr(chosen), expected=f"one of {', '.join(PRESETS)}")
    for name, value in PRESETS[chosen].items():
        own = completed.get(name)
        if own is None:
            completed[name] = value
        elif name == "gradients" and isinstance(own, dict):
            completed[name] = {**value, **own}
    return completed
