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


@pytest.fixture(params=["standin", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The stand-in, and with ``-m gpu`` the GPU."""
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        yield torch.device("cuda", torch.cuda.current_device())
        return
    with stand_in() as there:
        yield there
