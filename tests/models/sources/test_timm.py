from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ogacli.config import parse_config
from ogacli.errors import ConfigError
from ogacli.models.checkpoints import save_weights
from ogacli.models.sources import Fit
from ogacli.models.sources.timm import Timm

timm = pytest.importorskip("timm")
PICTURES = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def built(name: str, outputs: int = 5, **args: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Timm(name=name, args=args).build(Fit(PICTURES[:1], outputs)).eval()


@pytest.mark.parametrize(
    ("name", "args", "head"),
    [
        ("resnet10t", {}, "fc"),
        ("mobilenetv3_small_050", {}, "classifier"),
        ("convnext_atto", {}, "head.fc"),
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}, "head"),
    ],
)
def test_a_checkpoint_is_loaded_and_its_head_found(
    name: str, args: dict[str, Any], head: str, tmp_path: Path, make_samples: Any
) -> None:
    one = built(name, **args)
    save_weights(one, tmp_path / "w.safetensors")
    samples = make_samples(PICTURES)
    model = Timm(name=name, args=args, checkpoint=str(tmp_path / "w.safetensors")).load(samples)
    outputs = model.outputs(samples.read(range(6)))
    with torch.no_grad():
        torch.testing.assert_close(outputs.logits, one(PICTURES))
        features = one.forward_head(one.forward_features(PICTURES), pre_logits=True)
    torch.testing.assert_close(outputs.features, features)
    assert model.head_name == head


def test_channels_follow_the_samples(make_samples: Any) -> None:
    grey = make_samples(PICTURES[:, :1])
    network = Timm(name="resnet10t").build(Fit.of(grey))
    assert network(PICTURES[:, :1]).shape == (6, 3)


def test_mistakes_are_told() -> None:
    fit = Fit(PICTURES[:1], 3)
    with pytest.raises(
        ConfigError, match=r"model.name: timm has no network 'resnet5O'; did you mean 'resnet50"
    ):
        Timm(name="resnet5O").build(fit)
    with pytest.raises(ConfigError, match="timm cannot make a resnet10t of these arguments"):
        Timm(name="resnet10t", args={"colour": "red"}).build(fit)
    with pytest.raises(ConfigError, match=r"no weights are downloaded: drop `pretrained`"):
        parse_config("data: digits\nmodel: {source: timm, name: resnet10t, args: {pretrained: true}}")
    with pytest.raises(ConfigError, match="nothing is downloaded: name the architecture"):
        parse_config("data: digits\nmodel: {source: timm, name: 'hf-hub:timm/resnet18'}")


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("ogacli.base.user_code.import_module", fail)
    with pytest.raises(
        ConfigError, match=r"the package timm is not installed\n  next: pip install 'ogacli\[timm"
    ):
        Timm(name="resnet10t").build(Fit(PICTURES[:1], 3))
