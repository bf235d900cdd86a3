"""What carries names is read by them, or refused: rows, too, and whatever holds these."""

from collections.abc import Callable
from math import nan
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from torch.utils.data import default_collate

import torch_heads as th


class Sizes(NamedTuple):
    metres: Any
    kilos: Any


class ByClass(NamedTuple):
    c: Any
    a: Any
    b: Any


FRAME = pd.DataFrame({"metres": [1.0, 2.0], "kilos": [10.0, 20.0]})
LOGITS = torch.tensor([[10.0, 1.0], [20.0, 2.0]])  # of kilos and metres
STRUCTURED = np.array([(1.0, 10.0), (2.0, 20.0)], dtype=[("metres", float), ("kilos", float)])


def by_name(kilos: str = "kilos", metres: str = "metres", **options: Any) -> th.MultiHead:
    return th.MultiHead([th.RegressionHead(name=name, **options) for name in (kilos, metres)])


ROWS: dict[str, Callable[[], Any]] = {
    "itertuples": lambda: list(FRAME.itertuples(index=False)),
    "itertuples with the index": lambda: list(FRAME.itertuples()),
    "iterrows": lambda: [row for _, row in FRAME.iterrows()],
    "records": lambda: FRAME.to_dict("records"),
    "rows of polars": lambda: pl.DataFrame(FRAME.to_dict("list")).rows(named=True),
    "a struct of polars": lambda: pl.Series(FRAME.to_dict("records")),
    "scalars of pyarrow": lambda: list(pa.array(FRAME.to_dict("records"))),
    "structured rows": lambda: list(STRUCTURED),
    "a series of rows": lambda: pd.Series([Sizes(1.0, 10.0), Sizes(2.0, 20.0)]),
    "frames of a row": lambda: [FRAME[:1].squeeze(), FRAME[1:].squeeze()],
    "named columns": lambda: Sizes([1.0, 2.0], [10.0, 20.0]),
    "collated": lambda: default_collate([Sizes(1.0, 10.0), Sizes(2.0, 20.0)]),
    "a generator's list": lambda: [Sizes(1.0, 10.0), {"kilos": 20.0, "metres": 2.0}],
}


@pytest.mark.parametrize("form", ROWS)
def test_rows_with_names_give_each_head_its_part(form: str) -> None:
    head = by_name()
    assert head.loss(ROWS[form](), LOGITS) == 0
    metrics = head.update_metrics(head.metrics(), None, LOGITS, ROWS[form]()).compute()
    assert metrics["average_loss/kilos"] == 0
    assert th.MultiHead([head]).loss({head.name: ROWS[form]()}, LOGITS) == 0
    weights = Sizes([0.0, 1.0], [1.0, 1.0])
    expected = head.loss(ROWS[form](), LOGITS + 1, weights=weights._asdict())
    assert head.loss(ROWS[form](), LOGITS + 1, weights=weights) == expected == 1.5
    with pytest.raises(ValueError, match=r"for the heads \['grams'\], got \["):
        by_name("grams").loss(ROWS[form](), LOGITS)
    with pytest.raises(ValueError, match=r"named by their places 0, 1, .*'metres'"):
        th.RegressionHead(2).loss(ROWS[form](), LOGITS)


def test_rows_that_lack_a_name_have_a_gap_there() -> None:
    rows = [{"metres": 1.0, "kilos": 10.0}, {"metres": 2.0}, None]
    logits = torch.cat([LOGITS, torch.ones(1, 2)])
    may_miss = by_name(missing_label=nan)
    expected = may_miss.loss({"kilos": [9.0, nan, nan], "metres": [1.0, 2.0, nan]}, logits)
    assert may_miss.loss([{**rows[0], "kilos": 9.0}, *rows[1:]], logits) == expected == 1
    with pytest.raises(ValueError, match=r"'kilos': expected labels without gaps, got None in row"):
        by_name().loss(rows, logits)
    with pytest.raises(ValueError, match=r"labels .*got (dict values|rows of different lengths)"):
        by_name().loss([Sizes(1.0, 10.0), (20.0, 2.0)], LOGITS)


def test_rows_with_names_give_each_class_its_part() -> None:
    hot, names = [[1, 0, 1], [0, 0, 1]], ["a", "b", "c"]
    frame = pd.DataFrame(hot, columns=names)[["c", "b", "a"]]
    logits = torch.arange(6.0).view(2, 3) / 4 - 1
    head = th.MultiLabelHead(3, label_vocabulary=names)
    expected = th.MultiLabelHead(3).loss(hot, logits)
    rows = [row for _, row in frame.iterrows()]
    for labels in (rows, list(frame.itertuples(index=False)), frame.to_dict("records")):
        assert head.loss(labels, logits) == expected
    places = [row for _, row in pd.DataFrame(hot)[[2, 0, 1]].iterrows()]
    assert th.MultiLabelHead(3).loss(places, logits) == expected


def test_the_parts_of_a_row_may_be_named_by_their_places() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    frame = pd.DataFrame(values.flip(1).numpy(), columns=[1, 0])
    head = th.RegressionHead(2)
    for rows in ([row for _, row in frame.iterrows()], frame, frame.to_dict("records")):
        assert head.loss(rows, values) == 0
    ordered = pd.DataFrame(values.numpy())
    for rows in ([row for _, row in ordered.iterrows()], list(ordered.itertuples(index=False))):
        assert head.loss(rows, values) == 0
    with pytest.raises(ValueError, match=r"named by their places 0, 1, .*\[20, 10\]"):
        head.loss([row for _, row in frame.set_axis([20, 10], axis=1).iterrows()], values)


def test_the_index_of_a_sequence_is_no_name() -> None:
    shuffled = pd.Series([1.0, 2.0, 3.0, 4.0], index=[3, 1, 2, 0])
    head = th.RegressionHead(2)
    rows = [shuffled[:2], shuffled[2:]]
    assert head.loss(rows, torch.tensor([[1.0, 2.0], [3.0, 4.0]])) == 0


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.table])
def test_each_sequence_may_be_a_table(kind: Callable[..., Any]) -> None:
    head = th.SequentialHeadWrapper(by_name())
    logits = torch.tensor([[[10.0, 1.0], [20.0, 2.0]], [[30.0, 3.0], [7.0, 7.0]]])
    one = {"metres": [1.0, 2.0], "kilos": [10.0, 20.0]}
    for other in ({"metres": [3.0], "kilos": [30.0]}, {"metres": [3.0, 0], "kilos": [30.0, 0]}):
        features = {"sequence_length_mask": [2, 1]}
        assert head.loss([kind(one), kind(other)], logits, features) == 0
    steps = [[Sizes(1.0, 10.0), Sizes(2.0, 20.0)], [Sizes(3.0, 30.0)]]
    assert head.loss(steps, logits, features) == 0


def test_factors_come_in_named_tuples() -> None:
    names = ["a", "b", "c"]
    named = th.MultiClassHead(3, label_vocabulary=names, class_weight=ByClass(3.0, 1.0, 2.0))
    assert named.class_weight.tolist() == [1, 2, 3]  # type: ignore[union-attr]
    heads = [th.RegressionHead(name="kilos"), th.RegressionHead(name="metres")]
    head = th.MultiHead(heads, head_weights=Sizes(2.0, 1.0))
    assert head.head_weights.tolist() == [1, 2]  # type: ignore[union-attr]
    scalar = pa.array([[("b", 2.0), ("a", 1.0)]], pa.map_(pa.string(), pa.float64()))[0]
    made = th.MultiClassHead(2, label_vocabulary=["a", "b"], class_weight=scalar)
    assert made.class_weight.tolist() == [1, 2]  # type: ignore[union-attr]


def test_time_and_event_may_be_named() -> None:
    head, logits = th.SurvivalHead([1.0, 2.0]), torch.zeros(2, 2)
    expected = head.loss({"time": [0.5, 1.5], "event": [1, 0]}, logits)
    rows = [{"event": 1, "time": 0.5}, {"event": 0, "time": 1.5}]
    assert head.loss(rows, logits) == expected
    assert head.loss(list(pd.DataFrame(rows).itertuples(index=False)), logits) == expected


class WithColumns:
    """What has columns, but none by name."""

    columns = ("a", "b")

    def __len__(self) -> int:
        return 2


class ByPlace(WithColumns):
    def __getitem__(self, place: int) -> float:
        return [1.0, 2.0][place]


class Unnamed(WithColumns):
    def __getitem__(self, name: Any) -> float:
        raise KeyError(name)


@pytest.mark.parametrize(
    "given",
    [pl.LazyFrame({"x": [1.0, 2.0]}), WithColumns(), ByPlace(), Unnamed(), pl.col("x")],
    ids=lambda given: type(given).__name__,
)
def test_what_only_looks_like_a_table_is_refused(given: Any) -> None:
    says = r"as a (table that gives its columns by name|tensor, an array or a list), got "
    says += type(given).__name__
    logits = torch.zeros(2, 2)
    for head in (th.RegressionHead(2, missing_label=nan), by_name(), th.MultiLabelHead(2)):
        labels = torch.zeros(2, 2)
        with pytest.raises(ValueError, match=rf"Head.*: expected labels {says}"):
            head.loss(given, logits)
        with pytest.raises(ValueError, match=rf"Head.*: expected weights {says}"):
            head.loss(labels, logits, weights=given)
        with pytest.raises(ValueError, match=rf"Head.*: expected logits {says}"):
            head.loss(labels, given)


def test_rows_with_a_name_twice_are_refused() -> None:
    frame = FRAME[["kilos", "kilos"]]
    for labels in ([row for _, row in frame.iterrows()], [frame, frame]):
        with pytest.raises(ValueError, match="columns of different names, got 'kilos' twice"):
            by_name().loss(labels, LOGITS)
