"""Labels of several classes: which reading of a column of lists is meant, and their true labels."""

from typing import Any

import pyarrow as pa
import pytest

from ogacli.data.ids import numbered
from ogacli.data.labels import class_targets, regression_targets
from ogacli.data.labels.label_lists import multi_label_targets
from ogacli.data.labels.label_types import IGNORED
from ogacli.data.tagged import tagged
from ogacli.errors import DataError

IDS = pa.array(["p", "q", "r"])


def labels(column: Any, **options: Any) -> list[list[float]]:
    found = column if isinstance(column, pa.Array) else pa.array(column)
    return multi_label_targets(found, numbered(len(found)), **options).labels.tolist()


@pytest.mark.parametrize(
    "column",
    [
        [[1, 0, 1], [0, 0, 1]],
        [[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]],
        [[True, False, True], [False, False, True]],
        ["[1, 0, 1]", "[0, 0, 1]"],
        pa.FixedSizeListArray.from_arrays(pa.array([1, 0, 1, 0, 0, 1]), 3),
        pa.array([[1, 0, 1], [0, 0, 1]], pa.large_list(pa.int8())),
    ],
)
def test_lists_of_zeros_and_ones_are_vectors(column: Any) -> None:
    assert labels(column) == [[1, 0, 1], [0, 0, 1]]
    found = column if isinstance(column, pa.Array) else pa.array(column)
    named = multi_label_targets(found, numbered(2), classes=("a", "b", "c"))
    assert (named.labels.tolist(), named.classes) == ([[1, 0, 1], [0, 0, 1]], ("a", "b", "c"))
    with pytest.raises(DataError, match="lists of 3 zeros and ones, but 4 classes"):
        labels(column, classes=tuple("abcd"))


def test_a_repeated_value_makes_it_a_vector() -> None:
    assert labels([[1, 0], [1, 1]]) == [[1, 0], [1, 1]]
    assert labels([[1.0, 0.0], [0.0, 1.0]]) == [[1, 0], [0, 1]], "class indices are no floats"


def test_two_readings_are_refused_with_the_key() -> None:
    for column in ([[1, 0], [0, 1]], [[1], [0]], ["[1, 0]", "[0, 1]"]):
        with pytest.raises(
            DataError,
            match=r"sample '0': lists of 0 and 1 may name[\s\S]*`lists: zero_one` .*`lists: classes`",
        ):
            labels(column)
    assert labels([[1, 0], [0, 1]], lists="zero_one") == [[1, 0], [0, 1]]
    assert labels([[1, 0], [0, 1]], lists="classes") == [[1, 1], [1, 1]]
    with pytest.raises(DataError, match=r"sample '1': not a 0 or 1 for each class\n  found: \[2\]"):
        labels([[1, 0], [2]], lists="zero_one")


def test_lists_that_cannot_be_vectors_name_classes() -> None:
    assert labels([[2, 0], [1]]) == [[1, 0, 1], [0, 1, 0]]
    assert labels([[1, 0], []]) == [[1, 1], [0, 0]]
    assert labels([[0, 1], [1, 0]], classes=("a", "b", "c")) == [[1, 1, 0], [1, 1, 0]], "three classes"


@pytest.mark.parametrize(
    "column",
    [
        ["['ant', 'bee']", "[]", '["bee", "cat"]'],
        ["[ 'ant' , 'bee', ]", "[]", "['bee', 'cat']"],
        [["ant", "bee"], [], ["bee", "cat"]],
    ],
)
@pytest.mark.parametrize("separator", [None, ","])
def test_lists_written_as_text_are_lists(column: list[Any], separator: str | None) -> None:
    found = multi_label_targets(pa.array(column), IDS, separator=separator)
    assert found.classes == ("ant", "bee", "cat")
    assert found.labels.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize("cell", ["['ant' 'bee']", "[ant, bee", "['ant', print('x')]", "[ant, bee]"])
def test_lists_that_cannot_be_read_are_refused(cell: str) -> None:
    column = pa.array(["['ant']", cell if cell.endswith("]") else f"{cell}]", "[]"])
    with pytest.raises(DataError, match=r"sample 'q': a list that was written as text cannot be read"):
        multi_label_targets(column, IDS)


def test_the_truth_of_several_classes() -> None:
    lists = multi_label_targets(pa.array([["a"], ["b"], []]), IDS, truth=pa.array([["a"], ["c"], []]))
    assert lists.classes == ("a", "b", "c"), "classes of both"
    assert lists.truth is not None
    assert lists.truth.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    vectors = multi_label_targets(
        pa.array([[1.0, 0.0]] * 3), IDS, truth=pa.array([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    )
    assert vectors.truth is not None
    assert vectors.truth.tolist() == [[1, 1], [1, 0], [0, 0]]
    columns = {"x": pa.array([0, 1, 1])}
    one = multi_label_targets(columns, IDS, truth={"y": pa.array([1, 1, 1])})
    assert one.truth is not None
    assert one.truth.tolist() == [[1], [1], [1]]


def test_the_truth_of_a_regression() -> None:
    found = regression_targets({"x": pa.array([1.0, 2, 3])}, IDS, truth={"t": pa.array([1, 2, 4])})
    assert found.truth is not None
    assert found.truth.tolist() == [[1], [2], [4]]
    lists = regression_targets({"x": pa.array([[1.0, 2.0]] * 3)}, IDS)
    assert lists.labels.shape == (3, 2)
    with pytest.raises(DataError, match="another number of targets"):
        regression_targets({"x": pa.array([1.0, 2, 3])}, IDS, truth={"t": pa.array([[1.0, 2.0]] * 3)})


def test_the_first_bad_cell_of_a_regression_is_named() -> None:
    with pytest.raises(DataError, match=r"sample 'q': label 'x' is not a number\n  found: '\$2'"):
        regression_targets({"x": pa.array(["1", "$2", "3"])}, IDS)
    assert regression_targets({"x": pa.array(["1", "2,5", "3"])}, IDS).labels.tolist() == [[1], [2.5], [3]]


def test_the_truth_of_tags() -> None:
    words = pa.array([["u", "v"], ["w"], ["x", "y"]])
    tags, truth = pa.array([["A", "O"], ["O"], ["O", "A"]]), pa.array([["O", "A"], ["O"], ["B", "A"]])
    _, found = tagged(words, tags, IDS, classes=None, truth=truth)
    assert found.classes == ("A", "B", "O")
    assert found.labels.tolist() == [[0, 2], [2, IGNORED], [2, 0]]
    assert found.truth is not None
    assert found.truth.tolist() == [[2, 0], [2, IGNORED], [1, 0]]
    with pytest.raises(DataError, match=r"sample 'q': another number of true tags than of tags"):
        tagged(words, tags, IDS, classes=None, truth=pa.array([["O", "A"], [], ["B", "A"]]))
    texts = [pa.array([str(row) for row in column.to_pylist()]) for column in (words, tags)]
    assert tagged(texts[0], texts[1], IDS, classes=None)[1].labels.tolist() == [
        [0, 1],
        [1, IGNORED],
        [1, 0],
    ]


# --- one class a sample ---------------------------------------------------------------------------------


def test_blanks_around_names_are_told() -> None:
    with pytest.raises(DataError, match=r"differ only in the blanks around them\n  found: 'cat', 'cat '"):
        class_targets(pa.array(["cat", "cat ", "dog"]), IDS)
    with pytest.raises(
        DataError, match=r"sample 'q'[\s\S]*remove the blanks around labels in the table: 'cat '"
    ):
        class_targets(pa.array(["cat", "cat ", "dog"]), IDS, classes=("cat", "dog"))
    both = class_targets(pa.array(["cat", "cat ", "dog"]), IDS, classes=("cat", "cat ", "dog"))
    assert both.labels.tolist() == [0, 1, 2]
    assert class_targets(pa.array(["cat ", "dog ", "dog "]), IDS).notes == (
        "class names have blanks around them: 'cat ', 'dog '",
    )
    assert "differ only in case: 'Cat', 'cat'" in class_targets(pa.array(["cat", "Cat", "x"]), IDS).notes[0]


@pytest.mark.parametrize(
    ("column", "classes", "hint"),
    [
        (["01", "02", "10"], ["1", "2", "10"], ["01", "02", "10"]),
        (["Cat", "dog", "dog"], ["cat", "Dog"], ["Cat", "dog"]),
        (["No", "Yes", "Yes"], ["no", "yes"], ["No", "Yes"]),
        (["1.0", "2.0", "2.0"], ["1", "2"], ["1.0", "2.0"]),
        ([-1, 1, 1], None, [-1, 1]),
        ([1, 5, 9], None, [1, 5, 9]),
        ([2.0, 3.0, 3.0], None, [2, 3]),
    ],
)
def test_hints_on_classes_work_when_followed(column: list[Any], classes: Any, hint: list[Any]) -> None:
    import yaml
    from pydantic import TypeAdapter

    from ogacli.data.labels import Classes

    with pytest.raises(DataError, match=r"`classes: \[") as caught:
        class_targets(pa.array(column), IDS, classes=classes)
    written = str(caught.value).partition("`classes: ")[2].partition("`")[0]
    assert [str(name) for name in yaml.safe_load(written)] == [str(name) for name in hint]
    names = TypeAdapter(Classes).validate_python(yaml.safe_load(written))
    assert sorted(set(class_targets(pa.array(column), IDS, classes=names).labels.tolist())) == list(
        range(len(hint))
    )


def test_classes_that_yaml_reads_as_another_type() -> None:
    from pydantic import TypeAdapter

    from ogacli.data.labels import Classes

    assert TypeAdapter(Classes).validate_python([1.0, 2.5, True]) == ("1", "2.5", "true")
    found = class_targets(pa.array(["True", "False", "FALSE"]), IDS, classes=("false", "true"))
    assert found.labels.tolist() == [1, 0, 0], "as YAML reads the names of booleans"


@pytest.mark.parametrize(
    "column",
    [["('ant', 'bee')", "()", "('bee',)"], ["{'ant', 'bee'}", "set()", "{'bee'}"]],
    ids=["tuples", "sets"],
)
def test_tuples_and_sets_written_as_text_are_lists_too(column: list[str]) -> None:
    assert multi_label_targets(pa.array(column), IDS).labels.tolist() == [[1, 1], [0, 0], [0, 1]]
    with pytest.raises(DataError, match="sample 'q': a list that was written as text cannot be read"):
        multi_label_targets(pa.array(["('ant', 'bee')", "('ant, bee')", "()"]), IDS)
