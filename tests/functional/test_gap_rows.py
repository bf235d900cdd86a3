"""A row that is None has no label, in whatever way the head takes its rows."""

from collections.abc import Callable
from math import nan
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import torch_heads as th
from torch_heads.functional.gap_rows import filled_rows

HEADS: dict[str, tuple[Callable[..., th.Head], list[Any]]] = {
    "numbers": (lambda **o: th.RegressionHead(2, **o), [1.0, 2.0]),
    "number": (lambda **o: th.RegressionHead(**o), [3.0]),
    "times": (lambda **o: th.SurvivalHead([1.0, 2.0], **o), [0.5, 1.0]),
    "stacked": (
        lambda **o: th.MultiHead([th.RegressionHead(name=name, **o) for name in "ab"]),
        [1.0, 2.0],
    ),
    "probabilities": (lambda **o: th.MultiClassHead(3, **o), [0.25, 0.25, 0.5]),
    "multi-hot": (lambda **o: th.MultiLabelHead(3, **o), [1.0, 0.0, 1.0]),
}
FORMS: dict[str, Callable[[list[Any]], Any]] = {
    "lists": list,
    "arrays": lambda rows: [None if row is None else np.array(row) for row in rows],
    "tensors": lambda rows: [None if row is None else torch.tensor(row) for row in rows],
    "tensors without NumPy's dtype": lambda rows: [
        None if row is None else torch.tensor(row, dtype=torch.bfloat16) for row in rows
    ],
    "a series": pd.Series,
    "polars": pl.Series,
    "pyarrow": pa.array,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", HEADS)
def test_a_row_that_is_none_has_no_label(kind: str, form: str) -> None:
    make, row = HEADS[kind]
    head = make(missing_label=-9)
    logits = torch.randn(3, head.logits_dimension, generator=torch.Generator().manual_seed(0))
    for rows, kept in (([None, row, row], [1, 2]), ([row, None, row], [0, 2])):
        expected = head.loss([row, row], logits[kept])
        torch.testing.assert_close(head.loss(FORMS[form](rows), logits), expected)
    with pytest.raises(ValueError, match=r"Head.* labels without gaps, got .* in row 0"):
        make().loss(FORMS[form]([None, row, row]), logits)


@pytest.mark.parametrize("kind", HEADS)
def test_no_row_may_have_a_label(kind: str) -> None:
    head = HEADS[kind][0](missing_label=-9)
    assert head.loss([None, None], torch.ones(2, head.logits_dimension)) == 0


def test_steps_and_names_may_be_none() -> None:
    features = {"sequence_length_mask": [2, 2]}
    logits = torch.zeros(2, 2, 2)
    head = th.SequentialHeadWrapper(th.RegressionHead(2, missing_label=nan))
    for labels in (
        [[None, [1.0, 2.0]], [[3.0, 4.0], None]],
        [[None, None], [[1.0, 2.0], [3.0, 4.0]]],
        [None, [[1.0, 2.0], [3.0, 4.0]]],
    ):
        assert head.loss(labels, logits, features) == 7.5
    words = th.MultiClassHead(2, label_vocabulary=["a", "b"], missing_label="?")
    assert words.loss([["a"], None], torch.zeros(2, 2)) == words.loss(["a", "?"], torch.zeros(2, 2))


def test_none_may_stand_among_scalar_tensors() -> None:
    one, logits = torch.tensor(1.0), torch.zeros(3, 1)
    numbers = th.RegressionHead(missing_label=nan)
    torch.testing.assert_close(numbers.loss([one, None, 2 * one], logits), torch.tensor(2.5))
    assert numbers.loss([one.bfloat16(), None, None], logits) == 1
    classes = th.MultiClassHead(3, missing_label=-1)
    for labels in ([torch.tensor(2), None], [torch.tensor([2]), None]):
        assert classes.loss(labels, torch.eye(2, 3)) == classes.loss([2], torch.eye(1, 3))


@pytest.mark.parametrize("row", [torch.tensor(1.0), torch.tensor([1.0])], ids=["scalar", "row"])
def test_none_among_tensors_is_refused_by_its_row(row: torch.Tensor) -> None:
    logits, head = torch.zeros(2, 1), th.RegressionHead(name="kilos")
    says = r"RegressionHead 'kilos': expected labels without gaps, got None in row 1.*missing_label"
    with pytest.raises(ValueError, match=says):
        head.loss([row, None], logits)
    with pytest.raises(ValueError, match=r"'kilos': expected weights without gaps, .* in row 1"):
        head.loss([1.0, 2.0], logits, weights=[row, None])
    head = th.RegressionHead(missing_label=nan)
    for other in (row.requires_grad_(), row.to("meta"), torch.ones(1).to_sparse()):
        with pytest.raises(ValueError, match=r"labels as one tensor, got a list of tensors"):
            head.loss([other, None], logits)


def test_ragged_rows_stay_ragged() -> None:
    assert filled_rows([[1], None, [2, 3]]) is None
    assert filled_rows([[1], None, 2]) is None
    assert filled_rows([[[1, 2], None], None]) == [[[1, 2], [None, None]], [[None, None]] * 2]
    with pytest.raises(ValueError, match=r"of shape \[2, 2\], got \[2, 1\]"):
        th.RegressionHead(2, missing_label=nan).loss([[1.0], None], torch.zeros(2, 2))
    with pytest.raises(ValueError, match="rectangular, got rows of different lengths"):
        th.RegressionHead(2, missing_label=nan).loss([[1.0], [1.0, 2.0]], torch.zeros(2, 2))
