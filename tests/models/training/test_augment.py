import pytest
import torch
import torch.nn.functional as F

from ogacli.errors import ConfigError
from ogacli.models.training.augment import Augmentation


def views(picture: torch.Tensor) -> list[torch.Tensor]:
    """Every crop of the padded picture, and its mirror image."""
    h, w = picture.shape[1:]
    padded = F.pad(picture, (4, 4, 4, 4))
    crops = [padded[:, y : y + h, x : x + w] for y in range(9) for x in range(9)]
    return crops + [crop.flip(2) for crop in crops]


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 6, 9)])
def test_each_picture_becomes_one_of_its_own_views(shape):
    pictures = torch.randn(40, *shape, generator=torch.Generator().manual_seed(0))
    found = Augmentation(torch.Generator().manual_seed(1))(pictures)
    assert found.shape == pictures.shape
    chosen = []
    for before, after in zip(pictures, found, strict=True):
        same = [i for i, view in enumerate(views(before)) if torch.equal(view, after)]
        assert len(same) == 1
        chosen.append(same[0])
    assert len(set(chosen)) > 20, "places differ from picture to picture"
    assert 8 < sum(i >= 81 for i in chosen) < 32, "about half are mirrored"


def test_the_seed_decides():
    pictures = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second, third = (Augmentation(torch.Generator().manual_seed(s))(pictures) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_only_pictures_are_augmented():
    with pytest.raises(ConfigError, match=r"train\.augment: only pictures can be augmented") as caught:
        Augmentation(torch.Generator())(torch.zeros(4, 8))
    assert "inputs [4, 8]" in str(caught.value)
