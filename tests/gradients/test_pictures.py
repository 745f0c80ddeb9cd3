"""Gradients of object detectors equal those of one picture alone, and leave the network as it is."""

import copy

import pytest
import torch
from torchvision.models.detection.ssd import SSD

from ogacli.data import Batch
from ogacli.data.images.boxes import Boxed
from ogacli.errors import GradientError
from ogacli.gradients import GradientOptions, PictureGradients, capture
from ogacli.models.detection import BoxNetwork
from ogacli.models.tasks.boxes import Boxes
from small_detectors import DETECTORS, faster_rcnn


@pytest.fixture(scope="module", params=sorted(DETECTORS))
def detector(request):
    """With running statistics of its own, as after a training."""
    torch.manual_seed(0)
    module = DETECTORS[request.param]()
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    return module.eval()


def pictures() -> list[Boxed]:
    """Of different sizes, with two boxes, one and none."""
    found = []
    generator = torch.Generator().manual_seed(1)
    for height, width, corners in (
        (64, 64, [[4, 4, 24, 26], [30, 30, 60, 50]]),
        (48, 80, [[10, 8, 40, 30]]),
        (64, 48, []),
    ):
        picture = torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)
        boxes = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
        found.append(Boxed(picture, boxes, torch.arange(len(boxes)) % 3))
    return found


def batch(some: list[Boxed]) -> Batch:
    return Batch(torch.arange(len(some)), some, torch.zeros(len(some), 3), {})


def gradients_of(detector, layers="head") -> PictureGradients:
    network = BoxNetwork(copy.deepcopy(detector), 3)
    found = capture(network, Boxes(), GradientOptions(layers=layers))
    assert isinstance(found, PictureGradients)
    return found


def by_autograd(detector, picture: Boxed, names) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient of one picture: torchvision's own losses in train mode, with batch norms frozen."""
    module = copy.deepcopy(detector)
    with torch.no_grad():
        module([torch.zeros(3, 64, 64)])  # which settles the scales of feature maps
    module.train()
    module.transform.eval()  # which would draw the size of the picture
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        losses = module([picture.picture / 255], [{"boxes": picture.boxes, "labels": picture.classes + 1}])
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    parameters = dict(module.named_parameters())
    flat = [
        torch.zeros(parameters[name].numel())
        if parameters[name].grad is None
        else parameters[name].grad.flatten()
        for name in names
    ]
    return total.detach(), torch.cat(flat)


@pytest.mark.parametrize("layers", ["head", "all"])
def test_they_are_those_of_autograd(detector, layers):
    gradients = gradients_of(detector, layers)
    found = gradients(batch(pictures()))
    for i, picture in enumerate(pictures()):
        loss, expected = by_autograd(detector, picture, gradients.parameters)
        assert torch.allclose(found.losses[i], loss, rtol=1e-5)
        assert torch.allclose(found.dense()[i], expected, rtol=1e-4, atol=1e-6)


def test_a_picture_without_boxes_has_a_gradient(detector):
    """But of SSD, whose loss counts three negatives for each box."""
    norm = float(gradients_of(detector)(batch(pictures()[2:])).norm(2))
    assert (norm == 0) if isinstance(detector, SSD) else (norm > 0)


def test_they_do_not_depend_on_the_batch(detector):
    gradients = gradients_of(detector)
    together = gradients(batch(pictures())).dense()
    turned = gradients(batch(pictures()[::-1])).dense()
    alone = gradients(batch(pictures()[1:2])).dense()
    assert torch.equal(together, turned.flip(0))
    assert torch.equal(together[1:2], alone)


def test_network_and_random_state_stay_as_they_are(detector):
    gradients = gradients_of(detector)
    module = gradients.network.module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.random.get_rng_state()
    gradients(batch(pictures()))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(layer.training for layer in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_reduced_gradients_are_the_same(detector):
    gradients = gradients_of(detector)
    whole = gradients(batch(pictures()))
    coords = torch.arange(0, whole.p, 7)
    gradients.reduce_to((1, 2), coords)
    found = gradients(batch(pictures())).select(torch.tensor([2, 0]))
    assert torch.equal(found.entries(coords), whole.entries(coords)[[2, 0]])
    for order in (1, 2):
        assert torch.allclose(found.norm(order), whole.norm(order)[[2, 0]])
    assert [len(one.boxes) for one in found.objects] == [0, 2]


def test_anchors_are_drawn_at_random_otherwise():
    """Without the seed of each picture the losses of Faster R-CNN change from pass to pass."""
    torch.manual_seed(0)
    module = faster_rcnn().train()
    picture = pictures()[0]
    target = {"boxes": picture.boxes, "labels": picture.classes + 1}
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eval()
    with torch.no_grad():
        values = {float(sum(module([picture.picture / 255], [target]).values())) for _ in range(5)}
    assert len(values) > 1


def test_too_many_classes_are_refused():
    network = BoxNetwork(faster_rcnn(num_classes=2), 3)
    with pytest.raises(GradientError, match="cannot be called with pictures and boxes"):
        network.losses(pictures()[0])


def test_a_network_that_returns_no_losses_is_refused():
    class Boxless(torch.nn.Module):
        def forward(self, pictures, targets=None):
            return []

    with pytest.raises(GradientError, match="does not return its losses"):
        BoxNetwork(Boxless(), 3).losses(pictures()[0])


def test_the_head_of_another_network_must_be_named():
    with pytest.raises(GradientError, match="head of this detector is not known"):
        capture(BoxNetwork(torch.nn.Conv2d(3, 3, 1), 3), Boxes(), GradientOptions())
