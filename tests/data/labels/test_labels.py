import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from ogacli.data.ids import numbered
from ogacli.data.labels import Classes, class_targets, regression_targets
from ogacli.data.labels.label_lists import multi_label_targets
from ogacli.errors import DataError

IDS = pa.array(["p", "q", "r"])


def test_integers_are_class_indices() -> None:
    found = class_targets(pa.array([2, 0, 1]), IDS)
    assert found.labels.tolist() == [2, 0, 1]
    assert found.classes == ("0", "1", "2")
    assert found.truth is None


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=30),
    st.sampled_from(["int8", "uint8", "int32", "float32"]),
)
def test_any_type_of_whole_number_gives_the_same_labels(labels: list[int], dtype: str) -> None:
    classes = [str(i) for i in range(10)]
    found = class_targets(pa.array(np.array(labels, dtype)), numbered(len(labels)), classes=classes)
    assert found.labels.tolist() == labels


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip), min_size=1, max_size=20))
def test_names_are_sorted_and_found_again(names: list[str]) -> None:
    assume(len({name.strip() for name in names}) == len(set(names)))
    found = class_targets(pa.array(names), numbered(len(names)))
    assert [found.classes[label] for label in found.labels.tolist()] == names
    if not all(name.isdecimal() for name in names):
        assert list(found.classes) == sorted(set(names))


def test_numbers_written_as_text_are_sorted_as_numbers() -> None:
    assert class_targets(pa.array(["10", "9", "0"]), IDS).classes == ("0", "9", "10")


def test_booleans_are_two_named_classes() -> None:
    found = class_targets(pa.array([True, False, True]), IDS)
    assert (found.classes, found.labels.tolist()) == (("false", "true"), [1, 0, 1])


def test_dictionary_columns_are_names() -> None:
    assert class_targets(pa.array(["b", "a", "b"]).dictionary_encode(), IDS).labels.tolist() == [1, 0, 1]


def test_truth_shares_the_classes() -> None:
    found = class_targets(pa.array([0, 0, 1]), IDS, truth=pa.array([0, 2, 1]))
    assert found.classes == ("0", "1", "2")
    assert found.truth is not None
    assert found.truth.tolist() == [0, 2, 1]
    named = class_targets(pa.array(["b", "b", "b"]), IDS, truth=pa.array(["a", "b", "c"]))
    assert (named.classes, named.labels.tolist()) == (("a", "b", "c"), [1, 1, 1])


def test_given_classes_decide_the_order() -> None:
    found = class_targets(pa.array(["dog", "cat", "dog"]), IDS, classes=("dog", "cat", "bird"))
    assert (found.labels.tolist(), found.classes) == ([0, 1, 0], ("dog", "cat", "bird"))


def test_integers_index_given_names() -> None:
    assert class_targets(pa.array([1, 0, 1]), IDS, classes=("dog", "cat")).labels.tolist() == [1, 0, 1]


def test_integers_are_names_where_names_are_numbers() -> None:
    assert class_targets(pa.array([3, 7, 3]), IDS, classes=("3", "7")).labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, -1, 1], None, r"sample 'q': label is not a class\n  found: -1\n  expected: one of 0, 1"),
        (
            [0, None, None],
            None,
            r"sample 'q': label is missing, as in 1 more samples\n  next: give it a label",
        ),
        (["a", " ", "b"], None, r"sample 'q': label is missing"),
        (
            [0, 1, 2],
            ("a", "b"),
            r"sample 'r': label out of range\n  found: 2\n  expected: 0 to 1 \(2 classes\)",
        ),
        (
            ["a", "b", "c"],
            ("a", "b"),
            r"sample 'r': label is not a class\n  found: 'c'\n  expected: one of a, b",
        ),
        ([0.0, 0.5, 1.0], None, r"sample 'q': label is not a class\n  found: 0.5(.|\n)*`target: regression`"),
        ([0.0, float("nan"), 1.0], None, r"sample 'q': label is missing"),
        ([1, 2, 3], None, r"labels run from 1 to 3\n  expected: 0 to 2\n  next: list 1 to 3 as `classes`"),
        ([1, 2, 3], ("a", "b", "c"), r"sample 'r': label out of range(.|\n)*number them from 0"),
        ([0, 1, 10**9], None, r"not class indices\n  found: labels up to 1000000000"),
        ([[0], [1], [0]], None, r"label column holds list<item: int64>"),
    ],
)
def test_bad_labels_name_the_sample(
    labels: list[object], classes: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        class_targets(pa.array(labels), IDS, classes=classes)


def test_bad_truth_is_called_truth() -> None:
    with pytest.raises(DataError, match="sample 'r': truth is missing"):
        class_targets(pa.array([0, 1, 0]), IDS, truth=pa.array([0, 1, None]))


def test_labels_from_one_can_be_mended_by_classes() -> None:
    labels = pa.array([1, 2, 3])
    assert class_targets(labels, IDS, classes=("1", "2", "3")).labels.tolist() == [0, 1, 2]
    assert class_targets(labels, IDS, classes=("0", "1", "2", "3")).labels.tolist() == [1, 2, 3]


def test_columns_of_zero_and_one_are_many_classes() -> None:
    found = multi_label_targets({"red": pa.array([1, 0, 1]), "big": pa.array([True, True, False])}, IDS)
    assert found.labels.tolist() == [[1, 1], [0, 1], [1, 0]]
    assert found.classes == ("red", "big")


@pytest.mark.parametrize("separator", ["|", ", "])
def test_separated_text_is_many_classes(separator: str) -> None:
    column = pa.array([f"big{separator}red", "", "red"])
    found = multi_label_targets(column, IDS, separator=separator)
    assert (found.labels.tolist(), found.classes) == ([[1, 1], [0, 0], [0, 1]], ("big", "red"))


def test_lists_are_many_classes() -> None:
    found = multi_label_targets(pa.array([[2, 0], [], [1]]), IDS)
    assert found.labels.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_lists_of_a_slice_are_its_own() -> None:
    column = pa.array([["x"], ["a"], ["a", "b"], []]).slice(1)
    assert multi_label_targets(column, IDS).labels.tolist() == [[1, 0], [1, 1], [0, 0]]


def test_bad_many_class_labels() -> None:
    with pytest.raises(DataError, match=r"sample 'r': label 'red' is not 0 or 1\n  found: 2"):
        multi_label_targets({"red": pa.array([0, 1, 2])}, IDS)
    with pytest.raises(DataError, match=r"sample 'q': label is missing(.|\n)*an empty list"):
        multi_label_targets(pa.array([["a"], None, ["b"]]), IDS)
    with pytest.raises(DataError, match="sample 'r': label is not a class\n  found: 'z'"):
        multi_label_targets(pa.array([["a"], [], ["a", "z"]]), IDS, classes=("a",))
    with pytest.raises(DataError, match=r"does not hold lists(.|\n)*`separator`"):
        multi_label_targets(pa.array(["a", "b", "c"]), IDS)
    with pytest.raises(DataError, match="2 label columns\n  found: 1 class names"):
        multi_label_targets({"a": pa.array([0]), "b": pa.array([1])}, pa.array(["p"]), classes=("x",))


def test_regression_targets() -> None:
    found = regression_targets({"u": pa.array([1, 2, 3]), "v": pa.array([0.5, 1.5, -2.5])}, IDS)
    assert found.labels.tolist() == [[1, 0.5], [2, 1.5], [3, -2.5]]
    assert found.classes == ()


@pytest.mark.parametrize("bad", [None, float("inf"), float("nan")])
def test_bad_regression_targets(bad: float | None) -> None:
    with pytest.raises(DataError, match="sample 'q': label 'u' is missing or not finite"):
        regression_targets({"u": pa.array([1.0, bad, 3.0])}, IDS)
    with pytest.raises(DataError, match="label 'u' is not a number\n  found: 'cheap'"):
        regression_targets({"u": pa.array(["cheap", "dear", "dear"])}, IDS)


class Named(BaseModel):
    classes: Classes


def test_classes_may_be_names_numbers_or_a_count() -> None:
    assert Named(classes=["a", 1]).classes == ("a", "1")  # type: ignore[list-item]
    assert Named(classes=3).classes == ("0", "1", "2")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="a class is named twice: a"):
        Named(classes=("a", "a", "b"))
    with pytest.raises(ValidationError, match="at most 1,000,000 classes"):
        Named(classes=1 << 31)  # type: ignore[arg-type]
