"""Random containers, dtypes, shapes and masks at every argument.

A head accepts nothing but what gives the result of the plain tensors; all else is a `ValueError`,
`TypeError` or `KeyError` that names the head, and leaves no trace. More examples:
``pytest tests/test_fuzz.py --examples 5000``.
"""

import array
import warnings
from collections import UserList, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from math import inf, nan
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import default_collate

import torch_heads as th

ROWS = 4
NAMES = ["cat", "dog", "owl"]

HEADS: dict[str, Callable[..., th.Head]] = {
    "binary": lambda **o: th.BinaryClassHead(name="x", thresholds=[0.3], **o),
    "classes": lambda **o: th.MultiClassHead(3, name="x", **o),
    "named": lambda **o: th.MultiClassHead(3, name="x", label_vocabulary=NAMES, **o),
    "sets": lambda **o: th.MultiLabelHead(3, name="x", **o),
    "number": lambda **o: th.RegressionHead(name="x", **o),
    "numbers": lambda **o: th.RegressionHead(2, name="x", **o),
    "counts": lambda **o: th.PoissonRegressionHead(name="x", **o),
    "share": lambda **o: th.LogisticRegressionHead(name="x", **o),
    "many": lambda **o: th.MultiHead(
        [th.BinaryClassHead(name="a", **o), th.RegressionHead(name="b", **o)]
    ),
    "steps": lambda **o: th.SequentialHeadWrapper(
        th.BinaryClassHead(name="x", **o), feature_columns=["w"]
    ),
    "order": lambda **o: th.OrdinalClassHead(3, name="x", **o),
    "spread": lambda **o: th.GaussianRegressionHead(name="x", **o),
    "times": lambda **o: th.SurvivalHead([1.0, 2.0], name="x", **o),
    "pixels": lambda **o: th.BinaryClassHead(name="x", **o),
    "many steps": lambda **o: th.SequentialHeadWrapper(
        th.MultiHead([th.BinaryClassHead(name="a", **o), th.RegressionHead(name="b", **o)]),
        feature_columns=["w"],
    ),
}
LEADING = {"steps": (2, 2), "many steps": (2, 2), "pixels": (2, 2)}
ARGUMENTS_OF = [["labels", "logits", "weights", "w"], ["labels", "logits", "weights", "w", "mask"]]


def masked_tensor(values: Any) -> Any:
    tensor = torch.tensor(values)
    return torch.masked.masked_tensor(tensor, torch.ones_like(tensor, dtype=torch.bool))


def strided(values: Any) -> Tensor:
    """Return a tensor whose entries do not lie one after the other."""
    tensor = torch.tensor(values)
    return torch.stack([tensor, tensor + 1], -1)[..., 0]


def misaligned(values: Any) -> np.ndarray[Any, Any]:
    return np.asarray(values)[::-1].copy()[::-1]


def as_column(values: Any) -> Any:
    return np.asarray(values)[..., None]


def by(dtype: Any) -> Callable[[Any], Any]:
    return lambda values: np.asarray(values).astype(dtype)


def to(dtype: torch.dtype) -> Callable[[Any], Tensor]:
    return lambda values: torch.tensor(values).to(dtype)


def each(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what makes every entry of nested lists something else."""

    def inner(values: Any) -> Any:
        return [inner(own) for own in values] if isinstance(values, list) else make(values)

    return inner


#: What may hold numbers: all of the first give what a tensor of them gives, or are refused.
FORMS: dict[str, Callable[[Any], Any]] = {
    "list": lambda values: values,
    "tuple": tuple,
    "deque": deque,
    "user list": UserList,
    "array": lambda values: array.array("d", np.ravel(values).tolist()),
    "numpy": np.asarray,
    "matrix": lambda values: np.asmatrix(values) if np.ndim(values) == 2 else np.asarray(values),
    "reversed": misaligned,
    "other byte order": lambda values: np.asarray(values, ">f8"),
    "fortran": lambda values: np.asarray(values, order="F"),
    "objects": by(object),
    "float16": by(np.float16),
    "float32": by(np.float32),
    "longdouble": by(np.longdouble),
    "int8": by(np.int8),
    "int64": by(np.int64),
    "bool": by(bool),
    "masked array": lambda values: np.ma.MaskedArray(values, np.zeros(np.shape(values), bool)),
    "column": as_column,
    "row": lambda values: np.asarray(values)[None],
    "transposed": lambda values: np.asarray(values).T,
    "numpy numbers": each(np.float64),
    "tensors": lambda values: [torch.tensor(own) for own in values],
    "arrays": lambda values: [np.asarray(own) for own in values],
    "decimals": each(lambda own: Decimal(str(own))),
    "fractions": each(lambda own: Fraction(own).limit_denominator(1000)),
    "series": lambda values: pd.Series(values),
    "nullable": lambda values: pd.array(np.ravel(values).tolist(), dtype="Float64"),
    "shuffled index": lambda values: pd.Series(values, index=range(len(values))[::-1]),
    "frame": lambda values: pd.DataFrame(values),
    "index": lambda values: pd.Index(np.ravel(values).tolist()),
    "sparse series": lambda values: pd.Series(pd.arrays.SparseArray(np.ravel(values))),
    "polars": lambda values: pl.Series(values),
    "polars frame": lambda values: pl.DataFrame({"x": values}),
    "polars array": lambda values: pl.Series(np.asarray(values)),
    "pyarrow": lambda values: pa.array(values),
    "chunked": lambda values: pa.chunked_array([values[:1], values[1:]]),
    "pyarrow table": lambda values: pa.table({"x": values}),
    "tensor": torch.tensor,
    "float64": to(torch.float64),
    "bfloat16": to(torch.bfloat16),
    "float8": to(torch.float8_e4m3fn),
    "int16": to(torch.int16),
    "uint8": lambda values: torch.tensor(values).abs().to(torch.uint8),
    "uint16": lambda values: torch.tensor(values).abs().to(torch.uint16),
    "uint64": lambda values: torch.tensor(values).abs().to(torch.uint64),
    "complex": to(torch.complex64),
    "strided": strided,
    "expanded": lambda values: torch.tensor(values).expand(1, *np.shape(values))[0],
    "with gradient": lambda values: torch.tensor(values, dtype=torch.float32, requires_grad=True),
    "parameter": lambda values: torch.nn.Parameter(torch.tensor(values, dtype=torch.float32)),
    "sparse": lambda values: torch.tensor(values).to_sparse(),
    "csr": lambda values: torch.tensor(values, dtype=torch.float32).view(ROWS, -1).to_sparse_csr(),
    "quantized": lambda values: torch.quantize_per_tensor(
        torch.tensor(values, dtype=torch.float32), 0.5, 0, torch.qint8
    ),
    "nested": lambda values: torch.nested.nested_tensor(
        [torch.tensor(own).view(-1) for own in values], layout=torch.jagged
    ),
    "masked tensor": masked_tensor,
    "meta": lambda values: torch.tensor(values, device="meta"),
    "collated": default_collate,
    "a series of arrays": lambda values: pd.Series([np.asarray(own) for own in values]),
    "list of series": lambda values: [pd.Series(own) for own in values],
    "iterrows": lambda values: [row for _, row in pd.DataFrame(values).iterrows()],
    "itertuples": lambda values: list(pd.DataFrame(values).itertuples(index=False)),
    "records": lambda values: pd.DataFrame(values).to_dict("records"),
    "polars lists": lambda values: pl.Series(values, dtype=pl.List(pl.Float64)),
    "fixed lists": lambda values: pa.array(values, pa.list_(pa.float64(), len(values[0]))),
    "pyarrow scalars": lambda values: list(pa.array(values)),
    "zero dimensions": each(np.array),
    "memoryview": lambda values: memoryview(np.asarray(values)),
    "rows of float64": lambda values: [np.asarray(own, np.float64) for own in values],
}

MAP = pa.map_(pa.string(), pa.list_(pa.int64()))

GAP = -1000


def gapped(gap: Any) -> Callable[[Any], Any]:
    """Return what puts a gap in place of each `GAP`."""
    return each(lambda own: gap if own == GAP else own)


def masked_out(values: Any) -> Any:
    tensor = torch.tensor(values)
    return torch.masked.masked_tensor(tensor, tensor != GAP)


#: What may hold a gap among numbers.
GAPS: dict[str, Callable[[Any], Any]] = {
    "None": gapped(None),
    "nan": gapped(nan),
    "NA": gapped(pd.NA),
    "NaT": gapped(pd.NaT),
    "masked": gapped(np.ma.masked),
    "a decimal": gapped(Decimal("NaN")),
    "numpy": lambda values: np.array(gapped(nan)(values)),
    "objects": lambda values: np.array(gapped(None)(values), dtype=object),
    "masked array": lambda values: np.ma.masked_equal(values, GAP),
    "masked rows": lambda values: [np.ma.masked_equal(own, GAP) for own in values],
    "masked tensor": masked_out,
    "series": lambda values: pd.Series(gapped(None)(values)),
    "nullable": lambda values: pd.Series(gapped(None)(values), dtype="Float64"),
    "polars": lambda values: pl.Series(gapped(None)(values)),
    "pyarrow": lambda values: pa.array(gapped(None)(values)),
    "pyarrow scalars": lambda values: list(pa.array(gapped(None)(values))),
    "nullable rows": lambda values: [pd.array(gapped(None)(own), dtype="Int64") for own in values],
}

#: What is no batch of numbers, or not a whole one.
JUNK: list[Callable[[], Any]] = [
    lambda: None,
    lambda: "text",
    lambda: b"bytes",
    lambda: ["a", "b", "c", "d"],
    lambda: [["a"], ["b", "c"], [], ["d"]],
    lambda: [b"cat", b"owl", b"cat", b"dog"],
    lambda: [{"cat"}, {"dog"}, set(), {"owl", "cat"}],
    lambda: [{0}, {1, 2}, set(), {7}],
    lambda: [[0], [1, 2], [], [7]],
    lambda: {"a": [1, 0, 1, 0], "b": [1.0, 2, 3, 4]},
    lambda: {"b": [1.0, 2, 3, 4]},
    lambda: {},
    lambda: {1, 2},
    lambda: object(),
    lambda: np,
    lambda: len,
    lambda: float,
    lambda: (i for i in range(ROWS)),
    lambda: iter([1, 0, 1, 0]),
    lambda: nan,
    lambda: inf,
    lambda: 3,
    lambda: True,
    lambda: 1j,
    lambda: [1j, 0, 0, 0],
    lambda: [2**70, 0, 0, 0],
    lambda: [10**400, 0, 0, 0],
    lambda: [Decimal("sNaN"), 0, 0, 0],
    lambda: [nan, 1, 0, 1],
    lambda: [None] * ROWS,
    lambda: [pd.NA, 1, 0, 1],
    lambda: [[1], [0, 1], [1], [0]],
    lambda: [[[1]], [1], [1], [1]],
    lambda: [],
    lambda: [[]],
    lambda: [[], [], [], []],
    lambda: np.zeros((ROWS, 0)),
    lambda: np.array(["2024-01-01"] * ROWS, "datetime64[D]"),
    lambda: np.zeros(ROWS, "V4"),
    lambda: np.array(1.0),
    lambda: np.array([[1, 2], [3]], dtype=object),
    lambda: np.array([None, [1], {}, "x"], dtype=object),
    lambda: np.rec.array([(1, 2.0)] * ROWS, dtype=[("a", int), ("b", float)]),
    lambda: np.ma.masked_equal([1, 9, 0, 1], 9),
    lambda: np.ma.masked,
    lambda: pd.DataFrame(),
    lambda: pd.DataFrame({"a": [1, 0, 1, 0], "b": [1.0, 2, 3, 4]}),
    lambda: pd.DataFrame({"b": [1, 0, 1, 0], "c": ["a"] * ROWS}),
    lambda: pd.Series([1, None, 0, 1]),
    lambda: pd.Series(pd.to_datetime(["2024-01-01"] * ROWS)),
    lambda: pd.Categorical(["cat", "owl", None, "cat"]),
    lambda: pd.interval_range(0, ROWS),
    lambda: pd.MultiIndex.from_tuples([(1, 2)] * ROWS),
    lambda: pl.Series([{"a": 1, "b": 2}] * ROWS),
    lambda: pl.Series([[1, 0], [1], [], None]),
    lambda: pl.DataFrame({"a": [1, 0, 1, 0], "b": [1.0, 2, 3, 4]}),
    lambda: pa.array([{"a": 1}] * ROWS),
    lambda: pa.array([[("k", 1)]] * ROWS, pa.map_(pa.string(), pa.int64())),
    lambda: pa.scalar([("a", [1, 0, 1, 0]), ("x", [1, 0, 1, 0])], MAP),
    lambda: pa.scalar([("a", [1]), ("a", [0])], MAP),
    lambda: pa.scalar(None, MAP),
    lambda: [pa.scalar([("a", [1])], MAP)] * ROWS,
    lambda: pa.scalar([([1], 2)], pa.map_(pa.list_(pa.int64()), pa.int64())),
    lambda: pa.scalar({"a": [1, 0, 1, 0], "b": [1.0, 2, 3, 4]}),
    lambda: pa.StructArray.from_arrays([pa.array([1])] * 2, ["a", "a"])[0],
    lambda: pa.scalar([1, 0, 1, 0]),
    lambda: pa.scalar("a"),
    lambda: pa.scalar(1),
    lambda: pa.nulls(ROWS),
    lambda: pa.array([Decimal("1.5")] * ROWS),
    lambda: pa.table({"a": [1, 0, 1, 0], "b": [1.0, 2, 3, 4]}),
    lambda: memoryview(b"abcd"),
    lambda: memoryview(np.zeros((2, 2))),
    lambda: pl.LazyFrame({"a": [1, 0, 1, 0]}),
    lambda: pl.col("a"),
    lambda: pd.DataFrame({"a": [1, 0], "b": [1, 2]}).groupby("a"),
    lambda: [None, [1.0, 2.0], None, [0.0, 1.0]],
    lambda: [{"a": 1, "b": 2.0}] * ROWS,
    lambda: list(pa.array(["a", "b", "c", "d"])),
    lambda: torch.fx.Proxy(torch.fx.Graph().placeholder("x")),
    lambda: bytearray(b"abcd"),
    lambda: range(ROWS),
    lambda: torch.zeros(0),
    lambda: torch.tensor(1.0),
    lambda: torch.full((ROWS,), nan),
    lambda: torch.full((ROWS, 1), inf),
    lambda: torch.zeros(1, ROWS),
    lambda: torch.zeros(ROWS, 7, 1),
    lambda: torch.zeros(ROWS, 1, 1, 1),
    lambda: [torch.zeros(2), torch.zeros(3)],
    lambda: [torch.ones(1, requires_grad=True)] * ROWS,
    lambda: torch.nn.Linear(1, 1),
    lambda: th.BinaryClassHead(),
]


def labels_of(kind: str, numbers: list[float]) -> Any:
    """Return plain labels that may suit a head, as nested lists of Python numbers."""
    rounded = [round(own) for own in numbers]
    if kind in ("classes", "named", "counts", "order"):
        return [abs(own) % 3 for own in rounded[:ROWS]]
    if kind == "sets":
        return [[abs(own) % 2 for own in rounded[i : i + 3]] for i in range(ROWS)]
    if kind in ("numbers", "many"):
        return [[abs(numbers[i]) % 1, numbers[i + 1]] for i in range(ROWS)]
    if kind == "times":
        return [[abs(numbers[i]), abs(rounded[i + 1]) % 2] for i in range(ROWS)]
    if kind == "many steps":
        return [[[abs(rounded[i]) % 2, numbers[i + j]] for j in range(2)] for i in range(2)]
    if kind in ("steps", "pixels"):
        return [[abs(own) % 2 for own in rounded[i : i + 2]] for i in range(2)]
    return [abs(own) % 2 for own in rounded[:ROWS]]


def made(kind: str, may_miss: bool, argument: str) -> th.Head:
    options = {"missing_label": -1000} if may_miss else {}
    return HEADS[kind](**options, weight_column="w" if argument == "w" else None)


def plain_batch(kind: str, head: th.Head, numbers: list[float]) -> dict[str, Any]:
    leading = LEADING.get(kind, (ROWS,))
    count = int(np.prod(leading)) * head.logits_dimension
    logits = np.resize(numbers, count).reshape(*leading, head.logits_dimension)
    features: dict[str, Any] = {"w": [1.0, 2.0, 0.0, 0.5]}
    if kind == "pixels":
        features = {"w": [[[1.0], [2.0]], [[0.0], [0.5]]]}
    if "steps" in kind:
        features = {"sequence_length_mask": [[1, 1], [1, 0]], "w": [[1.0, 2.0], [0.5, 1.0]]}
    labels = labels_of(kind, numbers)
    return {"labels": labels, "logits": logits.tolist(), "features": features}


@st.composite
def cases(draw: Any) -> tuple[str, bool, str, list[float]]:
    finite = st.integers(-16, 16).map(lambda own: own / 4)  # exact in every dtype
    numbers = draw(st.lists(finite, min_size=ROWS + 3, max_size=ROWS + 3))
    kind = draw(st.sampled_from([*HEADS]))
    argument = draw(st.sampled_from(ARGUMENTS_OF["steps" in kind]))
    return kind, draw(st.booleans()), argument, numbers


def put(batch: dict[str, Any], argument: str, value: Any) -> dict[str, Any]:
    if argument in ("mask", "w"):
        key = "sequence_length_mask" if argument == "mask" else argument
        return {**batch, "features": {**batch["features"], key: value}}
    return {**batch, argument: value}


def taken(batch: dict[str, Any], argument: str) -> Any:
    if argument == "weights":
        return np.ones(np.shape(batch["logits"])[:-1]).tolist()
    if argument in ("mask", "w"):
        return batch["features"]["sequence_length_mask" if argument == "mask" else argument]
    return batch[argument]


def outcome(head: th.Head, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]] | Exception:
    """Return the loss and the metrics of a batch, or the refusal, which must name the head."""
    metrics = head.metrics()
    before = states(metrics)
    try:
        loss = head.loss(**batch)
        values = head.update_metrics(metrics, **batch).compute()
    except (ValueError, TypeError, KeyError) as refusal:
        says = str(refusal.args[0])
        assert any(f"{one.title}: expected " in says for one in heads_in(head)), says
        torch.testing.assert_close(states(metrics), before, rtol=0, atol=0, equal_nan=True)
        return refusal
    assert loss.shape == ()
    return loss.detach().double(), values


def states(metrics: Any) -> list[Tensor]:
    """Return a copy of all that metrics have counted."""
    return [own.clone() for one in metrics.tallies.values() for own in one.metric_state.values()]


def heads_in(head: th.Head) -> list[Any]:
    return [one for one in head.modules() if isinstance(one, th.Head)]


def fuzz(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return settings(
        max_examples=request.config.getoption("--examples"),
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
    )


def test_whatever_holds_a_batch_gives_the_result_of_the_plain_tensors(
    request: pytest.FixtureRequest,
) -> None:
    accepted: set[str] = set()

    @fuzz(request)
    @given(cases(), st.sampled_from([*FORMS]))
    def meet(case: tuple[str, bool, str, list[float]], form: str) -> None:
        accepted.update([form] if is_taken_right(case, form) else [])

    with quiet():
        meet()
    assert len(accepted) >= 10


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_takes_every_form_right_or_not_at_all(kind: str) -> None:
    numbers = [1.0, 0.0, 1.0, 1.0, 0.0, 2.0, 0.0]
    with quiet():
        forms = [form for form in FORMS if is_taken_right((kind, False, "labels", numbers), form)]
    assert len(forms) >= 15


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The PyTorch API of (Masked|nested)")
        warnings.filterwarnings("ignore", "Sparse CSR tensor support")
        yield


def is_taken_right(case: tuple[str, bool, str, list[float]], form: str) -> bool:
    """Return whether a head takes a form, and then hold its result to that of plain tensors."""
    kind, may_miss, argument, numbers = case
    head = made(kind, may_miss, argument)
    batch = plain_batch(kind, head, numbers)
    own = taken(batch, argument)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = FORMS[form](own)
    except Exception:
        return False  # of the library that holds it, which does not take these
    found = outcome(head, put(batch, argument, value))
    if isinstance(found, Exception):
        return False
    expected = outcome(head, put(batch, argument, plain(form, own)))
    about = f"{kind} took {argument} as {form}"
    assert not isinstance(expected, Exception), f"{about}, and not the tensor: {expected}"
    loss, values = expected
    # half precision rounds nothing here, but is computed in float32
    torch.testing.assert_close(found[0], loss, rtol=1e-5, atol=1e-6, msg=lambda m: f"{about}: {m}")
    torch.testing.assert_close(found[1], values, rtol=1e-5, atol=1e-6, equal_nan=True)
    return True


@pytest.mark.parametrize("form", GAPS)
@pytest.mark.parametrize("kind", HEADS)
def test_a_gap_is_a_missing_label_and_refused_elsewhere(kind: str, form: str) -> None:
    for argument in ARGUMENTS_OF["steps" in kind]:
        head = made(kind, True, argument)
        batch = plain_batch(kind, head, [1.0, 0.0, 1.0, 1.0, 0.0, 2.0, 0.0])
        own = with_gap(taken(batch, argument))
        with quiet():
            try:
                value = GAPS[form](own)
            except (TypeError, ValueError, pa.ArrowInvalid):
                continue  # of the library that holds it, which does not take these
            found = outcome(head, put(batch, argument, value))
            if argument == "labels":
                refused = outcome(made(kind, False, argument), put(batch, argument, value))
                assert isinstance(refused, Exception)
                assert not isinstance(found, Exception), found
                plainly: float = GAP
            elif argument == "logits":
                if isinstance(found, Exception):
                    continue
                plainly = nan  # which logits may be
            else:
                assert isinstance(found, Exception), argument
                continue
            expected = outcome(head, put(batch, argument, torch.tensor(gapped(plainly)(own))))
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0, equal_nan=True)


def with_gap(values: Any) -> Any:
    """Return nested lists of numbers with the first one gone."""
    return [with_gap(values[0]), *values[1:]] if isinstance(values, list) else GAP


def plain(form: str, own: Any) -> Any:
    """Return the plain tensor of what a form holds: with the cast or the axis that it asks for."""
    if "int" in form:
        return torch.as_tensor(FORMS[form](own)).to(torch.int64)
    if form in ("bool", "column", "row", "transposed", "meta"):
        return torch.as_tensor(FORMS[form](own))
    return torch.tensor(own)


def test_whatever_is_no_batch_is_refused_in_words(request: pytest.FixtureRequest) -> None:
    @fuzz(request)
    @given(cases(), st.sampled_from(JUNK))
    def meet(case: tuple[str, bool, str, list[float]], make: Callable[[], Any]) -> None:
        kind, may_miss, argument, numbers = case
        head = made(kind, may_miss, argument)
        batch = plain_batch(kind, head, numbers)
        outcome(head, put(batch, argument, make()))

    meet()


ARGUMENTS = [
    (th.BinaryClassHead, "pos_weight"),
    (th.BinaryClassHead, "thresholds"),
    (th.BinaryClassHead, "missing_label"),
    (th.BinaryClassHead, "label_smoothing"),
    (th.BinaryClassHead, "label_vocabulary"),
    (th.BinaryClassHead, "weight_column"),
    (th.BinaryClassHead, "loss_reduction"),
    (th.BinaryClassHead, "loss_fn"),
    (th.BinaryClassHead, "name"),
    (lambda **o: th.MultiClassHead(3, **o), "class_weight"),
    (lambda **o: th.MultiClassHead(**o), "n_classes"),
    (lambda **o: th.MultiLabelHead(3, **o), "class_weight"),
    (lambda **o: th.MultiLabelHead(3, **o), "pos_weight"),
    (lambda **o: th.MultiLabelHead(3, **o), "classes_for_class_based_metrics"),
    (lambda **o: th.RegressionHead(**o), "label_dimension"),
    (lambda **o: th.RegressionHead(**o), "inverse_link_fn"),
    (lambda **o: th.MultiHead([th.BinaryClassHead(name=n) for n in "ab"], **o), "head_weights"),
    (lambda **o: th.MultiHead(**o), "heads"),
    (lambda **o: th.SequentialHeadWrapper(**o), "static_head"),
    (lambda **o: th.SequentialHeadWrapper(th.BinaryClassHead(), **o), "feature_columns"),
    (lambda **o: th.SequentialHeadWrapper(th.BinaryClassHead(), **o), "sequence_length_mask"),
    (lambda **o: th.MultiHead([th.BinaryClassHead(name="a")], **o), "metrics"),
    (lambda **o: th.MultiLabelHead(3, **o), "label_lists"),
    (th.BinaryClassHead, "metrics"),
    (th.BinaryClassHead, "fine"),
    (th.PoissonRegressionHead, "compute_full_loss"),
    (th.QuantileRegressionHead, "levels"),
    (th.GaussianRegressionHead, "beta"),
    (th.SurvivalHead, "cut_points"),
    (th.OrdinalClassHead, "n_classes"),
    (lambda **o: th.SurvivalHead([1.0], **o), "missing_label"),
]
CALLS: list[Callable[[th.Head, Any], Any]] = [
    lambda head, value: head.loss([1, 0], torch.zeros(2, 1), regularization_losses=value),
    lambda head, value: head.loss([1, 0], torch.zeros(2, 1), divisors=value),
    lambda head, value: head.loss([1, 0], torch.zeros(2, 1), value),
    lambda head, value: head.predictions(value),
    lambda head, value: head.predictions(torch.zeros(2, 1), keys=value),
    lambda head, value: head(torch.zeros(2, 1), keys=value),
    lambda head, value: head.to_logits(value),
    lambda head, value: head.to_logits({"logistic": value}),
    lambda head, value: head.update_metrics(value, None, torch.zeros(2, 1), [1, 0]),
    lambda head, value: head.metrics(value),
    lambda head, value: head.load_state_dict({"_meaning": value}),
    lambda head, value: head.create_estimator_spec(None, value, torch.zeros(2, 1)),
    lambda head, value: head.fit_prior(value),
    lambda head, value: head.fit_prior([1, 0], weights=value),
    lambda head, value: head.divisors([1, 0], value),
]


def test_whatever_a_head_is_made_of_or_asked_is_refused_in_words(
    request: pytest.FixtureRequest,
) -> None:
    @fuzz(request)
    @given(st.sampled_from(ARGUMENTS), st.sampled_from(CALLS), st.sampled_from(JUNK))
    def meet(made: tuple[Any, str], call: Callable[..., Any], make: Callable[[], Any]) -> None:
        kind, argument = made
        head = th.BinaryClassHead(name="x")
        for run in (lambda: kind(**{argument: make()}), lambda: call(head, make())):
            try:
                run()
            except (ValueError, TypeError, KeyError) as refusal:
                says = str(refusal.args[0])
                assert "Head" in says, says
                assert ": expected " in says, says

    meet()
