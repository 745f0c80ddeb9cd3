"""The stand-in for a GPU, for all tests."""

from collections.abc import Iterator

import pytest
import torch

from stand_in import COUNTS, Counts, register, stand_in

register()


@pytest.fixture
def counts() -> Iterator[Counts]:
    """What the stand-in ``standin:0`` is asked to do during the test."""
    with stand_in():
        yield COUNTS


CUDA = pytest.param("cuda", marks=pytest.mark.gpu)


def named(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(name, torch.cuda.current_device()) if name == "cuda" else torch.device(name)


@pytest.fixture(params=["standin", CUDA])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The stand-in, and with ``-m gpu`` the GPU."""
    if request.param == "cuda":
        yield named("cuda")
        return
    with stand_in() as there:
        yield there


@pytest.fixture(params=["cpu", CUDA])
def no_stand_in(request: pytest.FixtureRequest) -> torch.device:
    """The CPU, and with ``-m gpu`` the GPU; for what the stand-in cannot do."""
    return named(request.param)
