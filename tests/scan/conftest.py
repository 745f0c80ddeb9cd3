import json
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def box_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures with boxes, two epochs of an untrained detector, and ``config.yaml``."""
    from ogacli.models.checkpoints import save_weights
    from small_detectors import faster_rcnn, write_coco  # takes seconds, which most tests can do without

    folder = tmp_path_factory.mktemp("boxes")
    write_coco(folder, 24)
    torch.manual_seed(0)
    for epoch in (1, 2):
        save_weights(faster_rcnn(), folder / f"epoch-{epoch}.safetensors")
    config = {
        "data": {"source": "coco", "annotations": "boxes.json", "root": "pictures", "truth": "truth.json"},
        "model": {
            "source": "detection",
            "factory": "small_detectors:faster_rcnn",
            "folder": str(Path(__file__).parents[1]),
            "checkpoint": "epoch-1.safetensors",
        },
        "budget": "auto",
        "output": "run",
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    return folder
