"""Sets of classes in every form that users have them."""

import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import torch_heads as th
from torch_heads.functional.label_sets import LabelSets

NAMES = ["zero", "one", "two", "three"]
SETS = st.lists(
    st.lists(st.integers(0, 3), max_size=6), min_size=1, max_size=5
)  # with repeated ids


def hot(labels: Any, rows: int, device: torch.device, **kwargs: Any) -> Tensor:
    return LabelSets("head", 4, NAMES, **kwargs).multi_hot(labels, (rows,), device)


def as_sparse(rows: list[list[int]], device: torch.device, shuffled: bool = False) -> Tensor:
    places = [(row, i) for row, ids in enumerate(rows) for i in range(len(ids))]
    values = [i for ids in rows for i in ids]
    order = range(len(values))[::-1] if shuffled else range(len(values))
    return torch.sparse_coo_tensor(
        torch.tensor([places[i] for i in order], dtype=torch.int64).reshape(-1, 2).T,
        torch.tensor([values[i] for i in order], dtype=torch.int64),
        (len(rows), max(map(len, rows))),
        device=device,
        check_invariants=True,
    )


@given(rows=SETS, dtype=st.sampled_from([torch.int64, torch.int32, torch.uint8]))
@settings(deadline=None, max_examples=60)
def test_sets_of_classes_are_the_same_in_every_form(
    rows: list[list[int]], dtype: torch.dtype, device: torch.device
) -> None:
    expected = torch.tensor([[int(i in ids) for i in range(4)] for ids in rows], device=device)
    unequal = [*rows, [0]]  # so that no form is taken for multi-hot
    names = [[NAMES[i] for i in ids] for ids in unequal]
    encoded = [[name.encode() for name in row] for row in names]
    jagged = torch.nested.nested_tensor(
        [torch.tensor(ids, dtype=torch.int64) for ids in rows], layout=torch.jagged, device=device
    )
    either = any(len(row) == 4 and max(row) < 2 for row in rows)  # multi-hot, or ids
    if not either:
        assert torch.equal(hot(as_sparse(rows, device), len(rows), device), expected)
        assert torch.equal(hot(as_sparse(rows, device, shuffled=True), len(rows), device), expected)
        assert torch.equal(hot(as_sparse(rows, device).to(dtype), len(rows), device), expected)
        assert torch.equal(hot(jagged, len(rows), device), expected)
    for form in [list(map(set, unequal)), names, encoded]:
        assert torch.equal(hot(form, len(unequal), device)[:-1], expected)
    for form in [] if either else [unequal, [tuple(row) for row in unequal]]:
        assert torch.equal(hot(form, len(unequal), device)[:-1], expected)
    assert torch.equal(hot(expected, len(rows), device), expected)
    assert torch.equal(hot(expected.cpu().numpy(), len(rows), device), expected)
    assert torch.equal(hot(expected.tolist(), len(rows), device), expected)


def test_sparse_multi_hot_rows_are_not_taken_for_ids(device: torch.device) -> None:
    if device.type != "cpu":
        pytest.skip("a device assertion would end the process")
    rows = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0]])
    jagged = torch.nested.nested_tensor([*rows], layout=torch.jagged)
    for labels in (rows.to_sparse(), jagged):
        with pytest.raises(ValueError, match="sparse labels as sets of ids, got 0 and 1 alone"):
            hot(labels, 2, device)
    # class 0 alone, or a set of the id 1 in the first place
    one = torch.sparse_coo_tensor([[0, 1], [0, 0]], [1, 1], (2, 4), check_invariants=True)
    with pytest.raises(ValueError, match=r"sparse labels as sets of ids, got 0 and 1 alone"):
        hot(one, 2, device)
    assert hot(one, 2, device, lists="ids").tolist() == [[0, 1, 0, 0]] * 2
    assert hot(one, 2, device, lists="multi_hot").tolist() == [[1, 0, 0, 0]] * 2
    for labels in (rows.to_sparse(), rows.double().to_sparse(), jagged):
        assert hot(labels, 2, device, lists="multi_hot").tolist() == rows.tolist()
    assert hot(jagged, 2, device, lists="ids").tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]
    ragged = torch.nested.nested_tensor([rows[0], rows[0, :2]], layout=torch.jagged)
    with pytest.raises(ValueError, match=r"multi-hot rows of 4, got rows of other.*'ids' tells"):
        hot(ragged, 2, device, lists="multi_hot")


def test_two_classes_are_told_by_label_lists_too(device: torch.device) -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 1.0]], device=device)
    rows = torch.tensor([[1, 0], [1, 1]], device=device)
    multi_hot = th.MultiLabelHead(2).loss(rows, logits)
    forms = [rows.to_sparse(), torch.nested.nested_tensor([*rows], layout=torch.jagged)]
    for labels, ids in zip(forms, ([{1}, {1}], [{0, 1}, {1}]), strict=True):
        if device.type == "cpu":
            with pytest.raises(ValueError, match=r"label_lists='ids' or 'multi_hot' tells which"):
                th.MultiLabelHead(2).loss(labels, logits)
        assert th.MultiLabelHead(2, label_lists="multi_hot").loss(labels, logits) == multi_hot
        expected = th.MultiLabelHead(2).loss(ids, logits)
        assert th.MultiLabelHead(2, label_lists="ids").loss(labels, logits) == expected


ROWS = [[1, 0, 1], [0, 1, 1], [0, 0, 1], [1, 1, 0]]
OF_ROWS: dict[str, Callable[[], Any]] = {
    "arrays": lambda: list(map(np.array, ROWS)),
    "floats": lambda: [np.array(row, float) for row in ROWS],
    "tensors": lambda: list(map(torch.tensor, ROWS)),
    "float tensors": lambda: tuple(torch.tensor(row, dtype=torch.float32) for row in ROWS),
    "truths": lambda: deque(torch.tensor(row, dtype=torch.bool) for row in ROWS),
    "series": lambda: list(map(pd.Series, ROWS)),
    "a series of lists": lambda: pd.Series(ROWS),
    "a series of arrays": lambda: pd.Series(list(map(np.array, ROWS))),
    "objects": lambda: pd.Series(list(map(np.array, ROWS))).to_numpy(),
    "polars": lambda: pl.Series(ROWS),
    "arrays of polars": lambda: pl.Series(ROWS, dtype=pl.Array(pl.Int64, 3)),
    "pyarrow": lambda: pa.array(ROWS),
    "arrays of pyarrow": lambda: pa.array(ROWS, pa.list_(pa.int64(), 3)),
    "chunks": lambda: pa.chunked_array([ROWS[:1], ROWS[1:]]),
    "scalars": lambda: list(pa.array(ROWS)),
    "a frame": lambda: pd.DataFrame({"x": ROWS}),
    "a frame of scalars": lambda: pd.DataFrame({"x": list(pa.array(ROWS))}),
    "a frame of polars": lambda: pl.DataFrame({"x": ROWS}),
    "a table, no frame": lambda: pa.table({"x": ROWS}),
}


@pytest.mark.parametrize("form", OF_ROWS)
def test_rows_mean_the_same_in_whatever_holds_them(form: str) -> None:
    logits = torch.arange(12.0).view(4, 3) / 4 - 1
    head = th.MultiLabelHead(3, name="x")
    expected = head.loss(torch.tensor(ROWS), logits)
    assert expected.item() == pytest.approx(0.7756, abs=1e-4)
    labels = OF_ROWS[form]()
    assert head.loss(labels, logits) == expected
    by_head = labels if "frame" in form else {"x": labels}
    assert th.MultiHead([head]).loss(by_head, logits) == expected
    assert th.MultiLabelHead(3, label_lists="multi_hot").loss(labels, logits) == expected
    if form not in ("truths", "floats", "float tensors"):  # which are no ids
        ids = head.loss([{*row} for row in ROWS], logits)
        assert th.MultiLabelHead(3, label_lists="ids").loss(labels, logits) == ids


def test_rows_of_arrays_may_be_padded_and_missing() -> None:
    logits = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    head = th.SequentialHeadWrapper(th.MultiLabelHead(3))
    features = {"sequence_length_mask": [3, 1]}
    whole = torch.tensor([[[1, 0, 1], [0, 0, 0], [0, 1, 0]], [[1, 1, 1], [0, 0, 0], [0, 0, 0]]])
    for make in (np.array, torch.tensor):
        labels = [make(whole[0].tolist()), make(whole[1, :1].tolist())]
        assert head.loss(labels, logits, features) == head.loss(whole, logits, features)
    may_miss = th.MultiLabelHead(3, missing_label=-1)
    expected = may_miss.loss([[1, 0, 1], [-1, -1, -1]], logits[0, :2])
    for missing in (np.array([-1, -1, -1]), None):
        assert may_miss.loss([np.array([1, 0, 1]), missing], logits[0, :2]) == expected
    with pytest.raises(ValueError, match=r"got the row \[1, 0, 1\] of 3 numbers beside rows"):
        may_miss.loss([np.array([1, 0, 1]), np.array([-1])], logits[0, :2])


def test_lists_that_can_be_nothing_but_ids_point_to_label_lists(device: torch.device) -> None:
    lists = [[0, 1, 2], [2, 1, 0]]
    logits = torch.zeros(2, 3, device=device)
    for labels in (lists, list(map(np.array, lists)), pl.Series(lists)):
        with pytest.raises(ValueError, match=r"in \[0, 1\], got 2\. label_lists='ids' tells"):
            th.MultiLabelHead(3).loss(labels, logits)
        assert th.MultiLabelHead(3, label_lists="ids").loss(labels, logits).isfinite()
    with pytest.raises(ValueError, match=r"in \[0, 1\], got -1\. label_lists='ids'"):
        th.MultiLabelHead(3, missing_label=-2).loss([[0, -2, -1]] * 2, logits)


def test_lists_as_long_as_there_are_classes_are_multi_hot(device: torch.device) -> None:
    assert hot([[0, 1, 1, 0]], 1, device).tolist() == [[0, 1, 1, 0]]
    assert hot([["one", "two", "three", "zero"]], 1, device).tolist() == [[1, 1, 1, 1]]


def test_what_a_row_of_a_list_means_does_not_depend_on_the_others(device: torch.device) -> None:
    # beside rows that can be nothing but ids, as many as there are classes may be ids
    assert hot([[3, 2, 1, 0], [1]], 2, device).tolist() == [[1, 1, 1, 1], [0, 1, 0, 0]]
    # two classes may be a set of both
    both = LabelSets("head", 2).multi_hot([[0, 1], [1]], (2,), device)
    assert both.tolist() == [[1, 1], [0, 1]]
    for other in ([1], [], [0, 1, 2]):
        with pytest.raises(
            ValueError, match=r"labels as sets of ids or as multi-hot rows, got the"
        ):
            hot([[0, 1, 1, 0], other], 2, device)
    with pytest.raises(ValueError, match="as sets of ids or as multi-hot rows"):
        hot([[0, -1, None, 0.5], [1]], 2, device, missing=-1)
    ids = {"lists": "ids"}
    assert hot([[0, 1, 1, 0], [1]], 2, device, **ids).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0]]
    assert hot([[0, 1, 1, 0]], 1, device, **ids).tolist() == [[1, 1, 0, 0]]
    assert hot([[0, 1, 1, 0]], 1, device, lists="multi_hot").tolist() == [[0, 1, 1, 0]]
    with pytest.raises(ValueError, match="to be rectangular"):
        hot([[0, 1, 1, 0], [1]], 2, device, lists="multi_hot")


def test_one_class_of_two_in_every_row_of_a_list_may_be_the_ids_of_both(
    device: torch.device,
) -> None:
    def read(rows: object, mask: torch.Tensor | None = None, **given: Any) -> object:
        return LabelSets("head", 2, **given).multi_hot(rows, (2,), device, mask).tolist()

    whole = np.eye(2, dtype=int)
    for rows in ([[0, 1], [1, 0]], [[1, 0], None], [*whole], [*map(list, whole)]):
        with pytest.raises(ValueError, match="of 2 numbers alone: one class of two, or the"):
            read(rows, missing=-1)
    # one row that cannot be the ids of both tells what all are, unless it is padding
    assert read([[0, 1], [1, 1]]) == [[0, 1], [1, 1]]
    with pytest.raises(ValueError, match="one class of two, or the set of both"):
        read([[0, 1], [0, 0]], torch.tensor([True, False]))
    # floats and booleans are no ids, and arrays are multi-hot
    for dtype in (float, bool):
        assert read(np.eye(2, dtype=dtype).tolist()) == [[1, 0], [0, 1]]
    assert read(whole) == [[1, 0], [0, 1]]
    assert read([{0, 1}, {1}]) == [[1, 1], [0, 1]]


def test_a_head_is_told_what_lists_are(device: torch.device) -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 1.0]], device=device)
    both = th.MultiLabelHead(2, label_lists="ids").loss([[0, 1], [1, 0]], logits)
    assert both == th.MultiLabelHead(2).loss([{0, 1}, {0, 1}], logits)
    rows = torch.tensor([[0, 1], [1, 0]], device=device)
    hot = th.MultiLabelHead(2, label_lists="multi_hot").loss(rows.tolist(), logits)
    assert both != hot == th.MultiLabelHead(2).loss(rows, logits)
    with pytest.raises(ValueError, match="label_lists as 'ids', 'multi_hot' or None, got 'hot'"):
        th.MultiLabelHead(2, label_lists="hot")  # type: ignore[arg-type]
    copy = th.build_head(th.head_config(th.MultiLabelHead(2, label_lists="ids")))
    assert isinstance(copy, th.MultiLabelHead)
    assert copy.label_lists == "ids"


def test_sets_may_have_several_batch_dimensions(device: torch.device) -> None:
    sparse = torch.sparse_coo_tensor(
        torch.tensor([[1, 0, 0, 1], [0, 1, 1, 1], [0, 0, 1, 0]]),
        torch.tensor([3, 0, 2, 1]),
        (2, 2, 2),
        device=device,
        check_invariants=True,
    )
    expected = [[[0, 0, 0, 0], [1, 0, 1, 0]], [[0, 0, 0, 1], [0, 1, 0, 0]]]
    lists = [[[], [0, 2]], [[3], [1]]]
    names = [[[NAMES[i] for i in ids] for ids in row] for row in lists]
    for form in [sparse, lists, names]:
        assert LabelSets("head", 4, NAMES).multi_hot(form, (2, 2), device).tolist() == expected


def test_equal_places_of_a_sparse_tensor_are_not_added(device: torch.device) -> None:
    places, ids = [[0, 0], [0, 0]], [1, 1]
    twice = torch.sparse_coo_tensor(places, ids, (1, 1), device=device, check_invariants=True)
    assert hot(twice, 1, device).tolist() == [[0, 1, 0, 0]]


def test_an_empty_batch_may_have_several_dimensions(device: torch.device) -> None:
    logits = torch.zeros(2, 0, 3, device=device)
    words = th.MultiClassHead(3, label_vocabulary=NAMES[:3])
    for labels in ([[], []], np.zeros((2, 0), dtype=str)):
        assert words.loss(labels, logits) == 0
    assert th.MultiLabelHead(3).loss([[], []], logits) == 0


def test_a_nested_tensor_of_more_dimensions_is_refused(device: torch.device) -> None:
    parts = [torch.zeros(rows, 2, dtype=torch.int64, device=device) for rows in (2, 1)]
    nested = torch.nested.nested_tensor(parts, layout=torch.jagged)
    with pytest.raises(ValueError, match=r"nested labels as one list of ids.*2 dimensions"):
        hot(nested, 2, device)


def test_a_sparse_tensor_with_dense_dimensions_is_refused(device: torch.device) -> None:
    places, ids = torch.tensor([[0, 1]]), torch.tensor([[1, 2], [0, 1]])
    hybrid = torch.sparse_coo_tensor(places, ids, (2, 2), device=device, check_invariants=True)
    with pytest.raises(ValueError, match="one id in each place, got 1 dense dim"):
        hot(hybrid, 2, device)


@pytest.mark.parametrize("short", [0, 1, 2])
def test_parts_of_a_batch_with_fewer_rows_are_refused(short: int, device: torch.device) -> None:
    lists = [[[0], [1]], [[2], []], [[0], [1, 2]]]
    assert LabelSets("head", 4, NAMES).multi_hot(lists, (3, 2), device).shape == (3, 2, 4)
    lists[short] = lists[short][:1]
    with pytest.raises(ValueError, match=r"as many rows in each part of the batch, got \[1, 2\]"):
        LabelSets("head", 4, NAMES).multi_hot(lists, (3, 2), device)


def test_an_empty_batch_has_no_sets(device: torch.device) -> None:
    sparse = torch.sparse_coo_tensor(
        torch.zeros(2, 0), torch.zeros(0).long(), (0, 3), device=device, check_invariants=True
    )
    for form in [sparse, torch.zeros(0, 4, device=device), []]:
        assert hot(form, 0, device).shape == (0, 4)


@pytest.mark.parametrize("options", [{}, {"label_lists": "ids"}, {"missing_label": -1}], ids=str)
def test_sets_within_a_row_are_refused(options: dict[str, Any], device: torch.device) -> None:
    head = th.MultiLabelHead(3, **options)
    for labels in ([[[0], [1]], [[0], [1]]], [[{0}, {1}], [{0}]], [torch.zeros(1, 1).long()] * 2):
        with pytest.raises(ValueError, match=r"one set of classes per row, got a row that holds"):
            head.loss(labels, torch.zeros(2, 3, device=device))


def test_sets_of_nothing_have_no_type(device: torch.device) -> None:
    logits, head = torch.ones(2, 3, device=device), th.MultiLabelHead(3)
    expected = head.loss([[], []], logits)
    for labels in (torch.zeros(2, 3).to_sparse(), torch.zeros(2, 3, dtype=torch.bool).to_sparse()):
        assert head.loss(labels.to(device), logits) == expected
    parts = [torch.zeros(0, device=device)] * 2
    assert head.loss(torch.nested.nested_tensor(parts, layout=torch.jagged), logits) == expected
    assert head.loss(parts, logits) == expected
    assert head.loss(torch.zeros(0, dtype=torch.int64, device=device), logits[:0]) == 0


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged], ids=str)
def test_nested_tensors_in_a_list_are_lists_of_their_parts(layout: torch.layout) -> None:
    def nested(*parts: Any) -> torch.Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is a prototype
            return torch.nested.nested_tensor([*map(torch.tensor, parts)], layout=layout)

    logits = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    head = th.MultiLabelHead(3)
    expected = head.loss([[[0, 1], [2]], [[1], [0, 2]]], logits)
    assert head.loss([nested([0, 1], [2]), nested([1], [0, 2])], logits) == expected
    numbers = [nested([1.0, 2.0], [3.0, 4.0]), nested([5.0, 6.0], [7.0, 8.0])]
    plain = torch.arange(1.0, 9.0).view(2, 2, 2)
    pair, pairs = th.RegressionHead(2), th.MultiHead([th.RegressionHead(name=n) for n in "ab"])
    assert pair.loss(numbers, logits[..., :2]) == pair.loss(plain, logits[..., :2])
    assert pairs.loss(numbers, logits[..., :2]) == pairs.loss(plain, logits[..., :2])
    steps = th.SequentialHeadWrapper(th.RegressionHead())
    features = {"sequence_length_mask": [2, 2]}
    given = steps.loss(nested([1.0, 2.0], [3.0, 4.0]), logits[..., :1], features)
    assert given == steps.loss(plain[0], logits[..., :1], features)
