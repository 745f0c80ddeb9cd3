import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path

import fsspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from ogacli.errors import CheckpointError
from ogacli.models.checkpoints import (
    plain,
    put_weights,
    read_weights,
    save_weights,
    sha256,
    trained_classes,
)
from ogacli.models.checkpoints.matching import PREFIXES


def net(seed: int = 0, outputs: int = 3) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            OrderedDict(
                body=nn.Linear(4, 5), norm=nn.BatchNorm1d(5), act=nn.ReLU(), head=nn.Linear(5, outputs)
            )
        )


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


class Runs:
    """A pickle of this writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_weights_survive_the_file(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(net(1), path)
    other = net(2)
    assert not same(net(1), other)
    put_weights(other, read_weights(str(path)), str(path))
    assert same(net(1), other)
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


def test_same_weights_give_the_same_bytes(tmp_path):
    save_weights(net(1), tmp_path / "a.safetensors")
    save_weights(net(1), tmp_path / "b.safetensors")
    save_weights(net(2), tmp_path / "c.safetensors")
    sums = [sha256(str(tmp_path / f"{name}.safetensors")) for name in "abc"]
    assert sums[0] == sums[1] != sums[2]


@pytest.mark.parametrize("container", [None, "state_dict", "model", "model_state_dict"])
def test_torch_saved_state_dicts_and_containers(tmp_path, container):
    weights = net(1).state_dict()
    document = weights if container is None else {"epoch": 3, container: weights, "optimizer": {"lr": 0.1}}
    torch.save(document, tmp_path / "w.pt")
    other = net(2)
    path = str(tmp_path / "w.pt")
    put_weights(other, read_weights(path), path)
    assert same(net(1), other)


def test_containers_in_containers(tmp_path):
    torch.save({"state_dict": {"model": net(1).state_dict()}}, tmp_path / "w.pt")
    other = net(2)
    path = str(tmp_path / "w.pt")
    put_weights(other, read_weights(path), path)
    assert same(net(1), other)


@given(prefixes=st.lists(st.sampled_from(PREFIXES), max_size=3))
def test_prefixes_in_any_combination(prefixes):
    weights = {"".join(prefixes) + name: tensor for name, tensor in net(1).state_dict().items()}
    other = net(2)
    put_weights(other, weights, "w.pt")
    assert same(net(1), other)


def test_prefixes_on_the_model_side():
    other = nn.DataParallel(net(2))
    put_weights(other, net(1).state_dict(), "w.pt")
    assert same(net(1), other.module)


def test_a_prefix_that_is_a_real_name_is_kept():
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(2, 2)
            self.weight = nn.Parameter(torch.zeros(2))

    weights = {"model.weight": torch.ones(2, 2), "model.bias": torch.ones(2), "weight": torch.full((2,), 5.0)}
    nested = Nested()
    put_weights(nested, weights, "w.pt")
    assert nested.weight.tolist() == [5, 5]
    assert nested.model.weight.tolist() == [[1, 1], [1, 1]]


def test_every_misfit_is_named():
    weights = dict(net(1).state_dict())
    weights["extra.scale"] = torch.zeros(1)
    weights["head.weight"] = torch.zeros(3, 6)
    del weights["body.bias"]
    before = net(2)
    with pytest.raises(CheckpointError) as caught:
        put_weights(before, weights, "w.pt")
    message = str(caught.value)
    assert "1 of another shape: head.weight [3, 6], not [3, 5]" in message
    assert "1 missing: body.bias" in message
    assert "1 unexpected: extra.scale" in message
    assert message.startswith("w.pt: the checkpoint does not fit the model (Sequential)")
    assert same(before, net(2)), "nothing is loaded where something does not fit"


def test_an_imaginary_part_is_not_dropped(recwarn):
    weights = net().state_dict()
    weights["head.bias"] = weights["head.bias"].to(torch.complex64)
    with pytest.raises(CheckpointError, match=r"1 complex, not real: head.bias"):
        put_weights(net(1), weights, "w.pt")
    assert not recwarn


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("a shape without values", lambda one: one.to("meta")),
        (r"a sparse tensor \(sparse_coo\)", lambda one: one.to_sparse()),
        (r"a sparse tensor \(sparse_csr\)", lambda one: one.to_sparse_csr()),
        ("a quantized tensor", lambda one: torch.quantize_per_tensor(one, 0.1, 0, torch.qint8)),
        ("a nested tensor", lambda one: torch.nested.nested_tensor([one[0], one[1]])),
    ],
)
def test_tensors_that_are_no_arrays(tmp_path, kind, made):
    weights = net().state_dict()
    torch.save(weights | {"head.weight": made(weights["head.weight"])}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=f"w.pt: head.weight: weights of a kind(.|\n)*found: {kind}"):
        read_weights(str(tmp_path / "w.pt"))


def test_one_number_for_all_values(tmp_path):
    """A few kilobytes are fine, a terabyte is told."""
    small, large = torch.zeros(1).expand(3, 5), torch.zeros(1).expand(1 << 20, 1 << 18)
    torch.save({"w": small}, tmp_path / "small.pt")
    assert read_weights(str(tmp_path / "small.pt"))["w"].shape == (3, 5)
    torch.save({"w": large}, tmp_path / "large.pt")
    with pytest.raises(
        CheckpointError, match=r"unpacks to more than may be read\n  found: 1,099,511,627,776"
    ):
        read_weights(str(tmp_path / "large.pt"))


def test_many_misfits_are_counted():
    with pytest.raises(CheckpointError, match=r"9 unexpected: x0, x1, x2, x3 and 5 more"):
        put_weights(net(), {f"x{i}": torch.zeros(1) for i in range(9)}, "w.pt")


def test_a_missing_batch_counter_is_no_misfit():
    weights = {name: t for name, t in net(1).state_dict().items() if "num_batches" not in name}
    put_weights(net(2), weights, "w.pt")


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight


def test_tied_tensors_are_saved_and_loaded(tmp_path):
    model = Tied()
    save_weights(model, tmp_path / "w.safetensors")
    assert sorted(load_file(tmp_path / "w.safetensors")) == ["embed.weight", "head.weight"]
    other = Tied()
    path = str(tmp_path / "w.safetensors")
    put_weights(other, read_weights(path), path)
    assert torch.equal(other.head.weight, model.head.weight)
    assert other.head.weight is other.embed.weight


def test_one_name_is_enough_for_tied_tensors():
    model = Tied()
    put_weights(model, {"embed.weight": torch.ones(6, 4)}, "w.pt")
    assert model.head.weight.sum() == 24


def test_wrappers_are_looked_through(tmp_path):
    compiled = torch.compile(nn.DataParallel(net(1)))
    assert same(plain(compiled), net(1))
    save_weights(compiled, tmp_path / "w.safetensors")
    assert "head.weight" in load_file(tmp_path / "w.safetensors")


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    torch.save({"state_dict": net().state_dict(), "hook": Runs(tmp_path / "ran")}, tmp_path / "bad.pt")
    expected = r"bad\.pt: not a plain state dict: it holds Python objects.*would run their code"
    with pytest.raises(CheckpointError, match=expected) as caught:
        read_weights(str(tmp_path / "bad.pt"))
    assert "mkdir" in str(caught.value)
    assert "weights_only=False" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_bare_pickle_is_refused_and_not_run(tmp_path):
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    with pytest.raises(CheckpointError, match=r"bad.pkl: not a "):
        read_weights(str(tmp_path / "bad.pkl"))
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(net(), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="not a plain state dict") as caught:
        read_weights(str(tmp_path / "model.pt"))
    assert "save model.state_dict() again" in str(caught.value)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_network_in_torchscript_names_its_source(tmp_path):
    torch.jit.trace(net().eval(), torch.zeros(1, 4)).save(tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"model\.pt: not a checkpoint") as caught:
        read_weights(str(tmp_path / "model.pt"))
    assert "found: a whole network in TorchScript" in str(caught.value)
    assert "model: {source: torchscript}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pt", b"not a checkpoint at all", "not a checkpoint"),
        ("w.pt", b"", "not a checkpoint"),
        ("w.pt", b"hello", "not a checkpoint"),
        ("w.safetensors", b"\x10\0\0\0\0\0\0\0{}", "not a whole safetensors file"),
        ("w.safetensors", b"", "not a whole safetensors file"),
    ],
)
def test_broken_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(f"{name}: {message}")) as caught:
        read_weights(str(tmp_path / name))
    assert not str(caught.value).endswith("next: ")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_that_was_cut_off(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(net().state_dict(), path)
    else:
        save_weights(net(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="not a "):
        read_weights(str(path))


def test_a_missing_file():
    with pytest.raises(CheckpointError, match=r"/nowhere/w\.pt: no such checkpoint"):
        read_weights("/nowhere/w.pt")


def test_a_file_without_tensors(tmp_path):
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="no state dict in the file") as caught:
        read_weights(str(tmp_path / "w.pt"))
    assert "found: epoch, loss" in str(caught.value)


def test_the_bytes_and_not_the_suffix_tell_the_format(tmp_path):
    save_file({name: t.clone() for name, t in net(1).state_dict().items()}, tmp_path / "w.bin")
    assert read_weights(str(tmp_path / "w.bin")).keys() == net().state_dict().keys()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_url(tmp_path, name):
    if name == "w.pt":
        torch.save(net(1).state_dict(), tmp_path / name)
    else:
        save_weights(net(1), tmp_path / name)
    with fsspec.open(f"memory://bucket/{name}", "wb") as file:
        file.write((tmp_path / name).read_bytes())
    other = net(2)
    path = f"memory://bucket/{name}"
    put_weights(other, read_weights(path), path)
    assert same(net(1), other)
    assert sha256(f"memory://bucket/{name}") == sha256(str(tmp_path / name))


def test_an_unknown_protocol():
    with pytest.raises(CheckpointError, match="cannot be opened"):
        read_weights("nosuch://bucket/w.pt")


def test_weights_that_are_no_numbers(tmp_path):
    broken = net(1)
    with torch.no_grad():
        next(iter(broken.parameters())).view(-1)[3] = torch.nan
    with pytest.raises(CheckpointError, match=r"not numbers.*\n.*found: 1 with NaN"):
        put_weights(net(2), broken.state_dict(), "w.pt")


def test_of_a_network_and_its_average_the_network_is_taken():
    one, other = net(1), net(2)
    for average in ("ema_model.", "net_ema.", "averaged."):
        both = {f"net.{name}": tensor for name, tensor in one.state_dict().items()}
        both |= {f"{average}{name}": tensor for name, tensor in other.state_dict().items()}
        into = net(3)
        put_weights(into, both, "w.ckpt")
        assert all(torch.equal(into.state_dict()[name], one.state_dict()[name]) for name in one.state_dict())


def test_a_file_with_the_names_of_classes_is_one_that_every_reader_reads(tmp_path):
    paths = [tmp_path / f"{i}.safetensors" for i in range(3)]
    for path in paths:
        save_weights(net(1), path, classes=("Köter", "cat"))
    assert len({path.read_bytes() for path in paths}) == 1
    assert trained_classes(str(paths[0])) == ("Köter", "cat")
    found = load_file(paths[0])
    assert all(torch.equal(found[name], tensor) for name, tensor in net(1).state_dict().items())
