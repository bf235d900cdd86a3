"""How sure metrics are: intervals from counts, against the bootstrap of the examples."""

import io

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from rich.console import Console
from torch import Tensor

import torch_heads as th
from torch_heads.integrations.report import print_report
from torch_heads.metrics.collection import ReadingCollection
from torch_heads.metrics.interval import bootstrap, interval_of, intervals_of
from torch_heads.testing import random_sample

ROWS = 400


def draw(random: np.random.Generator, rows: int = ROWS) -> tuple[Tensor, Tensor]:
    labels = (random.random(rows) < 0.3).astype(np.float32)
    logits = (random.normal(size=rows) + 1.2 * labels - 0.5).astype(np.float32)
    return torch.from_numpy(logits)[:, None], torch.from_numpy(labels)


def test_intervals_hold_the_true_value_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    keys = ["roc_auc", "f1", "accuracy"]
    head = th.BinaryClassHead(metrics=["f1"], fine=True)
    true = head.update_metrics(head.metrics(), None, *draw(random, 500_000)).compute()
    runs, held = 200, dict.fromkeys(keys, 0)
    for _ in range(runs):
        metrics = head.update_metrics(head.metrics(), None, *draw(random))
        for key in keys:
            low, high = metrics.interval(key, 0.95, samples=200)
            held[key] += bool(low <= true[key] <= high)
    # of 200 intervals of 95 %, the share that holds it has a standard deviation of 1.5 %
    for key, count in held.items():
        assert count / runs == pytest.approx(0.95, abs=0.04), key


@pytest.mark.parametrize(("key", "slope"), [("calibration_error", 1.0), ("ks", 0.0)])
def test_what_chance_adds_to_has_no_interval(key: str, slope: float) -> None:
    """Of calibrated scores, and of scores that tell nothing, no bootstrap holds the true value."""
    random = np.random.default_rng(1)
    head = th.BinaryClassHead(metrics=[key])

    def counted(rows: int) -> ReadingCollection:
        logits = random.normal(size=rows)
        labels = random.random(rows) < 1 / (1 + np.exp(-slope * logits))
        given = torch.from_numpy(logits)[:, None], torch.from_numpy(labels)
        return head.update_metrics(head.metrics(), None, *given)

    true = counted(500_000)[key].compute().item()
    assert true < 0.005
    runs, held = 200, {"percentile": 0, "basic": 0}
    for _ in range(runs):
        metrics = counted(ROWS)
        with pytest.raises(ValueError, match=rf"got '{key}'\. Chance adds to it"):
            metrics.interval(key)
        bound, estimate = metrics.readings[key], metrics[key].compute().item()
        [each] = bootstrap([bound], metrics.tallies[bound.place.tally].flat(), samples=100, seed=0)
        low, high = np.quantile(each, [0.025, 0.975])
        held["percentile"] += low <= true <= high
        held["basic"] += max(0, 2 * estimate - high) <= true <= max(0, 2 * estimate - low)
    assert held["percentile"] == 0
    assert held["basic"] / runs < 0.85  # and not 0.95


@pytest.mark.parametrize("key", ["roc_auc", "f1", "accuracy", "average_precision"])
def test_the_spread_is_that_of_the_bootstrap_of_the_examples(key: str) -> None:
    random = np.random.default_rng(0)
    logits, labels = draw(random)
    head = th.BinaryClassHead(metrics=["f1"])
    low, high = head.update_metrics(logits=logits, labels=labels).interval(key, 0.9)
    z, y = logits[:, 0].numpy(), labels.numpy()
    score = {
        "roc_auc": lambda i: sk.roc_auc_score(y[i], z[i]),
        "average_precision": lambda i: sk.average_precision_score(y[i], z[i]),
        "f1": lambda i: sk.f1_score(y[i], z[i] > 0),
        "accuracy": lambda i: sk.accuracy_score(y[i], z[i] > 0),
    }[key]
    each = [score(random.integers(ROWS, size=ROWS)) for _ in range(600)]
    expected = np.quantile(each, [0.05, 0.95])
    width = expected[1] - expected[0]
    np.testing.assert_allclose([low, high], expected, atol=0.2 * width)


def test_weights_count_by_their_effective_number() -> None:
    random = np.random.default_rng(0)
    logits, labels = draw(random)
    head = th.BinaryClassHead()

    def width(**given: Tensor) -> float:
        metrics = head.update_metrics(head.metrics(), None, logits, labels, **given)
        low, high = metrics.interval("accuracy")
        return high - low

    assert width(weights=torch.full((ROWS,), 3.0)) == pytest.approx(width(), rel=0.15)
    half = torch.where(torch.arange(ROWS) % 2 == 0, 1.0, 1e-6)
    assert width(weights=half) == pytest.approx(2**0.5 * width(), rel=0.2)


def test_every_kind_of_counts_has_intervals() -> None:
    random = torch.Generator().manual_seed(0)
    heads = [
        th.MultiLabelHead(3, name="tags", metrics=["f1_macro", "roc_auc_macro"]),
        th.MultiClassHead(4, name="class", metrics=["f1_macro", "top_k_accuracy", "roc_auc_ovr"]),
        th.RegressionHead(name="number", metrics=["median_absolute_error", "r2"]),
    ]
    head = th.MultiHead(heads)
    logits = torch.randn(300, 8, generator=random)
    labels = {
        "tags": (logits[:, :3] + torch.randn(300, 3, generator=random) > 0).float(),
        "class": (logits[:, 3:7] + torch.randn(300, 4, generator=random)).argmax(-1),
        "number": logits[:, 7] + torch.randn(300, generator=random),
    }
    metrics = head.update_metrics(logits=logits, labels=labels)
    values = metrics.compute()
    keys = ["f1_macro/tags", "roc_auc_macro/tags", "accuracy/class", "f1_macro/class"]
    keys += ["top_k_accuracy/class", "roc_auc_ovr/class", "median_absolute_error/number"]
    for key in keys:
        low, high = metrics.interval(key, samples=100)
        assert low < values[key] < high, key
    assert metrics.interval(keys[0], samples=50) == metrics.interval(keys[0], samples=50)
    assert metrics.interval(keys[0], samples=50) != metrics.interval(keys[0], samples=50, seed=1)


def test_what_has_no_interval_is_refused_by_name() -> None:
    head = th.RegressionHead(metrics=["r2", "median_absolute_error"])
    metrics = head.update_metrics(logits=torch.zeros(3, 1), labels=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"among \['median_absolute_error'\], got 'r2'"):
        metrics.interval("r2")
    with pytest.raises(KeyError, match="No metric 'f1'"):
        metrics.interval("f1")
    with pytest.raises(ValueError, match=r"level in \(0, 1\), got 95"):
        metrics.interval("median_absolute_error", 95)
    with pytest.raises(ValueError, match="samples >= 1, got 0"):
        metrics.interval("median_absolute_error", samples=0)
    with pytest.raises(ValueError, match="seed >= 0, got -1"):
        metrics.interval("median_absolute_error", seed=-1)
    for argument, value in [("level", "95"), ("samples", 1e3), ("samples", True), ("seed", None)]:
        with pytest.raises(TypeError, match=f"ReadingCollection: expected {argument} as an? "):
            metrics.interval("median_absolute_error", **{argument: value})


def test_the_concordance_of_times_has_the_spread_of_the_bootstrap_of_the_examples() -> None:
    random = np.random.default_rng(0)
    head = th.SurvivalHead([1.0, 2.0, 3.0], name="s")
    risk = torch.from_numpy(random.normal(size=(200, 1))).float()
    logits = risk.expand(200, 3) - 1
    time = torch.from_numpy(random.exponential(2 / (1 + np.exp(risk.numpy())), (200, 1))).float()
    event = torch.from_numpy((random.random((200, 1)) < 0.7).astype(np.float32))
    labels = torch.cat([time, event], -1)
    metrics = head.update_metrics(logits=logits, labels=labels)
    low, high = metrics.interval("concordance/s", 0.9, samples=200)

    def drawn() -> float:
        rows = torch.from_numpy(random.integers(200, size=200))
        own = head.update_metrics(head.metrics(), None, logits[rows], labels[rows])
        return float(own["concordance/s"].compute())

    expected = np.quantile([drawn() for _ in range(100)], [0.05, 0.95])
    width = expected[1] - expected[0]
    np.testing.assert_allclose([low, high], expected, atol=0.25 * width)


def test_the_accuracy_of_many_classes_has_an_interval_and_an_average_says_why_not() -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(3000, (500,), generator=random)
    right = torch.rand(500, generator=random) < 0.8
    logits = torch.nn.functional.one_hot(torch.where(right, labels, 0), 3000).float()
    for asked in (None, ["f1_macro"]):
        head = th.MultiClassHead(3000, metrics=asked)
        metrics = head.update_metrics(logits=logits, labels=labels)
        low, high = metrics.interval("accuracy")
        share = float(metrics["accuracy"].compute())
        # the normal interval of a share, of 500 rows
        half = 1.96 * (share * (1 - share) / 500) ** 0.5
        np.testing.assert_allclose([low, high], [share - half, share + half], atol=0.15 * half)
    with pytest.raises(ValueError, match=r"\['accuracy'\], got 'f1_macro'.*no confusions"):
        metrics.interval("f1_macro")


def test_what_says_nothing_has_no_interval() -> None:
    head = th.BinaryClassHead(metrics=["precision"])
    ones = head.update_metrics(logits=[[1.0], [2.0], [-1.0]], labels=[1, 1, 1])
    for key in ("auc", "auc_precision_recall", "roc_auc"):
        assert np.isnan(ones.interval(key)).all(), key
    assert ones.interval("accuracy").high == 1
    low = head.update_metrics(head.metrics(), None, [[-1.0], [-2.0]], [1, 0])
    assert np.isnan(low.interval("precision")).all()
    assert not np.isnan(low.interval("accuracy")).any()
    light = head.update_metrics(head.metrics(), None, [[1.0], [2.0]], [1, 0], weights=[0.0, 0.0])
    assert np.isnan(light.interval("accuracy")).all()


def test_a_report_leaves_out_the_interval_of_what_has_none() -> None:
    random = np.random.default_rng(0)
    head = th.BinaryClassHead(metrics=["ks", "calibration_error", "gini"])
    metrics = head.update_metrics(None, None, *draw(random))
    console = Console(file=io.StringIO(), width=100)
    print_report(head, metrics, console, interval=0.9)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    told = {key: any(f" {key} " in one and " to " in one for one in lines) for key in metrics}
    assert told["gini"]
    assert not told["ks"]
    assert not told["calibration_error"]


def test_a_mean_over_heads_says_why_it_has_no_interval() -> None:
    mean = th.metrics.MeanOverHeads("roc_auc")
    head = th.MultiHead([th.BinaryClassHead(name=name) for name in "ab"], metrics={"mean": mean})
    with pytest.raises(ValueError, match=r"got 'mean'.*several heads may be of the same rows"):
        head.metrics().interval("mean")


@pytest.mark.parametrize(
    "head",
    [
        th.BinaryClassHead(thresholds=[0.3], metrics="all"),
        th.MultiLabelHead(3, metrics=["f1", "f1_macro", "recall_per_class"]),
        th.MultiClassHead(4, metrics="all"),
        th.RegressionHead(2, metrics=["median_absolute_error"]),
        th.SurvivalHead([1.0, 2.0]),
    ],
    ids=lambda head: head.title,
)
def test_intervals_of_one_head_are_those_of_its_metrics_one_by_one(head: th.Head) -> None:
    sample = random_sample(head, 40)
    metrics = head.update_metrics(head.metrics(), None, sample.logits, sample.labels)
    bounds = [one for key, one in metrics.readings.items() if metrics.has_interval(key)]
    assert bounds
    states = metrics.tallies[bounds[0].place.tally].flat()
    found = intervals_of(bounds, states, 0.9, samples=50)
    one_by_one = [interval_of(bound, states, 0.9, samples=50) for bound in bounds]
    np.testing.assert_array_equal(found, one_by_one)
    assert not np.isnan(found).all()
