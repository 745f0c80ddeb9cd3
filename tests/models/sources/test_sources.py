from dataclasses import replace

import pytest
import torch
from torch import nn

from ogacli.config import parse_config
from ogacli.errors import CheckpointError, ConfigError, DataError
from ogacli.models.checkpoints import save_weights, trained_classes
from ogacli.models.sources import Fit, NetworkSource, sources
from small_scans import make_place

PICTURES = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def source(yaml: str) -> NetworkSource:
    found = parse_config(f"data: {{source: digits}}\nmodel: {yaml}").model
    assert isinstance(found, NetworkSource)
    return found


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_contract_s_sources_are_there():
    expected = {"logistic", "mlp", "precomputed", "python", "resnet_cifar", "torchvision"}
    assert expected <= set(sources.names())


@pytest.mark.parametrize(
    "yaml", ["logistic", "mlp", "{source: mlp, hidden: []}", "{source: mlp, hidden: [8, 7], dropout: 0.1}"]
)
def test_dense_networks_take_any_shape_and_type(make_samples, yaml):
    for inputs in (PICTURES, PICTURES.long()):
        module = source(yaml).build(Fit.of(make_samples(inputs)))
        assert module(inputs).shape == (8, 3)


def test_the_options_of_mlp():
    net = source("{source: mlp, hidden: [8, 7], dropout: 0.1, activation: gelu}").build(
        Fit(torch.zeros(1, 4), 3)
    )
    assert parameters(net) == 4 * 8 + 8 + 8 * 7 + 7 + 7 * 3 + 3
    kinds = [type(layer).__name__ for layer in net.modules()]
    assert kinds.count("Dropout") == kinds.count("GELU") == 2
    assert isinstance(net.head, nn.Linear)


@pytest.mark.parametrize(
    ("depth", "weights"), [(8, 75_290), (14, 172_506), (20, 269_722), (32, 464_154), (18, 11_173_962)]
)
def test_resnet_cifar_has_as_many_weights_as_the_papers(depth, weights):
    net = source(f"{{source: resnet_cifar, depth: {depth}}}").build(Fit(PICTURES[:1], 10)).eval()
    assert parameters(net) == weights
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) + 1 == depth
    with torch.no_grad():
        assert net(PICTURES[:2]).shape == (2, 10)


def test_resnet_cifar_takes_the_channels_of_the_samples(make_samples):
    net = source("resnet_cifar").build(Fit.of(make_samples(PICTURES[:, :1, :8, :8])))
    assert net(PICTURES[:, :1, :8, :8]).shape == (8, 3)
    with pytest.raises(DataError, match="resnet_cifar takes pictures"):
        source("resnet_cifar").build(Fit(torch.zeros(1, 4), 3))


@pytest.mark.parametrize("yaml", ["logistic", "mlp", "{source: resnet_cifar, depth: 8}"])
def test_a_checkpoint_makes_the_round_trip(make_samples, tmp_path, yaml):
    samples = make_samples(PICTURES)
    one = source(yaml).build(Fit.of(samples)).eval()
    save_weights(one, tmp_path / "w.safetensors")
    section = yaml if yaml.startswith("{") else f"{{source: {yaml}}}"
    again = source(f"{section[:-1]}, checkpoint: {tmp_path}/w.safetensors}}")
    found = again.load(samples).outputs(samples.read(range(8)))
    with torch.no_grad():
        torch.testing.assert_close(found.logits, one(PICTURES))
    assert again.checkpoint_files() == (f"{tmp_path}/w.safetensors",)


def test_a_model_without_checkpoint_is_not_scanned(make_samples):
    with pytest.raises(CheckpointError, match=r"model.checkpoint: the model has no checkpoint"):
        source("mlp").load(make_samples(PICTURES))


def test_outputs_follow_the_checkpoint_s_head(make_samples, tmp_path):
    save_weights(source("mlp").build(Fit(PICTURES[:1], 7)), tmp_path / "w.safetensors")
    options = source(f"{{source: mlp, checkpoint: {tmp_path}/w.safetensors}}")
    samples = make_samples(PICTURES)
    assert options.load(samples).outputs(samples.read(range(8))).logits.shape == (8, 7)
    with pytest.raises(
        CheckpointError, match="more classes in the data than the checkpoint's head"
    ) as caught:
        options.load(make_samples(PICTURES, classes=8))
    assert "found: 7 outputs" in str(caught.value)
    assert "at least 8" in str(caught.value)


def test_another_architecture_s_checkpoint(make_samples, tmp_path):
    save_weights(source("mlp").build(Fit(PICTURES[:1], 3)), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="the checkpoint does not fit the model") as caught:
        source(f"{{source: resnet_cifar, checkpoint: {tmp_path}/w.safetensors}}").load(make_samples(PICTURES))
    assert "unexpected: head.bias" in str(caught.value)


# --- torchvision --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "googlenet"])
def test_torchvision_networks(make_samples, tmp_path, name):
    build = source(f"{{source: torchvision, name: {name}}}").build
    save_weights(build(Fit(PICTURES[:1], 3)), tmp_path / "w.safetensors")
    samples = make_samples(PICTURES)
    loaded = source(f"{{source: torchvision, name: {name}, checkpoint: {tmp_path}/w.safetensors}}")
    found = loaded.load(samples).outputs(samples.read(range(8)))
    assert found.logits.shape == (8, 3)


def test_torchvision_arguments():
    net = source("{source: torchvision, name: resnet18, args: {width_per_group: 64, num_classes: 5}}").build(
        Fit(PICTURES[:1], 3)
    )
    assert net.fc.out_features == 5
    with pytest.raises(ConfigError, match=r"model\.args: torchvision cannot make a resnet18") as caught:
        source("{source: torchvision, name: resnet18, args: {widht: 3}}").build(Fit(PICTURES[:1], 3))
    assert "widht" in str(caught.value)


def test_torchvision_names():
    with pytest.raises(ConfigError, match=r"no classification network 'resnet81'; did you mean 'resnet1?8"):
        source("{source: torchvision, name: resnet81}").build(Fit(PICTURES[:1], 3))


@pytest.mark.parametrize("args", ["{weights: DEFAULT}", "{pretrained: true}", "{weights_backbone: DEFAULT}"])
def test_torchvision_downloads_nothing(args):
    with pytest.raises(ConfigError, match="no weights are downloaded"):
        source(f"{{source: torchvision, name: resnet18, args: {args}}}")


# --- python -------------------------------------------------------------------------------------------

FACTORY = """
from torch import nn

def make(width=5):
    from beside_factory import OUTPUTS
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, OUTPUTS))

def fails():
    raise ValueError("no such size")

def lazy():
    return nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.LazyLinear(3))

def nothing():
    return "a network"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module, and the place that ``python`` sections in it are read from."""
    (tmp_path / "beside_factory.py").write_text("OUTPUTS = 3\n")
    (tmp_path / "factory_of_test.py").write_text(FACTORY)
    yield tmp_path
    import sys

    for name in ("beside_factory", "factory_of_test"):
        sys.modules.pop(name, None)


def python(folder, rest: str) -> NetworkSource:
    text = f"data: {{source: digits}}\nmodel: {{source: python, factory: {rest}}}"
    found = parse_config(text, base=folder).model
    assert isinstance(found, NetworkSource)
    return found


def test_python_factories_are_found_beside_the_config(folder, make_samples):
    import sys

    before = list(sys.path)
    samples = make_samples(torch.randn(8, 4))
    network = python(folder, "'factory_of_test:make', args: {width: 6}").load(samples)
    assert network.outputs(samples.read(range(8))).features.shape == (8, 6)
    assert sys.path == before


def test_lazy_layers_take_their_shapes_from_the_samples(folder, make_samples, tmp_path):
    samples = make_samples(torch.randn(8, 4))
    one = python(folder, "'factory_of_test:lazy'").load(samples)
    assert one.outputs(samples.read(range(8))).features.shape == (8, 5)
    save_weights(one.module, tmp_path / "w.safetensors")
    other = python(folder, "'factory_of_test:lazy', checkpoint: w.safetensors").load(samples)
    assert torch.equal(other.module[0].weight, one.module[0].weight)


def test_python_factories_are_found_in_the_current_folder(folder, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(folder)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert python(elsewhere, "'factory_of_test:make'").build(Fit(torch.zeros(1, 4), 3))


def test_python_resolves_its_folder_into_the_config(folder):
    assert python(folder, "'factory_of_test:make'").model_dump()["folder"] == str(folder)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("nowhere_at_all:make", "nowhere_at_all:make: cannot be imported"),
        ("factory_of_test:mkae", "factory_of_test:mkae: cannot be imported"),
        ("factory_of_test.py:make", "write the module without its suffix: factory_of_test:make"),
        ("factory_of_test", "not of the form package.module:name"),
        (
            "factory_of_test:fails",
            r"the factory fails\n  found: ValueError: no such size \(factory_of_test.py:9\)",
        ),
        ("factory_of_test:nothing", "does not return a network\n  found: str"),
    ],
)
def test_python_factories_that_do_not_work(folder, factory, message):
    with pytest.raises(ConfigError, match=message):
        python(folder, f"'{factory}'").build(Fit(torch.zeros(1, 4), 3))


def test_a_checkpoint_of_other_classes_is_refused(tmp_path):
    """Where one class has no samples any more, the others would be taken for each other."""
    place = make_place(tmp_path)
    source, samples = place.config().model, place.config().data.open()
    names = ("cat", "dog", "eel")
    trained = source.build(Fit.of(samples))
    source.save(trained, tmp_path / "named.safetensors", names)
    named = source.model_copy(update={"checkpoint": str(tmp_path / "named.safetensors")})
    assert trained_classes(named.checkpoint) == names
    assert trained_classes(str(place.folder / "weights.safetensors")) == ()
    for same in (samples, replace(samples, classes=names)):  # numbers are no names
        named.load(same)
    for others in (("cat", "eel", "dog"), ("dog", "eel")):
        fewer = replace(samples, labels=samples.labels.clamp_max(1), classes=others, truth=None)
        with pytest.raises(CheckpointError, match=r"trained on other classes") as caught:
            named.load(fewer)
        assert "classes: [cat, dog, eel]" in str(caught.value)


def test_torchvision_names_the_outputs_of_its_weights(tmp_path, make_samples):
    """A dataset whose classes are some of ImageNet's must list all of them, in their order."""
    from torchvision.models import get_model, get_model_weights

    save_weights(get_model("resnet18", num_classes=1000), tmp_path / "w.safetensors")
    named = source(f"{{source: torchvision, name: resnet18, checkpoint: {tmp_path}/w.safetensors}}")
    two = make_samples(PICTURES[:2])
    few = replace(two, classes=("Tench", "church"))
    with pytest.raises(
        CheckpointError, match="classes are in another order than those of the data"
    ) as caught:
        named.load(few)
    assert "list all 1,000 names in that order as `classes`" in str(caught.value)
    assert "get_model_weights('resnet18')" in str(caught.value)
    names = tuple(get_model_weights("resnet18").DEFAULT.meta["categories"])
    everything = replace(few, classes=names)
    assert named.load(everything).classes == 1000
    assert named.names_classes(everything)
    assert not named.names_classes(replace(few, classes=("a", "b")))
