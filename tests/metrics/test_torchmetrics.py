"""torchmetrics' own metrics in a head: what they are fed, against the same fed by hand."""

import copy
import pickle
import signal
import warnings
from collections.abc import Callable, Mapping
from math import isnan, nan
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import torchmetrics as tm
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics import classification as tmc
from torchmetrics.retrieval import RetrievalMAP
from torchmetrics.wrappers import MinMaxMetric

import torch_heads as th
from tests import processes
from tests.processes import needs_gloo, results
from torch_heads.computation.inputs import Inputs
from torch_heads.metrics import Torchmetric
from torch_heads.metrics.collection import ReadingCollection
from torch_heads.metrics.fed import FedMetric
from torch_heads.metrics.sums import Total

ROWS, STEPS, CLASSES = 60, 4, 3

HEADS: dict[str, Callable[..., th.Head]] = {
    "binary": th.BinaryClassHead,
    "classes": lambda **options: th.MultiClassHead(CLASSES, **options),
    "labels": lambda **options: th.MultiLabelHead(CLASSES, **options),
    "number": th.RegressionHead,
    "numbers": lambda **options: th.RegressionHead(2, **options),
    "count": th.PoissonRegressionHead,
    "share": th.LogisticRegressionHead,
}


class Means(Metric):
    """The weighted mean of the hits, which takes weights as metrics of one's own may."""

    hits: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("hits", torch.tensor(0.0), "sum")
        self.add_state("total", torch.tensor(0.0), "sum")

    def update(self, preds: Tensor, target: Tensor, weights: Tensor | None = None) -> None:
        hits = ((preds > 0.5) == target).float()
        weights = torch.ones_like(hits) if weights is None else weights
        self.hits += (hits * weights).sum()  # in place, as some do
        self.total += weights.sum()

    def compute(self) -> Tensor:
        return self.hits / self.total


METRICS: dict[str, list[tuple[str, Callable[[], Metric]]]] = {
    "binary": [
        ("scores", tmc.BinaryAUROC),
        ("scores", lambda: tmc.BinaryAUROC(thresholds=20)),
        ("class_ids", tmc.BinaryF1Score),
        ("scores", tmc.BinaryCalibrationError),
        ("logits", tmc.BinaryHingeLoss),
        ("scores", Means),
    ],
    "classes": [
        ("scores", lambda: tmc.MulticlassAUROC(CLASSES)),
        ("class_ids", lambda: tmc.MulticlassF1Score(CLASSES)),
        ("scores", lambda: tmc.MulticlassCalibrationError(CLASSES)),
    ],
    "labels": [
        ("scores", lambda: tmc.MultilabelAUROC(CLASSES, ignore_index=-1)),
        ("class_ids", lambda: tmc.MultilabelF1Score(CLASSES, ignore_index=-1)),
    ],
    "number": [("scores", tm.SpearmanCorrCoef), ("predictions", tm.R2Score)],
    "numbers": [("scores", lambda: tm.R2Score(multioutput="raw_values"))],
    "count": [("scores", tm.MeanSquaredLogError)],
    "share": [("scores", tm.MeanAbsoluteError)],
}
CASES = [
    pytest.param(kind, preds, make, id=f"{kind}-{preds}-{i}")
    for kind, each in METRICS.items()
    for i, (preds, make) in enumerate(each)
]

every_metric = pytest.mark.parametrize(("kind", "preds", "make"), CASES)

# SpearmanCorrCoef and others say that they keep all examples
pytestmark = pytest.mark.filterwarnings("ignore:Metric `.*` will save:UserWarning")


def a_batch(kind: str, seed: int, *leading: int) -> tuple[Tensor, Tensor]:
    """Return random logits and labels of a head."""
    random = torch.Generator().manual_seed(seed)
    width = HEADS[kind]().logits_dimension
    logits = torch.randn(*leading, width, generator=random)
    if kind == "classes":
        return logits, torch.randint(CLASSES, (*leading, 1), generator=random)
    labels = torch.randint(2, (*leading, width), generator=random).float()
    if kind in ("number", "numbers"):
        labels = torch.randn(*leading, width, generator=random) + logits
    return logits, labels


def by_hand(metric: Metric, kind: str, preds: str, logits: Tensor, labels: Tensor) -> Metric:
    """Update a metric with rows ``[N, ...]`` that all have labels."""
    if kind == "classes":
        fed = {"scores": logits.softmax(-1), "class_ids": logits.argmax(-1)}
        metric.update(fed[preds], labels.squeeze(-1))
        return metric
    means = {"count": logits.exp(), "number": logits, "numbers": logits}
    mean = means.get(kind, logits.sigmoid())
    fed = {
        "scores": mean,
        "predictions": mean,
        "logits": logits,
        "class_ids": (logits > 0).long(),
    }
    if kind in ("binary", "labels"):
        labels = labels.long()
    own, target = fed[preds], labels
    if logits.shape[-1] == 1:
        own, target = own.squeeze(-1), target.squeeze(-1)
    metric.update(own, target)
    return metric


def numbers(value: Any) -> list[float]:
    return torch.as_tensor(value).flatten().tolist()


def read(metrics: ReadingCollection, key: str = "it") -> list[float]:
    return numbers(metrics[key].compute())


def made(kind: str, preds: str, make: Callable[[], Metric], **options: Any) -> th.Head:
    return HEADS[kind](metrics={"it": Torchmetric(make(), preds)}, **options)


@every_metric
def test_it_is_fed_rows_that_count_alone_and_fused(
    kind: str, preds: str, make: Callable[[], Metric]
) -> None:
    several = kind == "numbers"
    options: dict[str, Any] = {} if several else {"missing_label": -1000}
    weights = torch.ones(ROWS)
    weights[::7] = 0
    alone = made(kind, preds, make, **options)
    both = th.MultiHead([HEADS[kind](name="other"), made(kind, preds, make, name="x", **options)])
    metrics, fused, expected = alone.metrics(), both.metrics(), make()
    for seed in range(3):
        logits, labels = a_batch(kind, seed, ROWS)
        there = weights.bool()
        if not several:
            missing = torch.arange(ROWS) % 5 == 2
            if seed == 1:
                missing[:] = True  # a batch without any
            labels = labels.clone()
            labels[missing] = -1000
            there &= ~missing
        alone.update_metrics(metrics, None, logits, labels, weights=weights)
        _, others = a_batch(kind, 9, ROWS)
        both.update_metrics(
            fused,
            None,
            torch.cat([logits + 1, logits], -1),
            {"other": others, "x": labels},
            weights={"x": weights},
        )
        if there.any():
            by_hand(expected, kind, preds, logits[there], labels[there])
    wanted = pytest.approx(numbers(expected.compute()), abs=1e-6, nan_ok=True)
    assert read(metrics) == wanted
    assert read(fused, "it/x") == wanted
    assert read(fused["x"], "it/x") == wanted
    values = fused.compute()
    flat = [float(values[key]) for key in values if key.startswith("it")]
    assert flat == wanted
    assert all(value.dtype == torch.float32 for value in values.values())


@every_metric
def test_padded_steps_of_sequences_are_left_out(
    kind: str, preds: str, make: Callable[[], Metric]
) -> None:
    head = th.SequentialHeadWrapper(made(kind, preds, make), "mask")
    logits, labels = a_batch(kind, 0, ROWS, STEPS)
    mask = torch.rand(ROWS, STEPS, generator=torch.Generator().manual_seed(3)) > 0.4
    head.update_metrics(None, {"mask": mask}, logits, labels)
    expected = by_hand(make(), kind, preds, logits[mask], labels[mask]).compute()
    assert read(head.metric_collection) == pytest.approx(numbers(expected), abs=1e-6)


def test_the_key_of_one_of_several_numbers_is_no_other_metrics() -> None:
    asked = {"acc": tmc.MulticlassRecall(2, average=None), "acc/cat": "accuracy"}
    head = th.MultiClassHead(2, label_vocabulary=["cat", "dog"], metrics=asked)
    metrics = head.update_metrics(logits=torch.eye(2), labels=["cat", "cat"])
    with pytest.raises(ValueError, match="none of several numbers of another has, got 'acc/cat'"):
        metrics.compute()


def test_heads_of_different_numbers_of_classes_feed_their_own() -> None:
    heads = [
        th.MultiClassHead(k, name=f"k{k}", metrics={"it": tmc.MulticlassAUROC(k)})
        for k in (3, 9, 4)
    ]
    head, logits = th.MultiHead(heads), torch.randn(ROWS, 16)
    labels = {f"k{k}": torch.arange(ROWS) % k for k in (3, 9, 4)}
    metrics = head.update_metrics(None, None, logits, labels)
    for k, own in zip((3, 9, 4), logits.split([3, 9, 4], -1), strict=True):
        expected = tmc.MulticlassAUROC(k)
        expected.update(own.softmax(-1), labels[f"k{k}"])
        assert read(metrics, f"it/k{k}") == pytest.approx(numbers(expected.compute()))


def test_missing_entries_of_a_row_are_the_ignore_index() -> None:
    make = lambda: tmc.MultilabelF1Score(CLASSES, average="macro", ignore_index=-5)  # noqa: E731
    head = th.MultiLabelHead(CLASSES, missing_label=nan, metrics={"it": make()})
    logits, labels = a_batch("labels", 0, ROWS)
    labels[torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) > 0.6] = nan
    labels[:9] = nan
    head.update_metrics(None, None, logits, labels)
    expected = make()
    expected.update(logits.sigmoid(), labels.nan_to_num(-5).long())
    assert read(head.metric_collection) == pytest.approx(numbers(expected.compute()))
    with pytest.raises(
        ValueError, match=r"metrics\['it'\] with an ignore_index.* MultilabelF1Score without"
    ):
        th.MultiLabelHead(3, missing_label=nan, metrics={"it": tmc.MultilabelF1Score(3)})
    with pytest.raises(ValueError, match="with an ignore_index"):
        th.RegressionHead(2, missing_label=nan, metrics=tm.R2Score())


def test_an_entry_of_weight_0_is_a_missing_one() -> None:
    logits, labels = torch.tensor([[2.0, -1.0, 1.0]]), torch.tensor([[1, 1, 0]])
    weights = torch.tensor([[1.0, 0.0, 1.0]])
    head = th.MultiLabelHead(3, metrics={"it": tmc.MultilabelAccuracy(3, ignore_index=7)})
    head.update_metrics(None, None, logits, labels, weights=weights)
    expected = tmc.MultilabelAccuracy(3, ignore_index=7)
    expected.update(logits.sigmoid(), torch.tensor([[1, 7, 0]]))
    assert read(head.metric_collection) == pytest.approx(numbers(expected.compute()))
    head = th.MultiLabelHead(3, metrics={"it": tmc.MultilabelAccuracy(3)})
    with pytest.raises(ValueError, match="with an ignore_index, since a label of a row does not"):
        head.update_metrics(None, None, logits, labels, weights=weights)


# ---- weights ----


def test_weights_go_where_an_update_takes_them() -> None:
    logits, labels = a_batch("binary", 0, ROWS)
    weights = torch.rand(ROWS, generator=torch.Generator().manual_seed(2))
    head = th.BinaryClassHead(weight_column="w", metrics={"own": Means(), "mean": tm.MeanMetric()})
    for rows in (slice(0, 20), slice(20, ROWS)):
        head.update_metrics(None, {"w": weights[rows]}, logits[rows], labels[rows])
    values = head.metric_collection.compute()
    assert values["own"] == pytest.approx(float(values["accuracy"]))
    assert values["mean"] == pytest.approx(float(values["prediction/mean"]))
    left_out = th.BinaryClassHead(metrics={"own": Torchmetric(Means(), weights=None)})
    left_out.update_metrics(None, None, logits, labels, weights=weights)
    expected = by_hand(Means(), "binary", "scores", logits, labels)
    assert read(left_out.metric_collection, "own") == numbers(expected.compute())


def test_a_head_refuses_weights_that_no_update_takes() -> None:
    head = th.MultiHead(
        [
            th.RegressionHead(name="b"),
            th.BinaryClassHead(name="a", metrics={"x": tmc.BinaryAUROC()}),
        ]
    )
    logits, labels = torch.randn(4, 2), torch.eye(4)[:, :2]
    metrics = head.update_metrics(None, None, logits, labels)
    before = copy.deepcopy(metrics.compute())
    words = r"'a': expected metrics\['x'\] without weights.* a weight of 2 for BinaryAUROC.*=None"
    with pytest.raises(ValueError, match=words):
        head.update_metrics(metrics, None, logits, labels, weights={"a": torch.full((4,), 2.0)})
    torch.testing.assert_close(metrics.compute(), before, equal_nan=True)
    # of another head, or 1 and 0, which say who counts
    head.update_metrics(metrics, None, logits, labels, weights={"b": torch.full((4,), 2.0)})
    head.update_metrics(metrics, None, logits, labels, weights={"a": torch.tensor([1.0, 0, 0, 1])})
    assert metrics["x/a"].rows == 10
    apart = th.BinaryClassHead(metrics={"x": Torchmetric(tmc.BinaryAUROC(), weights=None)})
    weights = torch.tensor([0.0, 2, 3, 4])
    apart.update_metrics(None, None, logits[:, 1:], labels[:, 0], weights=weights)
    assert apart.metric_collection["x"].rows == 3


# ---- features ----


def test_further_arguments_come_from_the_features() -> None:
    logits, labels = a_batch("binary", 0, ROWS)
    sex = torch.arange(ROWS) % 2
    labels[::9] = -1
    there = labels.squeeze(-1) >= 0
    make = lambda: tmc.BinaryGroupStatRates(num_groups=2)  # noqa: E731
    fair = lambda: tmc.BinaryFairness(num_groups=2)  # noqa: E731
    asked = {
        "rates": Torchmetric(make(), groups="sex"),
        "fair": Torchmetric(fair(), preds="class_ids", groups="sex"),
    }
    head = th.BinaryClassHead(name="a", missing_label=-1, metrics=asked)
    both = th.MultiHead([th.BinaryClassHead(name="b"), head])
    given = {"a": labels, "b": torch.zeros(ROWS)}
    both.update_metrics(None, {"sex": sex}, torch.cat([logits, logits], -1), given)
    values = both.metric_collection.compute()
    rates, fairness = make(), fair()
    kept = logits[there].sigmoid().squeeze(-1), labels[there].long().squeeze(-1), sex[there]
    rates.update(*kept)
    fairness.update((kept[0] > 0.5).long(), *kept[1:])
    for group, row in rates.compute().items():
        own = [float(values[f"rates/{group}/{i}/a"]) for i in range(4)]
        assert own == pytest.approx(row.tolist())
    for key, value in fairness.compute().items():
        assert values[f"fair/{key}/a"] == pytest.approx(float(value))


def test_features_of_a_sequence_hold_for_its_steps() -> None:
    declared = Torchmetric(RetrievalMAP(), indexes="query")
    static = th.BinaryClassHead(metrics={"map": declared})
    with pytest.raises(ValueError, match=r"feature_columns with \['query'\] for the static head's"):
        th.SequentialHeadWrapper(static, "mask")
    head = th.SequentialHeadWrapper(static, "mask", feature_columns=["query"])
    logits, labels = a_batch("binary", 0, ROWS, STEPS)
    mask = torch.arange(STEPS).expand(ROWS, STEPS) < 3
    query = (torch.arange(ROWS) // 5)[:, None].expand(ROWS, STEPS)
    head.update_metrics(None, {"mask": mask, "query": query}, logits, labels)
    expected = RetrievalMAP()
    every = query[mask]
    expected.update(logits[mask].sigmoid().squeeze(-1), labels[mask].long().squeeze(-1), every)
    assert read(head.metric_collection, "map") == pytest.approx(numbers(expected.compute()))


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (None, "expected features with 'sex' for its metrics, got no features"),
        ({"age": [1]}, r"expected features with 'sex' for its metrics, got \['age'\]"),
        ({"sex": torch.zeros(3)}, r"features\['sex'\] of shape \[4\] or \[4, 1\], got \[3\]"),
        ({"sex": ["m", "f", "f", "m"]}, r"features\['sex'\] to be numeric, got strings"),
    ],
)
def test_features_that_do_not_fit_are_refused(features: Any, words: str) -> None:
    declared = Torchmetric(tmc.BinaryGroupStatRates(2), groups="sex")
    head = th.BinaryClassHead(missing_label=-1, metrics=declared)
    with pytest.raises(ValueError, match=words):
        head.update_metrics(None, features, torch.zeros(4, 1), torch.ones(4))
    # a batch without labels needs no features
    head.update_metrics(None, None, torch.zeros(4, 1), -torch.ones(4))


# ---- what is undefined, or not fed at all ----


def test_what_was_never_fed_is_nan_and_warns_of_nothing() -> None:
    asked = {"exact": tmc.BinaryAUROC(), "each": tmc.BinaryStatScores(), "fair": fairness()}
    head = th.BinaryClassHead(name="a", missing_label=-1, metrics=asked)
    metrics = head.metrics()
    head.update_metrics(metrics, {"sex": [0, 1]}, torch.zeros(2, 1), [-1, -1])
    head.update_metrics(metrics, {"sex": []}, torch.zeros(0, 1), torch.zeros(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = metrics.compute()
        assert all(isnan(values[f"{key}/a"]) for key in asked)
        assert isnan(metrics["exact/a"].compute())


def fairness() -> Torchmetric:
    return Torchmetric(tmc.BinaryFairness(2), groups="sex")


def test_nan_and_soft_labels_are_refused_before_anything_changes() -> None:
    head = th.BinaryClassHead(name="a", metrics={"f": tmc.BinaryF1Score()})
    metrics = head.update_metrics(None, None, [[1.0], [-1.0]], [1, 0])
    before = metrics.compute()
    with pytest.raises(ValueError, match=r"'a': expected metrics\['f'\] fed numbers, got NaN as"):
        head.update_metrics(metrics, None, [[nan], [1.0]], [1, 0])
    with pytest.raises(ValueError, match=r"metrics\['f'\] fed labels 0 and 1, got 0.5"):
        head.update_metrics(metrics, None, [[1.0], [1.0]], [1, 0.5])
    assert metrics.compute() == before
    weights = [0.0, 1.0]  # where nothing counts, anything may stand
    head.update_metrics(metrics, None, [[nan], [1.0]], [0.5, 0], weights=weights)
    assert metrics["f/a"].rows == 3


def test_a_probability_above_1_by_rounding_is_no_logit(monkeypatch: pytest.MonkeyPatch) -> None:
    softmax = torch.softmax
    monkeypatch.setattr(torch, "softmax", lambda *args, **kwargs: softmax(*args, **kwargs) + 1e-6)
    head = th.MultiClassHead(2, metrics={"error": tmc.MulticlassCalibrationError(2)})
    logits = torch.tensor([[1e3, -1e3], [1e3, -1e3]])
    head.update_metrics(None, None, logits, [0, 0])
    # of values beyond [0, 1] torchmetrics takes the softmax once more
    assert head.metric_collection["error"].compute() == 0


# ---- one collection, one copy ----


def test_heads_and_collections_share_nothing() -> None:
    metric = tmc.BinaryAUROC()
    metric.update(torch.tensor([0.1]), torch.tensor([1]))
    heads = [th.BinaryClassHead(name=name, metrics=[metric]) for name in "ab"]
    head = th.MultiHead(heads)
    metrics = head.metrics()
    logits, labels = torch.tensor([[1.0, 1], [-1, 2]]), torch.tensor([[1.0, 1], [0, 0]])
    head.update_metrics(metrics, None, logits, labels)
    assert read(metrics, "BinaryAUROC/a") == [1.0]
    assert read(metrics, "BinaryAUROC/b") == [0.0]
    assert isnan(read(head.metric_collection, "BinaryAUROC/a")[0])
    assert metric.update_count == 1
    assert not any(isinstance(one, Metric) for one in th.BinaryClassHead(metrics=metric).children())
    states = [one for one in heads[0].modules() if isinstance(one, tmc.BinaryAUROC)]
    assert states == []


def filled() -> tuple[th.MultiHead, ReadingCollection]:
    head = th.MultiHead(
        [
            th.BinaryClassHead(name="a", metrics={"exact": tmc.BinaryAUROC(), "m.x": Means()}),
            th.MultiClassHead(
                3, name="c", metrics={"acc": tmc.MulticlassAccuracy(3, average=None)}
            ),
        ]
    )
    logits, _ = a_batch("labels", 0, ROWS)
    logits = torch.cat([logits, logits[:, :1]], -1)
    labels = {"a": torch.arange(ROWS) % 2, "c": torch.arange(ROWS) % 3}
    return head, head.update_metrics(None, None, logits, labels)


KEYS = ["exact/a", "m.x/a", "acc/class0/c", "acc/class1/c", "acc/class2/c"]


def own(metrics: ReadingCollection) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.compute().items() if key in KEYS}


def test_it_goes_where_its_collection_goes(tmp_path: Path) -> None:
    head, metrics = filled()
    values = own(metrics)
    assert list(values) == KEYS
    for again in (
        metrics.clone(),
        copy.deepcopy(metrics),
        pickle.loads(pickle.dumps(metrics)),
        copy.deepcopy(head).metric_collection,
        pickle.loads(pickle.dumps(head)).metric_collection,
    ):
        assert own(again) == values
        again.reset()
        assert all(isnan(float(again[key].compute())) for key in ("exact/a", "acc/c"))
        assert own(metrics) == values
    metrics.persistent()
    torch.save(head.state_dict(), tmp_path / "state.pt")
    other, empty = filled()
    empty.reset()
    other.update_metrics(None, None, torch.zeros(2, 4), {"a": [0, 1], "c": [0, 1]})
    assert own(empty) != values
    other.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert own(other.metric_collection) == values
    logits, labels = torch.ones(2, 4), {"a": [0, 1], "c": [0, 0]}
    other.update_metrics(None, None, logits, labels)
    head.update_metrics(None, None, logits, labels)
    assert own(other.metric_collection) == own(metrics) != values


def test_its_states_are_not_rounded_with_the_model() -> None:
    head, metrics = filled()
    values = own(metrics)
    head.to(torch.bfloat16)
    assert own(metrics) == values
    metrics.set_dtype(torch.float64)
    assert metrics["m.x/a"].metric.hits.dtype == torch.float64
    assert own(metrics) == pytest.approx(values)


def test_the_collection_shows_it() -> None:
    head, metrics = filled()
    assert {"exact/a", "m.x/a", "acc/c"} <= {*metrics, *metrics.keys()}
    assert "exact/a" in metrics
    assert "exact/a" in repr(metrics)
    assert isinstance(dict(metrics.items())["exact/a"], FedMetric)
    found = [one for _, one in head.named_modules() if isinstance(one, FedMetric)]
    assert len(found) == len({*map(id, found)}) == 3
    assert list(own(metrics["a"])) == KEYS[:2]
    assert own(head["a"].metric_collection) == own(metrics["a"])
    assert metrics["exact/a"].higher_is_better
    prefixed = metrics.clone(prefix="val/")
    assert prefixed["val/exact/a"].compute() == metrics["exact/a"].compute()
    assert "val/acc/class1/c" in prefixed.compute()
    with pytest.raises(ValueError, match="made by its metrics"):
        head.update_metrics(
            th.MultiHead([th.BinaryClassHead(name="a"), copy.deepcopy(head["c"])]).metrics()
        )


def test_a_collection_of_another_metric_under_the_same_key_is_refused() -> None:
    one, other = (
        th.BinaryClassHead(metrics={"x": metric}) for metric in (tmc.BinaryAUROC(), Means())
    )
    with pytest.raises(ValueError, match="made by its metrics"):
        one.update_metrics(other.metrics(), None, [[1.0]], [1])


def test_updates_outside_of_inference_mode_go_on() -> None:
    head, metrics = filled()
    logits, labels = torch.ones(2, 4), {"a": [0, 1], "c": [0, 0]}
    with torch.inference_mode():
        metrics.reset()
        head.update_metrics(metrics, None, logits, labels)
    head.update_metrics(metrics, None, logits, labels)
    assert metrics["m.x/a"].metric.total == 4
    assert metrics["exact/a"].rows == 4


def test_a_batch_may_be_written_over() -> None:
    head = th.RegressionHead(metrics={"it": tm.SpearmanCorrCoef()})
    logits, labels = a_batch("number", 0, ROWS)
    head.update_metrics(None, None, logits, labels)
    expected = by_hand(tm.SpearmanCorrCoef(), "number", "scores", logits, labels).compute()
    logits.zero_(), labels.zero_()
    assert head.metric_collection["it"].compute() == expected


# ---- whole or not at all ----


class Picky(Means):
    """Refuses ten rows after it has counted them."""

    def update(self, preds: Tensor, target: Tensor, weights: Tensor | None = None) -> None:
        super().update(preds, target, weights)
        if len(preds) == 10:
            raise RuntimeError("ten rows")


def test_a_batch_that_one_metric_refuses_counts_in_none() -> None:
    asked = {
        "exact": tmc.BinaryAUROC(),
        "means": Means(),
        "picky": Picky(),
        "range": MinMaxMetric(Means()),
    }
    head = th.BinaryClassHead(name="a", metrics=asked)
    logits, labels = a_batch("binary", 0, ROWS)
    metrics = head.update_metrics(None, None, logits, labels)
    before, tally = metrics.compute(), metrics.tallies["bernoulli"]
    with pytest.raises(RuntimeError, match="ten rows") as refused:
        head.update_metrics(metrics, None, logits[:10], labels[:10])
    assert refused.value.__notes__ == ["This was the metric 'picky' of the head 'a'."]
    torch.testing.assert_close(metrics.compute(), before)
    assert {metrics[f"{key}/a"].update_count for key in asked} == {1} == {tally.update_count}
    head.update_metrics(metrics, None, logits[:9], labels[:9])
    assert {int(metrics[f"{key}/a"].rows) for key in asked} == {ROWS + 9}


class Full:
    """Has no memory left when all else has been counted."""

    update_count = 0

    def prepare(self, device: torch.device) -> None: ...

    def additions(self, taken: Any) -> list[Any]:
        return [self]

    def step(self) -> None:
        raise MemoryError


def test_a_batch_that_cannot_be_counted_reaches_no_metric() -> None:
    head, metrics = filled()
    values, metric = own(metrics), metrics["exact/a"].metric
    inputs = Inputs({"a": [0, 1], "c": [0, 0]}, torch.ones(2, 4))
    measured = head.computation.measure(inputs, observe=True)
    with pytest.raises(MemoryError):
        head.computation.record(metrics, measured, others=[(Full(), None)])
    assert metrics["exact/a"].metric is metric
    assert own(metrics) == values
    assert metrics["exact/a"].rows == ROWS


@pytest.mark.usefixtures("interrupted")
def test_a_signal_at_any_moment_leaves_whole_batches() -> None:
    asked = {"exact": tmc.BinaryAUROC(), "means": Means()}
    head, chance = th.BinaryClassHead(metrics=asked), Random(0)
    logits, labels = torch.zeros(ROWS, 1), torch.arange(ROWS) % 2
    metrics = head.metrics()
    tally, exact, means = metrics.tallies["bernoulli"], metrics["exact"], metrics["means"]
    interrupts = 0
    for _ in range(60):
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-5 + chance.random() * 1e-2)
            for _ in range(20):  # not for ever: Python ignores what is raised in some places
                head.update_metrics(metrics, None, logits, labels)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupts += 1
        times = tally.update_count
        assert tally.sums[0, Total.VALID] == exact.rows == means.rows == times * ROWS
        assert exact.update_count == exact.metric.update_count == times
        assert means.metric.total == sum(map(len, exact.metric.preds)) == times * ROWS
    assert times > 60
    assert interrupts > 20


# ---- words ----


def test_metrics_are_given_to_the_head_alone() -> None:
    head = th.BinaryClassHead(name="a")
    metrics = head.metrics()
    made_so = r"BinaryClassHead\(metrics=\[\.\.\.\]\)"
    with pytest.raises(TypeError, match=rf"none can be added\. Metrics are given .*{made_so}"):
        metrics.add_metrics(tmc.BinaryAUROC())
    for asked in (["f1"], "f1", [tmc.BinaryAUROC()], {"x": "f1"}):
        with pytest.raises((TypeError, ValueError), match=rf"of scalars, got .*{made_so}"):
            head.metrics(asked)
    with pytest.raises(TypeError, match=rf"got MetricCollection\. Metrics .*{made_so}"):
        head.metric_collection = MetricCollection([tmc.BinaryAUROC()])
    with_own = filled()[1]
    for one in (metrics, with_own["c"]):
        with pytest.raises(TypeError, match=r"head\.update_metrics"):
            MetricCollection([one]).update(torch.ones(2), torch.ones(2))
    for call in (with_own["exact/a"], with_own["exact/a"].update, with_own.update):
        with pytest.raises(TypeError, match=r"head\.update_metrics"):
            call(torch.ones(2), torch.ones(2))


class Odd(Metric):
    """A metric that cannot be fed."""

    def update(self) -> None: ...

    def compute(self) -> None: ...


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda: Torchmetric("exact"), r"metric as a torchmetrics\.Metric, .*got str"),
        (lambda: Torchmetric(filled()[1]["auc_precision_recall/a"]), "none of a head's own"),
        (lambda: Torchmetric(tmc.BinaryAUROC(), preds=1), "preds as a string, got 1"),
        (
            lambda: Torchmetric(tmc.BinaryAUROC(), groups="sex"),
            r"'target'\], got one for 'groups'",
        ),
        (lambda: Torchmetric(tmc.BinaryAUROC(), weights="w"), r"'target'\], got one for 'w'"),
        (lambda: Torchmetric(Odd()), "with an update that takes predictions"),
        (lambda: Torchmetric(synced()), "dist_sync_fn"),
        (
            lambda: th.BinaryClassHead(metrics=tmc.BinaryFairness(2)),
            r"features for \['groups'\], which its update needs.*Torchmetric\(metric, groups=",
        ),
        (
            lambda: th.BinaryClassHead(metrics={"x": Torchmetric(tmc.BinaryAUROC(), "class_id")}),
            r"metrics\['x'\] with preds among \['scores', 'class_ids', 'logits'.* got 'class_id'",
        ),
        (
            lambda: th.RegressionHead(metrics={"x": Torchmetric(tm.R2Score(), "class_ids")}),
            r"metrics\['x'\] with preds among \['scores', 'predictions'\]",
        ),
        (
            lambda: th.BinaryClassHead(metrics=[tmc.BinaryAUROC(), tmc.BinaryAUROC(thresholds=9)]),
            "different keys, got 'BinaryAUROC' twice",
        ),
        (
            lambda: th.BinaryClassHead(metrics={"accuracy": tmc.BinaryAccuracy()}),
            "metrics with keys of their own, got another 'accuracy'",
        ),
    ],
)
def test_a_metric_that_cannot_be_fed_is_refused_when_it_is_declared(
    declare: Callable[[], object], words: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        declare()


def synced() -> Metric:
    return tmc.BinaryAUROC(dist_sync_fn=lambda tensor, group: [tensor])


@pytest.mark.parametrize(("name", "key"), [(None, "roc"), ("e", "roc/e")])
def test_a_result_that_is_no_number_is_read_by_its_key(name: str | None, key: str) -> None:
    head = th.BinaryClassHead(name=name, metrics={"roc": tmc.BinaryROC()})
    metrics = head.update_metrics(None, None, [[1.0], [-1.0]], [1, 0])
    with pytest.raises(TypeError, match=rf"'{key}' is a tuple.*metrics\['{key}'\]\.compute\(\)"):
        metrics.compute()
    false, true, _ = metrics[key].compute()
    assert (false.tolist(), true.tolist()) == ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0])


def test_a_matrix_has_a_key_for_each_of_its_numbers() -> None:
    matrix = tmc.MulticlassConfusionMatrix(3)
    names = ["cat", "dog", "fox"]
    head = th.MultiClassHead(3, name="pet", label_vocabulary=names, metrics={"confusion": matrix})
    logits = torch.eye(3)[[0, 1, 1, 2, 0]]
    ids = torch.tensor([0, 1, 2, 2, 1])
    metrics = head.update_metrics(None, None, logits, [names[i] for i in ids.tolist()])
    values = metrics.compute()
    expected = matrix(logits, ids)
    for i, label in enumerate(names):
        for k, predicted in enumerate(names):
            assert values[f"confusion/{label}/{predicted}/pet"] == expected[i, k]
    assert torch.equal(metrics["confusion/pet"].compute(), expected)


def test_a_collection_of_torchmetrics_is_its_metrics() -> None:
    several = MetricCollection([tmc.BinaryAUROC(), tmc.BinaryF1Score()])
    keys = {"BinaryAUROC", "BinaryF1Score"}
    assert {*th.BinaryClassHead(metrics=several).metrics().fed} == keys
    named = th.BinaryClassHead(metrics=["f1", several]).metrics()
    assert {*named.fed} == keys
    named = th.BinaryClassHead(metrics={"tm": several}).metrics()
    assert {*named.fed} == {f"tm/{key}" for key in keys}


def test_wrappers_are_fed_what_is_in_them() -> None:
    logits, labels = a_batch("binary", 0, ROWS)
    both = tmc.BinaryAUROC() + tmc.BinaryF1Score()
    head = th.BinaryClassHead(metrics={"sum": both, "range": MinMaxMetric(tmc.BinaryF1Score())})
    values = head.update_metrics(None, None, logits, labels).compute()
    f1 = by_hand(tmc.BinaryF1Score(), "binary", "scores", logits, labels).compute()
    auc = by_hand(tmc.BinaryAUROC(), "binary", "scores", logits, labels).compute()
    assert values["sum"] == pytest.approx(float(f1 + auc))
    assert [float(values[f"range/{key}"]) for key in ("raw", "max", "min")] == [float(f1)] * 3
    head.update_metrics(None, None, -logits, labels)
    values = head.metric_collection.compute()
    assert values["range/max"] == max(f1, values["range/raw"])
    assert values["range/min"] == min(f1, values["range/raw"])
    assert values["range/min"] < values["range/max"]


# ---- two processes ----


def shared_heads() -> th.MultiHead:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it keeps all examples
        spearman = tm.SpearmanCorrCoef()
    return th.MultiHead(
        [
            th.BinaryClassHead(
                name="a",
                missing_label=-1,
                metrics={
                    "exact": tmc.BinaryAUROC(),
                    "binned": tmc.BinaryAUROC(thresholds=9),
                    "map": Torchmetric(RetrievalMAP(), indexes="query"),
                    "sum": tmc.BinaryAUROC() + Means(),
                },
            ),
            th.MultiClassHead(3, name="c", metrics={"exact": tmc.MulticlassAUROC(3)}),
            th.RegressionHead(
                2, name="r", metrics={"ev": tm.ExplainedVariance(), "p": tm.PearsonCorrCoef(2)}
            ),
            th.RegressionHead(name="s", missing_label=nan, metrics={"s": spearman}),
        ]
    )


def shared_batch(rows: range, labelled: bool = True) -> dict[str, Any]:
    random = torch.Generator().manual_seed(4)
    logits = torch.randn(ROWS, 7, generator=random)
    noise = torch.randn(ROWS, 7, generator=random)
    labels = {
        "a": (logits[:, 0] + noise[:, 0] > 0).long() if labelled else -torch.ones(ROWS),
        "c": torch.arange(ROWS) % 3,
        "r": logits[:, 4:6] + noise[:, 4:6],
        "s": logits[:, 6] + noise[:, 6] if labelled else torch.full((ROWS,), nan),
    }
    take = list(rows)
    return {
        "features": {"query": torch.arange(ROWS)[take] // 6},
        "logits": logits[take],
        "labels": {name: values[take] for name, values in labels.items()},
    }


def own_values(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in metrics.items()
        if key.partition("/")[0] in ("exact", "binned", "map", "sum", "ev", "p", "s")
    }


def uneven(rank: int) -> dict[str, Any]:
    head = shared_heads()
    metrics = head.metrics()
    for rows in [[range(10), range(10, 25), range(25, 40)], [range(40, ROWS)]][rank]:
        head.update_metrics(metrics, **shared_batch(rows))
    rows = metrics["exact/a"].rows.clone()
    first = metrics.compute()
    kept = metrics["exact/a"].rows == rows
    single = metrics["exact/a"].compute()
    return {"values": own_values(first), "kept": bool(kept), "single": single}


def one_is_empty(rank: int) -> dict[str, Any]:
    head = shared_heads()
    metrics = head.metrics()
    if rank == 1:
        for rows in (range(30), range(30, ROWS)):
            head.update_metrics(metrics, **shared_batch(rows))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*metric Tally was called before", UserWarning)
        return {"values": own_values(metrics.compute())}


def no_labels(rank: int) -> dict[str, Any]:
    head = shared_heads()
    metrics = head.update_metrics(head.metrics(), **shared_batch(range(ROWS), labelled=False))
    return {"values": own_values(metrics.compute())}


def others_are_asked_for(rank: int) -> dict[str, Any]:
    metric = tmc.BinaryAUROC() if rank else Means()
    head = th.BinaryClassHead(name="a", metrics={"x": metric})
    metrics = head.update_metrics(None, None, torch.zeros(2, 1), torch.tensor([0, 1]))
    said = []
    for call in (metrics["x/a"].compute, metrics.compute):
        with pytest.raises(ValueError, match="of the same heads") as refused:
            call()
        said.append(str(refused.value))
    return {"said": said}


SCENARIOS = [uneven, one_is_empty, no_labels, others_are_asked_for]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("torchmetrics")
    processes.run(SCENARIOS, path)
    return path


def one_process() -> dict[str, Any]:
    head = shared_heads()
    metrics = head.update_metrics(head.metrics(), **shared_batch(range(ROWS)))
    return own_values(metrics.compute())


@needs_gloo
@pytest.mark.parametrize("scenario", [uneven, one_is_empty])
def test_two_processes_read_as_one(folder: Path, scenario: processes.Scenario) -> None:
    expected = one_process()
    assert len(expected) >= 8
    for result in results(folder, scenario):
        torch.testing.assert_close(result["values"], expected, rtol=1e-4, atol=1e-5)
        if "single" in result:
            assert result["kept"]
            torch.testing.assert_close(result["single"], expected["exact/a"])


@needs_gloo
def test_what_no_process_has_fed_is_nan(folder: Path) -> None:
    for result in results(folder, no_labels):
        nothing = {key for key, value in result["values"].items() if value.isnan()}
        assert nothing == {"exact/a", "binned/a", "map/a", "sum/a", "s/s"}


@needs_gloo
def test_processes_with_other_metrics_are_told_so(folder: Path) -> None:
    first, second = results(folder, others_are_asked_for)
    assert first == second
    assert "x (Means of scores)) in process 0" in first["said"][0]
