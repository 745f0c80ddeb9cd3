import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ogacli.run.reports import pictures, report
from ogacli.run.reports.review import BYTES
from synthetic_runs import PIXEL, Recipe, example, png

VOID = {"meta", "link", "img", "br", "input"}


class Page(HTMLParser):
    """Tags, attributes and text of a page whose every tag must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.texts.append(data)
        elif self.open[-1] == "script":
            self.scripts.append(data)

    @property
    def data(self) -> dict:
        """What the script of the page shows."""
        return json.loads(self.scripts[0])

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


def test_says_what_a_person_needs(tmp_path):
    text = " ".join(" ".join(Page(report(example().write(tmp_path / "run"))).texts).split())
    for told in (
        "8 of 31 samples flagged",
        "A higher score is more anomalous",
        "1 samples could not be scored (quarantined)",
        "cannot identify image file",
        "image_folder: path /data/animals",
        "torchvision: checkpoint /data/epoch-3.safetensors, name resnet18",
        "head.weight, head.bias (516 parameters)",
        "isolation_forest",
        "25% of the samples",
        "flagged from 0.3594",
        "AUROC",
        "f1" * 32,
    ):
        assert told in text, told


def test_holds_what_a_person_decides_on(tmp_path):
    page = Page(report(example().write(tmp_path / "run")))
    rows = page.data["samples"]
    first = {name: column[0] for name, column in rows.items() if column is not None}
    assert first | {"sure": None} == {
        "id": "img-019",
        "position": 19,
        "given": page.data["names"].index("ship"),
        "suggested": page.data["names"].index("cat"),
        "confidence": "87.5%",
        "sure": None,
        "score": 0.484375,
        "score_text": "0.4844",
        "rank": 1,
        "reason": "mislabelled",
        "truth": page.data["names"].index("cat"),
        "beside": None,
    }
    assert page.data["looks"]["25"] == {"text": "a dog & <b>a</b> cat"}
    assert page.data["looks"]["19"]["picture"].startswith("data:image/png;base64,")


def test_nothing_is_loaded_from_anywhere(tmp_path):
    page = Page(report(example().write(tmp_path / "run")))
    assert not {"iframe", "object", "embed", "base"} & set(page.tags)
    assert [
        href for href in page.values("href") + page.values("src") if not href.startswith(("data:", "#"))
    ] == []
    assert set(re.findall(r"url\(.", report(example().write(tmp_path / "again")))) == {"url(#"}
    policy = next(value for value in page.values("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_tables_have_heads(tmp_path):
    page = Page(report(example().write(tmp_path / "run")))
    assert page.tags.count("table") == 3 + 1  # the matrix is filled by the script
    assert page.values("scope").count("col") == 6 + 5 + 3


def test_hostile_texts_stay_texts(tmp_path):
    evil = "<script>alert(1)</script>"
    quote = "\"' onerror=alert(1) {{ 7 * 7 }} </style><img src=http://x.invalid>"
    recipe = Recipe(
        classes=(evil, quote, "</script>", "&amp;"),
        ids=[f"{evil}{quote}{i}" for i in range(32)],
        suggested={19: 0, 6: 1},
        quarantined={5: evil + quote},
        truth=[i % 4 for i in range(32)],
        previews=[(i, "text", (evil + quote).encode()) for i in range(32)],
        warnings=(evil,),
        detector={"name": evil},
        parameters={evil: 1},
    )
    page = Page(report(recipe.write(tmp_path / "run")))
    assert page.tags.count("script") == 2
    assert page.tags.count("style") == 1
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    text = "".join(page.texts)
    assert evil in text
    assert "{{ 7 * 7 }}" in text
    assert page.data["classes"][:2] == [evil, quote]
    assert page.data["samples"]["id"][0] == recipe.ids[19]


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(min_size=1, max_size=40), min_size=2, max_size=2, unique=True))
def test_any_class_name_leaves_the_page_as_it_is(tmp_path_factory, names):
    def tags(classes):
        run = Recipe(classes=classes, suggested={30: 1}).write(tmp_path_factory.mktemp("runs") / "run")
        return Page(report(run)).tags

    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        return
    assert tags(tuple(names)) == tags(("plain", "simple"))


def test_size_does_not_grow_with_n_and_k(tmp_path):
    n, k = 100_000, 1000
    text = ("long " * 4000).encode()
    recipe = Recipe(
        n=n,
        classes=tuple(f"class {i} {'x' * 300}" for i in range(k)),
        ids=[f"{'folder/' * 60}{i}" for i in range(n)],
        suggested=dict.fromkeys(range(0, n, 3), 0),
        quarantined=dict.fromkeys(range(0, n, 50), "broken " * 200),
        truth=[i % k for i in range(n)],
        budget=0.3,
        parameters={f"layer{i}.weight": 10 for i in range(2000)},
        warnings=("warning " * 1000,),
    )
    recipe.previews = [(i, "text", text) for i in range(200)]
    texts = report(recipe.write(tmp_path / "texts"))
    big = png(256)
    top = sorted(range(n), key=lambda i: -(i * 37 % n))[:150]
    recipe.previews = [(i, "image", big) for i in top]
    pictures_ = report(recipe.write(tmp_path / "pictures"))
    data = Page(pictures_).data
    assert (
        len([one for one in data["looks"].values() if "picture" in one]) > 140
    )  # some of the 150 are quarantined
    assert len(texts.encode()) < BYTES
    assert len(pictures_.encode()) < BYTES
    assert len(data["samples"]["id"]) < 30_000
    assert f"holds the {len(data['samples']['id']):,} most anomalous of 29,400 flagged samples" in pictures_
    assert "And 950 more classes" in texts
    assert "And 1,950 more." in texts


def test_large_pictures_are_made_smaller_and_small_ones_kept():
    import pyarrow as pa

    large, broken, tiny = png(300), b"not a picture", PIXEL
    previews = pa.table(
        {"position": [1, 2, 3, 9], "kind": ["image"] * 4, "content": [large, broken, tiny, tiny]}
    )
    shown = pictures.shown(previews, [1, 2, 3, 4], 80)
    assert set(shown) == {1, 2, 3}
    assert shown[1].picture.startswith("data:image/jpeg;base64,")
    assert len(shown[1].picture) < 30_000
    assert shown[2] == pictures.Shown()
    assert shown[3].picture.startswith("data:image/png;base64,")
    assert shown[3].pixelated
    assert not shown[1].pixelated


def test_marks_exactly_the_bins_above_the_cut(tmp_path):
    run = Recipe(n=100, scores=[i / 64 for i in range(100)], budget=0.25).write(tmp_path / "run")
    text = report(run)
    # scores 0 .. 99/64, the cut at 75/64
    assert re.search(r'<rect x="75\.76" y="0"', text)
    assert 'class="cut late" style="left:75.76%"' in text


@pytest.mark.parametrize("labels", [[0.5, 1.25], [[0.5, 2.0], [1.0, 3.0]]])
def test_regressions_have_no_classes(tmp_path, labels):
    run = Recipe(n=2, classes=(), labels=labels, scores=[0.25, 0.5], budget=1).write(tmp_path / "run")
    page = Page(report(run))
    assert "Flagged by given label" not in "".join(page.texts)
    assert ", ".join(map(str, np.ravel(labels[1]).tolist())).replace(".0", "") in page.data["names"]
    assert page.data["classes"] == []
