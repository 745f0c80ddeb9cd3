"""Pictures whose boxes have planted errors, and a network that finds objects with the usual mistakes."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ogacli.gradients import GradientBatch
from ogacli.gradients.batch import Objects
from ogacli.gradients.layers.plain import Plain

ERRORS = ("missing box", "no object", "other class", "badly placed")


@dataclass(frozen=True)
class Planted:
    """Pictures, and what was planted: ``{picture: (kind, number of the given box or None)}``."""

    objects: list[Objects]
    errors: dict[int, tuple[str, int | None]]

    def batch(self, rows: slice = slice(None)) -> GradientBatch:
        """A batch of some of the pictures, with a meaningless gradient."""
        some = self.objects[rows]
        counts = torch.stack([one.classes.bincount(minlength=4).float() for one in some])
        losses = torch.ones(len(some), 2)
        return GradientBatch(
            rows=torch.arange(len(self.objects))[rows],
            labels=counts,
            logits=losses,
            residual=losses,
            features=None,
            parts=[Plain(losses)],
            losses=losses.sum(1),
            returns_loss=True,
            objects=some,
        )


def one_box_each(batch: GradientBatch) -> GradientBatch:
    """A batch of one class each as pictures with a box, which the network finds about there."""
    k, box = batch.logits.shape[1], torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    objects = [
        Objects(
            box,
            label[None],
            torch.tensor([[0.0, 0.0, 10.0, 8.0 + (0.618 * row) % 1]]).expand(k, 4),
            torch.arange(k),
            probabilities.clamp(0.01, 0.999),
        )
        for row, label, probabilities in zip(
            batch.rows.tolist(), batch.labels, (batch.logits / 4).softmax(1), strict=True
        )
    ]
    return replace(batch, labels=torch.eye(k)[batch.labels], objects=objects, returns_loss=True)


def planted(n: int = 400, share: float = 0.2, seed: int = 0) -> Planted:
    """Up to four objects a picture, each in its own quarter."""
    random = np.random.default_rng(seed)
    pictures, errors = [], {}
    for i in range(n):
        boxes, classes, found, labels, scores = [], [], [], [], []
        for corner in random.permutation(4)[: random.integers(1, 5)]:
            size = random.uniform(15, 35, 2)
            place = np.array([corner % 2, corner // 2]) * 50 + random.uniform(0, 50 - size)
            box, kind = np.concatenate([place, place + size]), int(random.integers(4))
            boxes.append(box)
            classes.append(kind)
            seen, sure = random.random() > 0.01, random.random() > 0.02
            found.append(box + np.tile(size, 2) * random.normal(0, 0.04, 4))
            labels.append(kind if sure else int(random.integers(4)))
            shape = (12, 1) if sure else (2, 2)
            scores.append(random.beta(*shape) if seen else random.uniform(0.01, 0.3))
            if random.random() < 0.3:  # the same box under another class
                found.append(found[-1] + random.normal(0, 0.5, 4))
                labels.append((labels[-1] + 1) % 4)
                scores.append(scores[-1] * random.uniform(0.02, 0.4))
        for _ in range(random.poisson(1.0)):
            a, b = random.uniform(0, 80, 2), random.uniform(8, 20, 2)
            found.append(np.concatenate([a, a + b]))
            labels.append(int(random.integers(4)))
            scores.append(random.beta(1, 8))
        if random.random() < share:
            error, which = ERRORS[random.integers(4)], int(random.integers(len(boxes)))
            errors[i] = (error, which)
            if error == "missing box":
                boxes.pop(which)
                classes.pop(which)
                errors[i] = (error, None)
            elif error == "no object":
                boxes.append(np.array([44.0, 44.0, 56.0, 56.0]))
                classes.append(int(random.integers(4)))
                errors[i] = (error, len(boxes) - 1)
            elif error == "other class":
                classes[which] = (classes[which] + int(random.integers(1, 4))) % 4
            else:
                boxes[which] = boxes[which] + np.tile((boxes[which][2:] - boxes[which][:2]) * [0.5, 0.1], 2)
        pictures.append(
            Objects(
                torch.tensor(np.array(boxes).reshape(-1, 4)).float(),
                torch.tensor(classes, dtype=torch.int64),
                torch.tensor(np.array(found).reshape(-1, 4)).float(),
                torch.tensor(labels, dtype=torch.int64),
                torch.tensor(scores).float().clamp(0.01, 0.999),
            )
        )
    return Planted(pictures, errors)
