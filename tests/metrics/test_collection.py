"""A head's metrics are a `torchmetrics.MetricCollection`, and do what its users expect."""

import pickle
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib as mpl
import pytest
import torch
from torch import Tensor, nn
from torchmetrics import MeanSquaredError, Metric, MetricCollection, MetricTracker, R2Score
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryGroupStatRates,
    BinaryStatScores,
    MulticlassAccuracy,
    MulticlassAUROC,
    MultilabelF1Score,
)

import torch_heads as th
from tests.own_heads import LaplaceHead
from torch_heads.metrics.collection import ReadingCollection

DOTTED = "accuracy/positive_threshold_0.25"


@pytest.fixture
def head() -> th.BinaryClassHead:
    return th.BinaryClassHead(thresholds=[0.25, 0.5])


@pytest.fixture
def metrics(head: th.BinaryClassHead, device: torch.device) -> ReadingCollection:
    logits = torch.tensor([[2.0], [-1.0], [0.5]], device=device)
    labels = torch.tensor([1, 0, 0], device=device)
    return head.update_metrics(head.metrics(), None, logits, labels)


def test_it_is_a_collection_of_metrics(metrics: ReadingCollection) -> None:
    assert isinstance(metrics, MetricCollection)
    assert all(isinstance(metric, Metric) for metric in metrics.values())
    assert all(isinstance(metric, Metric) for _, metric in metrics.items())


def test_a_key_may_have_a_dot(metrics: ReadingCollection) -> None:
    assert DOTTED in metrics
    assert metrics[DOTTED].compute() == metrics.compute()[DOTTED]
    assert metrics.clone(prefix="val.")[f"val.{DOTTED}"].compute() == metrics[DOTTED].compute()


def test_what_is_no_key_is_refused_as_an_unknown_one(metrics: ReadingCollection) -> None:
    with pytest.raises(KeyError, match=r"No metric 3; there are \["):
        metrics[3]  # type: ignore[index]
    with pytest.raises(KeyError, match=r"No metric \['auc'\]; there are \["):
        metrics[["auc"]]  # type: ignore[index]
    for head in ([], ["click"], False, 3):  # no names, of which some count as false
        with pytest.raises(KeyError, match=r"No counted scores of .*; the heads are"):
            metrics.curves(head)  # type: ignore[arg-type]


def test_a_head_without_a_name_is_none_to_ask_for() -> None:
    with pytest.raises(KeyError, match="No metric 'no'; there are") as refused:
        th.BinaryClassHead().metrics()["no"]
    assert "heads" not in str(refused.value)


def test_an_unknown_key_is_refused_with_the_known_ones(metrics: ReadingCollection) -> None:
    assert "accurcy" not in metrics
    with pytest.raises(KeyError, match=r"accurcy.*accuracy"):
        metrics["accurcy"]


def test_a_prefix_and_a_postfix_are_put_around_each_key(metrics: ReadingCollection) -> None:
    around = metrics.clone(prefix="val_", postfix="_epoch")
    expected = {f"val_{key}_epoch": value for key, value in metrics.compute().items()}
    assert around.compute() == expected
    assert list(around) == list(around.keys()) == list(expected)
    assert [key for key, _ in around.items()] == list(expected)
    assert [key for key, _ in around.items(keep_base=True)] == list(metrics)
    assert around["val_auc_epoch"] is around["auc"]


def test_what_can_be_looked_up_is_in_the_collection(metrics: ReadingCollection) -> None:
    around = metrics.clone(prefix="val_")
    assert "val_auc" in around
    assert "auc" in around
    assert around["auc"].compute() == metrics["auc"].compute()


@pytest.mark.parametrize("prefix", ["a", "accuracy", "label/"])
def test_a_prefix_may_be_the_start_of_a_key(metrics: ReadingCollection, prefix: str) -> None:
    around = metrics.clone(prefix=prefix)
    for key in metrics:
        for asked in [key, prefix + key]:
            assert around[asked].compute() == metrics[key].compute()


def test_clones_have_their_own_states(
    head: th.BinaryClassHead, metrics: ReadingCollection, device: torch.device
) -> None:
    training, validation = metrics.clone(prefix="train_"), metrics.clone(prefix="val_")
    validation.reset()
    head.update_metrics(
        validation, None, torch.ones(1, 1, device=device), torch.ones(1, device=device)
    )
    assert training.compute()["train_accuracy"] == metrics.compute()["accuracy"]
    assert validation.compute()["val_accuracy"] == 1


def test_reset_forgets_all_batches(metrics: ReadingCollection) -> None:
    metrics.reset()
    assert not any(metric.update_called for metric in metrics.values())
    with pytest.warns(UserWarning, match="before the ``update``"):
        values = metrics.compute()
    undefined = {key for key, value in values.items() if value.isnan()}
    assert undefined == {"roc_auc", "average_precision"}
    assert not any(value for key, value in values.items() if key not in undefined)


def test_to_compute_twice_is_to_compute_once(
    head: th.BinaryClassHead, metrics: ReadingCollection, device: torch.device
) -> None:
    first = metrics.compute()
    assert metrics.compute() == first
    head.update_metrics(
        metrics, None, torch.ones(1, 1, device=device), torch.ones(1, device=device)
    )
    assert metrics.compute() != first
    assert first["accuracy"] == pytest.approx(2 / 3)


def test_only_a_head_can_update_it(metrics: ReadingCollection) -> None:
    before = metrics.compute()
    preds = target = torch.ones(1)
    for call in [metrics, metrics.update, metrics["auc"], metrics["auc"].update]:
        with pytest.raises(TypeError, match="update_metrics"):
            call(preds, target)
        assert metrics["auc"].update_count == 1
        assert metrics.compute() == before
    with pytest.raises(TypeError, match="none can be added"):
        metrics.add_metrics({"more": metrics["auc"]})


def test_it_shows_its_keys(metrics: ReadingCollection) -> None:
    assert repr(metrics).startswith("ReadingCollection(")
    assert all(key in repr(metrics) for key in metrics)
    assert DOTTED in str(metrics)


def test_it_plots_every_metric(metrics: ReadingCollection) -> None:
    mpl.use("agg")
    from matplotlib import pyplot as plt

    values = metrics.compute()
    for plot, count in [
        (lambda: metrics.plot(), len(metrics)),
        (lambda: metrics.plot([values, values]), len(metrics)),
        (lambda: [metrics.plot(together=True)], 1),
        (lambda: [metrics[DOTTED].plot([values[DOTTED]] * 2)], 1),
    ]:
        figures = plot()
        assert len(figures) == len(plt.get_fignums()) == count
        plt.close("all")


class Model(nn.Module):
    def __init__(self, head: th.Head) -> None:
        super().__init__()
        self.head = head
        self.validation = head.metrics().clone(prefix="val_")


def test_a_logger_finds_each_metric_among_the_modules_of_a_model(
    head: th.BinaryClassHead, device: torch.device
) -> None:
    model = Model(head).to(device)
    model.head.update_metrics(None, None, torch.ones(1, 1, device=device), [1])
    found = {id(module): name for name, module in model.named_modules()}
    for metrics in [model.head.metric_collection, model.validation]:
        for key, metric in metrics.items(keep_base=False, copy_state=False):
            assert found[id(metric)].endswith(key.removeprefix("val_"))
    assert len(set(found.values())) == len(found)
    assert not list(model.parameters())
    assert list(model.state_dict()) == ["head._meaning"]


def test_states_are_saved_on_request_and_restored(
    head: th.BinaryClassHead, metrics: ReadingCollection
) -> None:
    assert metrics.state_dict() == {}
    metrics.persistent()
    state = metrics.state_dict()
    assert state
    again = head.metrics()
    again.persistent()
    again.load_state_dict(state)
    assert again.compute() == metrics.compute()
    metrics.persistent(False)
    assert metrics.state_dict() == {}
    metrics["auc"].persistent(True)
    assert metrics.state_dict().keys() == state.keys()
    assert metrics["auc"].state_dict().keys() == {"tally.sums", "tally.scores"}


def test_a_part_may_be_a_mean_over_heads_alone() -> None:
    heads = [th.BinaryClassHead(name="a"), th.BinaryClassHead(name="b")]
    head = th.MultiHead(heads, metrics={"mean": th.metrics.MeanOverHeads("roc_auc")})
    logits = torch.tensor([[1.0, 0.0], [-1.0, 2.0]])
    metrics = head.update_metrics(logits=logits, labels=[[1, 1], [0, 0]])
    part = metrics.part(["mean"])
    assert {key: value.item() for key, value in part.compute().items()} == {"mean": 0.5}
    assert [*part] == ["mean"]
    assert part["mean"].compute() == 0.5


def test_collections_are_merged_by_their_tallies(
    head: th.BinaryClassHead, metrics: ReadingCollection
) -> None:
    other = metrics.clone()
    with pytest.raises(TypeError, match=r"'auc' is read.* Merge each of metrics.tallies"):
        metrics["auc"].merge_state(other["auc"])
    before = metrics.tallies["bernoulli"].sums.clone()
    for name, tally in metrics.tallies.items():
        tally.merge_state(other.tallies[name])
    assert torch.equal(metrics.tallies["bernoulli"].sums, 2 * before)


def test_a_head_takes_another_collection_for_its_own(
    head: th.BinaryClassHead, metrics: ReadingCollection, device: torch.device
) -> None:
    head.metric_collection = metrics
    head.update_metrics(logits=torch.ones(1, 1, device=device), labels=torch.ones(1, device=device))
    assert head.metric_collection is metrics
    assert metrics.compute()["accuracy"] == 0.75
    assert metrics["accuracy"].update_count == 2


def pair(first: type[th.Head], second: type[th.Head]) -> th.MultiHead:
    return th.MultiHead([first(name="a"), second(name="b")])


NUMBER, COUNT, CLASSES = th.RegressionHead, th.PoissonRegressionHead, partial(th.MultiClassHead, 3)


@pytest.mark.parametrize(
    ("own", "other", "says"),
    [
        (NUMBER(), COUNT(), "of Normal, 1 x 1 logits, got one of Poisson, 1 x 1 logits"),
        (NUMBER(), LaplaceHead(), "of Normal, 1 x 1 logits, got one of Laplace, 1 x 2 logits"),
        (
            NUMBER(missing_label=-1),
            NUMBER(missing_label=-2),
            "with the missing_label [-1.0, nan], got one with [-2.0, nan]",
        ),
        (
            CLASSES(label_vocabulary=["x", "y", "z"]),
            CLASSES(label_vocabulary=["x", "z", "y"]),
            "of the label_vocabulary ['x', 'y', 'z'], got one of ['x', 'z', 'y']",
        ),
        (NUMBER(), NUMBER(inverse_link_fn=torch.exp), "without an inverse_link_fn"),
        (
            NUMBER(loss_reduction="sum"),
            NUMBER(),
            "with the loss sum, got one with sum_over_batch_size",
        ),
        (
            NUMBER(),
            NUMBER(loss_fn=nn.HuberLoss(reduction="none")),
            "with the loss sum_over_batch_size, got one with sum_over_batch_size of HuberLoss",
        ),
        (pair(NUMBER, COUNT), pair(COUNT, NUMBER), "RegressionHead 'a': expected eval_metrics of"),
    ],
    ids=["family", "own family", "missing", "names", "link", "reduction", "loss", "swapped heads"],
)
def test_a_collection_of_the_same_keys_that_counts_something_else_is_refused(
    own: th.Head, other: th.Head, says: str
) -> None:
    before, metrics = own.metric_collection, other.metrics()
    assert [*before] == [*metrics]
    with pytest.raises(ValueError, match=re.escape(says)):
        own.metric_collection = metrics
    with pytest.raises(ValueError, match=re.escape(says)):
        own.update_metrics(metrics, logits=torch.zeros(2, own.logits_dimension), labels=[[1], [1]])
    assert own.metric_collection is before
    assert not any(tally.update_called for tally in metrics.tallies.values())


@pytest.mark.parametrize(
    "make",
    [
        partial(NUMBER, missing_label=[-1, float("nan")]),
        partial(CLASSES, label_vocabulary=["x", "y", "z"]),
        partial(th.BinaryClassHead, thresholds=[0.3], metrics=[BinaryAUROC()]),
        LaplaceHead,
        partial(pair, NUMBER, COUNT),
    ],
    ids=["number", "names", "binary", "own", "several"],
)
def test_a_collection_that_counts_the_same_is_taken(make: Callable[[], th.Head]) -> None:
    head = make()
    own = head.metrics()
    copies = [own.clone(), pickle.loads(pickle.dumps(own)), make().metrics(), head.metrics([0.0])]
    for metrics in (own, *copies):
        head.metric_collection = metrics
        assert head.metric_collection is metrics


def test_a_collection_may_say_less_of_what_it_counts() -> None:
    head = CLASSES(label_vocabulary=["x", "y", "z"])
    head.metric_collection = metrics = CLASSES().metrics()
    assert head.update_metrics(None, None, torch.zeros(1, 3), ["y"]) is metrics


def test_more_is_better_where_it_is(metrics: ReadingCollection) -> None:
    better = {key: metric.higher_is_better for key, metric in metrics.items()}
    assert better["auc"] is better[DOTTED] is True
    assert better["average_loss"] is False
    assert better["label/mean"] is False  # which has no direction
    tracker = MetricTracker(metrics)
    assert tracker.maximize == [*better.values()]


def test_what_is_best_in_the_middle_has_no_direction() -> None:
    asked = ["bias", "interval_coverage", "quantile_coverage", "label/mean"]
    readings = th.GaussianRegressionHead(metrics=asked[:3]).metrics().readings
    assert {key: readings[key].reading.higher_is_better for key in asked} == dict.fromkeys(asked)
    both = th.MultiHead([th.BinaryClassHead(name=name) for name in "ab"])
    losses = both.metrics(regularization_losses=[]).readings
    for key in ("loss/a", "regularization_loss/a_b"):
        assert losses[key].reading.higher_is_better is False, key


@pytest.mark.parametrize(
    ("head", "metric", "several"),
    [
        (lambda **o: th.MultiClassHead(3, **o), MulticlassAccuracy(3), False),
        (lambda **o: th.MultiClassHead(3, **o), MulticlassAUROC(3, average=None), True),
        (lambda **o: th.MultiLabelHead(2, **o), MultilabelF1Score(2, average="none"), True),
        (lambda **o: th.RegressionHead(2, **o), MeanSquaredError(num_outputs=2), True),
        (lambda **o: th.RegressionHead(2, **o), R2Score(), False),
        (lambda **o: th.RegressionHead(2, **o), R2Score(multioutput="raw_values"), True),
        (
            th.BinaryClassHead,
            th.metrics.Torchmetric(BinaryGroupStatRates(2), groups="sex"),
            True,
        ),
    ],
)
def test_a_tracker_takes_one_direction_of_a_metric(head: Any, metric: Any, several: bool) -> None:
    metrics = head(metrics={"own": metric}).metrics()
    if several:
        with pytest.raises(ValueError, match="'own' is several numbers"):
            MetricTracker(metrics)
    else:
        assert len(MetricTracker(metrics).maximize) == len(metrics)


def test_a_tracker_is_told_that_a_metric_is_several_numbers() -> None:
    head = th.MultiClassHead(3, metrics={"acc": MulticlassAccuracy(3, average=None)}, name="h")
    with pytest.raises(ValueError, match=r"'acc/h' is several numbers.*maximize=True"):
        MetricTracker(head.metrics())
    tracker = MetricTracker(head.metrics(), maximize=True)
    for label in (1, 0):
        tracker.increment()
        head.update_metrics(tracker[-1], logits=torch.eye(3), labels=[label, 1, 2])
    best, epochs = tracker.best_metric(return_step=True)
    assert (best["acc/class0/h"], epochs["acc/class0/h"]) == (1.0, 1)


@pytest.mark.parametrize(
    ("head", "before"),
    [
        (th.BinaryClassHead(thresholds=[0.5]), "auc_precision_recall"),
        (th.MultiLabelHead(2, thresholds=[0.5]), "auc_precision_recall"),
        (th.MultiClassHead(3), "average_loss"),
        (th.RegressionHead(), "label/mean"),
        (th.MultiHead([th.RegressionHead(name="a")]), None),
    ],
)
def test_the_regularization_loss_stands_where_the_originals_have_it(
    head: th.Head, before: str | None
) -> None:
    keys = list(head.metrics(regularization_losses=[1.0]))
    place = next(i for i, key in enumerate(keys) if key.startswith("regularization_loss"))
    assert place == (0 if before is None else keys.index(before) + 1)
    assert [key for key in keys if not key.startswith("regularization_loss")] == list(
        head.metrics()
    )


class Spread(Metric):
    """The least and the largest score, as a metric of one's own: several numbers."""

    full_state_update = False
    higher_is_better = True
    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("low", torch.tensor(torch.inf), "min")
        self.add_state("high", torch.tensor(-torch.inf), "max")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.low, self.high = self.low.minimum(preds.min()), self.high.maximum(preds.max())

    def compute(self) -> Any:
        return torch.stack([self.low, self.high])


class ListedSpread(Metric):
    """The same out of a list, of which nothing can be said before its first rows."""

    full_state_update = False
    higher_is_better = True
    scores: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", [], "cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.scores.append(preds)

    def compute(self) -> Tensor:
        scores = torch.cat(self.scores)
        return torch.stack([scores.min(), scores.max()])


class NamedSpread(Spread):
    def compute(self) -> Any:
        low, high = super().compute()
        return {"low": low, "high": high}


class Largest(Spread):
    def compute(self) -> Any:
        return super().compute()[1]


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (Spread(), "'own/h' is several numbers"),
        (NamedSpread(), "'own/h' is several numbers"),
        (ListedSpread(), "'own/h' may be several numbers, which only its first rows tell"),
        (BinaryStatScores(), "'own/h' is several numbers"),
        (Largest(), None),
        (BinaryAUROC(), None),
    ],
)
def test_a_tracker_is_told_what_a_metric_of_ones_own_is(metric: Metric, says: str | None) -> None:
    head = th.BinaryClassHead(metrics={"own": metric}, name="h")
    if says is None:
        tracker = MetricTracker(head.metrics())
    else:
        with pytest.raises(ValueError, match=rf"{says}.*maximize=True"):
            MetricTracker(head.metrics())
        tracker = MetricTracker(head.metrics(), maximize=True)
    for logit in (0.0, 2.0):
        tracker.increment()
        head.update_metrics(tracker[-1], logits=[[logit], [1.0]], labels=[1, 0])
    _, epochs = tracker.best_metric(return_step=True)
    assert any(key.startswith("own") for key in epochs)


@pytest.mark.parametrize("prefix", [None, "val_"])
@pytest.mark.parametrize("metric", [Spread(), ListedSpread()])
def test_several_numbers_of_a_metric_are_plotted_in_one_figure(
    prefix: str | None, metric: Metric
) -> None:
    mpl.use("agg")
    from matplotlib import pyplot as plt

    own = {"own": metric, "own/more": NamedSpread(), "rate": BinaryStatScores(), "f1": "f1"}
    head = th.BinaryClassHead(metrics=own, name="h")
    metrics = head.metrics().clone(prefix=prefix)
    head.update_metrics(metrics, logits=[[2.0], [1.0]], labels=[1, 0])
    values = metrics.compute()
    assert len(values) == len(metrics) - 3 + 2 + 2 + 5
    for plot in [metrics.plot, lambda: metrics.plot(values), lambda: metrics.plot([values] * 3)]:
        figures = dict(zip(metrics.keys(), plot(), strict=True))
        assert len(plt.get_fignums()) == len(metrics)
        lines = {key.removeprefix("val_"): len(axes.lines) for key, (_, axes) in figures.items()}
        assert lines["own/h"] == lines["own/more/h"] == 2
        assert lines["rate/h"] >= 5
        legend = figures[f"{prefix or ''}own/more/h"][1].get_legend()
        assert [text.get_text() for text in legend.get_texts()] == ["low", "high"]
        plt.close("all")
    assert metrics["own/h"].plot()
    plt.close("all")
