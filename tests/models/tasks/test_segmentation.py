import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.errors import GradientError
from ogacli.models.tasks.segmentation import Segmentation
from one_sample import check_residual, drawn


def masks(seed: int, b: int, k: int, h: int, w: int) -> torch.Tensor:
    """Classes and pixels without one; each mask has at least one class."""
    found = torch.randint(-1, k, (b, h, w), generator=torch.Generator().manual_seed(seed))
    found[:, 0, 0] = 0
    return found.where(found >= 0, -100)


def by_definition(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over the pixels that have a class, one at a time."""
    sized = F.interpolate(logits[None], size=mask.shape, mode="bilinear", align_corners=False)[0]
    pixels = (mask >= 0).nonzero().tolist()
    return -torch.stack([sized[:, i, j].log_softmax(0)[mask[i, j]] for i, j in pixels]).mean()


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    b=st.integers(1, 3),
    k=st.integers(1, 4),
    h=st.integers(1, 6),
    w=st.integers(1, 6),
    shrink=st.integers(1, 3),
)
def test_losses_and_residuals_are_those_of_autograd_sample_by_sample(seed, b, k, h, w, shrink):
    logits = drawn(seed, b, k, -(-h // shrink), -(-w // shrink))
    check_residual(Segmentation(), logits, masks(seed, b, k, h, w), by_definition)


def test_confident_pixels_do_not_cancel_to_zero():
    logits = torch.tensor([40.0, 0.0])[None, :, None, None]
    found = Segmentation().residual(logits, torch.zeros(1, 1, 1, dtype=torch.int64))
    expected = torch.sigmoid(torch.tensor(-40.0, dtype=torch.float64))
    torch.testing.assert_close(
        found.flatten().double(), torch.stack([-expected, expected]), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ((2, 3), torch.zeros(2, dtype=torch.int64), r"takes a mask a sample\n.*labels \[2\] of int64"),
        (
            (2, 3),
            torch.zeros(2, 4, 4, dtype=torch.int64),
            r"does not return logits of each pixel\n.*logits \[2, 3\]",
        ),
        (
            (2, 3, 8, 4),
            torch.zeros(2, 4, 4, dtype=torch.int64),
            r"expected: \[2, classes, 4, 4\], or fewer pixels",
        ),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, message):
    with pytest.raises(GradientError, match=message):
        Segmentation().loss(torch.zeros(logits), labels)
