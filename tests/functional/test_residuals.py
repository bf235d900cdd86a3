"""Residuals are counted in bins that do not depend on their unit."""

import math

import numpy as np
import pytest
import torch

import torch_heads as th
from torch_heads.functional.bins import bin_residuals
from torch_heads.functional.residuals import BINS, SIDE, Residuals

ROWS = 4000


def counted(residuals: torch.Tensor) -> Residuals:
    head = th.RegressionHead(residuals.shape[1], name="ink")
    metrics = head.update_metrics(logits=residuals, labels=torch.zeros_like(residuals))
    return metrics.residuals("ink")


def test_a_residual_lies_between_the_edges_of_its_bin() -> None:
    values = torch.logspace(-20, 20, 4001)
    values = torch.cat([-values, torch.zeros(1), values])
    bins = bin_residuals(values, torch.zeros_like(values)).to(torch.int64)
    edges = Residuals(torch.zeros(1, BINS)).edges
    assert len(edges) == BINS + 1
    assert (edges.diff() > 0).all()
    assert bins[4001] == SIDE
    assert (edges[bins] <= values).all()
    assert (values <= edges[bins + 1]).all()


def test_what_is_too_large_for_the_bins_is_infinite() -> None:
    residuals = counted(torch.tensor([[1.0, -math.inf], [2.0, -1e30], [1e30, 3.0]]))
    assert residuals.quantile(1.0).tolist() == [math.inf, pytest.approx(3.0, rel=0.2)]
    assert residuals.quantile(0.0).tolist() == [pytest.approx(1.0, rel=0.2), -math.inf]
    assert residuals.absolute_quantile(0.9).tolist() == [math.inf, math.inf]


def test_the_lowest_quantile_is_that_of_the_first_bin_with_a_residual() -> None:
    residuals = counted(torch.tensor([[-8.0, 4.0], [2.0, 5.0]]))
    np.testing.assert_allclose(residuals.quantile(0), [-8, 4], rtol=0.3)
    np.testing.assert_allclose(residuals.absolute_quantile(0), [2, 4], rtol=0.3)


def test_what_is_not_finite_is_as_large_as_can_be() -> None:
    values = torch.tensor([math.nan, math.inf, -math.inf])
    bins = bin_residuals(values, torch.zeros(3)).tolist()
    assert bins[1:] == [BINS - 1, 0]
    assert bins[0] in {0, BINS - 1}


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_quantiles_are_those_of_numpy_in_any_unit(unit: float) -> None:
    torch.manual_seed(0)
    values = (torch.randn(ROWS, 2) + torch.tensor([0.0, 3.0])) * unit
    residuals = counted(values)
    for q in (0.05, 0.25, 0.9):
        expected = np.quantile(values.numpy(), q, axis=0)
        np.testing.assert_allclose(residuals.quantile(q), expected, rtol=0.05)
        expected = np.quantile(values.abs().numpy(), q, axis=0)
        np.testing.assert_allclose(residuals.absolute_quantile(q), expected, rtol=0.05)


def test_weights_and_missing_labels_count_as_in_other_metrics() -> None:
    head = th.RegressionHead(name="ink", missing_label=math.nan)
    labels = torch.tensor([0.0, 0.0, math.nan, 0.0])
    logits = torch.tensor([[1.0], [-2.0], [5.0], [9.0]])
    weights = torch.tensor([1.0, 2.5, 1.0, 0.0])
    counts = head.update_metrics(logits=logits, labels=labels, weights=weights).residuals().counts
    (column,) = counts.nonzero(as_tuple=True)[1:]
    assert counts[0, column].tolist() == [2.5, 1.0]
    assert column.tolist() == bin_residuals(torch.tensor([-2.0, 1.0]), torch.zeros(2)).tolist()


def test_a_quantile_outside_of_0_and_1_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected q in \[0, 1\], got 2"):
        Residuals(torch.zeros(1, BINS)).quantile(2)
    with pytest.raises(TypeError, match="expected q as a number, got 'median'"):
        Residuals(torch.zeros(1, BINS)).quantile("median")  # type: ignore[arg-type]
