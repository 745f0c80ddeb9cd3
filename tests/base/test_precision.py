"""torch's global settings of precision, changed for a block and restored."""

from collections.abc import Iterator

import pytest
import torch

from ogacli.base.precision import computing_in, deterministic, products, without_cudnn

CPU = torch.device("cpu")


def settings() -> tuple[bool, ...]:
    cudnn = torch.backends.cudnn
    return (
        cudnn.enabled,
        cudnn.deterministic,
        cudnn.benchmark,
        cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
    )


@pytest.fixture(params=[True, False])
def before(request: pytest.FixtureRequest) -> Iterator[tuple[bool, ...]]:
    places = torch.backends.cudnn, torch.backends.cuda.matmul
    known = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = request.param
    yield settings()
    for place, value in zip(places, known, strict=True):
        place.allow_tf32 = value


def test_products_are_exact_or_short_whatever_is_set(before):
    with products():
        assert settings()[3:] == (False, False)
        with products(short=True):
            assert settings()[3:] == (True, True)
        assert settings()[3:] == (False, False)
    assert settings() == before


@pytest.mark.parametrize(("precision", "short"), [("float32", False), ("tf32", True), ("bfloat16", False)])
def test_each_precision_says_how_products_are_computed(before, precision, short):
    with computing_in(precision, CPU):
        assert settings()[3:] == (short, short)
        half = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        assert half == (torch.bfloat16 if precision == "bfloat16" else torch.float32)
    assert settings() == before


def test_cudnn_stays_enabled_while_it_is_deterministic(before):
    assert before[0], "as torch has it"
    with deterministic():
        assert settings() == (True, True, False, *before[3:])
    with without_cudnn():
        assert not settings()[0]
    assert settings() == before


def test_the_newer_interface_of_torch_beside_the_older_one():
    """torch refuses to read the older settings once the newer ones differ from each other."""
    cudnn = torch.backends.cudnn
    if not hasattr(cudnn, "conv"):
        pytest.skip("an older torch")
    known = cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
    cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = "ieee", "tf32"
    try:
        with products():
            assert "tf32" not in (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision)
            assert torch.backends.cuda.matmul.fp32_precision != "tf32"
        assert cudnn.conv.fp32_precision != "tf32"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = known
