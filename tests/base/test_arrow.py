"""Arrow arrays and back, as pyarrow's own functions do it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ogacli.base.arrow import empty, numbers, texts, unpacked, value


@pytest.mark.parametrize("kind", ["bool", "int8", "uint16", "int32", "int64", "float16", "float32"])
@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 20), slice(3, 17)])
def test_numbers_come_back(kind, rows):
    given = np.arange(20).astype(kind)
    array = numbers(given)
    assert array.equals(pa.array(given))
    part = array.slice(rows.start, rows.stop - rows.start)
    assert unpacked(part).dtype == kind
    assert (unpacked(part) == given[rows]).all()


def test_a_value_is_compared_and_filled_in():
    assert pc.equal(texts(["a", "b"]), value("b")).to_pylist() == [False, True]
    assert pc.fill_null(pa.array([None, 2.5]), value(np.nan)).to_pylist()[1] == 2.5
    assert pc.fill_null(pa.array([None, 2]), value(0)).to_pylist() == [0, 2]


def test_a_table_without_rows_has_the_columns():
    schema = pa.schema([("a", pa.list_(pa.string())), ("b", pa.dictionary(pa.int8(), pa.string()))])
    assert empty(schema).equals(schema.empty_table())
