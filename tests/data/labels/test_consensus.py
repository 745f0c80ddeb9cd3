"""The consensus of annotators, against Dawid and Skene's formulas written out."""

import torch

from ogacli.data.labels.consensus import Confusions, consensus, vote_shares


def simulated(n: int = 400) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three classes; two good annotators, one that always names the next class, and gaps."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(3, (n,), generator=generator)
    labels = truth[:, None].repeat(1, 3)
    slips = torch.rand(n, 3, generator=generator) < torch.tensor([0.1, 0.2, 0.05])
    labels[:, 2] = (truth + 1) % 3
    labels = torch.where(slips, torch.randint(3, (n, 3), generator=generator), labels)
    annotator = torch.arange(3).expand(n, 3).clone()
    annotator[torch.rand(n, 3, generator=generator) < 0.2] = -1
    return truth, annotator, labels.where(annotator >= 0, -1)


def test_the_likelihood_is_a_product_over_the_labels() -> None:
    truth, annotator, labels = simulated(20)
    true = torch.nn.functional.one_hot(truth, 3).double()
    matrix = Confusions.fitted(annotator, labels, true, 3).matrix
    torch.testing.assert_close(matrix.sum(2), torch.ones(3, 3, dtype=torch.float64))
    found = Confusions(matrix).log_likelihood(annotator, labels)
    for row in range(20):
        for klass in range(3):
            exact = 1.0
            for who, what in zip(annotator[row].tolist(), labels[row].tolist(), strict=True):
                exact *= 1.0 if who < 0 else float(matrix[who, klass, what])
            assert abs(float(found[row, klass].exp()) - exact) < 1e-12


def test_an_adversary_helps_once_it_is_known() -> None:
    truth, annotator, labels = simulated()
    true = consensus(annotator, labels, 3, 3)
    majority = vote_shares(annotator, labels, 3).argmax(1)
    assert (true.argmax(1) == truth).double().mean() > (majority == truth).double().mean() + 0.05
    matrix = Confusions.fitted(annotator, labels, true, 3).matrix
    assert matrix[2].argmax(1).tolist() == [1, 2, 0]
    assert Confusions(matrix).accuracy.argsort(descending=True).tolist() == [0, 1, 2]


def test_an_annotator_with_one_label_is_judged_as_all_are() -> None:
    truth, annotator, labels = simulated()
    annotator = torch.cat([annotator, torch.full((400, 1), -1)], 1)
    labels = torch.cat([labels, torch.full((400, 1), -1)], 1)
    annotator[0, 3], labels[0, 3] = 3, truth[0]
    found = Confusions.fitted(annotator, labels, consensus(annotator, labels, 3, 4), 4).matrix
    assert torch.isfinite(found).all()
    assert float((found[3] - found[:3].mean(0)).abs().max()) < 0.3
