"""What users may pass where a tensor is due."""

import warnings
from collections import deque
from math import nan
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import torch_heads as th
from torch_heads.functional.forms import is_text
from torch_heads.functional.scalars import sum_scalars
from torch_heads.functional.tensors import to_tensor
from torch_heads.functional.values import check_columns, check_logits


def masked(value: float, there: bool) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a prototype
        made: torch.Tensor = torch.masked.masked_tensor(torch.tensor(value), torch.tensor(there))
    return made


@pytest.mark.parametrize(
    "text",
    [
        *("a", b"a", ["a"], [["a"], []], [[], ["a"]], ("a", "b")),
        *(np.array(["a"]), np.array([b"a"]), np.array(["a"], dtype=object)),
    ],
    ids=repr,
)
def test_text_is_known_by_its_strings(text: Any) -> None:
    assert is_text(text)


@pytest.mark.parametrize(
    "numbers", [1, [], [[]], [[1], []], np.zeros(2), torch.zeros(2), None, [True]], ids=repr
)
def test_anything_else_is_not_text(numbers: Any) -> None:
    assert not is_text(numbers)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int8", "int32", "int64", "float64"])
def test_arrays_keep_their_numbers(dtype: str, device: torch.device) -> None:
    array = np.array([[0, 1], [1, 1]], dtype=dtype)
    tensor = to_tensor("head", "labels", array, device)
    assert tensor.device.type == device.type
    assert tensor.tolist() == array.tolist()
    assert tensor.is_floating_point() == (dtype == "float64")


def test_an_array_is_copied_even_if_it_is_read_only(device: torch.device) -> None:
    array = np.zeros(3, dtype=np.float32)
    tensor = to_tensor("head", "labels", array, device)
    array[0] = 7
    assert tensor.tolist() == [0, 0, 0]
    array.flags.writeable = False
    assert to_tensor("head", "labels", array, device).tolist() == [7, 0, 0]


@pytest.mark.parametrize(
    "view",
    [np.arange(3)[::-1], np.arange(6)[4::-2] / 2, np.array([2, 1, 0], dtype=">i4")],
    ids=["reversed", "strided", "big-endian"],
)
def test_an_array_may_lie_in_memory_as_it_likes(view: np.ndarray) -> None:
    assert to_tensor("head", "labels", view).tolist() == [2, 1, 0]


def test_python_floats_get_the_default_dtype() -> None:
    assert to_tensor("head", "labels", [[0.5]]).dtype == torch.float32
    assert to_tensor("head", "labels", [[1]]).dtype == torch.int64
    assert to_tensor("head", "labels", np.array([0.5])).dtype == torch.float64


def test_a_tensor_is_taken_as_it_is(device: torch.device) -> None:
    tensor = torch.zeros(2, 1, dtype=torch.float64, device=device, requires_grad=True)
    assert to_tensor("head", "labels", tensor, tensor.device) is tensor
    assert check_logits("head", tensor, 1) is tensor
    assert check_columns("head", "labels", tensor, (2,), 1) is tensor


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_become_float32(dtype: torch.dtype, device: torch.device) -> None:
    assert check_logits("head", torch.zeros(2, 3, dtype=dtype, device=device), 3).dtype == (
        torch.float32
    )


def test_scalars_are_summed(device: torch.device) -> None:
    assert sum_scalars("head", None) == 0
    assert sum_scalars("head", []) == 0
    total = sum_scalars("head", [torch.tensor(1.5, device=device), 2, np.float32(0.25)])
    assert total == 3.75


LARGE = 10**9 + 1


@pytest.mark.parametrize(
    "labels",
    [
        [LARGE, None],
        [None, LARGE],
        [[LARGE], [None]],
        [[None], [LARGE]],
        (None, LARGE),
        deque([float("nan"), LARGE]),
        [1.5, LARGE],
        [LARGE, 1.5],
        [1.5, np.float64(LARGE)],
        [np.float64(LARGE), 1.5],
        [[1.5], [np.float64(LARGE)]],
        [torch.tensor(LARGE, dtype=torch.float64), 1.5],
        [1.5, np.array(LARGE)],
    ],
    ids=repr,
)
def test_numbers_are_exact_whichever_entry_comes_first(labels: Any) -> None:
    tensor = to_tensor("head", "labels", labels, may_miss=True)
    assert tensor.dtype == torch.float64
    assert LARGE in tensor.flatten().tolist()
    logits = torch.full((2, 1), 1e9, dtype=torch.float64)
    rest = [one for one in tensor.flatten().tolist() if one not in (LARGE, 1.5)]
    if rest:
        assert th.RegressionHead(missing_label=nan).loss(labels, logits) == 1.0


def test_ids_are_exact_beside_gaps() -> None:
    for labels in ([16777217, None], [None, 16777217]):
        assert 16777217 in to_tensor("head", "labels", labels, may_miss=True).tolist()


def test_few_numbers_of_python_have_the_default_dtype_in_any_order() -> None:
    for values in ([1, 0.5], [0.5, 1], [[True, 0.5]], [None, 0.5], (0.5, None)):
        assert to_tensor("head", "labels", values, may_miss=True).dtype == torch.float32


ZEROS = [np.array(1.0), np.array(2.0)]


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(ZEROS),
        pd.Series(ZEROS).to_numpy(),
        ZEROS,
        [[one] for one in ZEROS],
        memoryview(np.array([1.0, 2.0])),
        list(pa.array([1.0, 2.0])),
        pd.Series(list(pa.array([1, 2]))),
        list(pa.array([[1.0], [2.0]])),
        [pa.scalar(1.0), 2.0],
        [masked(1.0, True), masked(2.0, True)],
    ],
    ids=lambda values: type(values).__name__,
)
def test_each_entry_may_come_in_a_container_of_its_own(values: Any) -> None:
    tensor = to_tensor("head", "labels", values)
    assert tensor.flatten().tolist() == [1, 2]
    assert th.RegressionHead().loss(values, torch.zeros(2, 1)) == 2.5
    assert th.BinaryClassHead().loss(pd.Series(ZEROS) - 1, torch.zeros(2, 1)).isfinite()


def test_a_masked_scalar_is_a_gap() -> None:
    labels = [masked(1.0, True), masked(7.0, False), masked(3.0, True)]
    loss = th.RegressionHead(missing_label=-1).loss(labels, torch.zeros(3, 1))
    assert loss.item() == pytest.approx(5.0)
    with pytest.raises(ValueError, match=r"labels without gaps, got None in row 1"):
        th.RegressionHead().loss(labels, torch.zeros(3, 1))


def test_a_memoryview_may_have_several_dimensions() -> None:
    view = memoryview(np.array([[1], [0]]))
    for head in (th.BinaryClassHead(), th.MultiClassHead(2), th.RegressionHead()):
        logits = torch.ones(2, head.logits_dimension)
        assert head.loss(view, logits) == head.loss([[1], [0]], logits)


def test_strings_of_pyarrow_are_no_numbers() -> None:
    names, logits = list(pa.array(["a", "c", "b"])), torch.randn(3, 128)
    with pytest.raises(ValueError, match=r"labels to be numeric, got strings.*label_vocabulary"):
        th.MultiClassHead(128).loss(names, logits)
    with pytest.raises(ValueError, match="labels to be numeric, got strings"):
        th.RegressionHead().loss(names, torch.zeros(3, 1))
    words = th.MultiClassHead(3, label_vocabulary=["a", "b", "c"])
    expected = words.loss([0, 2, 1], logits[:, :3])
    for labels in (names, [[name] for name in names], pd.Series(names)):
        assert words.loss(labels, logits[:, :3]) == expected
    sets = th.MultiLabelHead(3, label_vocabulary=["a", "b", "c"])
    lists = list(pa.array([["a", "c"], ["b"]]))
    assert sets.loss(lists, logits[:2, :3]) == sets.loss([{0, 2}, {1}], logits[:2, :3])


@pytest.mark.parametrize(
    "given",
    [
        pd.DataFrame({"a": [1, 2], "b": [1, 2]}).groupby("a"),
        pd.DataFrame({"a": [1, 2], "b": [1, 2]}).groupby("a")["b"],
        torch.fx.Proxy(torch.fx.Graph().placeholder("x")),
        pl.col("x"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_holds_no_numbers_is_named(given: Any) -> None:
    kind = type(given).__name__
    for head in (th.RegressionHead(missing_label=nan), th.MultiClassHead(3), th.MultiLabelHead(3)):
        logits = torch.zeros(2, head.logits_dimension)
        with pytest.raises(ValueError, match=rf"Head: expected labels .*, got {kind}"):
            head.loss(given, logits)


def test_settings_come_in_pyarrow() -> None:
    pair = [th.RegressionHead(name="a"), th.RegressionHead(name="b")]
    factors = th.MultiHead(pair, head_weights=pa.array([1.0, 2.0])).head_weights
    assert factors is not None
    assert factors.tolist() == [1, 2]
    assert th.BinaryClassHead(thresholds=pa.array([0.25])).thresholds == (0.25,)


def test_what_is_refused_stands_on_one_line() -> None:
    for frame in (pl.DataFrame({"a": [1.0]}), pa.table({"a": [1.0]}), pd.DataFrame({"a": [1.0]})):
        for wrong in (
            lambda own: th.MultiHead([th.RegressionHead(name="a")], head_weights=own),
            lambda own: th.BinaryClassHead(thresholds=own),
            lambda own: th.BinaryClassHead(pos_weight=own),
        ):
            with pytest.raises((ValueError, TypeError)) as refusal:
                wrong(frame)
            assert "\n" not in str(refusal.value)
