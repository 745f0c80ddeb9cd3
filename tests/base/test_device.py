"""Devices by name, their memory, and messages of memory that ran out."""

import pytest
import torch

from ogacli.base.device import (
    current,
    device_name,
    device_of,
    free_bytes,
    out_of_memory,
    sent,
    where_it_fits,
)
from ogacli.errors import ConfigError
from stand_in import COUNTS, FREE


def test_a_name_without_a_number_is_the_current_device(counts):
    assert device_of("standin") == torch.device("standin", 0)
    assert device_name(device_of("standin")) == "stand-in"
    assert free_bytes(device_of("standin")) == FREE[0]


@pytest.mark.parametrize("name", ["standin:2", "cuda:99", "meta", "xla"])
def test_a_device_that_is_not_there(counts, name):
    with pytest.raises(ConfigError, match=r"gradients\.device: no such device"):
        device_of(name)


def test_the_stand_in_is_gone_after_the_test():
    with pytest.raises(ConfigError, match="no such device on this machine"):
        device_of("standin")


def test_mps_is_refused_in_one_sentence():
    with pytest.raises(ConfigError, match="norms are summed in float64, which MPS does not have"):
        device_of("mps")


def test_cuda_by_number(monkeypatch):
    """With CUDA_VISIBLE_DEVICES torch counts the visible ones alone."""
    entered: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)

    class Guard:
        def __init__(self, device: torch.device) -> None:
            entered.append(device)

    monkeypatch.setattr(torch.cuda, "device", Guard)
    assert device_of("cuda:1") == torch.device("cuda", 1)
    assert device_of("cuda") == device_of("auto") == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match=r"expected: cpu, cuda:0, cuda:1"):
        device_of("cuda:2")
    current(device_of("cuda:1"))
    assert entered == [torch.device("cuda", 1)]


def test_copies_to_a_device_do_not_wait(counts, device):
    tensor = torch.arange(5)
    if device.type != "standin":
        pytest.skip("only the stand-in counts")
    COUNTS.reset()
    assert sent(tensor, device).tolist() == tensor.tolist()
    assert [kind for kind, _ in COUNTS.waits] == ["to host"], "only that of the assertion"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
        RuntimeError("cudaErrorMemoryAllocation: out of memory"),
        RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_memory_that_ran_out_is_recognised(error):
    def full() -> None:
        raise error

    assert out_of_memory(error)
    assert where_it_fits(full) is None


def test_other_errors_are_not():
    def broken() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side assert"):
        where_it_fits(broken)
