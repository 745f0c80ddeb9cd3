"""Scores of other tools from the same predictions of a network.

In: logits of every sample and the given labels. Out: scores (higher = more anomalous), cuts, and estimates of
the share of wrong labels.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from evidence.training import Predictions, Record

FILTERS = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
)
_QUALITIES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


def cleanlab_scores(
    logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]
) -> Iterator[tuple[str, Float[Tensor, " n"]]]:
    """Its three label qualities, each also adjusted to the confidence of the class; turned round."""
    from cleanlab.rank import get_label_quality_scores

    found = _probabilities(logits)
    for method in _QUALITIES:
        for adjusted in (False, True):
            if adjusted and method == "confidence_weighted_entropy":
                continue  # cleanlab refuses
            quality = get_label_quality_scores(
                labels.numpy(), found, method=method, adjust_pred_probs=adjusted
            )
            name = method + (" adjusted" if adjusted else "")
            yield f"cleanlab {name}", torch.from_numpy(np.array(1 - quality))


def cleanlab_cuts(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> dict[str, Tensor]:
    """What ``find_label_issues`` flags, by ``filter_by``; empty where it fails."""
    from cleanlab.filter import find_label_issues

    cuts = {}
    for filter_by in FILTERS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                mask = find_label_issues(
                    labels.numpy(), _probabilities(logits), filter_by=filter_by, n_jobs=1
                )
        except (ValueError, IndexError):  # as where no sample counts as wrong
            mask = np.zeros(len(labels), dtype=bool)
        cuts[f"cleanlab {filter_by}"] = torch.from_numpy(np.asarray(mask, dtype=bool))
    return cuts


def cleanlab_rate(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """Its estimate of the share of wrong labels."""
    from cleanlab.count import num_label_issues

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(num_label_issues(labels.numpy(), _probabilities(logits))) / len(labels)


def area_under_margin(
    logits: Float[Tensor, "epochs n k"], labels: Int64[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Minus the mean over the epochs of the given label's logit over the highest other (arXiv 2001.10528)."""
    given = labels.expand(len(logits), -1)[..., None]
    others = logits.scatter(2, given, -torch.inf).max(2).values
    return (others - logits.gather(2, given)[..., 0]).double().mean(0)


def captum_tracing(record: Record, epochs: Sequence[int], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Self-influence by captum's TracInCPFast on the head, over the checkpoints of some epochs."""
    from captum.influence import TracInCPFast

    table = _Table(record, epochs)
    data = torch.utils.data.TensorDataset(torch.arange(len(labels)), labels)
    tracing = TracInCPFast(
        table,
        table.head,
        data,
        [str(epoch) for epoch in epochs],
        checkpoints_load_func=lambda module, epoch: module.turn_to(int(epoch)),
        loss_fn=nn.CrossEntropyLoss(reduction="sum"),
        batch_size=1024,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = tracing.self_influence()
    return found.double()


class _Table(nn.Module):
    """The network of an epoch, as the features that its head read and that head."""

    def __init__(self, record: Record, epochs: Sequence[int]) -> None:
        super().__init__()
        self.predictions: Mapping[int, Predictions] = {epoch: record.at(epoch) for epoch in epochs}
        first = self.predictions[epochs[0]]
        self.head = nn.Linear(first.features.shape[1], first.logits.shape[1])
        self.now = epochs[0]

    def turn_to(self, epoch: int) -> float:
        """Use the predictions of an epoch; returns its learning rate."""
        self.now = epoch
        self.head.load_state_dict(self.predictions[epoch].head)
        return 1.0

    def forward(self, rows: Int64[Tensor, " b"]) -> Float[Tensor, "b k"]:
        """Logits."""
        return self.head(self.predictions[self.now].features[rows])


def _probabilities(logits: Float[Tensor, "n k"]) -> np.ndarray:
    return logits.double().softmax(1).numpy()
