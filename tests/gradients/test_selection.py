import pytest
from torch import nn

from ogacli.errors import GradientError
from ogacli.gradients.selection import selected


def network() -> nn.Module:
    module = nn.ModuleDict(
        {
            "stem": nn.Linear(2, 3),
            "layer4": nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)),
            "head": nn.Linear(3, 2, bias=False),
            "again": nn.Linear(3, 2, bias=False),
        }
    )
    module["again"].weight = module["head"].weight
    return module


ALL = [
    "stem.weight",
    "stem.bias",
    "layer4.0.weight",
    "layer4.0.bias",
    "layer4.1.weight",
    "layer4.1.bias",
    "head.weight",
]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("all", ALL),
        ("*", ALL),
        ("layer4.*", ALL[2:6]),
        (["layer4.1.*", "stem.bias"], [ALL[1], *ALL[4:6]]),
        (["*.bias"], ALL[1:6:2]),
        ("again.*", ["head.weight"]),
        (["head.weight", "again.weight"], ["head.weight"]),
    ],
)
def test_patterns_select_in_the_order_of_the_network(layers: str | list[str], expected: list[str]) -> None:
    module = network()
    found = selected(module, layers)
    assert list(found) == expected
    assert all(found[name] is module.get_parameter(name) for name in found)


def test_a_pattern_without_a_parameter_names_near_ones() -> None:
    with pytest.raises(GradientError) as error:
        selected(network(), ["stem.*", "layr4.*"])
    assert "gradients.layers 'layr4.*'" in str(error.value)
    assert "layer4." in str(error.value)


def test_a_pattern_like_nothing_is_answered_with_examples() -> None:
    expected = r"expected: head, all, lora, or patterns such as .*head\.\*"
    with pytest.raises(GradientError, match=expected) as error:
        selected(network(), "zzzzzz")
    assert "next:" not in str(error.value)


def test_a_network_without_parameters() -> None:
    with pytest.raises(GradientError, match="no parameters"):
        selected(nn.Flatten(), "all")


def test_head_and_lora_among_several() -> None:
    """``head`` is the last linear layer; ``lora`` everything that PEFT calls so."""

    class Adapted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(3, 3)
            self.lora_A = nn.Linear(3, 1, bias=False)
            self.norm = nn.LayerNorm(3)
            self.out = nn.Linear(3, 2)

    module = Adapted()
    assert list(selected(module, "lora")) == ["lora_A.weight"]
    assert list(selected(module, ["head", "lora"])) == ["lora_A.weight", "out.weight", "out.bias"]
    with pytest.raises(GradientError, match=r"gradients\.layers 'lora'") as caught:
        selected(nn.Linear(2, 2), "lora")
    assert "the network has no low-rank adapters" in str(caught.value)
    assert "given as `model.adapter`" in str(caught.value)
