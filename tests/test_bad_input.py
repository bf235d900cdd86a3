"""Bad input is refused in words, and leaves no trace.

Each row of the two tables is one mistake: what it is, what the message says, and the arguments.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

import torch_heads as th
from torch_heads.families import Poisson

# ---- mistakes in a constructor ----


@dataclass(frozen=True)
class NotBuilt:
    """Arguments of which no head can be built; in ``says``, … stands for any text."""

    about: str
    head: type[th.Head]
    says: str
    error: type[Exception]
    arguments: dict[str, Any]


def not_built(
    about: str,
    head: type[th.Head],
    says: str,
    error: type[Exception] = ValueError,
    **arguments: Any,
) -> NotBuilt:
    return NotBuilt(about, head, says, error, arguments)


def no_logits(labels: Tensor) -> Tensor:
    return labels


def surprising(labels: Tensor, logits: Tensor, temperature: float) -> Tensor:
    return labels - logits / temperature


class AnyHead(th.TensorHead):
    def __init__(self, family: Any) -> None:
        super().__init__(family)


# fmt: off
NOT_BUILT = [
    # thresholds
    not_built("a threshold of 1", th.BinaryClassHead, "thresholds in (0, 1), got 1.0",
        thresholds=[0.5, 1.0]),
    not_built("a threshold of 0", th.BinaryClassHead, "thresholds in (0, 1), got 0.0",
        thresholds=[0.0], name="even"),
    not_built("a negative threshold", th.MultiLabelHead, "thresholds in (0, 1), got -0.1",
        n_classes=3, thresholds=[-0.1]),
    not_built("a threshold that is not a number", th.BinaryClassHead,
        "thresholds in (0, 1), got nan", thresholds=[float("nan")]),
    not_built("a threshold in words", th.BinaryClassHead, "thresholds …'half'…", TypeError,
        thresholds=["half"]),
    not_built("a single number for thresholds", th.BinaryClassHead,
        "thresholds as a list of floats, got 0.5", TypeError, thresholds=0.5),
    not_built("the same threshold twice", th.BinaryClassHead,
        "thresholds that differ in 6 digits, got [0.5, 0.25, 0.5]", thresholds=[0.5, 0.25, 0.5]),
    not_built("thresholds whose metrics would share a key", th.MultiLabelHead,
        "thresholds that differ in 6 digits, got [0.1234567, 0.1234568]", n_classes=3,
        thresholds=[0.1234567, 0.1234568]),
    # vocabularies
    not_built("a vocabulary that is one string", th.BinaryClassHead,
        "label_vocabulary as a list or tuple, got str", label_vocabulary="ab"),
    not_built("a vocabulary that is a set", th.MultiClassHead,
        "label_vocabulary as a list or tuple, got set", n_classes=3,
        label_vocabulary={"a", "b", "c"}),
    not_built("three names for two classes", th.BinaryClassHead,
        "label_vocabulary of 2 names, one per class, got 3: ['a', 'b', 'c']",
        label_vocabulary=["a", "b", "c"], name="even"),
    not_built("one name for two classes", th.BinaryClassHead,
        "label_vocabulary of 2 names, one per class, got 1: ['a']", label_vocabulary=["a"]),
    not_built("an empty vocabulary", th.BinaryClassHead,
        "label_vocabulary of 2 names, one per class, got 0: []", label_vocabulary=[]),
    not_built("two names for three classes", th.MultiClassHead,
        "label_vocabulary of 3 names, one per class, got 2: ['a', 'b']", n_classes=3,
        label_vocabulary=["a", "b"], name="digit"),
    not_built("two names for three labels", th.MultiLabelHead,
        "label_vocabulary of 3 names, one per class, got 2: ['a', 'b']", n_classes=3,
        label_vocabulary=["a", "b"]),
    not_built("a name twice in a vocabulary", th.MultiClassHead,
        "label_vocabulary without duplicates, got 'a' twice", n_classes=3,
        label_vocabulary=["a", "b", "a"]),
    not_built("numbers in a vocabulary", th.BinaryClassHead, "label_vocabulary of strings, got 0",
        label_vocabulary=[0, 1]),
    # counts of classes and of dimensions
    not_built("no number of classes", th.MultiClassHead, "n_classes as an int, got None",
        n_classes=None),
    not_built("one class for a multi-class head", th.MultiClassHead, "n_classes >= 2, got 1",
        n_classes=1, name="digit"),
    not_built("a fractional number of classes", th.MultiClassHead, "n_classes as an int, got 3.5",
        TypeError, n_classes=3.5),
    not_built("a number of classes in words", th.MultiClassHead, "n_classes as an int, got '3'",
        TypeError, n_classes="3"),
    not_built("a truth for a number of classes", th.MultiClassHead, "n_classes as an int, got True",
        TypeError, n_classes=True),
    not_built("one class for a multi-label head", th.MultiLabelHead, "n_classes >= 2, got 1",
        n_classes=1),
    not_built("a fractional number of labels", th.MultiLabelHead, "n_classes as an int, got 2.5",
        TypeError, n_classes=2.5, name="tags"),
    not_built("no label dimension", th.RegressionHead, "label_dimension >= 1, got 0",
        label_dimension=0),
    not_built("a fractional label dimension", th.RegressionHead,
        "label_dimension as an int, got 1.5", TypeError, label_dimension=1.5, name="ink"),
    not_built("a label dimension of None", th.RegressionHead, "label_dimension as an int, got None",
        TypeError, label_dimension=None),
    not_built("a truth for a label dimension", th.PoissonRegressionHead,
        "label_dimension as an int, got True", TypeError, label_dimension=True),
    not_built("a negative label dimension", th.PoissonRegressionHead,
        "label_dimension >= 1, got -1", label_dimension=-1),
    # reductions
    not_built("no reduction", th.BinaryClassHead,
        "loss_reduction among ['sum_over_batch_size', 'auto', 'sum', 'weighted_mean'], got 'none'",
        loss_reduction="none"),
    not_built("a reduction of None", th.LogisticRegressionHead,
        "loss_reduction among ['sum_over_batch_size', 'auto', 'sum', 'weighted_mean'], got None",
        loss_reduction=None),
    not_built("a reduction by PyTorch's name", th.MultiLabelHead,
        "loss_reduction among ['sum_over_batch_size', 'auto', 'sum', 'weighted_mean'], got 'mean'",
        n_classes=2, loss_reduction="mean"),
    # functions
    not_built("a loss_fn without logits", th.BinaryClassHead,
        "loss_fn with the arguments ['labels', 'logits'], and …, got ['labels']",
        loss_fn=no_logits),
    not_built("a loss_fn with an argument of its own", th.RegressionHead,
        "loss_fn with the arguments ['labels', …, got […, 'temperature']", loss_fn=surprising,
        name="ink"),
    not_built("a loss_fn by its name", th.MultiClassHead, "loss_fn to be callable, got str",
        TypeError, n_classes=3, loss_fn="cross_entropy"),
    not_built("an inverse_link_fn by its name", th.RegressionHead,
        "inverse_link_fn to be callable, got str", TypeError, inverse_link_fn="exp"),
    not_built("a loss_fn that is a class", th.RegressionHead,
        "loss_fn to be callable, got the class HuberLoss in place of an object: …",
        TypeError, loss_fn=nn.HuberLoss),
    not_built("an inverse_link_fn that is a class", th.RegressionHead,
        "inverse_link_fn to be callable, got the class Softplus in place of an object: …",
        TypeError, inverse_link_fn=nn.Softplus),
    # truth values and choices
    not_built("no truth value", th.BinaryClassHead, "fine as True or False, got a NAType",
        TypeError, fine=pd.NA),
    not_built("a tensor for a truth value", th.MultiLabelHead,
        "fine as True or False, got a Tensor", TypeError, n_classes=2, fine=torch.ones(2)),
    not_built("a word for a truth value", th.PoissonRegressionHead,
        "compute_full_loss as True or False, got a str", TypeError, compute_full_loss="no"),
    not_built("an array for a truth value", th.PoissonRegressionHead,
        "compute_full_loss as True or False, got a ndarray", TypeError,
        compute_full_loss=np.array([True, False]), name="count"),
    not_built("no kind of lists", th.MultiLabelHead,
        "label_lists as 'ids', 'multi_hot' or None, got <NA>", n_classes=3, label_lists=pd.NA),
    not_built("an array for a kind of lists", th.MultiLabelHead,
        "label_lists as 'ids', 'multi_hot' or None, got array(['ids', 'ids'], …", n_classes=3,
        label_lists=np.array(["ids", "ids"])),
    not_built("a scalar tensor for metrics", th.RegressionHead,
        "metrics as names, …, got tensor(0.)", TypeError, metrics=torch.tensor(0.0)),
    not_built("a span of time for a missing label", th.SurvivalHead,
        "missing_label as a number, or a list of these, …, got np.timedelta64(1,'s')", TypeError,
        cut_points=[1.0], missing_label=np.timedelta64(1, "s")),
    not_built("a span of time for a dimension", th.RegressionHead,
        "label_dimension as an int, got np.timedelta64(1,'s')", TypeError,
        label_dimension=np.timedelta64(1, "s")),
    not_built("a span of time for a threshold", th.BinaryClassHead,
        "thresholds as a list of floats, got np.timedelta64(1,'s')", TypeError,
        thresholds=[np.timedelta64(1, "s")]),
    not_built("a span of time for smoothing", th.MultiClassHead,
        "label_smoothing as a number, got np.timedelta64(0,'s')", TypeError, n_classes=3,
        label_smoothing=np.timedelta64(0, "s")),
    not_built("a share that is no float", th.GaussianRegressionHead,
        "beta as a float, got a number of 401 digits", beta=10**400),
    # columns and names
    not_built("a number for a weight column", th.BinaryClassHead,
        "weight_column as a feature's name or a callable of the features, got int", TypeError,
        weight_column=3),
    not_built("a list of weight columns", th.RegressionHead,
        "weight_column as a feature's name or a callable of the features, got list", TypeError,
        weight_column=["w"], name="ink"),
    not_built("a number for a name", th.BinaryClassHead, "name as a string, got int", TypeError,
        name=7),
    # classes with metrics of their own
    not_built("metrics of a class that is not there", th.MultiLabelHead,
        "classes_for_class_based_metrics in [0, 2], got 3", n_classes=3,
        classes_for_class_based_metrics=[0, 3]),
    not_built("metrics of a negative class", th.MultiLabelHead,
        "classes_for_class_based_metrics in [0, 2], got -1", n_classes=3,
        classes_for_class_based_metrics=[-1]),
    not_built("metrics of a class by a name without a vocabulary", th.MultiLabelHead,
        "classes_for_class_based_metrics as ids, got 'a'", n_classes=3,
        classes_for_class_based_metrics=["a"]),
    not_built("metrics of a class by a name that the vocabulary lacks", th.MultiLabelHead,
        "classes_for_class_based_metrics among ['a', 'b'], got 'z'", n_classes=2,
        label_vocabulary=["a", "b"], classes_for_class_based_metrics=["z"], name="tags"),
    not_built("metrics of half a class", th.MultiLabelHead,
        "classes_for_class_based_metrics in [0, 2], got 0.5", n_classes=3,
        classes_for_class_based_metrics=[0.5]),
    # heads of heads
    not_built("no heads", th.MultiHead, "heads with at least one head, got []", heads=[]),
    not_built("one head, not in a list", th.MultiHead,
        "heads as a list of heads, got BinaryClassHead", TypeError,
        heads=th.BinaryClassHead(name="even")),
    not_built("a layer among the heads", th.MultiHead,
        "heads as a list of heads, got Linear in it", TypeError,
        heads=[th.BinaryClassHead(name="even"), nn.Linear(2, 2)]),
    not_built("a class among the heads", th.MultiHead,
        "heads as a list of heads, got the class BinaryClassHead in place of …", TypeError,
        heads=[th.BinaryClassHead]),
    not_built("a dict of heads", th.MultiHead,
        "heads as a list of heads, got dict", TypeError, heads={"even": th.BinaryClassHead()}),
    not_built("a class at every step", th.SequentialHeadWrapper,
        "static_head as a head, got the class BinaryClassHead in place of an object: …", TypeError,
        static_head=th.BinaryClassHead),
    not_built("a family that is a class", AnyHead,
        "family as a torch_heads.Family, got the class Poisson in place of an object: …", TypeError,
        family=Poisson),
    not_built("a head without a name", th.MultiHead,
        "heads with a name each, got a RegressionHead without",
        heads=[th.BinaryClassHead(name="even"), th.RegressionHead()]),
    not_built("a head whose name is empty", th.MultiHead,
        "heads with a name each, got a BinaryClassHead without",
        heads=[th.BinaryClassHead(name="")]),
    not_built("a weight for a class of no such name", th.MultiClassHead,
        "class_weight by class name or id, of ['a', 'b'], got 'B'. The nearest is 'b'", n_classes=2,
        label_vocabulary=["a", "b"], class_weight={"a": 1.0, "B": 2.0}),
    not_built("no weight for one class", th.MultiLabelHead,
        "pos_weight for every class, got none for ['1']", n_classes=2, pos_weight={0: 1.0}),
    not_built("two weights for one class", th.MultiLabelHead,
        "class_weight by class name or id, of ['a', 'b'], got 0 twice", n_classes=2,
        label_vocabulary=["a", "b"], class_weight={"a": 1.0, 0: 2.0}),
    not_built("a series of weights without one class", th.MultiClassHead,
        "class_weight for every class, got none for ['2']", n_classes=3,
        class_weight=pd.Series([1.0, 2.0])),
    not_built("a gap among weights of classes", th.MultiClassHead,
        "class_weight without gaps, got None in row 1", n_classes=2, class_weight=[1.0, None]),
    not_built("a smoothing of several numbers", th.MultiClassHead,
        "label_smoothing as a number, got array([0.1, 0.2])", TypeError, n_classes=2,
        label_smoothing=np.array([0.1, 0.2])),
    not_built("a threshold of no dimension", th.BinaryClassHead,
        "thresholds as a list of floats, got array(0.5)", TypeError, thresholds=np.array(0.5)),
    not_built("a missing label too large for a float", th.RegressionHead,
        "missing_label as a float, got a number of 401 digits", missing_label=10**400),
    not_built("NA among classes with metrics of their own", th.MultiLabelHead,
        "classes_for_class_based_metrics in [0, 2], got <NA>", n_classes=3,
        classes_for_class_based_metrics=[pd.NA]),
    not_built("a series for a reduction", th.BinaryClassHead, "loss_reduction among …, got shape…",
        loss_reduction=pl.Series([[1]])),
    not_built("a dict for the weight of one class", th.BinaryClassHead,
        "pos_weight as one number, got a dict of [1]", pos_weight={1: 2.0}),
    not_built("a series for the weight of one class", th.BinaryClassHead,
        "pos_weight as one number, got a Series of [0]", pos_weight=pd.Series([3.0])),
    not_built("a frame of weights of classes", th.MultiClassHead,
        "class_weight as one number per class, got a table of ['a', 'b']. A dict or a series has "
        "them by class", n_classes=2, class_weight=pd.DataFrame({"a": [1.0], "b": [2.0]})),
    not_built("one name twice among weights of classes", th.MultiClassHead,
        "class_weight by class name or id, of ['a', 'b'], got 'a' twice", n_classes=2,
        label_vocabulary=["a", "b"], class_weight=pd.Series([1.0, 2.0], index=["a", "a"])),
    not_built("a number that is an id and another class's name", th.MultiLabelHead,
        "pos_weight by class name or id, of ['2', '0', '1'], got 2, the id of '1' and as text "
        "another name. Names are strings", n_classes=3, label_vocabulary=["2", "0", "1"],
        pos_weight={2: 1.0, 0: 2.0, 1: 3.0}),
    not_built("an imaginary weight of a class", th.MultiClassHead,
        "class_weight to be real, got torch.complex64", n_classes=3,
        class_weight=torch.tensor([1j, 2, 3])),
    not_built("a truth for weights of classes", th.MultiClassHead,
        "class_weight as one number per class, got a truth value", n_classes=3,
        class_weight=False),
    not_built("sparse weights of classes", th.MultiClassHead,
        "class_weight to be dense, got torch.sparse_coo", n_classes=3,
        class_weight=torch.ones(3).to_sparse()),
    not_built("learned weights of classes", th.MultiClassHead,
        "class_weight without a gradient, got a tensor that requires one. It would not be learned; "
        "what .detach() returns has none", TypeError, n_classes=3,
        class_weight=nn.Parameter(torch.ones(3))),
    not_built("a learned weight of one class", th.MultiLabelHead,
        "pos_weight without a gradient, got a tensor that requires one. …", TypeError, n_classes=2,
        pos_weight={0: nn.Parameter(torch.tensor(2.0)), 1: 1.0}),
    not_built("learned cut points", th.SurvivalHead,
        "cut_points without a gradient, got a tensor that requires one. …", TypeError,
        cut_points=nn.Parameter(torch.tensor([1.0, 2.0]))),
    not_built("cut points of a dict", th.SurvivalHead, "cut_points as a list of numbers, got dict",
        TypeError, cut_points={1.0: 2.0}),
    not_built("one cut point, not in a list", th.SurvivalHead,
        "cut_points as a list of numbers, got tensor(1.)…", TypeError,
        cut_points=torch.tensor(1.0)),
    not_built("a cut point that is no float", th.SurvivalHead,
        "cut_points as a float, got a number of 401 digits", cut_points=[1.0, 10**400]),
    not_built("a level that is no float", th.QuantileRegressionHead,
        "levels as a float, got a number of 401 digits", levels=[10**400]),
    not_built("sparse levels", th.QuantileRegressionHead,
        "levels to be dense, got torch.sparse_coo", levels=torch.tensor([0.5]).to_sparse()),
    not_built("a learned weight of one head", th.MultiHead,
        "head_weights without a gradient, got a tensor that requires one. Weights that are learned "
        "are one nn.Parameter, with a number for each head", TypeError,
        heads=[th.BinaryClassHead(name="even")],
        head_weights={"even": nn.Parameter(torch.tensor(2.0))}),
    not_built("a list of learned weights of heads", th.MultiHead,
        "head_weights without a gradient, got a tensor that requires one. …", TypeError,
        heads=[th.BinaryClassHead(name="even")],
        head_weights=nn.ParameterList([torch.tensor(2.0)])),
    not_built("weights of heads in a graph", th.MultiHead,
        "head_weights without a gradient, got a tensor that requires one. …", TypeError,
        heads=[th.BinaryClassHead(name="even")], head_weights=nn.Parameter(torch.ones(1)) * 2),
    not_built("sparse weights of heads", th.MultiHead,
        "head_weights to be dense, got torch.sparse_coo", heads=[th.BinaryClassHead(name="even")],
        head_weights=torch.ones(1).to_sparse()),
    not_built("an imaginary weight of a head", th.MultiHead,
        "head_weights to be real, got torch.complex64", heads=[th.BinaryClassHead(name="even")],
        head_weights=[torch.tensor(1j)]),
    not_built("a dict of missing labels", th.RegressionHead,
        "missing_label as a number, or a list of these, as the labels are, got {-1: 1}", TypeError,
        missing_label={-1: 1}),
    not_built("a masked missing label", th.RegressionHead,
        "missing_label as a number, or a list of these, as the labels are, got None", TypeError,
        missing_label=np.ma.masked),
    not_built("weights of heads that are none", th.MultiHead,
        "head_weights by head name or id, of ['even'], got 'Even'. The nearest is 'even'",
        heads=[th.BinaryClassHead(name="even")], head_weights={"Even": 1.0}),
    not_built("no value in a list of missing labels", th.RegressionHead,
        "missing_label with at least one value, got []", missing_label=[]),
    not_built("two heads of one name", th.MultiHead, "heads with different names, got 'even' twice",
        heads=[th.BinaryClassHead(name="even"), th.RegressionHead(name="even")]),
    not_built("more weights than heads", th.MultiHead,
        "head_weights as one finite number per head, 1 in all, got 2: [1.0, 0.5]",
        heads=[th.BinaryClassHead(name="even")], head_weights=[1.0, 0.5]),
    not_built("one weight of heads, not in a list", th.MultiHead,
        "head_weights as one finite number per head, 1 in all, got 2.0", TypeError,
        heads=[th.BinaryClassHead(name="even")], head_weights=2.0),
    not_built("heads whose predictions share their keys", th.MultiHead,
        "heads with different prediction keys, got 'x/x/logits' twice",
        heads=[th.MultiHead([th.BinaryClassHead(name="x")]), th.RegressionHead(
            name="x/x", inverse_link_fn=torch.exp)]),
    not_built("heads whose metrics share their keys", th.MultiHead,
        "heads with different metric keys, got 'average_loss/even' twice",
        heads=[
            th.BinaryClassHead(name="even"),
            th.SequentialHeadWrapper(th.BinaryClassHead(name="even")),
        ]),
    not_built("weights of heads in words", th.MultiHead,
        "head_weights as one finite number per head, 1 in all, got 'much'", TypeError,
        heads=[th.BinaryClassHead(name="even")], head_weights=["much"]),
    not_built("a sequence of heads whose weights it does not see", th.SequentialHeadWrapper,
        "feature_columns with the static head's weight_column 'w', got []",
        static_head=th.MultiHead([th.BinaryClassHead("w", name="even")])),
    not_built("a sequence of a layer", th.SequentialHeadWrapper,
        "static_head as a head, got Linear", TypeError, static_head=nn.Linear(2, 2)),
    not_built("a number for a mask column", th.SequentialHeadWrapper,
        "sequence_length_mask as a string, got int", TypeError, static_head=th.BinaryClassHead(),
        sequence_length_mask=3),
    not_built("a number for the feature columns", th.SequentialHeadWrapper,
        "feature_columns as strings, got 3", TypeError, static_head=th.BinaryClassHead(),
        feature_columns=3),
    not_built("a number among the feature columns", th.SequentialHeadWrapper,
        "feature_columns as strings, got int", TypeError, static_head=th.BinaryClassHead(),
        feature_columns=["w", 3]),
]
# fmt: on


@pytest.mark.parametrize("row", [pytest.param(row, id=row.about) for row in NOT_BUILT])
def test_a_head_is_not_built_of_bad_arguments(row: NotBuilt) -> None:
    with pytest.raises(row.error) as refusal:
        row.head(**row.arguments)
    assert_says(refusal.value, title(row.head, row.arguments.get("name")), row.says)


@pytest.mark.parametrize(
    ("head", "argument"),
    [(th.PoissonRegressionHead, "loss_fn"), (th.LogisticRegressionHead, "label_dimension")],
)
def test_an_argument_of_another_head_is_refused(head: type[th.Head], argument: str) -> None:
    with pytest.raises(TypeError, match=rf"{head.__name__}.*'{argument}'"):
        head(**{argument: None})


def test_what_goes_wrong_in_a_generator_of_heads_is_told_as_it_is() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'nam'"):
        th.MultiHead(th.BinaryClassHead(nam=name) for name in "ab")  # type: ignore[call-arg]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_a_head_is_not_scripted() -> None:
    for model in (even.head(), nn.Sequential(nn.Linear(2, 1), even.head())):
        with pytest.raises(TypeError) as refusal:
            torch.jit.script(model)
        assert_says(refusal.value, EVEN, "a head as the last module of torch.export.export, got …")


def test_the_abstract_head_is_not_built_at_all() -> None:
    with pytest.raises(TypeError, match="abstract class Head"):
        th.Head()  # type: ignore[abstract]


# ---- mistakes in a call ----


@dataclass(frozen=True)
class T:
    """A tensor, made on the device under test."""

    data: Any
    requires_grad: bool = False

    def on(self, device: torch.device) -> Tensor:
        return torch.tensor(self.data, device=device, requires_grad=self.requires_grad)


@dataclass(frozen=True)
class Sparse:
    """A sparse tensor, made on the device under test."""

    places: list[list[int]]
    values: list[Any]
    shape: list[int]

    def on(self, device: torch.device) -> Tensor:
        places = torch.tensor(self.places).T
        return torch.sparse_coo_tensor(
            places, self.values, self.shape, device=device, check_invariants=True
        )


@dataclass(frozen=True)
class Jagged:
    """A jagged tensor, made on the device under test."""

    rows: list[list[Any]]

    def on(self, device: torch.device) -> Tensor:
        rows = [torch.tensor(row) for row in self.rows]
        return torch.nested.nested_tensor(rows, layout=torch.jagged, device=device)


def on(device: torch.device, value: Any) -> Any:
    """Return a value, with its tensors made on the device."""
    if isinstance(value, (T, Sparse, Jagged)):
        return value.on(device)
    if isinstance(value, dict):
        return {key: on(device, entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [on(device, entry) for entry in value]
    return value


def meta(*shape: int, **kwargs: Any) -> Tensor:
    return torch.zeros(shape, device="meta", **kwargs)


Batch = dict[str, Any]
Call = Callable[[th.Head, Any, Batch], object]


def loss(head: th.Head, metrics: Any, batch: Batch) -> object:
    return head.loss(**batch)


def update(head: th.Head, metrics: Any, batch: Batch) -> object:
    return head.update_metrics(**{"eval_metrics": metrics, **batch})


def update_its_own(head: th.Head, metrics: Any, batch: Batch) -> object:
    return head.update_metrics(**batch)


def update_regularized(head: th.Head, metrics: Any, batch: Batch) -> object:
    return head.update_metrics(head.metrics(regularization_losses=[]), **batch)


def regularize(head: th.Head, metrics: Any, batch: Batch) -> object:
    return head.metrics(regularization_losses=batch["regularization_losses"])


def predict(head: th.Head, metrics: Any, batch: Batch) -> object:
    return head.predictions(batch["logits"], keys=batch.get("keys"))


def forward(head: th.Head, metrics: Any, batch: Batch) -> object:
    return head(batch["logits"])


def specify(head: th.Head, metrics: Any, batch: Batch) -> object:
    return head.create_estimator_spec(**{"features": None, **batch})


def look_up(head: Any, metrics: Any, batch: Batch) -> object:
    return head[batch["name"]]


def swap_in_loss(head: th.Head, metrics: Any, batch: Batch) -> object:
    return head.loss(batch["logits"], batch["labels"])


def swap_in_update(head: th.Head, metrics: Any, batch: Batch) -> object:
    return head.update_metrics(metrics, None, batch["labels"], batch["logits"])


def forget_the_features(head: th.Head, metrics: Any, batch: Batch) -> object:
    return head.update_metrics(metrics, batch["logits"], batch["labels"])


WITH_LABELS: tuple[Call, ...] = (loss, update, update_its_own)
WITH_LOGITS: tuple[Call, ...] = (*WITH_LABELS, predict, forward)
WITH_REGULARIZATION: tuple[Call, ...] = (loss, regularize, update_regularized)


@dataclass(frozen=True)
class Refused:
    """What is wrong with a batch, and each way through which a head meets it."""

    about: str
    subject: "Subject"
    says: str
    error: type[Exception]
    through: Sequence[Call]
    who: str | None  # None for the head itself
    only_on_cpu: bool  # values of labels: a CUDA device asserts them, without waiting
    wrong: Batch


@dataclass(frozen=True)
class Subject:
    """A head, and a batch of two that it takes."""

    head: Callable[[], th.Head]
    batch: Batch

    def refuses(
        self,
        about: str,
        says: str,
        error: type[Exception] = ValueError,
        *,
        through: Sequence[Call] = WITH_LABELS,
        who: str | None = None,
        only_on_cpu: bool = False,
        **wrong: Any,
    ) -> Refused:
        return Refused(about, self, says, error, through, who, only_on_cpu, wrong)


def nested(*parts: Sequence[float]) -> Tensor:
    """Return a nested tensor of the strided layout."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a prototype
        return torch.nested.nested_tensor([*map(torch.tensor, parts)])


def quantized(values: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there will be none some day
        return torch.quantize_per_tensor(torch.tensor(values), 0.5, 0, torch.qint8)


def masked(value: float) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a prototype
        return torch.masked.masked_tensor(torch.tensor(value), torch.tensor(False))


def of_another_width(logits: Tensor) -> Tensor:
    return logits[:, :1] if logits.max() > 5 else logits


def of_another_type(logits: Tensor) -> Tensor:
    return logits > 0 if logits.max() > 5 else logits


def given_losses(labels: Tensor, logits: Tensor, features: Batch) -> Tensor:
    return features["losses"]


even = Subject(
    lambda: th.BinaryClassHead(name="even", thresholds=[0.3]),
    {"logits": T([[2.0], [-1.0]]), "labels": T([[1], [0]])},
)
weighted = Subject(
    lambda: th.BinaryClassHead(name="even", weight_column="w"),
    {**even.batch, "features": {"w": T([1.0, 2.0])}},
)
weighted_by_a_function = Subject(
    lambda: th.BinaryClassHead(name="even", weight_column=lambda features: features["w"]),
    weighted.batch,
)
with_loss_fn = Subject(
    lambda: th.BinaryClassHead(name="even", loss_fn=given_losses),
    {**even.batch, "features": {"losses": T([[0.5], [1.0]])}},
)
linked = Subject(
    lambda: th.RegressionHead(2, name="ink", inverse_link_fn=of_another_width),
    {"logits": T([[2.0, 0.5], [0.0, 1.0]]), "labels": T([[1.0, 0.0], [2.0, 3.0]])},
)
decided = Subject(
    lambda: th.RegressionHead(inverse_link_fn=of_another_type),
    {"logits": T([[2.0], [0.5]]), "labels": T([[1.0], [0.0]])},
)
coin = Subject(
    lambda: th.BinaryClassHead(label_vocabulary=["heads", "tails"]),
    {"logits": T([[2.0], [-1.0]]), "labels": [["tails"], ["heads"]]},
)
digit = Subject(
    lambda: th.MultiClassHead(3, name="digit"),
    {"logits": T([[2.0, 0.0, 1.0], [0.0, 1.0, 0.5]]), "labels": T([[0], [2]])},
)
pair = Subject(
    lambda: th.MultiClassHead(2, name="pair"),
    {"logits": T([[2.0, 0.0], [0.0, 1.0]]), "labels": T([0, 1])},
)
word = Subject(
    lambda: th.MultiClassHead(3, label_vocabulary=["zero", "one", "two"], name="word"),
    {**digit.batch, "labels": np.array(["zero", "two"])},
)
tags = Subject(
    lambda: th.MultiLabelHead(3, name="tags", classes_for_class_based_metrics=[0]),
    {**digit.batch, "labels": T([[0, 1, 1], [1, 0, 0]])},
)
named_tags = Subject(
    lambda: th.MultiLabelHead(3, name="tags", label_vocabulary=["a", "b", "c"]), tags.batch
)
digits = Subject(
    lambda: th.MultiLabelHead(3, name="digits", label_vocabulary=["2", "0", "1"]), tags.batch
)
tagged_twice = Subject(
    lambda: th.MultiHead(
        [
            th.MultiLabelHead(2, name="first", label_vocabulary=["a", "b"]),
            th.MultiLabelHead(2, name="then", label_vocabulary=["b", "c"]),
        ]
    ),
    {"logits": torch.zeros(2, 4), "labels": T([[0, 1, 1, 0], [1, 0, 0, 0]])},
)
ink = Subject(
    lambda: th.RegressionHead(2, name="ink"),
    {"logits": T([[2.0, 0.5], [0.0, 1.0]]), "labels": T([[1.0, 0.0], [2.0, 3.0]])},
)
count = Subject(
    th.PoissonRegressionHead, {"logits": T([[0.5], [1.0]]), "labels": T([[1.0], [4.0]])}
)
rate = Subject(
    th.LogisticRegressionHead, {"logits": T([[0.5], [1.0]]), "labels": T([[0.1], [1.0]])}
)
both = Subject(
    lambda: th.MultiHead([digit.head(), even.head()]),
    {
        "logits": T([[2.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.5, -1.0]]),
        "labels": {"digit": T([[0], [2]]), "even": T([[1], [0]])},
    },
)
both_with_names = Subject(
    lambda: th.MultiHead([word.head(), even.head()]),
    {**both.batch, "labels": {"word": ["zero", "two"], "even": T([[1], [0]])}},
)
both_weighted = Subject(
    lambda: th.MultiHead([digit.head(), weighted.head()]),
    {**both.batch, "features": {"w": T([1.0, 2.0])}},
)
lacking = Subject(
    lambda: th.MultiHead(
        [th.BinaryClassHead(name="toxic", missing_label=-1), th.RegressionHead(name="length")]
    ),
    {"logits": T([[2.0, 1.0], [0.0, 1.0]]), "labels": {"toxic": T([1, 0]), "length": [1.0, 2.0]}},
)
mask = {"sequence_length_mask": T([[True, True], [True, False]])}
column = {"w": T([[1.0, 2.0], [3.0, 100.0]])}
kinds = Subject(
    lambda: th.SequentialHeadWrapper(th.MultiClassHead(3, name="kind")),
    {"logits": torch.zeros(2, 2, 3), "labels": T([[1, 0], [0, 1]]), "features": mask},
)
steps = Subject(
    lambda: th.SequentialHeadWrapper(weighted.head(), feature_columns=["w"]),
    {
        "logits": T([[[2.0], [-1.0]], [[0.5], [9.0]]]),
        "labels": T([[1, 0], [0, 1]]),
        "features": {**mask, **column},
    },
)

EVEN = "BinaryClassHead 'even'"
SGD = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)

# fmt: off
REFUSED = [
    # logits
    even.refuses("logits of rank 1", "logits of shape [D0, ..., DN, 1], got [2]",
        through=WITH_LOGITS, logits=T([2.0, -1.0])),
    even.refuses("a scalar of logits", "logits of shape [D0, ..., DN, 1], got []",
        through=WITH_LOGITS, logits=T(2.0)),
    even.refuses("logits of two columns for a binary head",
        "logits of shape [D0, ..., DN, 1], got [2, 2]", through=WITH_LOGITS,
        logits=T([[2.0, 1.0], [0.0, 1.0]])),
    digit.refuses("logits of too few classes", "logits of shape [D0, ..., DN, 3], got [2, 2]",
        through=WITH_LOGITS, logits=T([[2.0, 1.0], [0.0, 1.0]])),
    even.refuses("no logits", "logits to be given, got None", through=WITH_LOGITS, logits=None),
    digit.refuses("integer logits", "logits to be floating, got torch.int64", through=WITH_LOGITS,
        logits=T([[2, 0, 1], [0, 1, 5]])),
    even.refuses("truths for logits", "logits to be floating, got torch.bool", through=WITH_LOGITS,
        logits=T([[True], [False]])),
    even.refuses("complex logits", "logits to be real, got torch.complex64", through=WITH_LOGITS,
        logits=T([[1j], [2j]])),
    even.refuses("logits in words", "logits to be numeric, got strings", through=WITH_LOGITS,
        logits=[["yes"], ["no"]]),
    even.refuses("ragged logits", "logits to be rectangular, got rows of different lengths",
        through=WITH_LOGITS, logits=[[2.0], [0.0, 1.0]]),
    even.refuses("a dict of logits for a single head",
        "logits as one tensor, got a dict of ['even']", through=WITH_LOGITS,
        logits={"even": T([[2.0], [1.0]])}),
    pair.refuses("one logit for two classes", "logits of shape [D0, ..., DN, 2], got [2, 1]. One "
        "logit for two classes is that of a BinaryClassHead", through=WITH_LOGITS,
        logits=T([[2.0], [1.0]])),
    even.refuses("two logits for a yes or no", "logits of shape [D0, ..., DN, 1], got [3, 2]. Two "
        "logits, one for each class, are those of MultiClassHead(n_classes=2)", through=WITH_LOGITS,
        logits=T([[2.0, 1.0], [0.0, 1.0], [0.0, 0.0]])),
    even.refuses("logits without their dimension", "logits of shape [D0, ..., DN, 1], got [3]. One "
        "logit for each row: logits.unsqueeze(-1)", through=WITH_LOGITS, logits=T([2.0, 1.0, 0.0])),
    digit.refuses("logits of images with the classes first",
        "logits of shape [D0, ..., DN, 3], got [2, 3, 4, 5]. …: logits.movedim(1, -1)",
        through=WITH_LOGITS, logits=torch.zeros(2, 3, 4, 5)),
    both.refuses("stacked logits of images with the heads first",
        "logits of shape [D0, ..., DN, 4], got [2, 4, 5, 5]. …: logits.movedim(1, -1)",
        through=WITH_LOGITS, logits=torch.zeros(2, 4, 5, 5)),
    even.refuses("a masked logit", "logits without gaps, got None in row 1", through=WITH_LOGITS,
        logits=np.ma.masked_equal([[2.0], [9.0]], 9.0)),
    even.refuses("a set of logits", "logits as a tensor, an array or a list, got set",
        through=WITH_LOGITS, logits={2.0, 1.0}),
    even.refuses("a generator of logits", "logits as a tensor, an array or a list, got generator",
        through=WITH_LOGITS, logits=(own for own in [2.0, 1.0])),
    even.refuses("a table of no logits", "logits with columns, got a table without any",
        through=WITH_LOGITS, logits=pd.DataFrame()),
    even.refuses("quantized logits", "logits to be floating, got torch.qint8. …",
        through=WITH_LOGITS, logits=quantized([[2.0], [1.0]])),
    # labels and logits together
    even.refuses("labels and logits swapped",
        "logits to be floating, got torch.int64. Labels …logits…swapped", labels=T([[2.0], [-1.0]]),
        logits=T([[1], [0]])),
    digit.refuses("labels and logits swapped by position",
        "logits to be floating, got torch.int64. Labels …logits…swapped",
        through=(swap_in_loss, swap_in_update)),
    even.refuses("the features left out by position", "logits to be floating, got torch.int64",
        through=(forget_the_features,)),
    even.refuses("no labels", "labels to be given, got None", labels=None),
    even.refuses("labels of another batch", "labels of shape [2] or [2, 1], got [3]",
        labels=T([1, 0, 0])),
    digit.refuses("labels of another batch of class ids",
        "labels of shape [2] or [2, 1], got [3, 1]", labels=T([[1], [0], [2]])),
    ink.refuses("labels that would broadcast", "labels of shape [2, 2], got [1, 2]",
        labels=T([[1.0, 2.0]])),
    tags.refuses("labels of too few columns", "labels of shape [2, 3], got [2, 2]",
        labels=T([[1, 0], [0, 1]])),
    ink.refuses("flat labels for several columns", "labels of shape [2, 2], got [2]",
        labels=T([1.0, 2.0])),
    digit.refuses("one-hot labels for class ids",
        "labels as class ids, got torch.int64 of shape [2, 3]. One-hot … labels.argmax(-1), …",
        labels=T([[1, 0, 0], [0, 0, 1]])),
    digit.refuses("class probabilities that add up to two",
        "the distance from 1 of the sums of class probabilities in [0, 0.01], got 1.0",
        labels=T([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), only_on_cpu=True),
    digit.refuses("a negative class probability", "class probabilities in [0, 1], got 1.5",
        labels=T([[1.5, -0.5, 0.0], [0.0, 0.0, 1.0]]), only_on_cpu=True),
    even.refuses("ragged labels for a binary head",
        "labels to be rectangular, got rows of different lengths", labels=[[1], [0, 1]]),
    even.refuses("a dict of labels for a single head",
        "labels as one tensor, got a dict of ['even']", labels={"even": T([[1], [0]])}),
    even.refuses("one-hot labels for a yes or no",
        "labels as one column, got two, of shape [2, 2]. One-hot labels are ids by labels.argmax…",
        labels=T([[0, 1], [1, 0]])),
    even.refuses("probabilities of both classes for a yes or no",
        "labels as one column, got two, of shape [2, 2]. …probabilities by labels[..., 1]",
        labels=[[0.2, 0.8], [1.0, 0.0]]),
    digit.refuses("class probabilities of too few classes",
        "labels to be integer class ids, got torch.float32. Class ids are integers; probabilities "
        "have shape [2, 3]", labels=T([[0.5, 0.5], [1.0, 0.0]])),
    ink.refuses("labels with the columns first", "labels of shape [3, 2], got [2, 3]. The "
        "dimensions are in another order: labels.transpose(0, 1)", labels=T([[1.0] * 3] * 2),
        logits=T([[1.0, 2.0]] * 3)),
    tags.refuses("labels of images with the classes first",
        "labels of shape [2, 4, 5, 3], got [2, 3, 4, 5]. The dimensions are in another order: "
        "labels.movedim(1, -1)", labels=torch.zeros(2, 3, 4, 5), logits=torch.zeros(2, 4, 5, 3)),
    digit.refuses("ids of images by time", "labels of shape [2, 4] or [2, 4, 1], got [4, 2]. …"
        "another order: labels.transpose(0, 1)", labels=torch.zeros(4, 2, dtype=torch.int64),
        logits=torch.zeros(2, 4, 3)),
    digit.refuses("ids of images with a channel", "labels of shape [2, 4, 5] or [2, 4, 5, 1], got "
        "[2, 1, 4, 5]. One dimension is too many: labels.squeeze(1)",
        logits=torch.zeros(2, 4, 5, 3),
        labels=torch.zeros(2, 1, 4, 5, dtype=torch.int64)),
    ink.refuses("labels with a dimension too many", "labels of shape [2, 2], got [2, 1, 2]. One "
        "dimension is too many: labels.squeeze(1)", labels=torch.zeros(2, 1, 2)),
    # values of labels
    even.refuses("a binary label of 2", "labels in [0, 1], got 2.0", only_on_cpu=True,
        labels=T([[0], [2]])),
    even.refuses("a negative binary label", "labels in [0, 1], got -1.0", only_on_cpu=True,
        labels=T([[0], [-1]])),
    even.refuses("a binary label that is not a number", "labels without gaps, got nan in row 1. …",
        only_on_cpu=True, labels=T([[0.0], [float("nan")]])),
    digit.refuses("a class id too many", "labels in [0, 2], got 3", only_on_cpu=True,
        labels=T([[0], [3]])),
    digit.refuses("a negative class id", "labels in [0, 2], got -1", only_on_cpu=True,
        labels=T([[-1], [0]])),
    tags.refuses("an indicator of 2", "labels in [0, 1], got 2.0", only_on_cpu=True,
        labels=T([[0, 1, 2], [0, 0, 0]])),
    count.refuses("a negative count", "labels >= 0, got -2.0", only_on_cpu=True,
        labels=T([[1.0], [-2.0]])),
    rate.refuses("a rate above 1", "labels in [0, 1], got 1.5", only_on_cpu=True,
        labels=T([[0.5], [1.5]])),
    rate.refuses("a negative rate", "labels in [0, 1], got -0.5", only_on_cpu=True,
        labels=T([[-0.5], [1.0]])),
    # types of labels
    digit.refuses("float class ids", "labels to be integer class ids, got torch.float32",
        labels=T([[0.0], [2.0]])),
    digit.refuses("truths for class ids", "labels to be integer class ids, got torch.bool",
        labels=T([[True], [False]])),
    ink.refuses("complex labels", "labels to be real, got torch.complex64",
        labels=T([[1j, 0j], [2j, 0j]])),
    even.refuses("names without a vocabulary for a binary head",
        "labels to be numeric, got strings", labels=[["yes"], ["no"]]),
    digit.refuses("names without a vocabulary for a multi-class head",
        "labels to be numeric, got strings", labels=np.array(["zero", "two"])),
    ink.refuses("names for a regression", "labels to be numeric, got strings",
        labels=[["a", "b"], ["c", "d"]]),
    coin.refuses("an id that the vocabulary of two lacks", "labels in [0, 1], got 2.0",
        labels=[[1], [2]], only_on_cpu=True),
    word.refuses("an id that the vocabulary lacks", "labels in [0, 2], got 3",
        labels=T([[1], [3]]), only_on_cpu=True),
    word.refuses("an id among names",
        "labels from label_vocabulary ['zero', 'one', 'two'], got 1", labels=["two", 1]),
    word.refuses("nothing although there is a vocabulary",
        "labels without gaps, got None in row 0. …missing_label", labels=[None, None]),
    word.refuses("a set of names for one class",
        "labels to be rectangular, got rows of different lengths, or sets",
        labels=[{"zero"}, {"two"}]),
    word.refuses("names in a dict", "labels as one tensor, got a dict of ['word']",
        labels={"word": ["zero", "two"]}),
    coin.refuses("a name that the vocabulary of two lacks",
        "labels from label_vocabulary ['heads', 'tails'], got 'edge'",
        labels=[["tails"], ["edge"]]),
    word.refuses("a name that the vocabulary lacks",
        "labels from label_vocabulary ['zero', 'one', 'two'], got 'three'",
        labels=np.array(["zero", "three"])),
    word.refuses("names of another batch", "labels of shape [2] or [2, 1], got [3]",
        labels=["zero", "one", "two"]),
    even.refuses("complex labels in a list", "labels to be real, got complex128 values",
        labels=[1j, 0]),
    even.refuses("a set for labels", "labels as a tensor, an array or a list, got set",
        labels={0, 1}),
    even.refuses("a sparse array", "labels as a tensor, an array or a list, got csr_array",
        labels=scipy.sparse.csr_array([[1], [0]])),
    even.refuses("quantized labels",
        "labels to be numeric, got torch.qint8. labels.dequantize() has numbers",
        labels=quantized([1.0, 0.0])),
    both.refuses("quantized stacked labels", "labels to be numeric, got torch.qint8. …",
        labels=quantized([[1.0, 0.0], [2.0, 1.0]])),
    even.refuses("a struct of polars for one number", "labels as one column, or columns that are "
        "named by their places 0, 1, ..., got a table of ['a', 'b']. …",
        labels=pl.Series([{"a": 1, "b": 0}, {"a": 0, "b": 0}])),
    even.refuses("a number too large for a float",
        "labels to fit into int64, got 1000000000000000000…", labels=[10**30, 0]),
    # gaps
    ink.refuses("a masked label",
        "labels without gaps, got None in row 1. Labels that are missing need a missing_label",
        labels=np.ma.masked_equal([[1.0, 2.0], [3.0, 9.0]], 9.0)),
    even.refuses("None among labels", "labels without gaps, got None in row 1. …missing_label",
        labels=[1, None]),
    even.refuses("NaN in a list of labels", "labels without gaps, got nan in row 0. …missing_label",
        labels=[float("nan"), 1]),
    ink.refuses("NaN in a tensor", "labels without gaps, got nan in row 1. …missing_label",
        labels=T([[1.0, 2.0], [float("nan"), 1.0]]), only_on_cpu=True),
    digit.refuses("NA in a series of ids", "labels without gaps, got <NA> in row 1. …missing_label",
        labels=pd.Series([1, pd.NA], dtype=object)),
    digit.refuses("null in a column of polars",
        "labels without gaps, got nan in row 1. …missing_label", labels=pl.Series([1, None])),
    digit.refuses("null in an array of pyarrow",
        "labels without gaps, got nan in row 0. …missing_label", labels=pa.array([None, 2])),
    word.refuses("a missing name", "labels without gaps, got None in row 1. …missing_label",
        labels=["two", None]),
    word.refuses("a missing name in a category",
        "labels without gaps, got nan in row 0. …missing_label",
        labels=pd.Categorical([None, "two"])),
    tags.refuses("a row without a set", "labels without gaps, got None in row 1. …missing_label",
        labels=[[0], None]),
    named_tags.refuses("None in a set", "labels without gaps, got None in row 0. …missing_label",
        labels=[{"a", None}, {"b"}]),
    kinds.refuses("None at a step", "labels without gaps, got None in row 0. …missing_label",
        who="MultiClassHead 'kind'", labels=[[1, None], [0, 1]]),
    both.refuses("a gap in stacked labels", "labels without gaps, got a gap in row 1. …",
        who=EVEN, labels=[[0, 1], [2, None]]),
    even.refuses("one NaN for all labels",
        "labels without gaps, got nan. Labels that are missing need a missing_label",
        labels=float("nan")),
    digit.refuses("a signalling NaN", "labels without gaps, got Decimal('sNaN') in row 0. …",
        labels=[Decimal("sNaN"), 1]),
    even.refuses("masked weights", "weights without gaps, got None in row 1",
        weights=np.ma.masked_equal([1.0, 9.0], 9.0)),
    even.refuses("NaN in a list of weights", "weights without gaps, got nan in row 0",
        weights=[float("nan"), 1.0]),
    weighted.refuses("a gap in the weight column", "features['w'] without gaps, got nan in row 1",
        features={"w": pd.Series([1.0, None])}),
    steps.refuses("a gap in the mask",
        "the mask features['sequence_length_mask'] without gaps, got None in row 0",
        features={**column, "sequence_length_mask": [[1, None], [1, 0]]}),
    # tables
    ink.refuses("a frame for several numbers",
        "labels as one column, or columns that are named by their places 0, 1, ..., got a table of "
        "['kilos', 'metres']. A table is read by the names …",
        labels=pd.DataFrame({"kilos": [1.0, 2.0], "metres": [1.0, 2.0]})),
    even.refuses("a frame for one number",
        "labels as one column, … got a table of ['even', 'odd']. …",
        labels=pl.DataFrame({"even": [1, 0], "odd": [0, 1]})),
    tags.refuses("a table of names without a vocabulary",
        "labels by class name or id, of ['0', '1', '2'], got 'a'",
        labels=pa.table({"a": [1, 0], "b": [1, 0], "c": [1, 0]})),
    named_tags.refuses("a frame with a misspelt class",
        "labels by class name or id, of ['a', 'b', 'c'], got 'C'. The nearest is 'c'",
        labels=pd.DataFrame({"a": [1, 0], "b": [1, 0], "C": [1, 0]})),
    named_tags.refuses("a dict that lacks a class",
        "labels for every class, got none for ['b']", labels={"a": [1, 0], "c": [1, 0]}),
    named_tags.refuses("a frame with a column twice",
        "labels with columns of different names, got 'a' twice",
        labels=pd.DataFrame([[1, 0, 1], [0, 1, 1]], columns=["a", "b", "a"])),
    both.refuses("a frame that lacks a head", "labels for the heads ['even'], got ['digit']. …",
        labels=pd.DataFrame({"digit": [0, 2]})),
    digits.refuses("a table of numbers that are ids and other classes' names",
        "labels by class name or id, of ['2', '0', '1'], got 2, the id of '1' and …",
        labels=pd.DataFrame({2: [1, 0], 0: [0, 1], 1: [0, 0]})),
    tagged_twice.refuses("a table with a class of two heads", "labels with columns of one head "
        "each, got 'b', a class of 'first' and of 'then'. A dict of tables by head name …",
        labels=pd.DataFrame({"a": [1, 0], "b": [1, 0], "c": [0, 0]})),
    both.refuses("a table with a misspelt head",
        "labels for the heads ['even'], got ['digit', 'Even']. The nearest is 'even'. …",
        labels=pa.table({"digit": [0, 2], "Even": [1, 0]})),
    both.refuses("a frame of weights with a misspelt head",
        "weights by head names ['digit', 'even'], got ['evn']. The nearest is 'even'",
        weights=pd.DataFrame({"digit": [1.0, 2.0], "evn": [1.0, 2.0]})),
    lacking.refuses("a misspelt head that may lack its labels",
        "labels by head names ['toxic', 'length'], got ['Toxic']. The nearest is 'toxic'",
        labels={"Toxic": [1, 0], "length": [1.0, 2.0]}),
    lacking.refuses("labels for no head where one lacks its labels",
        "labels by head names ['toxic', 'length'], got ['xyz']",
        labels={"xyz": [1, 0], "length": [1.0, 2.0]}),
    # what the loader of a batch makes of lists
    word.refuses("names by position", "labels by example, got a list of 1 tuples, each as long as "
        "the batch. default_collate lists positions: [list(row) for row in zip(*labels)] …",
        labels=[("zero", "two")]),
    named_tags.refuses("sets of names by position",
        "labels by example, got a list of 2 tuples, each as long as the batch. default_collate …",
        labels=[("a", "b"), ("c", "a")]),
    tags.refuses("multi-hot labels by position",
        "labels by example, got a list of 3 tensors, each as long as the batch. default_collate "
        "lists positions: torch.stack(labels, 1) …", labels=[T([1, 0]), T([0, 1]), T([1, 1])]),
    ink.refuses("a list of tensors that could be either",
        "labels by example, got a list of 2 tensors, … give torch.stack(labels)",
        labels=[T([1.0, 0.0]), T([2.0, 3.0])]),
    both.refuses("stacked labels by position",
        "labels by example, got a list of 2 tensors, … give torch.stack(labels)",
        labels=[T([1, 0]), T([2, 1])]),
    even.refuses("dates for labels", "labels to be numeric, got datetime64[D] values",
        labels=np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[D]")),
    even.refuses("a text beside numbers in objects", "labels to be numeric, got strings",
        labels=np.array([1, "yes"], dtype=object)),
    ink.refuses("numbers and a dict in objects", "labels to be numeric, got dict values",
        labels=np.array([[1, 2], [3, {}]], dtype=object)),
    # sparse labels
    even.refuses("sparse labels for a binary head", "labels to be dense, got torch.sparse_coo",
        labels=Sparse([[0, 0]], [1], [2, 1])),
    digit.refuses("sparse labels for class ids", "labels to be dense, got torch.sparse_coo",
        labels=Sparse([[0, 0]], [1], [2, 1])),
    ink.refuses("a jagged label for a regression", "labels to be dense, got a nested tensor",
        labels=Jagged([[1.0, 2.0], [0.0]])),
    tags.refuses("sparse labels that could be multi-hot",
        "sparse labels as sets of ids, got 0 and 1 alone in rows of 3. Multi-hot rows are dense: "
        "labels.to_dense(); …", labels=Sparse([[0, 1], [1, 2]], [1, 1], [2, 3]), only_on_cpu=True),
    tags.refuses("jagged labels that could be multi-hot",
        "sparse labels as sets of ids, got 0 and 1 alone in rows of 3. …",
        labels=Jagged([[0, 1, 1], [1, 0, 0]]), only_on_cpu=True),
    tags.refuses("sparse floats that could be multi-hot",
        "sparse labels to be integer class ids, got torch.float32. Multi-hot rows are dense: "
        "labels.to_dense(); label_lists=…", labels=Sparse([[0, 1], [1, 2]], [1.0, 1.0], [2, 3])),
    tags.refuses("sparse truths that could be multi-hot",
        "sparse labels to be integer class ids, got torch.bool. …labels.to_dense(); label_lists=…",
        labels=Sparse([[0, 1], [1, 2]], [True, True], [2, 3])),
    tags.refuses("jagged floats that could be multi-hot",
        "sparse labels to be integer class ids, got torch.float32. Multi-hot rows are dense: "
        "torch.stack(labels.unbind()); …", labels=Jagged([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])),
    tags.refuses("a tensor of one class id per row",
        "labels of shape [2, 3], got [2]. Rows of one class id each are multi-hot by "
        "torch.nn.functional.one_hot(torch.as_tensor(labels), 3)", labels=T([2, 0])),
    tags.refuses("a list of one class id per row",
        "labels of shape [2, 3], got [2]. …one_hot(torch.as_tensor(labels), 3)", labels=[1, 0]),
    tags.refuses("a column of class ids",
        "labels of shape [2, 3], got [2, 1]. …one_hot(torch.as_tensor(labels), 3).squeeze(-2)",
        labels=np.array([[2], [0]])),
    tags.refuses("sets one level too deep",
        "labels as one set of classes per row, got a row that holds [0]",
        labels=[[[0], [1]], [[0], [1]]]),
    tags.refuses("arrays of sets one level too deep",
        "labels as one set of classes per row, got a row that holds [0]",
        labels=[np.zeros((1, 1), int)] * 2),
    tags.refuses("ragged sets one level too deep",
        "labels as one set of classes per row, got a row that holds [0]",
        labels=[[[0], [1, 2]], [[0]]]),
    tags.refuses("a series of sets one level too deep",
        "labels as one set of classes per row, got a row that holds array([0])",
        labels=pl.Series([[[0], [1]], [[0], [1]]])),
    named_tags.refuses("names one level too deep",
        "labels as one set of classes per row, got a row that holds ['a']",
        labels=[[["a"]], [["b"]]]),
    both.refuses("a nested tensor for many heads", "labels to be dense, got a nested tensor",
        labels=nested([1.0, 0.0], [1.0, 0.0]), through=(loss,)),
    both.refuses("a nested tensor for one of many", "labels to be dense, got a nested tensor",
        labels={"digit": T([0, 1]), "even": nested([1.0], [1.0])},
        through=(loss,), who=EVEN),
    ink.refuses("a list of ragged nested tensors",
        "labels to be rectangular, got rows of different lengths", through=(loss,),
        labels=[nested([1.0, 2.0], [1.0])] * 2),
    tags.refuses("a sparse class id too many", "sparse labels in [0, 2], got 3", only_on_cpu=True,
        labels=Sparse([[0, 0], [1, 0]], [0, 3], [2, 1])),
    tags.refuses("a negative class id in a list", "labels in [0, 2], got -1", only_on_cpu=True,
        labels=[[0], [-1, 1]]),
    tags.refuses("fractional sparse class ids",
        "sparse labels to be integer class ids, got torch.float32",
        labels=Sparse([[0, 0], [1, 0]], [0.0, 1.0], [2, 1])),
    tags.refuses("sparse labels of another batch", "sparse labels of batch shape [2], got [3]",
        labels=Sparse([[0, 0], [2, 0]], [0, 1], [3, 1])),
    tags.refuses("names without a list per row",
        "labels as a list of class names per row, got ['a', 'b']. …label_vocabulary",
        labels=["a", "b"]),
    ink.refuses("a number too large for int64",
        "labels to fit into int64, got 18446744073709551615",
        labels=np.array([[0, 0], [0, 2**64 - 1]], dtype=np.uint64)),
    ink.refuses("labels that need a gradient in a list",
        "labels as one tensor, got a list of tensors. Stack them: …", through=(loss,),
        labels=[[torch.ones((), requires_grad=True), torch.ones(())]] * 2),
    weighted.refuses("ragged weights",
        "features['w'] to be rectangular, got rows of different lengths",
        features={"w": [[1.0], [2.0, 3.0]]}),
    tags.refuses("lists of class ids of another batch", "labels of batch shape [2], got [3]",
        labels=[[0], [1, 2], []]),
    tags.refuses("a jagged label of another batch", "sparse labels of batch shape [2], got [3]",
        labels=Jagged([[0], [1], [2]])),
    tags.refuses("sparse names without a vocabulary", "labels to be numeric, got strings",
        labels=[["a"], []]),
    named_tags.refuses("a sparse name that the vocabulary lacks",
        "labels from label_vocabulary ['a', 'b', 'c'], got 'z'", labels=[["a"], ["c", "z"]]),
    # weights
    even.refuses("weights of another batch", "weights of shape [2] or [2, 1], got [3]",
        weights=T([1.0, 2.0, 3.0])),
    even.refuses("a scalar of weights", "weights of shape [2] or [2, 1], got []", weights=T(2.0)),
    tags.refuses("weights of another number of classes",
        "weights of shape [2] or [2, 1] or [2, 3], got [2, 2]",
        weights=T([[1.0, 1.0], [1.0, 2.0]])),
    digit.refuses("weights in another order", "weights of shape [2, 4] or [2, 4, 1], got [4, 2]. "
        "The dimensions are in another order: weights.transpose(0, 1)",
        weights=T([[1.0, 2.0]] * 4), logits=torch.zeros(2, 4, 3),
        labels=torch.zeros(2, 4, dtype=torch.int64)),
    even.refuses("weights in words", "weights to be numeric, got strings",
        weights=["much", "little"]),
    even.refuses("complex weights", "weights to be real, got torch.complex64", weights=T([1j, 2j])),
    even.refuses("a dict of weights for a single head",
        "weights as one tensor, got a dict of ['even']", weights={"even": T([1.0, 2.0])}),
    weighted.refuses("weights beside a weight column",
        "weights or the weight_column 'w' alone, got both", weights=T([1.0, 2.0])),
    weighted.refuses("a weight column that is not among the features",
        "features with the weight_column 'w', got ['v']", features={"v": T([1.0, 2.0])}),
    weighted.refuses("a weight column without features",
        "features with the weight_column 'w', got no features", features=None),
    weighted.refuses("features that are a tensor",
        "features with the weight_column 'w', got Tensor. Features are a dict by name, or a table",
        features=T([1.0, 2.0])),
    weighted.refuses("a weight column of two dimensions too many",
        "features['w'] of shape [2] or [2, 1], got [2, 2]",
        features={"w": T([[1.0, 2.0], [1.0, 2.0]])}),
    weighted.refuses("a scalar in the weight column",
        "features['w'] of shape [2] or [2, 1], got []", features={"w": T(1.0)}),
    weighted.refuses("words in the weight column", "features['w'] to be numeric, got strings",
        features={"w": np.array(["much", "little"])}),
    weighted_by_a_function.refuses("a weight function that returns nothing",
        "weight_column(features) to be given, got None", features={"w": None}),
    weighted_by_a_function.refuses("a weight function that returns another batch",
        "weight_column(features) of shape [2] or [2, 1], got [3]",
        features={"w": T([1.0, 2.0, 3.0])}),
    # devices
    even.refuses("logits on another device", "labels on the logits' device meta, got cpu",
        logits=meta(2, 1)),
    even.refuses("a batch without values to count",
        "logits on a device with values, where there is something to count, got meta",
        through=(update, update_its_own), logits=meta(2, 1), labels=[1, 0]),
    even.refuses("labels on another device", "labels on the logits' device …, got meta",
        labels=meta(2, 1)),
    even.refuses("weights on another device", "weights on the logits' device …, got meta",
        weights=meta(2, 1)),
    weighted.refuses("a weight column on another device",
        "features['w'] on the logits' device …, got meta", features={"w": meta(2, 1)}),
    tags.refuses("sparse labels on another device",
        "sparse labels on the logits' device …, got meta",
        labels=meta(2, 1, dtype=torch.int64, layout=torch.sparse_coo)),
    # custom losses
    with_loss_fn.refuses("a loss_fn that loses an axis",
        "loss_fn to return a tensor of shape [2, 1], got [2]", features={"losses": T([0.5, 1.0])}),
    decided.refuses("a link to truths", "inverse_link_fn to return floating predictions, got …bool",
        through=(update, update_its_own, predict, forward), logits=T([[9.0], [0.0]])),
    linked.refuses("a link that loses a column",
        "inverse_link_fn to return a tensor of shape [2, 2], got [2, 1]",
        through=(update, update_its_own, predict, forward), logits=T([[9.0, 0.5], [0.0, 1.0]])),
    with_loss_fn.refuses("a loss_fn that returns a number",
        "loss_fn to return a tensor of shape [2, 1], got float", features={"losses": 0.5}),
    with_loss_fn.refuses("a loss_fn that returns integers",
        "loss_fn to return floating losses, got torch.int64", features={"losses": T([[0], [1]])}),
    # regularization
    even.refuses("a bare regularization loss",
        "regularization_losses as a list of scalars, got Tensor", TypeError,
        through=WITH_REGULARIZATION, regularization_losses=T(0.5)),
    digit.refuses("a bare number for regularization losses",
        "regularization_losses as a list of scalars, got float", TypeError,
        through=WITH_REGULARIZATION, regularization_losses=0.5),
    even.refuses("a regularization loss per example",
        "regularization_losses as a list of scalars, got an entry [2]", through=WITH_REGULARIZATION,
        regularization_losses=[T(0.5), T([1.0, 2.0])]),
    both.refuses("regularization losses in words",
        "regularization_losses as a list of scalars, got an entry 'much'",
        through=WITH_REGULARIZATION, regularization_losses=["much"]),
    even.refuses("None among the penalties",
        "regularization_losses as a list of scalars, got an entry None",
        through=WITH_REGULARIZATION, regularization_losses=[T(0.5), None]),
    even.refuses("a penalty too large for a float", "regularization_losses as a list of scalars, "
        "got an entry too large for a float", through=WITH_REGULARIZATION,
        regularization_losses=[0.5, 10**400]),
    even.refuses("a complex penalty", "regularization_losses as a list of scalars, got an entry 1j",
        through=WITH_REGULARIZATION, regularization_losses=[1j]),
    even.refuses("a masked penalty",
        "regularization_losses as a list of scalars, got an entry masked",
        through=WITH_REGULARIZATION, regularization_losses=[np.ma.masked]),
    even.refuses("a masked tensor among the penalties",
        "regularization_losses as a list of scalars, got an entry that is a MaskedTensor …",
        through=WITH_REGULARIZATION, regularization_losses=[masked(0.5)]),
    even.refuses("ragged penalties",
        "regularization_losses as a list of scalars, got an entry [1, [2]]",
        through=WITH_REGULARIZATION, regularization_losses=[[1, [2]]]),
    even.refuses("a sparse penalty", "regularization_losses as a list of scalars, got an entry "
        "that is a Tensor of torch.float32, torch.sparse_coo",
        through=WITH_REGULARIZATION, regularization_losses=[torch.tensor(1.0).to_sparse()]),
    even.refuses("a quantized penalty", "regularization_losses as a list of scalars, got an entry "
        "that is a Tensor of torch.qint8, …",
        through=WITH_REGULARIZATION, regularization_losses=[quantized(1.0)]),
    even.refuses("a regularization loss that the metrics do not expect",
        "eval_metrics that keep regularization_losses, got none of them", KeyError,
        through=(update, update_its_own), regularization_losses=[T(0.5)]),
    both.refuses("a regularization loss that the metrics of a MultiHead do not expect",
        "eval_metrics that keep regularization_losses, got none of them", KeyError,
        through=(update, update_its_own), regularization_losses=[T(0.5)]),
    # predictions
    even.refuses("an unknown prediction key", "prediction keys among ['logits', …], got 'probs'",
        through=(predict,), keys=["logits", "probs"]),
    digit.refuses("a prediction key of another head",
        "prediction keys among ['logits', …], got 'logistic'", through=(predict,),
        keys=["logistic"]),
    even.refuses("one prediction key, not in a list", "prediction keys as a list, got 'logits'",
        through=(predict,), keys="logits"),
    even.refuses("a number for prediction keys", "prediction keys as a list, got 3", TypeError,
        through=(predict,), keys=3),
    even.refuses("a list among prediction keys",
        "prediction keys as strings, or tuples of them, got ['logits']", through=(predict,),
        keys=[["logits"]]),
    even.refuses("an array of truths for prediction keys",
        "prediction keys as strings, or tuples of them, got …True…", through=(predict,),
        keys=np.array([True, False])),
    ink.refuses("a prediction key that a regression lacks",
        "prediction keys among ['predictions'], got 'classes'", through=(predict,),
        keys=["classes"]),
    both.refuses("a prediction key of no head",
        "prediction keys among [('digit', 'logits'), …], got ('odd', 'logits')", through=(predict,),
        keys=[("digit", "logits"), ("odd", "logits")]),
    both.refuses("a prediction key that a head within lacks",
        "prediction keys among [('digit', 'logits'), …], got ('digit', 'logistic')",
        through=(predict,), keys=[("digit", "logistic")]),
    # collections
    even.refuses("the metrics of another head",
        "eval_metrics made by its metrics(), with ['…/even', …], got ['…/ink', …]",
        through=(update,), eval_metrics=ink.head().metrics()),
    even.refuses("the metrics of a head of another name",
        "eval_metrics made by its metrics(), with ['…/even', …], got ['…/odd', …]",
        through=(update,), eval_metrics=th.BinaryClassHead(name="odd", thresholds=[0.3]).metrics()),
    both.refuses("the metrics of the heads in another order",
        "eval_metrics made by its metrics(), with ['loss/digit', …], got ['loss/even', …]",
        through=(update,), eval_metrics=th.MultiHead([even.head(), digit.head()]).metrics()),
    even.refuses("a collection that no head made",
        "eval_metrics made by its metrics(), got MetricCollection", TypeError, through=(update,),
        eval_metrics=MetricCollection([])),
    even.refuses("a dict of metrics", "eval_metrics made by its metrics(), got dict", TypeError,
        through=(update,), eval_metrics={"auc/even": 0.5}),
    # many heads
    both.refuses("stacked logits of too few columns",
        "logits of shape [D0, ..., DN, 4], got [2, 3]", through=WITH_LOGITS,
        logits=T([[2.0, 0.0, 1.0], [0.0, 1.0, 0.5]])),
    both.refuses("integer stacked logits", "logits to be floating, got torch.int64",
        through=WITH_LOGITS, logits=T([[2, 0, 1, 1], [0, 1, 0, 1]])),
    both.refuses("no logits for a MultiHead", "logits to be given, got None", through=WITH_LOGITS,
        logits=None),
    both.refuses("logits that lack a head", "logits for the heads ['even'], got ['digit']",
        through=WITH_LOGITS, logits={"digit": digit.batch["logits"]}),
    both.refuses("logits of one head that are too wide",
        "logits of shape [D0, ..., DN, 1], got [2, 2]", through=WITH_LOGITS, who=EVEN,
        logits={"digit": digit.batch["logits"], "even": T([[1.0, 1.0], [2.0, 0.0]])}),
    both.refuses("no labels for a MultiHead",
        "labels as a dict by head name, or one numeric tensor, got None", labels=None),
    both.refuses("labels that lack a head", "labels for the heads ['even'], got ['digit']",
        labels={"digit": T([[0], [2]])}),
    both_with_names.refuses("a list of labels for a MultiHead of names",
        "labels as a dict by head name, or one numeric tensor, got strings",
        labels=[["zero", "1"], ["two", "0"]]),
    both.refuses("stacked labels of too few columns", "labels of shape [2, 2], got [2, 1]",
        labels=T([[0], [2]])),
    both.refuses("stacked labels that are flat", "labels of shape [2, 2], got [2]",
        labels=T([0, 2])),
    both.refuses("a bad label for the last of two heads", "labels in [0, 1], got 2.0", who=EVEN,
        only_on_cpu=True, labels={"digit": T([[0], [2]]), "even": T([[1], [2]])}),
    both.refuses("a bad label in the last column of stacked labels", "labels in [0, 1], got 2.0",
        who=EVEN, only_on_cpu=True, labels=T([[0, 1], [2, 2]])),
    both.refuses("labels of another batch for the last of two heads",
        "labels of shape [2] or [2, 1], got [3, 1]", who=EVEN,
        labels={"digit": T([[0], [2]]), "even": T([[1], [0], [1]])}),
    both_with_names.refuses("a name that the vocabulary of one head lacks",
        "labels from label_vocabulary ['zero', 'one', 'two'], got 'three'",
        who="MultiClassHead 'word'", labels={"word": ["zero", "three"], "even": T([1, 0])}),
    both.refuses("a tensor of weights for more heads", "weights of shape [2] or [2, 1], got [2, 3]",
        who="MultiClassHead 'digit'", weights=T([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])),
    both.refuses("weights for no head", "weights by head names ['digit', 'even'], got ['odd']",
        weights={"odd": T([1.0, 2.0])}),
    both.refuses("weights of another batch for one head", "weights of shape [2] or [2, 1], got [3]",
        who=EVEN, weights={"even": T([1.0, 2.0, 3.0])}),
    both_weighted.refuses("weights beside the weight column of one head",
        "weights or the weight_column 'w' alone, got both", who=EVEN,
        weights={"even": T([1.0, 2.0])}),
    both_weighted.refuses("features that lack the weight column of one head",
        "features with the weight_column 'w', got ['v']", who=EVEN, features={"v": T([1.0, 2.0])}),
    both.refuses("the name of no head", "a head among ['digit', 'even'], got 'odd'", KeyError,
        through=(look_up,), name="odd"),
    # sequences
    steps.refuses("a sequence without features",
        "features with 'sequence_length_mask', got no features", features=None),
    steps.refuses("a sequence without its mask", "features with 'sequence_length_mask', got ['w']",
        features={"w": T([[1.0, 2.0], [3.0, 4.0]])}),
    steps.refuses("a tensor for features",
        "features with 'sequence_length_mask', got Tensor. Features are a dict by name, …",
        features=torch.ones(2, 2)),
    steps.refuses("a number for features", "features with 'sequence_length_mask', got int. …",
        features=3),
    steps.refuses("a series for features", "features with 'sequence_length_mask', got Series. …",
        features=pl.Series([2, 1])),
    steps.refuses("a text for features", "features with 'sequence_length_mask', got str. …",
        features="sequence_length_mask"),
    steps.refuses("a mask of rank 1",
        "the mask features['sequence_length_mask'] of shape [2, 2], or lengths of shape [2], "
        "got [2]",
        features={**column, "sequence_length_mask": T([True, False])}),
    steps.refuses("a gap in a mask",
        "the mask features['sequence_length_mask'] without gaps, got nan in row 1",
        only_on_cpu=True,
        features={**column, "sequence_length_mask": T([[1.0, 1.0], [1.0, float("nan")]])}),
    steps.refuses("a gap in a mask of lists",
        "the mask features['sequence_length_mask'] without gaps, got nan in row 0",
        features={**column, "sequence_length_mask": [[1.0, float("nan")], [1.0, 1.0]]}),
    steps.refuses("more lengths than sequences",
        "the mask features['sequence_length_mask'] of shape [2, 2], or lengths of shape [2], "
        "got [3]",
        features={**column, "sequence_length_mask": T([2, 1, 1])}),
    steps.refuses("a length beyond the logits",
        "the lengths features['sequence_length_mask'] in [0, 2], got 3",
        features={**column, "sequence_length_mask": T([2, 3])}),
    steps.refuses("half a step",
        "the lengths features['sequence_length_mask'] as whole numbers, got 1.5",
        features={**column, "sequence_length_mask": T([2.0, 1.5])}),
    steps.refuses("a sequence that ends before its steps do",
        "labels with at least 2 steps, got 1 in sequence 0. A sequence may be shorter than the "
        "logits by its padding alone", labels=[[1], [0, 1]]),
    steps.refuses("a sequence that is longer than the logits",
        "labels of 2 steps, got 3 in sequence 1. …", labels=[[1, 0], [0, 1, 1]]),
    steps.refuses("a mask of rank 3",
        "the mask features['sequence_length_mask'] of shape [2, 2], or lengths of shape [2], "
        "got [2, 2, 1]",
        features={**column, "sequence_length_mask": T([[[True], [True]], [[True], [False]]])}),
    steps.refuses("a mask of other sequences",
        "the mask features['sequence_length_mask'] of shape [2, 2], or lengths of shape [2], "
        "got [2, 3]",
        features={**column, "sequence_length_mask": T([[1, 1, 0], [1, 0, 0]])}),
    steps.refuses("a mask in words",
        "the mask features['sequence_length_mask'] to be numeric, got strings",
        features={**column, "sequence_length_mask": [["yes", "yes"], ["yes", "no"]]}),
    steps.refuses("a sequence without a declared column",
        "features with 'w', got ['sequence_length_mask']",
        features={"sequence_length_mask": T([[True, True], [True, False]])}),
    steps.refuses("labels of other sequences", "labels of shape [2, 2] or [2, 2, 1], got [2, 3]",
        who=EVEN, labels=T([[1, 0, 0], [0, 1, 0]])),
    steps.refuses("logits without a time",
        "the mask features['sequence_length_mask'] of shape [2, 1], or lengths of shape [2], "
        "got [2, 2]",
        logits=T([[2.0], [-1.0]])),
    kinds.refuses("logits of several classes without a time",
        "logits of shape [B, T, ...], got [2, 3]", through=WITH_LOGITS, logits=torch.zeros(2, 3)),
    steps.refuses("a column of other sequences",
        "features['w'] of shape [2, 2, ...] or [2], got [2, 1]",
        features={**mask, "w": T([[1.0], [2.0]])}),
    steps.refuses("a column of more sequences",
        "features['w'] of shape [2, 2, ...] or [2], got [3]", features={**mask, "w": [1.0] * 3}),
    steps.refuses("a mask that is added to scores",
        "the mask features['sequence_length_mask'] to be finite, got -inf",
        features={**column, "sequence_length_mask": T([[0.0, 0.0], [0.0, -torch.inf]])}),
    steps.refuses("a column of several numbers per step",
        "features['w'] of shape [2, 2] or [2, 2, 1], got [2, 2, 3]", who=EVEN,
        features={**mask, "w": np.ones((2, 2, 3))}),
    steps.refuses("a prediction without its mask",
        "features with the mask 'sequence_length_mask', got …'w'…", KeyError, through=(specify,),
        mode="infer", labels=None, features=column),
    # specifications
    even.refuses("a frame for the mode", "mode among ['train', 'eval', 'infer'], got …",
        through=(specify,), mode=pl.DataFrame({"mode": ["train"]})),
    even.refuses("an unknown mode", "mode among ['train', 'eval', 'infer'], got 'test'",
        through=(specify,), mode="test"),
    both.refuses("no mode", "mode among ['train', 'eval', 'infer'], got None", through=(specify,),
        mode=None),
    even.refuses("training without labels", "labels to be given, got None", through=(specify,),
        mode="train", labels=None, train_op_fn=lambda loss: loss),
    both.refuses("evaluating without labels",
        "labels as a dict by head name, or one numeric tensor, got None", through=(specify,),
        mode="eval", labels=None),
    even.refuses("training with neither an optimizer nor a function",
        "one of optimizer and train_op_fn to be given, got neither", through=(specify,),
        mode="train"),
    both.refuses("training with both an optimizer and a function",
        "one of optimizer and train_op_fn to be given, got both", through=(specify,), mode="train",
        optimizer=SGD, train_op_fn=lambda loss: loss),
    even.refuses("an optimizer by its name", "optimizer as a torch.optim.Optimizer, got str",
        through=(specify,), mode="train", optimizer="Adam"),
    even.refuses("a bare trainable variable", "trainable_variables as a list or tuple, got Tensor",
        through=(specify,), mode="train", optimizer=SGD, trainable_variables=T([1.0])),
    even.refuses("a generator of trainable variables",
        "trainable_variables as a list or tuple, got generator", through=(specify,), mode="train",
        optimizer=SGD, trainable_variables=(own for own in [])),
    even.refuses("a trainable variable by its name", "trainable_variables as tensors, got str",
        TypeError, through=(specify,), mode="train", optimizer=SGD, trainable_variables=["w"]),
    even.refuses("a bare update", "update_ops as a list or tuple, got builtin_function_or_method",
        through=(specify,), mode="train", optimizer=SGD, update_ops=print),
    even.refuses("updates that cannot be called", "update_ops as callables, got 1", TypeError,
        through=(specify,), mode="train", optimizer=SGD, update_ops=[1],
        logits=T([[2.0], [-1.0]], requires_grad=True)),
    even.refuses("training logits without a gradient",
        "logits with a gradient to train, got logits that need none", through=(specify,),
        mode="train", optimizer=SGD),
    even.refuses("a function for training that cannot be called",
        "train_op_fn to be callable, got 1", TypeError, through=(specify,), mode="train",
        train_op_fn=1),
    even.refuses("a function for training that returns nothing",
        "train_op_fn to return a train op, got None", through=(specify,), mode="train",
        train_op_fn=lambda loss: None),
    even.refuses("predicting without logits", "logits to be given, got None", through=(specify,),
        mode="infer", logits=None),
    both.refuses("specifying with logits that are too wide",
        "logits of shape [D0, ..., DN, 4], got [1, 5]", through=(specify,), mode="infer",
        logits=T([[0.0, 0.0, 0.0, 0.0, 0.0]])),
]
# fmt: on


def every_way() -> list[Any]:
    return [
        pytest.param(row, call, id=f"{row.about}, {call.__name__.strip('<>')}")
        for row in REFUSED
        for call in row.through
    ]


@pytest.mark.parametrize(("row", "call"), every_way())
def test_bad_input_is_refused_in_words_and_leaves_no_trace(
    row: Refused, call: Call, device: torch.device
) -> None:
    if row.only_on_cpu and device.type != "cpu":
        pytest.skip("a device assertion would end the process")
    head = row.subject.head().to(device)
    metrics = head.metrics().to(device)
    good = on(device, row.subject.batch)
    head.update_metrics(metrics, **good)
    head.update_metrics(**good)
    before = everything(head, metrics)

    with pytest.raises(row.error) as refusal:
        call(head, metrics, good | on(device, row.wrong))

    who = title(type(head), head.name) if row.who is None else row.who
    assert_says(refusal.value, who, row.says)
    torch.testing.assert_close(everything(head, metrics), before, rtol=0, atol=0)


def everything(head: th.Head, metrics: MetricCollection) -> list[Any]:
    """Return a copy of all that a head and its metrics have seen."""
    seen: list[Any] = []
    for collection in (metrics, head.metric_collection):
        tallies = [metric for metric in collection.modules() if isinstance(metric, Metric)]
        seen += [state for tally in tallies for state in tally.metric_state.values()]
        seen += [tally.update_count for tally in tallies]
        seen += collection.compute().values()
    seen += head.state_dict().values()
    return [value.clone() if isinstance(value, Tensor) else value for value in seen]


def title(head: type[th.Head], name: str | None) -> str:
    """Return what a head is called in a message; a MultiHead by the names of its heads."""
    if head is th.MultiHead:
        return f"MultiHead {name.split('_')}" if name else "MultiHead…"
    return f"{head.__name__} {name!r}" if isinstance(name, str) else head.__name__


def assert_says(error: BaseException, who: str, says: str) -> None:
    """Hold a message to its words: who refuses, what was expected, and what came."""
    message = error.args[0]
    sentence = re.escape(f"{who}: expected {says}.").replace("…", ".*")
    assert re.match(f"(?s:{sentence})( |$)", message), message
    assert " ," not in message


def test_weights_are_not_given_by_position() -> None:
    head: Any = th.BinaryClassHead()
    with pytest.raises(TypeError, match=r"loss\(\).*positional"):
        head.loss([[1]], [[2.0]], None, None, None, [1.0])


def test_the_tables_are_long_enough_and_have_no_row_twice() -> None:
    rows = [row.about for row in NOT_BUILT] + [row.about for row in REFUSED]
    assert len(REFUSED) >= 200
    assert len(set(rows)) == len(rows)
