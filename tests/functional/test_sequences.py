"""Sequences of different lengths, without their padding, mean what they mean with it."""

from collections.abc import Callable
from math import nan
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import torch_heads as th

NAMES = ["no", "maybe", "yes"]
COUNT, STEPS = 5, 6
KEY = "sequence_length_mask"


def both() -> th.MultiHead:
    return th.MultiHead([th.RegressionHead(name="kilos"), th.MultiClassHead(3, name="answer")])


def heads() -> dict[str, th.Head]:
    return {
        "numbers": th.RegressionHead(),
        "pairs": th.RegressionHead(2),
        "ids": th.MultiClassHead(3, missing_label=-1),
        "names": th.MultiClassHead(3, label_vocabulary=NAMES),
        "sets of ids": th.MultiLabelHead(3, label_lists="ids"),
        "sets of names": th.MultiLabelHead(3, label_vocabulary=NAMES),
        "by head": both(),
        "stacked": both(),
    }


def whole(kind: str, random: np.random.Generator) -> Any:
    """Return labels of all steps, as nested lists."""
    ids = random.integers(3, size=(COUNT, STEPS))
    sets = [[[i for i in range(3) if random.random() < 0.5] for _ in row] for row in ids]
    values = random.normal(size=(COUNT, STEPS, 2)).astype(np.float32)
    match kind:
        case "numbers":
            return values[..., 0].tolist()
        case "pairs":
            return values.tolist()
        case "ids":
            return ids.tolist()
        case "names":
            return [[NAMES[i] for i in row] for row in ids]
        case "sets of ids":
            return sets
        case "sets of names":
            return [[[NAMES[i] for i in one] for one in row] for row in sets]
        case "by head":
            return {"kilos": values[..., 0].tolist(), "answer": ids.tolist()}
        case _:
            return np.stack([values[..., 0], ids], -1).tolist()


def cut(values: Any, lengths: list[int]) -> Any:
    """Return them without the padding."""
    if isinstance(values, dict):
        return {key: cut(one, lengths) for key, one in values.items()}
    return [row[:length] for row, length in zip(values, lengths, strict=True)]


@pytest.mark.parametrize("kind", heads())
@pytest.mark.parametrize("seed", range(4))
def test_the_padding_may_be_left_out(kind: str, seed: int, device: torch.device) -> None:
    random = np.random.default_rng(seed)
    lengths = random.integers(STEPS + 1, size=COUNT).tolist()
    mask = torch.arange(STEPS) < torch.tensor(lengths)[:, None]
    inner = heads()[kind]
    by_head = isinstance(inner, th.MultiHead)
    head = th.SequentialHeadWrapper(inner)
    labels = whole(kind, random)
    logits = torch.randn(COUNT, STEPS, head.logits_dimension, device=device)
    weights = random.random((COUNT, STEPS)).astype(np.float32).tolist()
    features = {KEY: mask.to(device)}
    expected = head.loss(labels, logits, features, weights=None if by_head else weights)
    metrics = head.update_metrics(head.metrics(), features, logits, labels).compute()
    for given in [features, {KEY: lengths}, {KEY: torch.tensor(lengths, device=device).float()}]:
        parts = None if by_head else cut(weights, lengths)
        short = cut(labels, lengths)
        assert_close(head.loss(short, logits, given, weights=parts), expected)
        found = head.update_metrics(head.metrics(), given, logits, short).compute()
        assert_close(found, metrics, equal_nan=True)


def test_sequences_come_in_whatever_holds_them(device: torch.device) -> None:
    head = th.SequentialHeadWrapper(th.RegressionHead(), feature_columns=["w"])
    weighted = th.SequentialHeadWrapper(th.RegressionHead(weight_column="w"), feature_columns=["w"])
    logits = torch.randn(3, 4, 1, device=device)
    rows = [[1.0, 2.0, 3.0], [], [4.0]]
    features: dict[str, Any] = {KEY: [3, 0, 1], "w": [[1.0, 1.0, 2.0], [], [3.0]]}
    tensors = [torch.tensor(row, device=device) for row in rows]
    objects = np.empty(3, object)
    objects[:] = [np.array(row) for row in rows]
    nested = torch.nested.nested_tensor(tensors, layout=torch.jagged)
    expected = head.loss(rows, logits, features)
    for form in (
        tensors,
        objects,
        nested,
        tuple(map(tuple, rows)),
        [np.array(row) for row in rows],
    ):
        assert_close(head.loss(form, logits, features), expected)
    errors = (
        torch.tensor([1.0, 2.0, 3.0, 4.0], device=device) - logits[[0, 0, 0, 2], [0, 1, 2, 0], 0]
    )
    assert_close(expected, errors.square().mean())
    by = torch.tensor([1.0, 1.0, 2.0, 3.0], device=device)
    assert_close(weighted.loss(rows, logits, features), (errors.square() * by).mean())


def test_a_prior_is_fitted_to_sequences_of_different_lengths() -> None:
    head = th.SequentialHeadWrapper(th.RegressionHead())
    head.fit_prior([[1.0, 2.0, 3.0], [6.0]], {KEY: [3, 1]})
    assert isinstance(head.static_head, th.RegressionHead)
    assert isinstance(head.static_head.prior_offset, Tensor)
    assert head.static_head.prior_offset.item() == 3.0


def test_a_list_of_steps_instead_of_sequences_is_refused() -> None:
    # as default_collate returns them: one tensor for each step
    steps = [torch.zeros(2) for _ in range(3)]
    with pytest.raises(ValueError, match=r"expected labels .*torch.stack\(labels, 1\)"):
        th.SequentialHeadWrapper(th.RegressionHead()).loss(
            steps, torch.zeros(2, 3, 1), {KEY: [3, 2]}
        )


RAGGED = {"kilos": [[1.0, 2.0, 3.0], [4.0]], "answer": [["yes", "no", "no"], ["maybe"]]}


@pytest.mark.parametrize("kind", [dict, pd.DataFrame, pl.DataFrame, pa.table])
def test_sequences_come_in_the_columns_of_a_table(kind: Callable[[Any], Any]) -> None:
    answer = th.MultiClassHead(3, label_vocabulary=NAMES, name="answer")
    head = th.SequentialHeadWrapper(th.MultiHead([answer, th.RegressionHead(name="kilos")]))
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    whole = {"kilos": [[1.0, 2, 3], [4, 0, 0]], "answer": [[2, 0, 0], [1, 0, 0]]}
    expected = head.loss(whole, logits, {KEY: [3, 1]})
    assert head.loss(kind(RAGGED), logits, {KEY: [3, 1]}) == expected
    head.fit_prior(kind(RAGGED), {KEY: [3, 1]})
    one = th.SequentialHeadWrapper(th.RegressionHead())
    column = {"kilos": RAGGED["kilos"]}
    expected = one.loss(whole["kilos"], logits[..., :1], {KEY: [3, 1]})
    if kind is not dict:
        assert one.loss(kind(column), logits[..., :1], {KEY: [3, 1]}) == expected
        square = {"kilos": whole["kilos"]}
        assert one.loss(kind(square), logits[..., :1], {KEY: [3, 1]}) == expected


def test_sequences_may_be_series() -> None:
    logits = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    numbers = th.SequentialHeadWrapper(th.RegressionHead())
    expected = numbers.loss(RAGGED["kilos"], logits[..., :1], {KEY: [3, 1]})
    series = pd.Series([1.0, 2.0, 3.0, 4.0], index=[5, 2, 7, 1])
    for rows in ([series[:3], series[3:]], list(map(pl.Series, RAGGED["kilos"]))):
        assert numbers.loss(rows, logits[..., :1], {KEY: [3, 1]}) == expected
    names = th.SequentialHeadWrapper(th.MultiClassHead(3, label_vocabulary=NAMES))
    expected = names.loss(RAGGED["answer"], logits, {KEY: [3, 1]})
    for kind in (pd.Series, pd.Categorical, pl.Series, pa.array, np.array):
        rows = [kind(own) for own in RAGGED["answer"]]
        assert names.loss(rows, logits, {KEY: [3, 1]}) == expected


@pytest.mark.parametrize("kind", [torch.tensor, np.array, list])
def test_an_empty_sequence_has_no_type_of_its_own(kind: Callable[[Any], Any]) -> None:
    logits = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0))
    head = th.SequentialHeadWrapper(th.MultiClassHead(3))
    expected = head.loss([[], [0, 1], [2]], logits, {KEY: [0, 2, 1]})
    assert head.loss([kind([]), kind([0, 1]), kind([2])], logits, {KEY: [0, 2, 1]}) == expected
    assert head.loss([[], kind([0, 1]), [2]], logits, {KEY: [0, 2, 1]}) == expected
    columns = [kind([]), kind([[0], [1]]), kind([[2]])]
    assert head.loss(columns, logits, {KEY: [0, 2, 1]}) == expected
    assert head.loss([kind([])] * 3, logits, {KEY: [0, 0, 0]}) == 0


GAPS: dict[str, Callable[[list[Any]], Any]] = {
    "lists": list,
    "lists with NaN": lambda rows: [[nan if one is None else one for one in row] for row in rows],
    "an array": lambda rows: np.array(rows, dtype=float),
    "a masked array": lambda rows: np.ma.masked_invalid(np.array(rows, dtype=float)),
    "a tensor": lambda rows: torch.tensor(np.array(rows, dtype=float)),
    "a series": pl.Series,
}


@pytest.mark.parametrize("form", GAPS)
def test_gaps_in_the_padding_of_weights_and_features_do_not_count(form: str) -> None:
    labels, logits = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.zeros(2, 2, 1)
    weights = GAPS[form]([[1.0, 2.0], [3.0, None]])
    plain = th.SequentialHeadWrapper(th.RegressionHead())
    looked_up = th.SequentialHeadWrapper(th.RegressionHead(weight_column="w"), feature_columns="w")
    heads = th.SequentialHeadWrapper(th.MultiHead([th.RegressionHead(name="a")]))
    mask = {KEY: [2, 1]}
    assert plain.loss(labels, logits, mask, weights=weights) == 12
    assert looked_up.loss(labels, logits, {**mask, "w": weights}) == 12
    assert heads.loss({"a": labels}, logits, mask, weights=weights) == 12
    assert heads.loss({"a": labels}, logits, mask, weights={"a": weights}) == 12
    empty = {KEY: [2, 0]}
    assert plain.loss(labels, logits, empty, weights=[2.0, None]) == 5
    assert looked_up.loss(labels, logits, {**empty, "w": [2.0, None]}) == 5
    if form != "a tensor":
        with pytest.raises(ValueError, match=r"RegressionHead: expected .* gaps, got .* row 1"):
            plain.loss(labels, logits, {KEY: [2, 2]}, weights=weights)
        with pytest.raises(
            ValueError, match=r"RegressionHead: expected features\['w'\] without gaps"
        ):
            looked_up.loss(labels, logits, {KEY: [2, 2], "w": weights})
