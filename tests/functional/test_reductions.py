"""From many losses to one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_heads as th
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.values import safe_divide

FLOATS = st.floats(-5, 5, width=32)
WEIGHTS = st.floats(0, 3, width=32)


@given(rows=st.lists(st.tuples(FLOATS, FLOATS, WEIGHTS), min_size=1, max_size=6))
@settings(deadline=None, max_examples=40)
def test_each_reduction_is_its_formula(
    rows: list[tuple[float, float, float]], device: torch.device
) -> None:
    logits, labels, weights = torch.tensor(rows, dtype=torch.float64, device=device).T
    losses = weights * (labels - logits) ** 2
    total = weights.sum()
    expected = {
        "sum": losses.sum(),
        "sum_over_batch_size": losses.sum() / len(rows),
        "auto": losses.sum() / len(rows),
        "weighted_mean": losses.sum() / total if total else losses.new_zeros(()),
    }
    for reduction, value in expected.items():
        head = th.RegressionHead(loss_reduction=reduction)
        actual = head.loss(labels, logits[:, None], weights=weights)
        torch.testing.assert_close(actual, value)


def test_an_example_of_several_columns_counts_once_per_column_in_a_regression() -> None:
    logits, labels = torch.zeros(2, 3), torch.ones(2, 3)
    assert th.RegressionHead(3, loss_reduction="sum").loss(labels, logits) == 6
    assert th.RegressionHead(3).loss(labels, logits) == 1


def test_an_example_of_several_labels_counts_as_their_mean() -> None:
    logits, labels = torch.full((2, 3), 1e3), torch.zeros(2, 3)
    assert th.MultiLabelHead(3, loss_reduction="sum").loss(labels, logits) == 2e3
    assert th.MultiLabelHead(3).loss(labels, logits) == 1e3


def test_the_alias_is_resolved() -> None:
    assert th.BinaryClassHead(loss_reduction="auto").loss_reduction == "sum_over_batch_size"
    assert Reduction.parse("head", Reduction.SUM) is Reduction.SUM
    with pytest.raises(ValueError, match=r"head: expected loss_reduction .*'mean'"):
        Reduction.parse("head", "mean")


def test_a_division_by_zero_is_zero_with_a_gradient_of_zero(device: torch.device) -> None:
    top = torch.tensor([1.0, 1.0, 0.0], device=device, requires_grad=True)
    bottom = torch.tensor([4.0, 0.0, 0.0], device=device, requires_grad=True)
    quotient = safe_divide(top, bottom)
    assert quotient.tolist() == [0.25, 0, 0]
    for gradient in torch.autograd.grad(quotient.sum(), [top, bottom]):
        assert gradient[0] != 0
        assert gradient[1:].tolist() == [0, 0]
