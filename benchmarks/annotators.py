"""Labels by several simulated annotators, beside cleanlab's multiannotator.

    python benchmarks/annotators.py --seeds 2 3 4

Digits, and CIFAR-10 pictures of the set `cifar10n` as 300 principal components. Twelve annotators have a
confusion matrix each: good and middling ones, a careless one that answers by chance, and one that always
names another class. Each sample has labels of a few of them. The model is a logistic regression on the
consensus, with held-out predictions. A row is the mean over the seeds: the accuracy of the majority vote, of
the consensus of Dawid and Skene, of cleanlab's and of ours; the samples whose first consensus is wrong, as
ranked and flagged by both, where cleanlab flags those for which its consensus is another, and ranks them
first; the mean error of the annotators' quality.
"""

import os
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from cleanlab.multiannotator import get_label_quality_multiannotator
from kinds import decided, main, ranked
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from ogacli.data.labels.annotations import Annotations
from ogacli.data.labels.consensus import consensus, vote_shares
from ogacli.detectors.latent_consensus import LatentConsensus
from ogacli.gradients import GradientBatch

ACCURACY = (0.9, 0.9, 0.8, 0.8, 0.7, 0.7, 0.6, 0.6, 0.5, 0.3)
"""Of all annotators but the careless and the adversarial one."""
K = 10


def pictures(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of the first pictures, and their classes."""
    folder = Path(os.environ.get("OGA_DATA", "../shared/data")) / "cifar10n"
    table = pd.read_csv(folder / "labels.csv").head(n)
    with zipfile.ZipFile(folder / "images_train.zip") as archive:
        content = [archive.read(f"{index:05d}.jpg") for index in table["index"]]
    pixels = np.stack([np.asarray(Image.open(BytesIO(one)).convert("RGB")).ravel() for one in content]) / 255
    classes = sorted(table["clean"].unique())
    return PCA(300, random_state=0).fit_transform(pixels), table["clean"].map(classes.index).to_numpy()


def matrices(random: np.random.Generator) -> np.ndarray:
    """The confusion matrix of each annotator, [a, k, k]."""
    found = []
    for accuracy in ACCURACY:
        others = random.dirichlet(np.full(K, 0.3), size=K)
        np.fill_diagonal(others, 0)
        found.append((1 - accuracy) * others / others.sum(1, keepdims=True) + accuracy * np.eye(K))
    careless = np.full((K, K), 1 / K)
    adversarial = 0.9 * np.roll(np.eye(K), 1, 1) + 0.1 / K
    return np.stack([*found, careless, adversarial])


def annotations(seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """A row for each set and each number of labels a sample."""
    digits = load_digits()
    sets = {"digits": (digits.data / 16, digits.target), "pictures": pictures(2500)}
    for name, (x, truth) in sets.items():
        for each in (2, 3, 5):
            random, n = np.random.default_rng(seed), len(truth)
            noise = matrices(random)
            who = np.stack([random.choice(len(noise), each, replace=False) for _ in range(n)])
            what = np.array(
                [[random.choice(K, p=noise[a, t]) for a in row] for row, t in zip(who, truth, strict=True)]
            )
            names = [str(a) for a in range(len(noise))]
            given = Annotations.of(np.repeat(np.arange(n), each), who.ravel(), what.ravel(), names, n)
            majority = vote_shares(given.annotator, given.labels, K).argmax(1).numpy()
            first = consensus(given.annotator, given.labels, K, len(noise)).argmax(1).numpy()
            model = LogisticRegression(C=0.01, max_iter=100)
            p = cross_val_predict(model, x, first, cv=5, method="predict_proba")
            detector = LatentConsensus().detector()
            detector.annotations = given
            logits = torch.tensor(np.log(p))
            batch = GradientBatch(torch.arange(n), torch.tensor(first), logits, logits, None, ())
            detector.fit([batch])
            score = detector.score(batch).numpy()
            final = detector.true_class_of(batch).argmax(1).numpy()
            values = np.full((n, len(noise)), np.nan)
            np.put_along_axis(values, who, what, 1)
            theirs = get_label_quality_multiannotator(pd.DataFrame(values), p, verbose=False)
            quality = theirs["annotator_stats"].sort_index()["annotator_quality"].to_numpy()
            exact = noise.diagonal(axis1=1, axis2=2).mean(1)
            assert detector.confusions is not None
            ours = detector.confusions.accuracy.numpy()
            consensus_there = theirs["label_quality"]["consensus_label"].to_numpy()
            sure = theirs["label_quality"]["consensus_quality_score"].to_numpy()
            other = consensus_there != first
            found = {
                "majority": (majority == truth).mean(),
                "annotators alone": (first == truth).mean(),
                "model alone": (p.argmax(1) == truth).mean(),
                "consensus, cleanlab": (consensus_there == truth).mean(),
                "consensus": (final == truth).mean(),
                **decided(score > 0.5, first != truth, [other]),
                **ranked(first != truth, score, [np.where(other, 1 + sure, 1 - sure)]),
                "quality, cleanlab": np.abs(quality - exact).mean(),
                "quality": np.abs(ours - exact).mean(),
            }
            yield f"{name}, {each} labels each", found


if __name__ == "__main__":
    main((annotations,), __doc__)
