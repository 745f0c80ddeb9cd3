"""Wrong tags of words, beside cleanlab's token classification.

    python benchmarks/tags.py --seeds 2 3 4

Held-out predictions of a logistic regression on each word and its neighbours, errors put into the tags in
several ways. A row is the mean over the seeds: average precision of the sentences with a wrong tag and of the
wrong words, by the best of cleanlab's scores and by ours; what ``budget: auto`` flags, its F1 and how far its
share is off, beside the best of cleanlab's cuts.
"""

from collections.abc import Iterator

import numpy as np
import torch
from cleanlab.token_classification.filter import find_label_issues as issues_of_tags
from cleanlab.token_classification.rank import get_label_quality_scores as quality_of_tags
from kinds import FILTERS, by_auto, decided, main, ranked
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import KFold

from ogacli.data.labels.label_types import IGNORED
from ogacli.data.labels.spans import spans
from ogacli.detectors.latent_tags import LatentTags
from ogacli.gradients import GradientBatch

STARTS, ENDS = (
    "Bel Dor Fal Gren Hal Jon Kir Lor Mel Nor Pol Ras Sel Tor Vin".split(),
    "a an e en i ia o ow us".split(),
)
MIDDLES = "b d k l m n r s t v".split()
NAMES = [first + middle + last for first in STARTS for middle in MIDDLES for last in ENDS]
FIRST, LAST, PLACE, MAKER = NAMES[::3], NAMES[1::3], NAMES[::2], NAMES[1::2]
"""Most names are rare, and each is one of more than one kind."""
KIND = "Works Bank Group Motors Press Union".split()
VERB = "saw met left called found joined sued visited praised".split()
NOUN = "train letter bridge report garden river contract meeting paper house".split()
ADJECTIVE = "old new long short green quiet strange late".split()
SLOTS = {
    "PER": lambda pick: [pick(FIRST)] + ([pick(LAST)] if pick((0, 1)) else []),
    "LOC": lambda pick: ([pick(("New", "San", "Upper"))] if pick((0, 0, 0, 1)) else []) + [pick(PLACE)],
    "ORG": lambda pick: [pick(MAKER)] + ([pick(KIND)] if pick((0, 1)) else []),
}
TEMPLATES = [
    *(
        "PER verb PER in LOC .",
        "the adj noun of ORG was in LOC .",
        "PER of ORG verb the noun",
        "ORG verb PER",
    ),
    *(
        "in LOC the noun was adj , said PER",
        "ORG and ORG verb in LOC",
        "PER , PER and PER verb the adj noun .",
    ),
    *("a noun from LOC to LOC", "the noun was adj", "PER verb ORG , the noun said", "LOC verb LOC"),
]
PARTS = {"verb": ("VERB", VERB), "noun": ("NOUN", NOUN), "adj": ("ADJ", ADJECTIVE)}
OTHER = {"the": "DET", "a": "DET", "and": "CONJ", ",": "PUNCT", ".": "PUNCT", "of": "ADP", "in": "ADP"}
Sentences = list[tuple[list[str], list[str]]]


def entities(seed: int, n: int = 800) -> Sentences:
    """Templates whose slots are filled with names that more than one kind of entity has."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        words: list[str] = []
        tags: list[str] = []
        for part in TEMPLATES[random.integers(len(TEMPLATES))].split():
            if part in SLOTS:
                names = SLOTS[part](lambda choices: choices[random.integers(len(choices))])
                words += names
                tags += [f"B-{part}", *[f"I-{part}"] * (len(names) - 1)]
            else:
                choices = PARTS[part][1] if part in PARTS else [part]
                words.append(choices[random.integers(len(choices))])
                tags.append("O")
        found.append((words, tags))
    return found


def parts_of_speech(seed: int) -> Sentences:
    """The same sentences with the part of speech of each word."""
    found = []
    for words, tags in entities(seed):
        known = {word: part for part, choices in PARTS.values() for word in choices} | OTHER
        named = [
            known.get(word, "VERB") if tag == "O" else "NAME" for word, tag in zip(words, tags, strict=True)
        ]
        found.append((words, named))
    return found


def spoiled(tags: list[str], classes: list[str], how: str, random: np.random.Generator) -> list[str]:
    """The tags of a sentence with some errors."""
    found = list(tags)
    if how.endswith("flipped"):
        share = 0.03 if how[0] == "3" else 0.1
        for i, tag in enumerate(tags):
            if random.random() < share:
                found[i] = random.choice([one for one in classes if one != tag])
        return found
    for span in spans(tags):
        if random.random() >= 0.1:
            continue
        if how == "10 % of entities forgotten":
            found[span.start : span.stop] = ["O"] * (span.stop - span.start)
        elif how == "10 % of another kind":
            kind = random.choice([one for one in SLOTS if one != span.kind])
            found[span.start : span.stop] = [f"{tag[:2]}{kind}" for tag in tags[span.start : span.stop]]
        elif how == "10 % without the first word":
            found[span.start] = "O"
    return found


def held_out(sentences: Sentences, classes: list[str]) -> list[np.ndarray]:
    """Probabilities of the tags of each word, by a model that was not trained on the sentence."""
    inputs = [
        {
            **{
                f"{place}={words[i + place] if 0 <= i + place < len(words) else ''}": 1
                for place in (-1, 0, 1)
            },
            "upper": words[i][0].isupper(),
        }
        for words, _ in sentences
        for i in range(len(words))
    ]
    x = DictVectorizer().fit_transform(inputs)
    y = np.array([classes.index(tag) for _, tags in sentences for tag in tags])
    ends = np.cumsum([len(words) for words, _ in sentences])
    owner = np.repeat(np.arange(len(sentences)), np.diff(ends, prepend=0))
    p = np.full((len(y), len(classes)), 1e-6)
    for train, test in KFold(4, shuffle=True, random_state=0).split(np.arange(len(sentences))):
        here, there = np.isin(owner, train), np.isin(owner, test)
        model = LogisticRegression(C=3.0, max_iter=300).fit(x[here], y[here])
        p[np.ix_(there, model.classes_)] = model.predict_proba(x[there])
    return np.split(p / p.sum(1, keepdims=True), ends[:-1])


def judged(p: list[np.ndarray], given: list[list[int]], classes: list[str]) -> torch.Tensor:
    """The probability that each tag is wrong, [n, w]; -1 after the last word."""
    width = max(map(len, given))
    logits = torch.full((len(p), len(classes), width), -torch.inf, dtype=torch.float64)
    labels = torch.full((len(p), width), IGNORED)
    for row, (one, tags) in enumerate(zip(p, given, strict=True)):
        logits[row, :, : len(one)] = torch.from_numpy(one).log().T
        labels[row, : len(tags)] = torch.tensor(tags)
    batch = GradientBatch(torch.arange(len(p)), labels, logits, logits, None, ())
    detector = LatentTags().detector()
    detector.classes, detector.held_out = tuple(classes), True
    detector.fit([batch])
    return detector.cells(batch).wrong


def tags(seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """A row for each set and each way to be wrong."""
    ways = ("none", "3 % flipped", "10 % flipped")
    of_entities = ("10 % of entities forgotten", "10 % of another kind", "10 % without the first word")
    for name, make, more in (("entities", entities, of_entities), ("parts of speech", parts_of_speech, ())):
        right = make(seed)
        classes = sorted({tag for _, one in right for tag in one})
        for how in (*ways, *more):
            random = np.random.default_rng(seed)
            given = [(words, spoiled(one, classes, how, random)) for words, one in right]
            indices = [[classes.index(tag) for tag in one] for _, one in given]
            p = held_out(given, classes)
            wrong = judged(p, indices, classes)
            words = wrong >= 0
            bad = np.concatenate(
                [np.array(a[1]) != np.array(b[1]) for a, b in zip(given, right, strict=True)]
            )
            sentences = np.array([a[1] != b[1] for a, b in zip(given, right, strict=True)])
            flagged = by_auto(wrong, wrong.max(1).values)
            cuts = [
                np.isin(np.arange(len(p)), [row for row, _ in issues_of_tags(indices, p, filter_by=one)])
                for one in FILTERS
            ]
            found = decided(flagged, sentences, cuts)
            if bad.any():
                both = [
                    quality_of_tags(indices, p, token_score_method=m, sentence_score_method=s)
                    for m in ("self_confidence", "normalized_margin")
                    for s in ("min", "softmin")
                ]
                found |= ranked(sentences, wrong.max(1).values.numpy(), [1 - one for one, _ in both])
                theirs = [1 - np.concatenate([np.asarray(one) for one in each]) for _, each in both]
                found |= {
                    "words, cleanlab": max(average_precision_score(bad, one) for one in theirs),
                    "words": average_precision_score(bad, wrong[words].numpy()),
                }
            yield f"{name}: {how}", found


if __name__ == "__main__":
    main((tags,), __doc__)
