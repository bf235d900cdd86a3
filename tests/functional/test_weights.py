"""Example weights: of any number type, and found wherever the head says."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import torch_heads as th
from torch_heads.functional.weights import check_weights


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 4)])
def test_weights_are_per_example_or_if_allowed_per_label(
    shape: tuple[int, ...], device: torch.device
) -> None:
    logits, weights = torch.zeros(2, 3, 4, device=device), torch.ones(shape, device=device)
    per_label = check_weights("head", "weights", weights, logits, columns=4)
    assert per_label.shape == (2, 3, 4 if shape == logits.shape else 1)
    if shape == logits.shape:
        with pytest.raises(ValueError, match=r"\[2, 3\] or \[2, 3, 1\], got \[2, 3, 4\]"):
            check_weights("head", "weights", weights, logits, columns=1)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.float64])
def test_weights_may_be_of_any_number_type(dtype: torch.dtype, device: torch.device) -> None:
    weights = torch.ones(2, dtype=dtype, device=device)
    logits = torch.zeros(2, 1, device=device)
    assert check_weights("head", "w", weights, logits, columns=1).dtype == torch.float32


@pytest.mark.parametrize(
    "weights",
    [[1.0, 3.0], [[1], [3]], np.array([1, 3]), torch.tensor([1.0, 3.0]), torch.tensor([[1], [3]])],
    ids=["list", "column", "array", "tensor", "tensor column"],
)
@pytest.mark.parametrize("column", ["w", lambda features: features["w"]], ids=["key", "callable"])
def test_a_column_may_hold_weights_in_any_form(
    weights: Any, column: Any, device: torch.device
) -> None:
    if isinstance(weights, torch.Tensor):
        weights = weights.to(device)
    head = th.RegressionHead(weight_column=column)
    logits = torch.tensor([[1.0], [2.0]], device=device)
    assert head.loss([0.0, 0.0], logits, {"w": weights}) == (1 * 1 + 3 * 4) / 2


def test_negative_weights_are_taken_as_they_are(device: torch.device) -> None:
    logits = torch.tensor([[1.0], [2.0]], device=device)
    assert th.RegressionHead().loss([0.0, 0.0], logits, weights=[-1.0, 1.0]) == 1.5


@pytest.mark.parametrize("hidden", [math.nan, math.inf])
def test_metrics_leave_out_what_a_learned_weight_of_0_weighs(
    hidden: float, device: torch.device
) -> None:
    head = th.RegressionHead()
    logits = torch.tensor([[1.0], [hidden]], device=device)
    weights = torch.tensor([2.0, 0.0], device=device, requires_grad=True)
    values = head.update_metrics(None, None, logits, [0.0, 0.0], weights=weights).compute()
    assert values == {"average_loss": 1, "prediction/mean": 1, "label/mean": 0}


@dataclass
class Column:
    """A callable that cannot be hashed."""

    name: str

    def __call__(self, features: Mapping[str, Any]) -> Any:
        return features[self.name]


def test_a_callable_need_not_be_hashable(device: torch.device) -> None:
    names = ["a", "b"]
    heads = [th.RegressionHead(name=name, weight_column=Column(name)) for name in names]
    features = {"a": [1.0, 3.0], "b": [2.0, 0.0]}
    losses = th.MultiHead(heads).losses(
        torch.zeros(2, 2, device=device), torch.ones(2, 2, device=device), features
    )
    assert losses == {"a": 2, "b": 1}


def test_features_may_be_a_frame() -> None:
    pd = pytest.importorskip("pandas")
    head = th.RegressionHead(weight_column="w")
    features = {"w": [1.0, 3.0], "x": [0.0, 0.0]}
    expected = head.loss([1.0, 2.0], torch.zeros(2, 1), features)
    assert head.loss([1.0, 2.0], torch.zeros(2, 1), pd.DataFrame(features)) == expected
    with pytest.raises(ValueError, match=r"features with the weight_column 'w', got \['x'\]"):
        head.loss([1.0, 2.0], torch.zeros(2, 1), pd.DataFrame({"x": [0.0, 0.0]}))


def test_a_weight_column_of_another_shape_is_named_as_it_came() -> None:
    head = th.RegressionHead(weight_column="w")
    words = r"features\['w'\] of shape \[2, 3\] or \[2, 3, 1\], got \[2\]. .* weights="
    with pytest.raises(ValueError, match=words):
        head.loss(torch.zeros(2, 3), torch.zeros(2, 3, 1), {"w": torch.ones(2)})
