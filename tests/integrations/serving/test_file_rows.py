"""Rows of CSV without a head line, as a container of SageMaker is sent them."""

from typing import Any

import pytest

from torch_heads.integrations.serving.file_rows import csv_inputs
from torch_heads.integrations.serving.signature import Input


@pytest.mark.parametrize(
    ("dtype", "shape", "text", "expected"),
    [
        ("float32", ("batch", 2), "0.5,1\n-2,1e3\n", [[0.5, 1.0], [-2.0, 1000.0]]),
        ("float32", ("batch", 2), '"0.5","1"\r\n\r\n"-2","0"\r\n', [[0.5, 1.0], [-2.0, 0.0]]),
        ("int64", ("batch", 3), "1,2,3", [[1, 2, 3]]),
        ("int64", ("batch",), f"{2**53 + 1}\n7", [2**53 + 1, 7]),
        ("bool", ("batch",), "true\n0\nFALSE\n", [True, False, False]),
        ("string", ("batch",), 'red\n"dark blue, or black"\n', ["red", "dark blue, or black"]),
        ("string", ("batch", 2), "red,1\n", [["red", "1"]]),
        ("float32", ("batch", 1), "1\n2\n", [[1.0], [2.0]]),
    ],
)
def test_cells_are_of_the_type_of_the_input(
    dtype: str, shape: Any, text: str, expected: list[Any]
) -> None:
    count, inputs = csv_inputs("invocations", {"x": Input(dtype, shape)}, text)
    assert count == len(expected)
    assert inputs["x"].tolist() == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "invocations: expected rows of CSV of one length, got none"),
        ("\n\n", "of one length, got none"),
        ("1,2\n3\n", r"of one length, got \[1, 2\]"),
        ("1,2\n1.5,2\n", "invocations: expected x in line 2 of type int64, got .*'1.5'"),
        ("a,2\n", "expected x in line 1 of type int64, got .*'a'"),
        ('"1,2\n', "invocations: expected line 1 of CSV"),
    ],
)
def test_other_text_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        csv_inputs("invocations", {"x": Input("int64", ("batch", 2))}, text)


def test_columns_of_several_inputs_have_no_names_and_are_refused() -> None:
    inputs = {name: Input("float32", ("batch",)) for name in ("age", "height")}
    with pytest.raises(ValueError, match=r"of one input, got those of \['age', 'height'\]. Send"):
        csv_inputs("invocations", inputs, "1,2\n")
