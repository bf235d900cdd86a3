"""Labels and weights in whatever holds them: by name, with their masks, in full precision."""

import warnings
from collections import UserList, deque
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

import torch_heads as th

NAMES = ["cat", "dog", "owl"]


def masked_tensor(values: list[Any], mask: list[bool]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a prototype
        made: Tensor = torch.masked.masked_tensor(torch.tensor(values), torch.tensor(mask))
    return made


def same_everywhere(head: th.Head, labels: Any, plain: Any, logits: Tensor) -> None:
    """Hold labels to the loss of plain ones: alone, and in a dict of a `MultiHead`."""
    expected = head.loss(plain, logits)
    assert expected.isfinite()
    torch.testing.assert_close(head.loss(labels, logits), expected)
    named = th.MultiHead([head, th.RegressionHead(name="other", missing_label=nan)])
    both = {head.name: logits, "other": torch.zeros(len(logits), 1)}
    torch.testing.assert_close(named.loss({head.name: labels}, both), expected)


# ---- gaps ----

GAPS: dict[str, Callable[[], Any]] = {
    "list with None": lambda: [1.0, None, 3.0],
    "list with NaN": lambda: [1.0, nan, 3.0],
    "list with NA": lambda: [1, pd.NA, 3],
    "list of rows": lambda: [[1], [None], [3]],
    "deque": lambda: deque([1, None, 3]),
    "objects": lambda: np.array([1, None, 3.0], dtype=object),
    "masked array": lambda: np.ma.masked_values([1.0, -999.0, 3.0], -999.0),
    "masked whole numbers": lambda: np.ma.masked_equal([[1], [7], [3]], 7),
    "list of masked arrays": lambda: [np.ma.masked_equal([entry], 7) for entry in (1, 7, 3)],
    "list with a masked constant": lambda: [1.0, np.ma.masked, 3.0],
    "masked tensor": lambda: masked_tensor([1.0, 7.0, 3.0], [True, False, True]),
    "masked tensor of whole numbers": lambda: masked_tensor([1, 7, 3], [True, False, True]),
    "series": lambda: pd.Series([1.0, None, 3.0]),
    "nullable series": lambda: pd.Series([1, None, 3], dtype="Int64"),
    "series of objects": lambda: pd.Series([1, pd.NA, 3], dtype=object),
    "frame of a column": lambda: pd.DataFrame({"kilos": [1, None, 3]}),
    "polars": lambda: pl.Series([1, None, 3]),
    "pyarrow": lambda: pa.array([1, None, 3]),
    "chunked": lambda: pa.chunked_array([[1], [None, 3]]),
}


@pytest.mark.parametrize("missing", [nan, -1.0, [-1, nan], (-1,)], ids=str)
@pytest.mark.parametrize("form", GAPS)
def test_a_gap_is_a_missing_label(form: str, missing: Any) -> None:
    head = th.RegressionHead(name="kilos", missing_label=missing)
    logits = torch.zeros(3, 1)
    assert head.loss(GAPS[form](), logits).item() == pytest.approx(5.0)
    same_everywhere(head, GAPS[form](), torch.tensor([1.0, nan, 3.0]), logits)
    metrics = head.update_metrics(head.metrics(), None, logits, GAPS[form]())
    assert metrics.compute()["label/coverage/kilos"].item() == pytest.approx(2 / 3)


@pytest.mark.parametrize("form", GAPS)
def test_a_gap_is_refused_by_its_row_where_no_label_may_miss(form: str) -> None:
    logits = torch.zeros(3, 1)
    for head in (th.RegressionHead(), th.PoissonRegressionHead()):
        with pytest.raises(ValueError, match=r"labels without gaps, got .* in row 1\. .*missing"):
            head.loss(GAPS[form](), logits)
    with pytest.raises(ValueError, match=r"weights without gaps, got .* in row 1\."):
        th.RegressionHead().loss([1.0, 2.0, 3.0], logits, weights=GAPS[form]())
    with pytest.raises(ValueError, match=r"features\['w'\] without gaps, got .* in row 1\."):
        th.RegressionHead(1, "w").loss([1.0, 2.0, 3.0], logits, {"w": GAPS[form]()})


@pytest.mark.parametrize(
    "ids",
    [
        [2, None, 0],
        np.ma.masked_equal([2, 9, 0], 9),
        masked_tensor([2, 9, 0], [True, False, True]),
        pd.Series([2, None, 0]),
        pl.Series([2, None, 0]),
        pa.array([2, None, 0]),
        torch.tensor([2.0, nan, 0.0]),
        torch.tensor([2, -100, 0]),
        ["owl", None, "cat"],
        ["owl", "?", "cat"],
        [["owl"], [nan], ["cat"]],
        pd.Series(["owl", None, "cat"]),
        pd.Categorical(["owl", None, "cat"]),
        pl.Series(["owl", None, "cat"]),
        pl.Series(["owl", None, "cat"], dtype=pl.Categorical),
        pa.array(["owl", None, "cat"]),
        pa.array(["owl", None, "cat"]).dictionary_encode(),
        np.array(["owl", None, "cat"], dtype=object),
        np.array(["owl", None, "cat"], dtype=np.dtypes.StringDType(na_object=None)),
        np.ma.masked_equal(["owl", "x", "cat"], "x"),
    ],
    ids=lambda ids: f"{type(ids).__module__}.{type(ids).__name__}",
)
def test_ids_and_names_may_miss_in_every_form(ids: Any) -> None:
    options: dict[str, Any] = {"label_vocabulary": NAMES, "missing_label": ["?", -100]}
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    head = th.MultiClassHead(3, name="pet", **options)
    plain = th.MultiClassHead(3).loss([2, 0], logits[[0, 2]])
    torch.testing.assert_close(head.loss(ids, logits), plain)
    same_everywhere(head, ids, torch.tensor([2, -100, 0]), logits)
    with pytest.raises(ValueError, match=r"'pet': expected labels"):
        th.MultiClassHead(3, label_vocabulary=NAMES, name="pet").loss(ids, logits)


def test_a_missing_name_is_no_id_that_anybody_wrote() -> None:
    for head in (
        th.MultiClassHead(2, label_vocabulary=["no", "yes"], missing_label="?"),
        th.BinaryClassHead(label_vocabulary=["no", "yes"], missing_label="?"),
    ):
        with pytest.raises(ValueError, match=r"expected labels in \[0, 1\], got -1"):
            head.loss([1, -1], torch.zeros(2, head.logits_dimension))


def test_padding_may_hold_gaps() -> None:
    mask = {"sequence_length_mask": [[1, 1], [1, 0]]}
    logits = torch.tensor([[[1.0], [3.0]], [[5.0], [0.0]]])
    head = th.SequentialHeadWrapper(th.RegressionHead())
    for labels in ([[1, 2], [3, None]], np.ma.masked_equal([[1, 2], [3, 9]], 9)):
        assert head.loss(labels, logits, mask) == head.loss([[1, 2], [3, 9]], logits, mask)
    words = th.SequentialHeadWrapper(th.BinaryClassHead(label_vocabulary=["no", "yes"]))
    expected = words.loss([["no", "yes"], ["no", "no"]], logits, mask)
    assert words.loss([["no", "yes"], ["no", None]], logits, mask) == expected
    with pytest.raises(ValueError, match="got None in row 0"):
        words.loss([["no", None], ["no", "no"]], logits, mask)
    missing = th.SequentialHeadWrapper(th.RegressionHead(missing_label=-1))
    assert missing.loss([[1, None], [3, None]], logits, mask) == 2.0


def test_gaps_of_stacked_labels_are_those_of_each_head() -> None:
    heads = [th.RegressionHead(name="a", missing_label=-1), th.MultiClassHead(3, name="b")]
    head, logits = th.MultiHead(heads), torch.zeros(2, 4)
    expected = head.loss({"a": [2.0, -1.0], "b": [1, 2]}, logits)
    for labels in (
        [[2.0, 1], [None, 2]],
        torch.tensor([[2.0, 1], [nan, 2]]),
        np.ma.masked_equal([[2.0, 1], [9, 2]], 9),
        masked_tensor([[2.0, 1], [9, 2]], [[True, True], [False, True]]),  # type: ignore[list-item]
    ):
        torch.testing.assert_close(head.loss(labels, logits), expected)
    with pytest.raises(ValueError, match=r"MultiClassHead 'b': expected labels .* in row 0"):
        head.loss([[2.0, None], [1.0, 2]], logits)


def test_rows_and_entries_of_multi_label_heads_may_miss() -> None:
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    head = th.MultiLabelHead(3, label_vocabulary=NAMES, missing_label=[-1, "?"], name="pets")
    row = torch.tensor([[1.0, 0, 1], [nan, nan, nan], [0, 1, 0]])
    for labels in (
        [[1, 0, 1], None, [0, 1, 0]],
        [{0, 2}, {-1}, {1}],
        [{"cat", "owl"}, {"?"}, {"dog"}],
        [["cat", "owl"], None, ["dog"]],
        [["owl", "cat", "cat"], [None], ["dog"]],
        pl.Series([["cat", "owl"], None, ["dog"]]),
        pa.array([["cat", "owl"], None, ["dog"]]),
        pa.array([[0, 2], None, [1]]),
        pd.Series([["cat", "owl"], None, ["dog"]]),
        pd.Series([frozenset({0, 2}), None, frozenset({1})]),
        np.ma.masked_equal([[1, 0, 1], [9, 9, 9], [0, 1, 0]], 9),
    ):
        same_everywhere(head, labels, row, logits)
    entry = torch.tensor([[1.0, nan, 1], [0, 0, 0], [0, 1, 0]])
    same_everywhere(head, [[1, None, 1], [0, 0, 0], [0, 1, 0]], entry, logits)
    same_everywhere(head, entry.nan_to_num(-1).long(), entry, logits)
    with pytest.raises(ValueError, match=r"labels without gaps, got None in row 1"):
        th.MultiLabelHead(3).loss([{0}, None, {1}], logits)
    with pytest.raises(ValueError, match=r"labels without gaps, got None in row 2"):
        head.loss([{0}, {1}, {1, None}], logits)


# ---- names ----


def tables(columns: dict[str, Any]) -> list[Any]:
    kinds = [(name, np.asarray(column).dtype) for name, column in columns.items()]
    rows = list(zip(*columns.values(), strict=True))
    return [
        columns,
        pd.DataFrame(columns),
        pl.DataFrame(columns),
        pa.table(columns),
        pa.RecordBatch.from_pydict(columns),
        np.array(rows, dtype=kinds),
    ]


def test_a_table_gives_each_head_its_column() -> None:
    head = th.MultiHead([th.RegressionHead(name="kilos"), th.RegressionHead(name="metres")])
    logits = torch.tensor([[70.0, 1.7], [80.0, 1.8]])
    for table in tables({"metres": [1.7, 1.8], "kilos": [70.0, 80.0], "who": ["a", "b"]}):
        assert head.loss(table, logits) == 0
    whole = head.update_metrics(None, None, logits, pd.DataFrame({"metres": [0, 0], "kilos": 0}))
    assert whole.compute()["average_loss/kilos"] == 5650
    inner = th.MultiHead([head, th.BinaryClassHead(name="tall")])
    frame = pd.DataFrame({"metres": [1.7, 1.8], "kilos": [70.0, 80.0]})
    labels = {"kilos_metres": frame, "tall": pd.Series([1, 0])}
    assert inner.losses(labels, torch.cat([logits, logits[:, :1] * 0], 1))["kilos_metres"] == 0
    with pytest.raises(ValueError, match=r"for the heads \['kilos'\].*nearest is 'kilos'"):
        head.loss(pd.DataFrame({"metres": [1.7, 1.8], "Kilos": [70.0, 80.0]}), logits)


def test_a_table_gives_each_class_its_column() -> None:
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    expected = th.MultiLabelHead(3).loss([[1, 0, 1], [0, 1, 1]], logits)
    head = th.MultiLabelHead(3, label_vocabulary=NAMES, name="pets")
    several = th.MultiHead([head, th.RegressionHead(name="kilos")])
    wide = torch.cat([logits, torch.zeros(2, 1)], -1)
    for table in tables({"owl": [1, 1], "cat": [1, 0], "dog": [0, 1], "kilos": [0.0, 0.0]}):
        assert head.loss(table, logits) == expected
        if not isinstance(table, dict):  # whose names are those of heads
            assert several.loss(table, wide) == expected
    for table in tables({"1": [0, 1], "0": [1, 0], "2": [1, 1]}):
        assert th.MultiLabelHead(3).loss(table, logits) == expected
    assert th.MultiLabelHead(3).loss(pd.DataFrame([[1, 0, 1], [0, 1, 1]]), logits) == expected
    may_miss = th.MultiLabelHead(3, label_vocabulary=NAMES, missing_label=nan)
    digits = th.MultiLabelHead(3, label_vocabulary=["2", "0", "1"])
    named = pd.DataFrame({"1": [1, 1], "2": [1, 0], "0": [0, 1]})
    assert digits.loss(named, logits) == expected
    frame = pd.DataFrame({"owl": [1, None], "cat": [1, 0], "dog": [0, 1]})
    assert may_miss.loss(frame, logits) == may_miss.loss([[1, 0, 1], [0, 1, None]], logits)


def test_weights_of_classes_and_heads_are_read_by_name() -> None:
    weight = {"owl": 3.0, "cat": 1.0, "dog": 2.0}
    for given in (weight, pd.Series(weight), {2: 3.0, 0: 1.0, 1: 2.0}, {"owl": 3, 0: 1, "dog": 2}):
        for kind in (th.MultiClassHead, th.MultiLabelHead):
            head = kind(3, label_vocabulary=NAMES, class_weight=given)
            assert head.class_weight.tolist() == [1, 2, 3]  # type: ignore[union-attr]
        assert th.MultiLabelHead(3, label_vocabulary=NAMES, pos_weight=given).pos_weight is not None
    for listed in (
        [1, 2, 3],
        np.arange(1, 4)[::-1][::-1],
        pl.Series([1, 2, 3]),
        pd.Index([1, 2, 3]),
    ):
        head = th.MultiClassHead(3, class_weight=listed)
        assert head.class_weight.tolist() == [1, 2, 3]  # type: ignore[union-attr]
    pair = [th.RegressionHead(name="a"), th.RegressionHead(name="b")]
    for factors in ({"b": 2.0, "a": 0.5}, pd.Series({"b": 2.0, "a": 0.5}), [0.5, 2.0]):
        many = th.MultiHead(pair, head_weights=factors)  # type: ignore[arg-type]
        assert many.head_weights is not None
        assert many.head_weights.tolist() == [0.5, 2.0]
        assert many.loss(torch.ones(2, 2), torch.zeros(2, 2)) == 2.5


# ---- strings and numbers ----


@pytest.mark.parametrize(
    "names",
    [
        ("owl", "cat"),
        deque(["owl", "cat"]),
        (("owl",), ("cat",)),
        [np.str_("owl"), np.str_("cat")],
        np.array(["owl", "cat"], dtype=np.dtypes.StringDType()),
        np.array(["cat", "owl"])[::-1],
        np.array(["owl", "cat"], dtype=">U5"),
        pd.Series(["owl", "cat"], index=[1, 0]),
        pd.Series(["owl", "cat"], dtype="category"),
        pd.Series(["owl", "cat"], dtype="string"),
        pd.Index(["owl", "cat"]),
        pd.Categorical(["owl", "cat"]),
        pd.DataFrame({"pet": ["owl", "cat"]}),
        pl.Series(["owl", "cat"]),
        pl.Series(["owl", "cat"], dtype=pl.Enum(NAMES)),
        pa.array(["owl", "cat"]),
        pa.array(["owl", "cat"]).dictionary_encode(),
        pa.chunked_array([["owl"], ["cat"]]),
        [2, 0],
        torch.tensor([2, 0]),
        pd.Series([2, 0], dtype="Int8"),
    ],
    ids=lambda names: f"{type(names).__module__}.{type(names).__name__}",
)
def test_names_come_in_whatever_holds_strings(names: Any) -> None:
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    head = th.MultiClassHead(3, label_vocabulary=NAMES, name="pet")
    assert head.loss(names, logits) == th.MultiClassHead(3).loss([2, 0], logits)
    same_everywhere(head, names, [2, 0], logits)


ROWS_OF_NAMES: dict[str, Callable[[list[str]], Any]] = {
    "series": pd.Series,
    "categorical": lambda names: pd.Series(names, dtype="category"),
    "strings": lambda names: pd.Series(names, dtype="string"),
    "index": pd.Index,
    "polars": pl.Series,
    "pyarrow": pa.array,
    "dictionary": lambda names: pa.array(names).dictionary_encode(),
    "deque": deque,
    "user list": UserList,
}


@pytest.mark.parametrize("form", ROWS_OF_NAMES)
def test_rows_of_names_come_in_a_list_of_whatever_holds_them(form: str) -> None:
    make, rows = ROWS_OF_NAMES[form], [["cat", "owl"], ["dog", "cat"]]
    logits = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    head = th.MultiClassHead(3, label_vocabulary=NAMES, name="pet")
    expected = head.loss(rows, logits)
    assert expected == th.MultiClassHead(3).loss(torch.tensor([[0, 2], [1, 0]]), logits)
    assert head.loss([*map(make, rows)], logits) == expected
    steps = th.SequentialHeadWrapper(head)
    features = {"sequence_length_mask": [2, 2]}
    assert steps.loss([*map(make, rows)], logits, features) == expected
    may_miss = th.MultiClassHead(3, label_vocabulary=NAMES, missing_label="?")
    given = may_miss.loss([make(rows[0]), None], logits)
    assert given == head.loss(rows[:1], logits[:1])


def test_rows_of_names_come_in_a_table() -> None:
    logits = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    head = th.MultiClassHead(3, label_vocabulary=NAMES, name="pet")
    rows = [["cat", "owl"], ["dog", "cat"]]
    expected = head.loss(rows, logits)
    for dtype in (object, "category", "string"):
        assert head.loss(pd.DataFrame(rows, dtype=dtype), logits) == expected
    table = pa.table({"1": ["owl", "cat"], "0": ["cat", "dog"]})
    assert head.loss(table, logits) == expected
    steps, features = th.SequentialHeadWrapper(head), {"sequence_length_mask": [2, 1]}
    padded = pd.DataFrame([["cat", "owl"], ["dog", "of the padding"]])
    wanted = steps.loss([["cat", "owl"], ["dog"]], logits, features)
    assert steps.loss(padded, logits, features) == wanted
    with pytest.raises(ValueError, match=r"\[2\] or \[2, 1\], got \[2, 2\]"):
        head.loss(pd.DataFrame(rows), logits[:, 0])


@pytest.mark.parametrize(
    "sets",
    [
        [{2, 0}, {1}],
        (frozenset({2, 0}), frozenset({1})),
        [{"owl", "cat"}, {"dog"}],
        [deque(["owl", "cat"]), ["dog"]],
        [("owl", "cat"), ("dog",)],
        pd.Series([{2, 0}, {1}]),
        pd.Series([["owl", "cat"], ["dog"]]),
        pl.Series([["owl", "cat"], ["dog"]]),
        pa.array([[0, 2], [1]]),
        np.array([{2, 0}, {1}], dtype=object),
        pd.DataFrame({"pets": [["owl", "cat"], ["dog"]]}),
    ],
    ids=lambda sets: type(sets).__name__,  # a set of names is written in no order
)
def test_sets_come_in_whatever_holds_them(sets: Any) -> None:
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    head = th.MultiLabelHead(3, label_vocabulary=NAMES, name="pets")
    same_everywhere(head, sets, torch.tensor([[1, 0, 1], [0, 1, 0]]), logits)
    same_everywhere(head, [{0, 1}, {1}], torch.tensor([[1, 1, 0], [0, 1, 0]]), logits)


def test_numbers_keep_their_precision() -> None:
    exact = [1e9 + 1, 3.0]
    logits = torch.tensor([[1e9], [3.0]], dtype=torch.float64)
    head = th.RegressionHead(name="kilos")
    for labels in (
        pd.Series(exact),
        pd.Series(exact, dtype="Float64"),
        pd.DataFrame({"kilos": exact}),
        pl.Series(exact),
        pa.array(exact),
        [np.float64(value) for value in exact],
        [np.array([value]) for value in exact],
        np.array(exact, dtype=">f8"),
        np.array([0, *exact[::-1]])[:0:-1],
        np.array(exact, dtype=np.longdouble),
        pd.Series(exact, dtype="int64"),
        pa.array([int(value) for value in exact]),
        torch.tensor(exact, dtype=torch.float64),
        exact,
        tuple(exact),
        deque(exact),
        UserList(exact),
        [[value] for value in exact],
        [{"kilos": value} for value in exact],
        np.array(exact, dtype=object),
    ):
        assert head.loss(labels, logits) == 0.5
    head = th.RegressionHead(name="kilos", missing_label=nan)
    gap = torch.cat([logits, logits[:1]])
    for labels in ([*exact, None], [[exact[0]], [exact[1]], None], [{"a": one} for one in exact]):
        assert head.loss(labels, gap[: len(labels)]) in (0.5, 1 / 3)


def test_python_floats_keep_their_precision_wherever_they_stand() -> None:
    large, logits = 1e9 + 1, torch.ones(1, 1, dtype=torch.float64)
    head = th.RegressionHead()
    assert head.loss([0.0], logits, weights=[large]) == large
    assert th.RegressionHead(weight_column="w").loss([0.0], logits, {"w": [large]}) == large
    assert th.RegressionHead().fit_prior([large, large + 2]).prior_offset == large + 1
    steps = th.SequentialHeadWrapper(th.RegressionHead(weight_column="w"), feature_columns="w")
    features = {"w": [large], "sequence_length_mask": [1]}  # of the sequence
    assert steps.loss([[0.0]], logits.unsqueeze(0), features) == large
    both = th.MultiHead([th.RegressionHead(name=name) for name in "ab"])
    wide = torch.full((1, 2), large - 1, dtype=torch.float64)
    assert both.loss([[large, large]], wide) == 2
    assert head.loss([0.1], torch.zeros(1, 1)).dtype == torch.float32
    assert head.loss([0.1], [[0.3]]).dtype == torch.float32


def test_ids_are_stacked_for_heads_with_names() -> None:
    pet = th.MultiClassHead(3, label_vocabulary=NAMES, missing_label=-100, name="pet")
    tame = th.BinaryClassHead(
        label_vocabulary=["no", "yes"], missing_label=["?", -100], name="tame"
    )
    head, logits = th.MultiHead([pet, tame]), torch.randn(2, 4)
    expected = head.loss({"pet": ["owl", None], "tame": ["?", "yes"]}, logits)
    for labels in (
        torch.tensor([[2, -100], [-100, 1]]),
        torch.tensor([[2, nan], [nan, 1]]),
        [[2, None], [-100, 1]],
    ):
        torch.testing.assert_close(head.loss(labels, logits), expected)
    assert set(head.predictions(logits)["pet", "classes"].ravel()) <= set(NAMES)


# ---- weights for all ----


def test_weights_of_a_multi_head_may_be_one_tensor() -> None:
    head = th.MultiHead([th.RegressionHead(2, name="a"), th.MultiClassHead(2, name="b")])
    logits, labels = torch.randn(3, 4), {"a": torch.randn(3, 2), "b": [1, 0, 1]}
    weights = torch.tensor([1.0, 0.0, 3.0])
    expected = head.loss(labels, logits, weights=dict.fromkeys("ab", weights))
    for given in (
        weights,
        weights[:, None],
        weights.tolist(),
        weights.numpy(),
        pd.Series([1, 0, 3]),
    ):
        assert head.loss(labels, logits, weights=given) == expected
    table = pd.DataFrame({"b": [1, 0, 3], "a": [1.0, 2.0, 3.0]})
    named = {"a": [1.0, 2.0, 3.0], "b": weights}
    assert head.loss(labels, logits, weights=table) == head.loss(labels, logits, weights=named)


def test_weights_of_images_hold_for_their_pixels() -> None:
    heads = [th.MultiClassHead(2, name="kind"), th.RegressionHead(name="depth")]
    head, logits = th.MultiHead(heads), torch.randn(3, 4, 5, 3)
    labels = {"kind": torch.randint(2, (3, 4, 5)), "depth": torch.randn(3, 4, 5)}
    weights = torch.tensor([1.0, 0.0, 3.0])
    wide = weights.view(3, 1, 1).expand(3, 4, 5)
    expected = head.loss(labels, logits, weights=wide)
    assert head.loss(labels, logits, weights=weights) == expected
    assert head.loss(labels, logits, weights=wide[..., 0]) == expected
    alone = head["depth"].loss(labels["depth"], logits[..., 2:], weights=weights)
    assert alone == head["depth"].loss(labels["depth"], logits[..., 2:], weights=wide)


def test_nan_is_refused_by_its_row_in_a_tensor_of_a_regression() -> None:
    labels = torch.tensor([[1.0, 2.0], [nan, 3.0]])
    heads = [th.RegressionHead(name="a"), th.RegressionHead(name="b", missing_label=nan)]
    for given in (labels, {"a": labels[:, 0], "b": labels[:, 1]}):
        with pytest.raises(ValueError, match=r"RegressionHead 'a': expected .* got nan in row 1\."):
            th.MultiHead(heads).loss(given, torch.zeros(2, 2))
    assert th.MultiHead(heads).loss(labels.flip(1), torch.zeros(2, 2)).isfinite()
    assert th.RegressionHead().loss(labels[:, 1], torch.full((2, 1), nan)).isnan()
    assert th.RegressionHead().loss(labels[:, 0], torch.zeros(2, 1), weights=[1, 0]) == 0.5
