"""Small object detectors, and pictures with digits to find: a scan with them takes seconds."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.ssd import SSD, SSDHead

CLASSES = tuple(str(digit) for digit in range(3))
SIDE = 64


class Backbone(nn.Sequential):
    """Some convolutions with batch norm, to one feature map an eighth of the size."""

    def __init__(self, width: int = 32) -> None:
        layers: list[nn.Module] = []
        for inside, outside in ((3, 16), (16, 32), (32, width)):
            conv = nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(outside), nn.ReLU()]
        super().__init__(*layers)
        self.out_channels = width


def _common() -> dict[str, object]:
    return {"min_size": SIDE, "max_size": SIDE, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def faster_rcnn(num_classes: int = 4, **args: object) -> nn.Module:
    """Faster R-CNN that draws anchors and proposals at random."""
    return FasterRCNN(
        Backbone(),
        box_head=TwoMLPHead(32 * 7 * 7, 64),
        box_predictor=FastRCNNPredictor(64, num_classes),
        rpn_anchor_generator=AnchorGenerator(((16, 24),), ((0.7, 1.4),)),
        rpn_pre_nms_top_n_test=200,
        rpn_post_nms_top_n_test=50,
        rpn_pre_nms_top_n_train=200,
        rpn_post_nms_top_n_train=60,
        rpn_batch_size_per_image=32,
        box_batch_size_per_image=32,
        **_common() | args,
    )


def retina_net(num_classes: int = 4) -> nn.Module:
    return RetinaNet(
        Backbone(), num_classes, anchor_generator=AnchorGenerator(((16, 24),), ((0.7, 1.4),)), **_common()
    )


def fcos(num_classes: int = 4) -> nn.Module:
    return FCOS(Backbone(), num_classes, anchor_generator=AnchorGenerator(((8,),), ((1.0,),)), **_common())


def ssd(num_classes: int = 4) -> nn.Module:
    backbone, anchors = Backbone(), DefaultBoxGenerator([[2]], scales=[0.25, 0.4])
    return SSD(
        backbone,
        anchors,
        (SIDE, SIDE),
        num_classes,
        head=SSDHead([backbone.out_channels], anchors.num_anchors_per_location(), num_classes),
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


DETECTORS = {"faster_rcnn": faster_rcnn, "retina_net": retina_net, "fcos": fcos, "ssd": ssd}


def write_coco(folder: Path, n: int, seed: int = 0) -> list[str]:
    """``pictures/``, ``boxes.json`` and ``truth.json``: digits of three classes at random places.

    In ``boxes.json``, every eighth picture lacks its first box; the last picture has none at all.
    """
    random, digits = np.random.default_rng(seed), load_digits()
    of_class = [np.flatnonzero(digits.target == c) for c in range(len(CLASSES))]
    (folder / "pictures").mkdir(parents=True)
    images, boxes = [], []
    for i in range(n):
        canvas = random.integers(0, 40, (SIDE, SIDE, 3)).astype(np.uint8)
        for corner in random.permutation(4)[: 0 if i == n - 1 else 1 + i % 3]:
            c, size = int(random.integers(len(CLASSES))), int(random.integers(18, 28))
            x, y = (32 * part + random.integers(0, 32 - size) for part in (corner % 2, corner // 2))
            shape = digits.images[random.choice(of_class[c])] * 15
            drawn = np.asarray(Image.fromarray(shape.astype(np.uint8)).resize((size, size)))
            region = canvas[y : y + size, x : x + size]
            np.maximum(region, drawn[..., None], out=region)
            boxes.append({"image_id": i, "category_id": 10 + c, "bbox": [int(x), int(y), size, size]})
        name = f"{i:04d}.png"
        Image.fromarray(canvas).save(folder / "pictures" / name)
        images.append({"id": i, "file_name": name, "width": SIDE, "height": SIDE})
    for number, box in enumerate(boxes):
        box["id"] = number
    first = {box["image_id"]: box["id"] for box in reversed(boxes)}
    forgotten = {first[i] for i in range(0, n - 1, 8)}
    common = {
        "images": images,
        "categories": [{"id": 10 + c, "name": name} for c, name in enumerate(CLASSES)],
    }
    given = [box for box in boxes if box["id"] not in forgotten]
    for name, some in (("boxes", given), ("truth", boxes)):
        (folder / f"{name}.json").write_text(json.dumps(common | {"annotations": some}))
    return [f"data.annotations={folder / 'boxes.json'}", f"data.root={folder / 'pictures'}"]
