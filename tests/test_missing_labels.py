"""A missing label is a row that is not there: in the loss, the gradient and every metric."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, nan
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import torch_heads as th
from tests.cases import DIGITS, hinge, huber
from torch_heads.testing import REDUCTIONS, assert_same, move_to

JUNK = torch.tensor([nan, inf, -inf, 1e30])  # what may stand where no label is

# ---- kinds of heads ----

MakeLabels = Callable[[torch.Generator, tuple[int, ...]], Tensor]


class Kind(NamedTuple):
    """A kind of head, its random labels ``[*shape, U]``, and what means "not labelled"."""

    about: str
    head: Callable[..., th.Head]
    labels: MakeLabels
    missing: float | str
    vocabulary: Sequence[str] = ()

    @property
    def sets(self) -> bool:
        """Whether labels are sets of names, which can only miss as a whole."""
        return bool(self.vocabulary) and isinstance(self.head(), th.MultiLabelHead)

    def written(self, labels: Tensor, present: Tensor, missing: Any) -> Any:
        """Return the labels as users write them."""
        if self.sets:
            rows = zip(labels.tolist(), present.all(-1).tolist(), strict=True)
            return [
                [name for name, hot in zip(self.vocabulary, row, strict=True) if hot]
                if there
                else [missing]
                for row, there in rows
            ]
        if self.vocabulary:
            names = np.array(self.vocabulary)[labels.cpu().numpy()]
            return names if missing is None else np.where(present.cpu().numpy(), names, missing)
        return labels if missing is None else labels.masked_fill(~present, missing)


def integers(below: int, *last: int, dtype: torch.dtype = torch.int64) -> MakeLabels:
    return lambda random, shape: torch.randint(below, (*shape, *last), generator=random).to(dtype)


def halves(random: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.randint(3, (*shape, 1), generator=random) / 2


def reals(*last: int) -> MakeLabels:
    return lambda random, shape: torch.randn(*shape, *last, generator=random)


def root_error(labels: Tensor, logits: Tensor) -> Tensor:
    """Return a loss whose gradient is infinite where a logit is 0, as it is where it is masked."""
    hot = F.one_hot(labels.squeeze(-1), logits.shape[-1])
    return (hot - logits).abs().sqrt().sum(-1, keepdim=True)


KINDS = [
    Kind("binary", th.BinaryClassHead, integers(2, 1), -1),
    Kind("soft binary", partial(th.BinaryClassHead, thresholds=[0.3, 0.5]), halves, nan),
    Kind(
        "binary, names",
        partial(th.BinaryClassHead, label_vocabulary=["no", "yes"]),
        integers(2, 1),
        "",
        ["no", "yes"],
    ),
    Kind(
        "binary, hinge loss",
        partial(th.BinaryClassHead, loss_fn=hinge),
        integers(2, 1, dtype=torch.float32),
        nan,
    ),
    Kind(
        "binary, balanced",
        partial(th.BinaryClassHead, pos_weight=3.0, label_smoothing=0.1),
        integers(2, 1),
        -100,
    ),
    Kind("multi-class", partial(th.MultiClassHead, 3), integers(3, 1), -1),
    Kind("wide multi-class", partial(th.MultiClassHead, 5), integers(5, 1), -100),
    Kind(
        "multi-class, names",
        partial(th.MultiClassHead, 3, label_vocabulary=DIGITS),
        integers(3, 1),
        "",
        DIGITS,
    ),
    Kind(
        "multi-class, own loss",
        partial(th.MultiClassHead, 4, loss_fn=root_error),
        integers(4, 1),
        -1,
    ),
    Kind(
        "multi-class, balanced",
        partial(th.MultiClassHead, 3, class_weight=[0.5, 1.0, 3.0], label_smoothing=0.2),
        integers(3, 1),
        -1,
    ),
    Kind(
        "multi-label",
        partial(th.MultiLabelHead, 3, thresholds=[0.6], classes_for_class_based_metrics=[2, 0]),
        integers(2, 3, dtype=torch.float32),
        nan,
    ),
    Kind("narrow multi-label", partial(th.MultiLabelHead, 2), integers(2, 2), -1),
    Kind(
        "multi-label, names",
        partial(th.MultiLabelHead, 3, label_vocabulary=DIGITS),
        integers(2, 3),
        "",
        DIGITS,
    ),
    Kind(
        "multi-label, balanced",
        partial(th.MultiLabelHead, 2, class_weight=[0.5, 2.0], pos_weight=[4.0, 1.0]),
        integers(2, 2),
        -1,
    ),
    Kind("regression", th.RegressionHead, reals(1), nan),
    Kind("wide regression", partial(th.RegressionHead, 2), reals(2), -999),
    Kind(
        "regression, Huber loss, inverse link",
        partial(th.RegressionHead, 2, loss_fn=huber, inverse_link_fn=torch.exp),
        reals(2),
        nan,
    ),
    Kind("Poisson", th.PoissonRegressionHead, integers(6, 1), -1),
    Kind(
        "wide Poisson, short loss",
        partial(th.PoissonRegressionHead, 2, compute_full_loss=False),
        integers(6, 2, dtype=torch.float32),
        nan,
    ),
    Kind("logistic", th.LogisticRegressionHead, halves, nan),
    Kind("logistic, -1", th.LogisticRegressionHead, halves, -1),
]
BY_NAME = {kind.about: kind for kind in KINDS}


def every(*kinds: Kind) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.about)


# ---- batches with missing labels ----


class Outcome(NamedTuple):
    """What a head makes of a batch."""

    loss: Tensor
    gradient: Tensor
    metrics: dict[str, Tensor]


def outcome(
    head: th.Head,
    labels: Any,
    logits: Tensor,
    features: Any = None,
    weights: Any = None,
    by_name: bool = False,
) -> Outcome:
    leaf = logits.detach().clone().requires_grad_()
    given = head.as_logits(leaf) if by_name else leaf
    loss = head.loss(labels, given, features, weights=weights)
    gradient = torch.autograd.grad(loss, leaf)[0]
    metrics = head.update_metrics(head.metrics(), features, given, labels, weights=weights)
    return Outcome(loss.detach(), gradient, metrics.compute())


@dataclass(frozen=True)
class Sample:
    """A head's options and one batch for it.

    ``labels`` and ``present`` are ``[*shape, U]``; ``weights`` ``[*shape]``. Where ``given`` is
    False, the batch has no labels at all for this head.
    """

    kind: Kind
    options: Mapping[str, Any]
    logits: Tensor
    labels: Tensor
    present: Tensor
    weights: Tensor | None
    given: bool = True

    @property
    def name(self) -> str:
        return self.options["name"]

    @property
    def head(self) -> th.Head:
        return self.kind.head(**self.options)

    @property
    def written(self) -> Any:
        """The labels as users write them."""
        return self.kind.written(self.labels, self.present, self.options.get("missing_label"))

    @property
    def features(self) -> dict[str, Any]:
        """The weights, if they are looked up."""
        column = self.options.get("weight_column")
        return {column: self.weights} if column else {}

    @property
    def direct(self) -> Tensor | None:
        """The weights, if they are given."""
        return None if self.features else self.weights

    @property
    def counts(self) -> bool:
        """Whether the batch has any label."""
        return bool(self.present.any())

    def outcome(self) -> Outcome:
        return outcome(self.head, self.written, self.logits, self.features, self.direct)

    def to(self, device: torch.device) -> "Sample":
        parts = {key: getattr(self, key) for key in ("logits", "labels", "present", "weights")}
        return replace(self, **move_to(parts, device))

    def left(self) -> "Sample":
        """Return the rows that have their labels, for a head that knows of no missing ones."""
        rows = self.present.all(-1)
        options = {key: value for key, value in self.options.items() if key != "missing_label"}
        weights = None if self.weights is None else self.weights[rows]
        taken = (values[rows] for values in (self.logits, self.labels, self.present))
        return Sample(self.kind, options, *taken, weights)


@st.composite
def samples(
    draw: st.DrawFn, kind: Kind, shape: tuple[int, ...] = (), by_row: bool = True, **options: Any
) -> Sample:
    """Draw a batch in which whole rows of labels may miss, or single ones.

    Where nothing is labelled, junk may stand in the logits, and in the weights.
    """
    if not shape:
        steps = () if kind.sets else draw(st.sampled_from([(), (2,)]))
        shape = (draw(st.integers(1, 6)), *steps)
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    options = {"missing_label": kind.missing, **options}
    options["loss_reduction"] = draw(st.sampled_from(REDUCTIONS))
    labels = kind.labels(random, shape)
    logits = 2 * torch.randn(*shape, kind.head().logits_dimension, generator=random)
    whole = (*shape, 1) if by_row or kind.sets else labels.shape
    there = torch.rand(whole, generator=random) < draw(st.sampled_from([0.6, 0.0, 0.3, 1.0]))
    if options["missing_label"] is None:
        del options["missing_label"]
        there = torch.ones_like(there)
    present = there.expand(labels.shape)
    weights, weighing = None, draw(st.sampled_from([None, "weights", "weight_column"]))
    if weighing:
        weights = 0.25 + torch.rand(shape, generator=random)
    if weighing == "weight_column":
        options["weight_column"] = f"weights of {options.get('name')}"
    if draw(st.booleans()):

        def broken(values: Tensor, there: Tensor) -> Tensor:
            junk = JUNK[torch.randint(len(JUNK), values.shape, generator=random)]
            return torch.where(there, values, junk)

        logits = broken(logits, present if present.shape == logits.shape else there)
        weights = weights if weights is None else broken(weights, present.any(-1))
    return Sample(kind, options, logits, labels, present, weights)


def without_coverage(metrics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in metrics.items() if not key.startswith("label/coverage")}


def undefined_like(actual: Mapping[str, Tensor], plain: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return metrics of a head that may miss no label, whose area of one class is 0, with NaN."""
    return {
        key: torch.full_like(value, nan)
        if key.startswith("auc") and value == 0 and actual[key].isnan()
        else value
        for key, value in plain.items()
    }


# ---- alone ----


@every(*KINDS)
@given(data=st.data())
@settings(max_examples=10)
def test_a_missing_label_is_a_row_removed(
    kind: Kind, data: st.DataObject, device: torch.device
) -> None:
    sample = data.draw(samples(kind)).to(device)
    actual, rows = sample.outcome(), sample.present.all(-1)
    assert not actual.gradient[~rows].any()
    assert_same(actual.metrics["label/coverage"], rows.float().mean())
    if sample.counts:
        expected = sample.left().outcome()
        assert_same(actual.loss, expected.loss)
        assert_same(actual.gradient[rows], expected.gradient)
        own = without_coverage(actual.metrics)
        assert_same(own, undefined_like(own, expected.metrics))
    else:
        assert actual.loss == 0
        assert all(value.isnan() for value in without_coverage(actual.metrics).values())


@every(*(kind for kind in KINDS if not kind.sets))
@given(data=st.data())
@settings(max_examples=4)
def test_a_step_counts_where_it_is_neither_padding_nor_missing(
    kind: Kind, data: st.DataObject, device: torch.device
) -> None:
    sample = data.draw(samples(kind, (3, 2))).to(device)
    steps = torch.tensor(data.draw(st.lists(st.booleans(), min_size=2, max_size=2)), device=device)
    mask = steps.expand(3, 2)
    columns = sample.options.get("weight_column")
    head = th.SequentialHeadWrapper(sample.head, "mask", feature_columns=columns)
    features = {**sample.features, "mask": mask}
    actual = outcome(head, sample.written, sample.logits, features, sample.direct)
    present = sample.present & mask.unsqueeze(-1)
    expected = replace(sample, present=present).outcome()
    assert_same(actual[:2], expected[:2])
    assert_same(without_coverage(actual.metrics), without_coverage(expected.metrics))
    share = present.any(-1).sum() / mask.sum()  # NaN where all is padding
    assert_same(actual.metrics["label/coverage"], share)


@pytest.mark.parametrize("missing", [-1.0, nan, -999.9])  # no float of 32 bits is -999.9
@pytest.mark.parametrize("logits_dtype", [torch.float32, torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("labels_dtype", [torch.float32, torch.float64], ids=str)
def test_a_label_misses_in_any_dtype(
    missing: float, logits_dtype: torch.dtype, labels_dtype: torch.dtype, device: torch.device
) -> None:
    logits = torch.tensor([[0.5], [1.0]], dtype=logits_dtype, device=device)
    labels = torch.tensor([1.0, missing], dtype=labels_dtype, device=device)
    for make in [th.RegressionHead, th.PoissonRegressionHead, th.BinaryClassHead]:
        heads = [make(missing_label=missing, name=name) for name in ("first", "second")]
        expected = heads[0].loss(labels[:1], logits[:1])
        assert_same(heads[0].loss(labels, logits), expected)
        both = th.MultiHead(heads).losses({"first": labels, "second": labels}, logits.expand(2, 2))
        assert_same(both, {"first": expected, "second": expected})


# ---- single entries ----


def multi_label_by_hand(sample: Sample) -> tuple[float, float]:
    """Return the loss and the average loss of a multi-label batch, in plain loops and float64."""
    columns = [sample.logits, sample.labels, sample.present]
    rows = zip(*(values.flatten(0, -2).double().tolist() for values in columns), strict=True)
    weights = torch.ones(sample.logits.shape[:-1]) if sample.weights is None else sample.weights
    total = examples = weight_sum = 0.0
    for row, weight in zip(rows, weights.flatten().tolist(), strict=True):
        losses = [np.logaddexp(0, z) - z * y for z, y, there in zip(*row, strict=True) if there]
        if losses:
            total += weight * sum(losses) / len(losses)
            weight_sum += weight
            examples += 1
    if not examples:
        return 0.0, nan
    divisors = {"sum": 1.0, "sum_over_batch_size": examples, "weighted_mean": weight_sum}
    return total / divisors[sample.options["loss_reduction"]], total / weight_sum


@every(BY_NAME["multi-label"], BY_NAME["narrow multi-label"])
@given(data=st.data())
@settings(max_examples=30)
def test_a_multi_label_example_is_the_mean_over_its_entries_that_are_there(
    kind: Kind, data: st.DataObject, device: torch.device
) -> None:
    sample = data.draw(samples(kind, by_row=False)).to(device)
    actual = sample.outcome()
    loss, average = multi_label_by_hand(sample)
    assert actual.loss.item() == pytest.approx(loss, rel=1e-5, abs=1e-6)
    assert actual.metrics["average_loss"].item() == pytest.approx(
        average, rel=1e-5, abs=1e-6, nan_ok=True
    )
    assert_same(actual.metrics["label/coverage"], sample.present.float().mean())
    assert not actual.gradient[~sample.present].any()


@given(data=st.data())
@settings(max_examples=25)
def test_multi_label_metrics_are_those_of_the_entries_that_are_there(
    data: st.DataObject, device: torch.device
) -> None:
    sample = data.draw(samples(BY_NAME["multi-label"], by_row=False)).to(device)
    actual, binary = sample.outcome().metrics, th.BinaryClassHead(thresholds=[0.6])

    def pairs(columns: slice) -> dict[str, Tensor]:
        """Return the metrics of some columns' entries, each an example of its own."""
        there, weights = sample.present[..., columns], sample.weights
        if weights is not None:
            weights = weights.unsqueeze(-1).expand(there.shape)[there]
        logits = sample.logits[..., columns][there].unsqueeze(-1)
        metrics = binary.metrics()
        binary.update_metrics(
            metrics, None, logits, sample.labels[..., columns][there], weights=weights
        )
        return metrics.compute() if there.any() else dict.fromkeys(metrics, torch.tensor(nan))

    every_pair = undefined_like(actual, pairs(slice(None)))
    for key in ["auc", "auc_precision_recall", *(key for key in actual if "threshold" in key)]:
        assert_same(actual[key], every_pair[key].to(device))
    for i in [2, 0]:
        own = pairs(slice(i, i + 1))
        area = undefined_like({"auc": actual[f"auc/class{i}"]}, {"auc": own["auc"]})["auc"]
        assert_same(actual[f"auc/class{i}"], area.to(device))
        assert_same(actual[f"probability_mean/class{i}"], own["prediction/mean"].to(device))


@every(BY_NAME["wide regression"], BY_NAME["wide Poisson, short loss"])
@given(data=st.data())
@settings(max_examples=25)
def test_the_columns_of_a_regression_miss_one_by_one(
    kind: Kind, data: st.DataObject, device: torch.device
) -> None:
    sample = data.draw(samples(kind, by_row=False)).to(device)
    if sample.weights is not None:  # one per column
        wide = sample.weights.unsqueeze(-1) * torch.tensor([1.0, 3.0], device=device)
        sample = replace(sample, weights=wide)
    actual, there = sample.outcome(), sample.present
    assert_same(actual.metrics["label/coverage"], there.float().mean())
    assert not actual.gradient[~there].any()
    if not sample.counts:
        assert actual.loss == 0
        return
    single = replace(
        sample,
        options={**sample.left().options, "label_dimension": 1},
        kind=kind._replace(head=partial(kind.head.func, **kind.head.keywords)),
        logits=sample.logits[there].unsqueeze(-1),
        labels=sample.labels[there].unsqueeze(-1),
        present=there[there].unsqueeze(-1),
        weights=None if sample.weights is None else sample.weights[there],
    )
    expected = single.outcome()
    assert_same(actual.loss, expected.loss)
    assert_same(actual.gradient[there], expected.gradient.squeeze(-1))
    assert_same(without_coverage(actual.metrics), expected.metrics)


# ---- heads together ----


@dataclass(frozen=True)
class Mixture:
    """Samples of one shape, their heads as one, and how labels and logits are given."""

    samples: Sequence[Sample]
    inner: int  # how many of the first heads stand in a MultiHead of their own
    stacked: bool
    split: bool

    @property
    def factors(self) -> list[float]:
        """The head weight that each sample's loss is multiplied by."""
        return [0.5 + max(0, i - self.inner + 1) for i in range(len(self.samples))]

    @property
    def inner_name(self) -> str:
        return "_".join(sample.name for sample in self.samples[: self.inner])

    def head(self) -> th.MultiHead:
        heads, factors = [sample.head for sample in self.samples], self.factors
        if self.inner:
            heads = [th.MultiHead(heads[: self.inner]), *heads[self.inner :]]
            factors = [factors[0], *factors[self.inner :]]
        return th.MultiHead(heads, head_weights=factors)

    def by_name(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return what is not None by the heads' names."""
        pairs = [(s.name, value) for s, value in zip(self.samples, values, strict=True)]
        inside, rest = (
            {name: value for name, value in part if value is not None}
            for part in (pairs[: self.inner], pairs[self.inner :])
        )
        return {self.inner_name: inside, **rest} if inside else rest

    def labels(self) -> Any:
        if self.stacked:
            return torch.cat([sample.written.float() for sample in self.samples], -1)
        return self.by_name([sample.written if sample.given else None for sample in self.samples])

    def outcome(self) -> Outcome:
        features = {key: value for s in self.samples for key, value in s.features.items()}
        weights = self.by_name([sample.direct for sample in self.samples])
        logits = torch.cat([sample.logits for sample in self.samples], -1)
        return outcome(self.head(), self.labels(), logits, features, weights or None, self.split)


@st.composite
def mixtures(draw: st.DrawFn, stacked: bool) -> Mixture:
    shape = (draw(st.integers(1, 5)), *draw(st.sampled_from([(), (2,)])))
    allowed = [kind for kind in KINDS if not (stacked and kind.vocabulary)]
    allowed = [kind for kind in allowed if not (kind.sets and len(shape) > 1)]
    drawn, rarely = [], st.sampled_from([False, False, False, True])
    for i, kind in enumerate(draw(st.lists(st.sampled_from(allowed), min_size=2, max_size=6))):
        options = {"missing_label": None} if draw(rarely) else {}
        sample = draw(samples(kind, shape, by_row=False, name=f"h{i}", **options))
        if not stacked and not options and draw(rarely):
            sample = replace(sample, present=torch.zeros_like(sample.present), given=False)
        drawn.append(sample)
    return Mixture(drawn, draw(st.sampled_from([0, 0, 2])), stacked, draw(st.booleans()))


@pytest.mark.parametrize("stacked", [False, True])
@given(data=st.data())
@settings(max_examples=30)
def test_heads_together_miss_labels_as_each_alone(
    stacked: bool, data: st.DataObject, device: torch.device
) -> None:
    drawn = data.draw(mixtures(stacked))
    mixture = replace(drawn, samples=[sample.to(device) for sample in drawn.samples])
    actual, each = mixture.outcome(), [sample.outcome() for sample in mixture.samples]
    scaled = [
        (f * one.loss, f * one.gradient) for f, one in zip(mixture.factors, each, strict=True)
    ]
    assert_same(actual.loss, sum(loss for loss, _ in scaled))
    assert_same(actual.gradient, torch.cat([gradient for _, gradient in scaled], -1))
    metrics, never = dict(actual.metrics), torch.tensor(nan, device=device)
    if mixture.inner:
        counts = any(sample.counts for sample in mixture.samples[: mixture.inner])
        total = sum(one.loss for one in each[: mixture.inner])
        assert_same(metrics.pop(f"loss/{mixture.inner_name}"), total if counts else never)
    for sample, one in zip(mixture.samples, each, strict=True):
        expected = {f"loss/{sample.name}": one.loss if sample.counts else never, **one.metrics}
        if not sample.given:
            expected[f"label/coverage/{sample.name}"] = never
        assert_same({key: metrics.pop(key) for key in expected}, expected)
    assert not metrics


@pytest.mark.parametrize("alone", [True, False])
def test_nan_is_a_missing_class_id_among_stacked_floats(alone: bool, device: torch.device) -> None:
    first = th.MultiClassHead(3, name="first", missing_label=-1)
    second = th.MultiClassHead(4, name="second", missing_label=-100)
    third = th.RegressionHead(name="third", missing_label=nan)
    head = th.MultiHead([first, third] if alone else [first, second])
    logits = torch.randn(3, head.logits_dimension, device=device)
    labels = torch.tensor([[2.0, 1.0], [nan, nan], [0.0, 3.0]], device=device)
    metrics = head.update_metrics(head.metrics(), None, logits, labels).compute()
    expected = head.losses(labels[[0, 2]], logits[[0, 2]])
    assert_same(head.losses(labels, logits), expected)
    assert_same({name: metrics[f"loss/{name}"] for name in head}, expected)
    assert_same(metrics["label/coverage/first"], torch.tensor(2 / 3, device=device))


def test_logits_of_different_batch_shapes_may_lack_labels(device: torch.device) -> None:
    head = th.MultiHead(
        [
            th.BinaryClassHead(name="short", missing_label=-1),
            th.BinaryClassHead(name="long", missing_label=nan),
        ]
    )
    logits = {
        "short": torch.tensor([[nan], [1.0]], device=device),
        "long": torch.tensor([[[2.0], [0.5]], [[nan], [-1.0]]], device=device),
    }
    labels = {
        "short": torch.tensor([-1, 1], device=device),
        "long": torch.tensor([[1.0, 0.0], [nan, nan]], device=device),
    }
    metrics = head.update_metrics(head.metrics(), None, logits, labels).compute()
    for name, loss in head.losses(labels, logits).items():
        own = outcome(head[name], labels[name], logits[name])
        assert_same(loss, own.loss)
        assert_same({key: metrics[key] for key in own.metrics}, own.metrics)
        assert_same(metrics[f"loss/{name}"], own.loss)


def test_a_missing_label_is_none_that_small_integers_would_wrap_to(device: torch.device) -> None:
    logits = torch.zeros(2, 300, device=device)
    head = th.MultiClassHead(300, missing_label=-1)
    labels = torch.tensor([255, 3], dtype=torch.uint8, device=device)
    metrics = head.update_metrics(logits=logits, labels=labels).compute()
    assert metrics["label/coverage"] == 1
    both = th.MultiHead([th.MultiClassHead(300, name=name, missing_label=-1) for name in "ab"])
    metrics = both.to(device).update_metrics(
        logits=torch.cat([logits, logits], dim=-1), labels={"a": labels, "b": labels}
    )
    assert metrics.compute()["label/coverage/b"] == 1


def test_a_missing_label_may_have_been_rounded_to_float32(device: torch.device) -> None:
    written = torch.tensor([-999.9, 2.0], dtype=torch.float32, device=device)
    logits = torch.zeros(2, 2, device=device)
    head = th.RegressionHead(missing_label=-999.9)
    fused = th.MultiHead([th.RegressionHead(name=name, missing_label=-999.9) for name in "ab"]).to(
        device
    )
    for labels in (written, written.double()):
        assert head.loss(labels, logits[:, :1]) == 4
        assert fused.losses({"a": labels, "b": labels}, logits)["b"] == 4


def test_a_whole_number_is_the_missing_label_in_its_own_precision(device: torch.device) -> None:
    near = torch.tensor([1e8, 2.0], dtype=torch.float64, device=device)  # which 99999999 rounds to
    logits = torch.zeros(2, 2, dtype=torch.float64, device=device)
    makers = [lambda name: th.RegressionHead(missing_label=99999999, name=name)]
    makers += [lambda name: th.RegressionHead(missing_label=99999999.5, name=name)]
    for make in makers:
        fused = th.MultiHead([make("a"), th.RegressionHead(missing_label=-1, name="b")])
        for labels in (near, near.tolist(), near.cpu().numpy(), [1e8, 2]):
            assert make("a").loss(labels, logits[:, :1]) == 5e15 + 2
            given = fused.to(device).losses({"a": labels, "b": labels}, logits)
            assert given["a"] == given["b"] == 5e15 + 2
        assert make("a").loss(near.float(), logits[:, :1]) == 4
    exact = th.RegressionHead(missing_label=99999999)
    for labels in (near - torch.tensor([1.0, 0.0], device=device), [99999999.0, 2.0]):
        assert exact.loss(labels, logits[:, :1]) == 4


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_a_missing_label_may_have_been_rounded_to_float8(
    dtype: torch.dtype, device: torch.device
) -> None:
    def made(name: str) -> th.Head:
        return th.RegressionHead(missing_label=-0.1, name=name)

    written = torch.tensor([-0.1, 1.0], device=device).to(dtype)
    logits = torch.zeros(2, 2, device=device)
    assert made("a").loss(written, logits[:, :1]) == 1
    heads = [made("a"), th.RegressionHead(missing_label=7, name="b"), th.RegressionHead(name="c")]
    both, zeros = th.MultiHead(heads).to(device), torch.zeros(2, 3, device=device)
    others = torch.tensor([7.0, 2.0], device=device).to(dtype)
    apart = {"a": written, "b": others, "c": written}
    stacked = torch.stack([own.float() for own in apart.values()], -1).to(dtype)
    for labels in (apart, stacked):
        losses = both.losses(labels, zeros)
        assert losses["a"] == 1
        assert losses["b"] == 4
        assert 0.5 < losses["c"] < 0.51
    tags = th.MultiLabelHead(2, missing_label=-0.1).to(device)
    rows = torch.stack([written, written.float().clamp(min=0).to(dtype)], -1)
    of_numbers = tags.loss([[-0.1, 0.0], [1.0, 1.0]], logits)
    assert tags.loss(rows, logits) == of_numbers
    assert tags.loss({0: rows[:, 0], 1: rows[:, 1]}, logits) == of_numbers
    times = th.SurvivalHead([1.0, 2.0], missing_label=-0.1).to(device)
    of_dict = times.loss({"time": written, "event": written.float().clamp(min=0)}, logits)
    assert of_dict == times.loss([[nan, 0.0], [1.0, 1.0]], logits)


def test_a_multi_label_loss_fn_sees_single_missing_entries_as_nan(device: torch.device) -> None:
    def distance(labels: Tensor, logits: Tensor) -> Tensor:
        return (labels - logits).abs().nansum(-1, keepdim=True)

    head = th.MultiLabelHead(2, loss_fn=distance, missing_label=-1)
    logits = torch.full((3, 2), 3.0, device=device, requires_grad=True)
    labels = torch.tensor([[1, -1], [-1, -1], [0, 1]], device=device)
    loss = head.loss(labels, logits)
    loss.backward()
    torch.testing.assert_close(loss, torch.tensor((2 + 3 + 2) / 2, device=device))
    assert logits.grad.bool().tolist() == [[True, False], [False, False], [True, True]]


# ---- heads without any label in a batch ----

LABELS = {
    "even": torch.tensor([1, 0, 1]),
    "digit": np.array(["zero", "two", "one"]),
    "odd": torch.tensor([0.0, 1.0, 0.0]),
    "bars": torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]),
    "ink": torch.tensor([[0.5, 1.0], [2.0, 3.0], [0.0, 0.0]]),
    "size": torch.tensor([3, 0, 2]),
    "dark": torch.tensor([4, 0, 1]),
}
WIDTHS = {"even": 1, "digit": 3, "odd": 1, "bars": 2, "ink": 2, "size": 4, "dark": 1}
INNER = list(LABELS)[:4]

nested_or_not = pytest.mark.parametrize("nested", [False, True])
every_name = pytest.mark.parametrize("name", LABELS)


def heads(missing: bool = True) -> list[th.Head]:
    """Return heads of several families, all of which may miss their labels."""

    def options(name: str, label: float | str) -> dict[str, Any]:
        return {"name": name, "missing_label": label if missing else None}

    return [
        th.BinaryClassHead(**options("even", -1)),
        th.MultiClassHead(3, label_vocabulary=DIGITS, **options("digit", "")),
        th.BinaryClassHead(**options("odd", nan)),
        th.MultiLabelHead(2, classes_for_class_based_metrics=[1], **options("bars", nan)),
        th.RegressionHead(2, loss_fn=huber, **options("ink", nan)),
        th.MultiClassHead(4, **options("size", -100)),
        th.PoissonRegressionHead(**options("dark", -1)),
    ]


def together(each: Sequence[th.Head], nested: bool) -> th.MultiHead:
    return th.MultiHead([th.MultiHead(each[: len(INNER)]), *each[len(INNER) :]] if nested else each)


def arranged(labels: Mapping[str, Any], nested: bool) -> dict[str, Any]:
    """Return labels by name, as `together` takes them."""
    inside = {name: value for name, value in labels.items() if nested and name in INNER}
    rest = {name: value for name, value in labels.items() if name not in inside}
    return {"_".join(INNER): inside, **rest} if inside else rest


def jagged(device: torch.device) -> Tensor:
    rows = [torch.tensor([0], device=device), torch.tensor([1, 2], device=device)]
    return torch.nested.nested_tensor(rows, layout=torch.jagged)


def sparse(device: torch.device) -> Tensor:
    # as wide as no dense tensor could be
    places, ids = torch.tensor([[0, 1, 1], [0, 0, 10**11]]), torch.tensor([0, 1, 2])
    return torch.sparse_coo_tensor(places, ids, (2, 10**12), device=device, check_invariants=True)


@pytest.mark.parametrize("make", [jagged, sparse])
def test_a_head_may_lack_labels_that_others_give_as_sets(
    make: Callable[[torch.device], Tensor], device: torch.device
) -> None:
    head = th.MultiHead([th.MultiLabelHead(3, name=name, missing_label=-1) for name in "ab"])
    losses = head.to(device).losses({"a": make(device)}, torch.zeros(2, 6, device=device))
    torch.testing.assert_close(losses["a"], torch.full((), 2.0, device=device).log())
    assert losses["b"] == 0


def test_a_head_may_lack_labels_that_others_give_in_half_precision(device: torch.device) -> None:
    head = th.MultiHead([th.RegressionHead(name=name, missing_label=-1e6) for name in "ab"])
    labels = torch.ones(2, dtype=torch.float16, device=device)
    losses = head.to(device).losses({"a": labels}, torch.zeros(2, 2, device=device))
    assert (losses["a"], losses["b"]) == (1, 0)


def test_large_integers_are_not_rounded_to_the_missing_label(device: torch.device) -> None:
    head = th.RegressionHead(missing_label=-99999999)
    labels = torch.tensor([-100000000, -99999999], device=device)
    metrics = head.update_metrics(logits=torch.zeros(2, 1, device=device), labels=labels)
    assert metrics.compute()["label/coverage"] == 0.5


def test_a_head_without_labels_needs_no_weights_and_no_mask(device: torch.device) -> None:
    def binary(name: str, weight_column: str | None = None) -> th.BinaryClassHead:
        return th.BinaryClassHead(weight_column, name=name, missing_label=-1)

    fused = th.MultiHead([binary("a"), binary("b", "w"), binary("c", "v")]).to(device)
    logits, labels = torch.zeros(2, 3, device=device), torch.tensor([1, 0], device=device)
    losses = fused.losses({"a": labels}, logits)
    assert (losses["a"] > 0, losses["b"], losses["c"]) == (True, 0, 0)
    steps = th.MultiHead([th.SequentialHeadWrapper(binary("d", "w"), feature_columns="w")])
    assert steps.loss({}, torch.zeros(2, 3, 1, device=device)) == 0


@every_name
@nested_or_not
def test_a_head_without_labels_is_left_out(name: str, nested: bool, device: torch.device) -> None:
    head, everything = together(heads(), nested).to(device), move_to(LABELS, device)
    others = {key: value for key, value in everything.items() if key != name}
    logits = torch.randn(3, head.logits_dimension, device=device, requires_grad=True)
    gradient = torch.autograd.grad(head.loss(arranged(others, nested), logits), logits)[0]
    for key, part in zip(WIDTHS, gradient.split(list(WIDTHS.values()), -1), strict=True):
        assert part.any() == (key != name)
    metrics = head.metrics()
    head.update_metrics(metrics, None, logits, arranged(everything, nested))
    before = metrics.compute()
    head.update_metrics(metrics, None, 2 * logits, arranged(others, nested))
    after = metrics.compute()
    keys = [key for key in before if name in key.split("/")[1:]]
    assert {f"loss/{name}", f"label/coverage/{name}"} < set(keys)
    assert_same({key: after[key] for key in keys}, {key: before[key] for key in keys})


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    "make",
    [
        lambda reduction: together(heads(), nested=False),
        lambda reduction: together(heads(), nested=True),
        lambda reduction: th.MultiHead(
            [th.RegressionHead(missing_label=nan, name="ink", loss_reduction=reduction)]
        ),
    ],
    ids=["flat", "nested", "one"],
)
def test_a_batch_without_any_labels_trains_nothing(
    make: Callable[[str], th.MultiHead], reduction: str, device: torch.device
) -> None:
    head = make(reduction).to(device)
    linear = torch.nn.Linear(4, head.logits_dimension).to(device)
    loss = head.loss({}, linear(torch.randn(3, 4, device=device)))
    assert loss == 0
    assert loss.requires_grad
    loss.backward()
    assert not linear.weight.grad.any()
    assert not linear.bias.grad.any()
    logits = torch.full((3, head.logits_dimension), nan, device=device)
    metrics = head.update_metrics(head.metrics(), None, logits, {})
    assert all(value.isnan() for value in metrics.compute().values())


def test_steps_of_a_head_without_labels_are_left_out(device: torch.device) -> None:
    head = th.MultiHead([th.SequentialHeadWrapper(head, "mask") for head in heads()]).to(device)
    logits = torch.randn(2, 3, head.logits_dimension, device=device, requires_grad=True)
    features = {"mask": torch.tensor([[1, 1, 0], [1, 0, 0]], device=device)}
    labels = {"size_sequential": torch.tensor([[3, -100, 7], [0, 9, 9]], device=device)}
    gradient = torch.autograd.grad(head.loss(labels, logits, features), logits)[0]
    assert gradient.any(-1).tolist() == [[True, False, False], [True, False, False]]
    metrics = head.update_metrics(head.metrics(), features, logits, labels).compute()
    assert_same(metrics["label/coverage/size"], torch.tensor(2 / 3, device=device))
    assert all(value.isnan() for key, value in metrics.items() if "size" not in key)


@every_name
@nested_or_not
def test_without_a_missing_label_absence_is_refused(
    name: str, nested: bool, device: torch.device
) -> None:
    head = together(heads(missing=False), nested).to(device)
    labels = arranged({key: value for key, value in LABELS.items() if key != name}, nested)
    logits = torch.randn(3, head.logits_dimension, device=device)
    with pytest.raises(ValueError, match=rf"labels for the heads .*{name}"):
        head.loss(move_to(labels, device), logits)
    with pytest.raises(ValueError, match=rf"labels for the heads .*{name}"):
        head.update_metrics(logits=logits, labels=move_to(labels, device))


def test_a_nested_head_needs_labels_where_one_of_its_heads_does(device: torch.device) -> None:
    inner = [th.RegressionHead(name="may", missing_label=nan), th.BinaryClassHead(name="must")]
    head = th.MultiHead([th.MultiHead(inner), th.RegressionHead(name="other", missing_label=nan)])
    logits = torch.tensor([[9.0, 2.0, 9.0]], device=device)
    for labels in [{}, {"other": [0.0]}, {"may_must": {"may": [1.0]}}]:
        with pytest.raises(ValueError, match="must"):
            head.loss(labels, logits)
    loss = head.loss({"may_must": {"must": [1]}}, logits)
    assert_same(loss, inner[1].loss([1], logits[:, 1:2]))
    metrics = head.update_metrics(head.metrics(), None, logits, {"may_must": {"must": [1]}})
    values = metrics.compute()
    assert_same(values["loss/may_must"], loss)
    assert_same(values["loss/must"], loss)
    assert values["loss/may"].isnan()


# ---- what was never labelled ----


@pytest.mark.parametrize("fused", [False, True])
def test_what_never_had_a_label_reads_nan(fused: bool, device: torch.device) -> None:
    labels = torch.tensor([[1.0, nan], [0.0, nan]], device=device)
    logits = torch.tensor([[3.0, nan], [-3.0, 1.0]], device=device)
    head: th.Head
    head, never = (
        th.MultiLabelHead(2, name=name, classes_for_class_based_metrics=[0, 1], missing_label=nan)
        for name in ("bars", "never")
    )
    given: Any = labels
    if fused:
        head, given = th.MultiHead([head, never]), {"bars": labels}
        logits = torch.cat([logits, logits], -1)
    values = head.update_metrics(head.metrics(), None, logits, given).compute()
    for key, value in values.items():
        assert value.isnan() == ("class1" in key or key.endswith("never")), key
    assert values["label/coverage/bars"] == 0.5
    assert values["auc/class0/bars"] == 1


def test_what_had_a_label_once_reads_a_number_until_it_is_reset(device: torch.device) -> None:
    head, logits = th.BinaryClassHead(missing_label=-1), torch.ones(2, 1, device=device)
    metrics = head.metrics()
    for labels in [[-1, -1], [-1, 1], [-1, -1]]:
        head.update_metrics(metrics, None, logits, labels)
    values = metrics.compute()
    # of one class alone there is no ranking
    assert {key for key in values if values[key].isnan()} == {"auc", "roc_auc", "average_precision"}
    assert_same(values["label/coverage"], torch.tensor(1 / 6, device=device))
    metrics.reset()
    values = head.update_metrics(metrics, None, logits, [-1, -1]).compute()
    assert values.pop("label/coverage") == 0
    assert all(value.isnan() for value in values.values())


def test_only_a_head_that_may_miss_labels_has_coverage_and_reads_nan(device: torch.device) -> None:
    head = th.MultiHead(
        [th.BinaryClassHead(name="must"), th.BinaryClassHead(name="may", missing_label=-1)]
    )
    empty = torch.zeros(0, 2, device=device)
    values = head.update_metrics(head.metrics(), None, empty, empty).compute()
    assert [key for key in values if "coverage" in key] == ["label/coverage/may"]
    for key, value in values.items():
        ranking = key.startswith(("roc_auc", "average_precision"))
        assert value.isnan() if key.endswith("may") or ranking else value == 0, key


@pytest.mark.parametrize("options", [{}, {"missing_label": -1}], ids=["must", "may"])
def test_a_call_without_rows_does_not_count_in_the_mean_of_calls(
    options: dict[str, Any], device: torch.device
) -> None:
    head = th.MultiHead([th.BinaryClassHead(name="must"), th.BinaryClassHead(name="o", **options)])
    padded = th.SequentialHeadWrapper(head, "mask")
    metrics, steps = head.metrics(), padded.metrics()
    for rows in [2, 0, 1, 0]:
        logits = torch.zeros(rows, 2, device=device)
        labels = torch.ones(rows, 2, device=device)
        head.update_metrics(metrics, None, logits, labels)
        features = {"mask": torch.full((3, 4), rows > 0, device=device)}
        wide = logits.new_zeros(3, 4, 2)
        padded.update_metrics(steps, features, wide, wide + 1)
    expected = torch.tensor(2.0, device=device).log()
    for values in (metrics.compute(), steps.compute()):
        assert_same(values["loss/must"], expected)
        assert_same(values["loss/o"], expected)


@pytest.mark.parametrize("labels", [[1, 1, -1], [0, 0, -1], [-1, -1, -1], [1, 0, -1]], ids=str)
def test_an_area_of_one_class_is_nan_where_labels_may_miss(
    labels: list[int], device: torch.device
) -> None:
    may, logits = th.BinaryClassHead(missing_label=-1), torch.ones(3, 1, device=device)
    values = may.update_metrics(may.metrics(), None, logits, labels).compute()
    assert values["auc"].isnan() == (not {0, 1} <= {*labels})
    assert values["auc_precision_recall"].isnan() == (1 not in labels)
    must = th.BinaryClassHead()  # as in tf.estimator
    given = [max(0, own) for own in labels]
    values = must.update_metrics(must.metrics(), None, logits, given).compute()
    assert [key for key in ("auc", "auc_precision_recall") if values[key].isnan()] == []


def test_coverage_ignores_weights(device: torch.device) -> None:
    head, logits = th.RegressionHead(missing_label=nan), torch.ones(4, 1, device=device)
    weights = [0.0, 5.0, 3.0, 1.0]
    metrics = head.metrics()
    head.update_metrics(metrics, None, logits, [1.0, nan, 2.0, nan], weights=weights)
    assert metrics.compute()["label/coverage"] == 0.5


# ---- refusals ----


@pytest.mark.parametrize(
    ("make", "missing", "error"),
    [
        (th.BinaryClassHead, 0, ValueError),
        (th.BinaryClassHead, 0.5, ValueError),
        (th.BinaryClassHead, True, TypeError),
        (th.BinaryClassHead, "", TypeError),
        (th.BinaryClassHead, [-1, 0], ValueError),
        (th.BinaryClassHead, [-1, None], TypeError),
        (partial(th.BinaryClassHead, label_vocabulary=["", "a"]), "", ValueError),
        (partial(th.BinaryClassHead, label_vocabulary=["a", "b"]), 1, ValueError),
        (partial(th.MultiClassHead, 3), 2, ValueError),
        (partial(th.MultiClassHead, 3), "x", TypeError),
        (partial(th.MultiClassHead, 3), nan, (TypeError, ValueError)),
        (partial(th.MultiClassHead, 3), -0.5, (TypeError, ValueError)),
        (partial(th.MultiClassHead, 3), inf, (TypeError, ValueError)),
        (partial(th.MultiClassHead, 3, label_vocabulary=DIGITS), "one", ValueError),
        (partial(th.MultiClassHead, 3, label_vocabulary=DIGITS), nan, ValueError),
        (partial(th.MultiLabelHead, 3), 1, ValueError),
        (partial(th.MultiLabelHead, 3), 0.25, ValueError),
        (partial(th.MultiLabelHead, 3), "none", TypeError),
        (partial(th.MultiLabelHead, 3, label_vocabulary=DIGITS), "two", ValueError),
        (th.RegressionHead, "none", TypeError),
        (th.RegressionHead, (nan, "none"), TypeError),
        (th.PoissonRegressionHead, 0, ValueError),
        (th.PoissonRegressionHead, 7.0, ValueError),
        (th.LogisticRegressionHead, 1.0, ValueError),
    ],
)
def test_a_missing_label_that_cannot_be_told_from_a_label_is_refused(
    make: Callable[..., th.Head], missing: Any, error: Any
) -> None:
    with pytest.raises(error, match="missing_label"):
        make(missing_label=missing)


@pytest.mark.parametrize(
    "given",
    [
        np.array([-1.0, -2.0]),
        torch.tensor([-1.0, -2.0]),
        pd.Series([-1.0, -2.0]),
        pl.Series([-1.0, -2.0]),
        pa.array([-1.0, -2.0]),
        range(-1, -3, -1),
    ],
    ids=lambda given: type(given).__module__,
)
def test_several_missing_labels_come_in_whatever_holds_them(given: Any) -> None:
    head = th.RegressionHead(missing_label=given)
    assert head.missing_label == (-1.0, -2.0)
    assert head.loss([-1.0, -2.0, 2.0], torch.zeros(3, 1)) == 4
    for one in (np.array(-1.0), torch.tensor(-1.0), np.float32(-1)):
        assert th.RegressionHead(missing_label=one).missing_label == -1.0


BOUNDED = [kind for kind in KINDS if not kind.vocabulary and kind.head().family.lowest == 0]


@every(*BOUNDED)
def test_only_the_missing_label_is_missing(kind: Kind, device: torch.device) -> None:
    head = kind.head(missing_label=kind.missing)
    logits = torch.zeros(2, head.logits_dimension, device=device)
    labels = kind.labels(torch.Generator(), (2,)).to(device)
    with pytest.raises(ValueError, match=r"expected labels (in|>=)"):
        head.loss(labels.index_fill(0, torch.tensor(1, device=device), -7), logits)


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size", "weighted_mean"])
@pytest.mark.parametrize("n_classes", [4, 21])
@pytest.mark.parametrize("bad", [0.0, nan])
def test_pixels_that_are_not_labelled_are_those_that_cross_entropy_ignores(
    channels_first: bool, reduction: str, n_classes: int, bad: float, device: torch.device
) -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(n_classes, (2, 5, 6), generator=random).to(device)
    labels[torch.rand(2, 5, 6, generator=random).to(device) < 0.4] = 255
    image = torch.randn(2, n_classes, 5, 6, generator=random).to(device)
    kind = "sum" if reduction == "sum" else "mean"

    leaf = image.clone().requires_grad_()
    expected = F.cross_entropy(leaf, labels, ignore_index=255, reduction=kind)
    expected.backward()
    own = image.masked_fill((labels == 255).unsqueeze(1), bad)
    own = (own if channels_first else own.movedim(1, -1).contiguous()).requires_grad_()
    head = th.MultiClassHead(n_classes, missing_label=255, loss_reduction=reduction)
    loss = head.loss(labels, own.movedim(1, -1) if channels_first else own)
    loss.backward()
    torch.testing.assert_close(loss, expected)
    assert own.grad is not None
    assert leaf.grad is not None
    gradient = own.grad.movedim(1, -1) if channels_first else own.grad
    torch.testing.assert_close(gradient, leaf.grad.movedim(1, -1))
    assert (gradient[labels == 255] == 0).all()


@pytest.mark.parametrize("form", [list, tuple, np.array, torch.tensor])
def test_a_loss_fn_sees_the_same_rows_of_labels_and_of_features(form: Any) -> None:
    def loss_fn(labels: Tensor, logits: Tensor, features: Any) -> Tensor:
        scale = torch.as_tensor(features["scale"], dtype=logits.dtype)
        return (logits - labels).square() * scale.view(-1, 1)

    head = th.RegressionHead(missing_label=-1, loss_fn=loss_fn)
    loss = head.loss([-1.0, 2.0, 3.0], torch.zeros(3, 1), {"scale": form([100.0, 1.0, 1.0])})
    assert loss == 6.5


def test_a_declared_number_is_missing_among_names() -> None:
    head = th.MultiClassHead(2, label_vocabulary=["a", "b"], missing_label=[-100, "?"])
    logits = torch.randn(4, 2)
    expected = head.loss(["a", "?", "b", "?"], logits)
    assert head.loss(["a", -100, "b", "?"], logits) == expected


def test_an_empty_list_is_labels_of_no_rows() -> None:
    for head in (th.RegressionHead(2), th.MultiHead([th.RegressionHead(name=n) for n in "ab"])):
        assert head.loss([], torch.zeros(0, 2)) == 0
