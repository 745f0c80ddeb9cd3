"""Texts as tokens: what is padded, cut, learned and left out."""

from typing import Any

import pytest
import torch

from ogacli.data.arrays import NoInputs
from ogacli.data.sources.text import TextReader
from ogacli.errors import DataError
from ogacli.models.text.tokens import IGNORED, Encoder, LanguageEncoder, TokenReader
from small_transformers import WORDS, write_tokenizer

pytest.importorskip("transformers")
END = 3


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from transformers import AutoTokenizer

    found = {}
    for kind in ("bert", "gpt2"):
        folder = tmp_path_factory.mktemp(kind)
        write_tokenizer(folder, kind=kind)
        found[kind] = AutoTokenizer.from_pretrained(folder)
    return found


def reader(encoder: Encoder, *columns: list[str], **options: Any) -> TokenReader:
    import pyarrow as pa

    texts = {f"text {i}": pa.array(column, pa.string()) for i, column in enumerate(columns)}
    return TokenReader(TextReader(texts, **options), encoder, len(columns[0]))


def codes(text: str) -> list[int]:
    return [4 + WORDS.index(letter) for letter in text]


def test_lengths_are_those_of_the_texts(tokenizers):
    texts = reader(Encoder(tokenizers["bert"], 40), ["abc", "a"], ["", "bc"])
    assert texts.lengths(torch.tensor([1, 0])).tolist() == [3, 3]
    texts.reader = NoInputs()  # knows no lengths
    assert texts.lengths(torch.tensor([1, 0])) is None


def test_texts_are_padded_to_the_longest_of_the_batch(tokenizers):
    inputs, failures = reader(Encoder(tokenizers["bert"], 40), ["ab", "abcd", "a"]).read([2, 0])
    assert not failures
    assert inputs["input_ids"].tolist() == [[2, *codes("a"), END, 0], [2, *codes("ab"), END]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert inputs["token_type_ids"].tolist() == [[0] * 4] * 2


def test_pairs_are_told_apart(tokenizers):
    inputs, _ = reader(Encoder(tokenizers["bert"], 40), ["ab"], ["c"]).read([0])
    assert inputs["input_ids"].tolist() == [[2, *codes("ab"), END, *codes("c"), END]]
    assert inputs["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1]]


def test_long_texts_are_cut_and_counted_once(tokenizers):
    found = reader(Encoder(tokenizers["bert"], 6), ["abcd", "abcde", "abcdefgh"])
    assert found.notes == ()
    inputs, _ = found.read([0, 1, 2])
    assert inputs["input_ids"].tolist() == [[2, *codes("abcd"), END]] * 3
    assert found.notes == ("2 texts were cut to 6 tokens",)
    found.read([1])
    assert found.notes == ("2 texts were cut to 6 tokens",)


def test_empty_texts_are_quarantined_and_the_rest_stays_in_place(tokenizers):
    inputs, failures = reader(Encoder(tokenizers["bert"], 40), ["a", " ", "b"]).read([0, 1, 2])
    assert list(failures) == [1]
    assert inputs["input_ids"][:, 1].tolist() == [*codes("a"), *codes("b")]
    assert reader(Encoder(tokenizers["bert"], 40), [" "]).read([0])[0] is None


def language(tokenizer: Any, limit: int = 40, **options: Any) -> LanguageEncoder:
    return LanguageEncoder(tokenizer, limit, **{"learn_prompt": False, "end": True, **options})


@pytest.mark.parametrize(
    ("options", "targets"),
    [
        ({}, [IGNORED, IGNORED, *codes("cd"), END]),
        ({"learn_prompt": True}, [*codes("abcd"), END]),
        ({"end": False}, [IGNORED, IGNORED, *codes("cd")]),
        ({"limit": 3}, [IGNORED, IGNORED, *codes("c")]),
    ],
)
def test_what_a_language_model_learns(tokenizers, options, targets):
    inputs, _ = reader(language(tokenizers["gpt2"], **options), ["ab"], ["cd"]).read([0])
    assert inputs["targets"].tolist() == [targets]
    assert inputs["input_ids"].tolist() == [[*codes("abcd"), END][: len(targets)]]


def test_a_token_that_reaches_into_the_completion_belongs_to_it(tokenizers):
    """The tokenizer sees one text: here "b" and "c" on both sides of the seam are one token."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "bc": 2, "d": 3}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("bc|."), "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    inputs, _ = reader(language(fast), ["ab"], ["cd"]).read([0])
    assert inputs["input_ids"].tolist() == [[1, 2, 3]]
    assert inputs["targets"].tolist() == [[IGNORED, 2, 3]]


def test_a_tokenizer_that_ends_texts_itself_ends_them_once(tokenizers):
    inputs, _ = reader(language(tokenizers["bert"]), ["ab"], ["c"]).read([0])
    assert inputs["input_ids"].tolist() == [[2, *codes("abc"), END]]
    assert inputs["targets"].tolist() == [[IGNORED] * 3 + [*codes("c"), END]]


def test_padding_is_no_target(tokenizers):
    inputs, _ = reader(language(tokenizers["gpt2"]), ["", "abc"], ["x", "y"], may_be_empty="text 0").read(
        [0, 1]
    )
    assert inputs["targets"].tolist() == [
        [*codes("x"), END, IGNORED, IGNORED, IGNORED],
        [IGNORED] * 3 + [*codes("y"), END],
    ]
    assert inputs["attention_mask"].sum(1).tolist() == [2, 5]


def test_nothing_to_predict_is_quarantined(tokenizers):
    inputs, failures = reader(language(tokenizers["gpt2"], 4), ["abcdef", "a"], ["x", "y"]).read([0, 1])
    assert failures == {0: "no token to predict among the first 4, which are all that the model takes"}
    assert len(inputs["targets"]) == 1
    single = reader(language(tokenizers["gpt2"], end=False), ["a"])
    assert single.read([0]) == (None, {0: "no token to predict"})


def test_what_is_no_text():
    from ogacli.data.arrays import ArrayReader

    pictures = ArrayReader(torch.zeros(3, 4).numpy())
    with pytest.raises(
        DataError, match="the model reads texts\n  found: Tensor\n  expected: texts, or pairs"
    ):
        TokenReader(pictures, Encoder(None, 5), 3).read([0])


def test_the_preview_is_the_text(tokenizers):
    assert reader(Encoder(tokenizers["bert"], 3), ["abcdef"]).preview(0).content == b"abcdef"
