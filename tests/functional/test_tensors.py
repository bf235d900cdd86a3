"""What users may pass where a tensor is due."""

from typing import Any

import numpy as np
import pytest
import torch

from torch_heads.functional.tensors import is_text, sum_scalars, to_tensor
from torch_heads.functional.values import check_columns, check_logits


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
