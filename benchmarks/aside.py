"""Wrong labels of sets on which nothing of `oga` was chosen, from out-of-fold probabilities; beside cleanlab.

    python benchmarks/aside.py [--seeds 2] [--work FOLDER]

A logistic regression of scikit-learn is trained on five folds; its out-of-fold probabilities, and its inputs
as features, go through `model: {source: precomputed}` with the default detector and `budget: auto`. Each
figure of cleanlab is the best of its five scores, or seven filters, in that case, chosen by the truth.

wine, iris   scikit-learn, 178 and 150 samples
agnews       7,600 of AG News, four classes; MiniLM's embeddings
mrpc         3,668 pairs of MRPC; differences and products of MiniLM's embeddings

Labels are flipped at 10 and 30 %, and each class is taken for the next at 20 %.
"""

import argparse
import statistics
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from evidence import peers
from evidence.sets import Missing, flipped, kept, samples_of, sentences, standardised, table_of, texts
from evidence.tables import table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from ogacli.config import commands, parse_config

NOISES = ("uniform-10", "uniform-30", "pairs-20")
FIGURES = ("AP", "without neighbours", "cleanlab", "F1", "best filter", "wrong", "estimated")


def main() -> None:
    """Run all sets that can be had."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/aside"), help="for embeddings")
    options = parser.parse_args()
    lines = []
    for name, read in SETS.items():
        try:
            inputs, truth = read(options.work)
        except Missing as reason:
            print(f"{name}: left out: {reason}")
            continue
        for noise in NOISES:
            found = [measured(inputs, truth, noise, seed) for seed in range(options.seeds)]
            cells = [statistics.mean(each) for each in zip(*found, strict=True)]
            lines.append([name, noise, *(f"{cell:.3f}" for cell in cells)])
    print(table(["set", "noise", *FIGURES], lines))


def measured(inputs: np.ndarray, truth: np.ndarray, noise: str, seed: int) -> list[float]:
    """The figures of one case."""
    samples = flipped(samples_of(inputs, torch.from_numpy(truth)), noise, seed)
    given = samples.labels.numpy()
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = cross_val_predict(
            LogisticRegression(C=0.1, max_iter=300), inputs, given, cv=folds, method="predict_proba"
        )
    wrong, labels = given != truth, samples.labels
    logits = torch.from_numpy(predicted).clamp_min(1e-12).log()
    ours, flags, estimated = scanned(inputs, given, predicted, neighbours=20)
    alone, _, _ = scanned(inputs, given, predicted, neighbours=0)
    scores = [average_precision_score(wrong, score) for _, score in peers.cleanlab_scores(logits, labels)]
    cuts = [f1_score(wrong, cut) for cut in peers.cleanlab_cuts(logits, labels).values()]
    precisions = [average_precision_score(wrong, score) for score in (ours, alone)]
    return [
        *precisions,
        max(scores),
        float(f1_score(wrong, flags)),
        max(cuts),
        float(wrong.mean()),
        estimated,
    ]


def scanned(
    inputs: np.ndarray, given: np.ndarray, predicted: np.ndarray, neighbours: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Score and flag of every sample, and the estimated share of wrong labels."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for key, values in {"y": given, "p": predicted, "h": inputs.astype(np.float32)}.items():
            np.save(folder / f"{key}.npy", values)
        config = parse_config(
            f"data: {{source: arrays, y: {folder}/y.npy}}\n"
            f"model: {{source: precomputed, probabilities: {folder}/p.npy, features: {folder}/h.npy,\n"
            f"  held_out: true}}\n"
            f"detector: {{name: latent_label, neighbours: {neighbours}}}\nbudget: auto\nprotect: off\n"
        )
        run = commands.scan(config, output=folder / "run")
        estimate = run.summary.estimate
        assert estimate is not None
        return run.scores["score"].to_numpy(), run.scores["flagged"].to_numpy(), estimate.share


def _agnews(work: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = texts("agnews_7600")
    whole = [f"{row['title']}. {row['text']}" for row in rows]
    inputs = kept(work / "agnews.npy", lambda: sentences(whole))
    return inputs, np.array([row["label"] for row in rows])


def _mrpc(work: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = texts("mrpc_train")

    def pairs() -> np.ndarray:
        first, second = (sentences([row[column] for row in rows]) for column in ("text_a", "text_b"))
        return standardised(np.concatenate([np.abs(first - second), first * second], 1))

    return kept(work / "mrpc.npy", pairs), np.array([row["label"] for row in rows])


SETS = {
    "wine": lambda work: table_of("wine"),
    "iris": lambda work: table_of("iris"),
    "agnews": _agnews,
    "mrpc": _mrpc,
}

if __name__ == "__main__":
    main()
