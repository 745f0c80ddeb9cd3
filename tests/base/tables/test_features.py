"""Which columns of a table are features; none comes or goes in silence."""

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ogacli.base.tables.features import Choice, Features, features_of
from ogacli.errors import DataError

N = 80
F = [0.5 * i * i for i in range(N)]
DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(days=i * i) for i in range(N)]


def found(choice: Choice = Choice(), **columns: Any) -> Features:  # noqa: B008
    table = pa.table({"f": F} | columns)
    return features_of(table, "t.csv", choice, [str(i) for i in range(N)])


def left_out(features: Features) -> dict[str, str]:
    return {one.name: one.why for one in features.columns.left_out}


def refused(message: str, choice: Choice = Choice(), **columns: Any) -> None:  # noqa: B008
    with pytest.raises(DataError, match=message):
        found(choice, **columns)


def test_every_column_is_used_or_left_out_with_a_reason() -> None:
    features = found(
        flag=[True, False] * (N // 2),
        name=[f"n{i}" for i in range(N)],
        empty=pa.nulls(N),
        nan=[float("nan")] * N,
        code=[f"{i % 9:03d}" for i in range(N)],
        words=[["a"]] * N,
        raw=[b"x"] * N,
    )
    assert features.columns.features == ("f", "flag")
    assert left_out(features) == {
        "name": "text, such as 'n0'",
        "empty": "no values",
        "nan": "no values",
        "code": "codes with leading zeros, or text, such as '000'",
        "words": "lists of string",
        "raw": "holds binary",
    }
    assert features.columns.lines()[0] == "2 features: f, flag"
    assert features.values.shape == (N, 2)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("index", range(N), "counts the rows"),
        ("position", range(5, N + 5), "counts the rows"),
        ("as_float", [float(i) for i in range(N)], "counts the rows"),
        ("ID", np.random.default_rng(0).permutation(N), "numbers the rows"),
        ("unnamed column 1", range(N), "has no name; counts the rows"),
        ("Unnamed: 0", np.random.default_rng(0).permutation(N) * 3, "has no name"),
        ("__index_level_0__", range(N, 0, -1), "has no name"),
    ],
)
def test_columns_that_count_rows_are_left_out(name: str, values: Any, why: str) -> None:
    features = found(**{name: list(values)})
    assert left_out(features) == {name: why}
    named = found(Choice(only=("f", name)), **{name: list(values)})
    assert named.columns.features == ("f", name), "unless they are named"


def test_whole_numbers_that_do_not_count_are_features() -> None:
    assert left_out(found(id=[7] * N, age=[20 + i % 50 for i in range(N)])) == {}


AGE = [str(20 + i % 50) for i in range(N)]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["$41" if i % 40 == 39 else age for i, age in enumerate(AGE)],
            r"t.csv: column 'c' is nearly all numbers: 2 of 80 cells are not\n  found: sample '39': '\$41', "
            r"sample '79': '\$41'\n  next: .*`leave_out: \[c\]`",
        ),
        (["?" if i % 2 else age for i, age in enumerate(AGE)], r"40 of 80 cells are not"),
        (["$" + age for age in AGE], r"holds numbers beside other signs\n  found: sample '0': '\$20'"),
        ([age + " %" for age in AGE], r"holds numbers beside other signs"),
        (["none" if i == 3 else age for i, age in enumerate(AGE)], r"1 of 80 cells is not"),
        ([f"{day:%d.%m.%Y}" for day in DAYS], r"holds dates\n.*\n  next: .*`dates: \{c: '%d.%m.%Y'\}`"),
        ([f"{day:%b %d, %Y}" for day in DAYS], r"holds dates"),
        ([str(day) for day in DAYS], r"holds dates\n.*\n  next: .*`dates: \[c\]`"),
        (["12:30"] * N, r"holds dates"),
        (["1,234"] * N, r"'1,234' is 1234 or 1.234\n  next: .*`decimal: '.'` or `decimal: ','`"),
        (["[0.5 1.5]"] * N, r"lists of numbers written as text that cannot be read"),
        ([[1.0, 2.0]] * (N - 1) + [[1.0]], r"lists of 2 numbers, but for some\n  found: sample '79'"),
        (DAYS, r"holds dates"),
        ([datetime.datetime(2020, 1, 1, 12)] * N, r"holds dates"),
        ([datetime.timedelta(days=2)] * N, r"holds dates"),
    ],
)  # fmt: skip
def test_what_may_be_numbers_is_refused(cells: list[Any], message: str) -> None:
    refused(message, c=cells)
    assert left_out(found(Choice(leave_out=("c",)), c=cells)) == {"c": "named in `leave_out`"}, (
        "as the hint says"
    )


def test_several_columns_are_refused_at_once() -> None:
    refused(
        r"2 columns are neither numbers nor plainly text\n  found: 'a' holds dates \(.*'b' is nearly[\s\S]*"
        r"`leave_out: \[a, b\]`",
        a=DAYS,
        b=["x", *AGE[1:]],
    )


@pytest.mark.parametrize(
    ("cells", "mark", "value"),
    [
        (["1,234", "1,234,567"] * (N // 2), None, 1234),
        (["1,234", "0.5"] * (N // 2), None, 1234),
        (["1.234,5", "7"] * (N // 2), None, 1234.5),
        (["1,5", "7"] * (N // 2), None, 1.5),
        (["1,234"] * N, ".", 1234),
        (["1,234"] * N, ",", 1.234),
        (["1.234"] * N, ",", 1234),
        (["1 234,5"] * N, ",", 1234.5),
        (["1'234.5"] * N, ".", 1234.5),
        (["41", "n/a"] * (N // 2), None, 41),
        (["1e3", "-2.5E-1"] * (N // 2), None, 1000),
    ],
)
def test_numbers_as_text_are_read(cells: list[str], mark: Any, value: float) -> None:
    features = found(Choice(decimal=mark), c=cells)
    assert features.values[0, 1] == pytest.approx(value)
    assert "column 'c' holds numbers as text" in features.columns.notes[0]


def test_dates_on_request() -> None:
    texts = [f"{day:%d/%m/%Y}" for day in DAYS]
    times = [datetime.time(6)] * N
    choice = Choice(dates={"day": None, "text": "%d/%m/%Y", "time": None})  # type: ignore[dict-item]
    features = found(choice, day=DAYS, text=texts, time=times)
    days = [(day - datetime.date(1970, 1, 1)).days for day in DAYS]
    assert features.values[:, 1].tolist() == days
    assert features.values[:, 2].tolist() == days
    assert features.values[0, 3] == 0.25
    refused(r"another format than '%Y'\n  found: sample '0'", Choice(dates={"c": "%Y"}), c=texts)


def test_lists_of_one_length_are_features() -> None:
    lists = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
    for column in (
        lists.tolist(),
        pa.FixedSizeListArray.from_arrays(pa.array(lists.ravel()), 3),
        pa.array(lists.tolist(), pa.large_list(pa.float32())),
        [str(row) for row in lists.tolist()],
    ):
        features = found(e=column)
        assert np.allclose(features.values[:, 1:], lists)
        assert features.names == ("f", "e[0]", "e[1]", "e[2]")
        assert (features.columns.features, features.columns.inputs) == (("f", "e"), 4)
    some = found(e=[None, *lists.tolist()[1:]])
    assert np.isnan(some.values[0, 1:]).all()
    assert left_out(found(e=[[1.0] * (i % 7) for i in range(N)]))["e"].startswith(
        "lists of different lengths"
    )


def test_python_has_no_keys() -> None:
    refused(r"next: convert dates to numbers, or drop it from the frame", Choice(keys=False), c=DAYS)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(leave_out=("nam",)), r"no column 'nam'; did you mean 'name'"),
        (Choice(only=("f", "name")), r"column 'name' is not numeric\n  found: string"),
        (Choice(only=("day",)), r"column 'day' holds dates[\s\S]*take it out of `features`"),
    ],
)
def test_mistakes(choice: Choice, message: str) -> None:
    refused(message, choice, name=["x"] * N, day=DAYS)
