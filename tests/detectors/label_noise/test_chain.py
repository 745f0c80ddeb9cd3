"""The marginals of a chain of tags, against the sum over all sequences."""

import itertools

import torch

from ogacli.detectors.label_noise.chain import _BROKEN, marginals


def test_marginals_are_sums_over_all_sequences() -> None:
    generator = torch.Generator().manual_seed(0)
    k, words = 3, 4
    logs = torch.randn(5, words, k, generator=generator, dtype=torch.float64).log_softmax(2)
    allowed = torch.rand(k + 1, k, generator=generator) < 0.6
    seen = torch.rand(5, words, generator=generator) < 0.7
    seen[0] = True
    found = marginals(logs, allowed, seen).exp()
    for sample in range(5):
        totals = torch.zeros(words, k, dtype=torch.float64)
        for tags in itertools.product(range(k), repeat=words):
            weight, before = 1.0, k
            for word, tag in enumerate(tags):
                known = word == 0 or bool(seen[sample, word - 1])
                weight *= float(logs[sample, word, tag].exp()) if seen[sample, word] else 1.0
                weight *= _BROKEN if known and seen[sample, word] and not allowed[before, tag] else 1.0
                before = tag
            for word, tag in enumerate(tags):
                totals[word, tag] += weight
        exact = totals / totals.sum(1, keepdim=True)
        torch.testing.assert_close(found[sample][seen[sample]], exact[seen[sample]])


def test_where_all_may_follow_words_stay_as_they_are() -> None:
    logs = torch.randn(2, 6, 4, dtype=torch.float64).log_softmax(2)
    found = marginals(logs, torch.ones(5, 4, dtype=torch.bool), torch.ones(2, 6, dtype=torch.bool))
    torch.testing.assert_close(found, logs)
