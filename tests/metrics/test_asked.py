"""Metrics that are asked for: by name, as readings, in any mixture, and what is refused."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from inspect import isabstract
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
import pytest
import torch
from torchmetrics.classification import BinaryAccuracy, BinaryCalibrationError, BinaryStatScores

import torch_heads as th
from torch_heads.families.family import Counts
from torch_heads.metrics import (
    F1,
    BalancedAccuracy,
    CohenKappa,
    ExactMatch,
    FBeta,
    Jaccard,
    MatthewsCorrcoef,
    MeanOverHeads,
    NegativePredictiveValue,
    Precision,
    Reading,
    Recall,
    RocAuc,
    Specificity,
    TopKAccuracy,
)
from torch_heads.metrics.readings.names import RANKINGS, names_for

AVERAGED = [F1, FBeta, Precision, Recall, Jaccard]

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def own_keys(head: th.Head) -> list[str]:
    """Return the keys that stand behind the usual ones."""
    usual = {key.partition("/")[0] for key in type(head)(*usual_arguments(head)).metrics()}
    return [key for key in head.metrics() if key.partition("/")[0] not in usual]


def usual_arguments(head: th.Head) -> list[int]:
    return [head.n_classes] if hasattr(head, "n_classes") else []


def test_names_readings_and_both_in_a_list_stand_behind_the_usual_ones() -> None:
    head = th.BinaryClassHead(metrics=["f1", FBeta(beta=2), "matthews_corrcoef"])
    assert list(head.metrics())[-3:] == ["f1", "fbeta_2", "matthews_corrcoef"]
    assert list(head.metrics())[:-3] == list(th.BinaryClassHead().metrics())


@pytest.mark.parametrize("given", ["f1", F1(), ["f1"], ("f1",), {"f1": "f1"}, ["f1", "f1", F1()]])
def test_one_metric_may_be_asked_for_in_any_form(given: Any) -> None:
    assert own_keys(th.BinaryClassHead(metrics=given)) == ["f1"]


def test_a_dict_gives_the_keys() -> None:
    given = {"qwk": CohenKappa("quadratic"), "top3": TopKAccuracy(3), "macro": "f1_macro"}
    keys = list(th.MultiClassHead(5, name="grade", metrics=given).metrics())
    assert keys[-3:] == ["qwk/grade", "top3/grade", "macro/grade"]


def test_a_metric_of_decisions_is_read_at_each_threshold() -> None:
    head = th.BinaryClassHead(thresholds=[0.25, 0.5], metrics={"f": "f1", "g": F1(threshold=0.9)})
    keys = [key for key in head.metrics() if key[0] in "fg" and key[1:2] in ("", "/")]
    assert keys == [
        "f",
        "f/positive_threshold_0.25",
        "f/positive_threshold_0.5",
        "g/positive_threshold_0.9",
    ]
    logits = torch.tensor([0.1, 0.4, 0.6, 0.95]).logit().view(-1, 1)
    values = head.update_metrics(logits=logits, labels=[0, 1, 0, 1]).compute()
    assert [values[key].item() for key in keys] == pytest.approx([1 / 2, 4 / 5, 1 / 2, 2 / 3])


def test_metrics_of_a_class_are_named_by_it() -> None:
    head = th.MultiClassHead(
        3, label_vocabulary=list("abc"), metrics=["recall/b", "f1_per_class"], name="h"
    )
    assert list(head.metrics())[-4:] == ["recall/b/h", "f1/a/h", "f1/b/h", "f1/c/h"]
    tags = th.MultiLabelHead(2, metrics=["roc_auc/class1", "f1/0", RocAuc(column=0)])
    assert list(tags.metrics())[-3:] == ["roc_auc/class1", "f1/class0", "roc_auc/class0"]


@pytest.mark.parametrize(
    "head",
    [
        th.BinaryClassHead,
        lambda **o: th.MultiLabelHead(3, **o),
        lambda **o: th.MultiClassHead(3, **o),
        th.RegressionHead,
        th.PoissonRegressionHead,
        th.LogisticRegressionHead,
    ],
)
def test_all_needs_no_further_state(head: Any) -> None:
    shapes = [
        {name: state.shape for tally in metrics.tallies.values() for name, state in states(tally)}
        for metrics in (head().metrics(), head(metrics="all").metrics())
    ]
    assert shapes[0] == shapes[1]
    assert len(head(metrics="all").metrics()) > len(head().metrics())


def states(tally: Any) -> list[tuple[str, torch.Tensor]]:
    return [*tally.metric_state.items()]


def test_nobody_pays_for_what_another_head_asked_for() -> None:
    heads = [th.RegressionHead(name=f"h{i}") for i in range(10)]
    plain = th.MultiHead(heads).metrics()
    heads = [th.RegressionHead(name=f"h{i}", metrics=["r2"] if i == 3 else None) for i in range(10)]
    multi = th.MultiHead(heads)
    asked = multi.metrics()
    assert len(multi.computation.groups) == 1
    extra = sum(s.numel() for t in asked.tallies.values() for _, s in states(t)) - sum(
        s.numel() for t in plain.tallies.values() for _, s in states(t)
    )
    assert extra == 2  # the squares of errors and of labels, of one column


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: th.BinaryClassHead(name="a", metrics=["f2"]), r"'f2'\. The nearest is 'f1'"),
        (lambda: th.BinaryClassHead(metrics=["rocauc"]), r"'rocauc'\. The nearest is 'roc_auc'"),
        (lambda: th.RegressionHead(metrics=["mae"]), r"nearest is 'mean_absolute_error'"),
        (lambda: th.RegressionHead(metrics=["f1"]), r"RegressionHead: .* among \['average_loss'"),
        (lambda: th.MultiClassHead(3, metrics=["f1"]), r"'f1_macro', .*'f1_per_class'\]"),
        (lambda: th.RegressionHead(metrics=[F1()]), r"of this kind of head.*F1\("),
        (lambda: th.BinaryClassHead(metrics=[3]), r"as names, readings .* got 3"),
        (lambda: th.BinaryClassHead(metrics=F1), r"got the class F1 in place of an object: F1\("),
        (lambda: th.BinaryClassHead(metrics=[BinaryAccuracy]), r"an object: BinaryAccuracy\("),
        (lambda: th.BinaryClassHead(metrics=3), r"as names, readings .* got 3"),
        (lambda: th.BinaryClassHead(metrics={3: "f1"}), r"by keys that are strings, got 3"),
        (lambda: th.BinaryClassHead(metrics={"auc": "f1"}), r"keys of their own, .*'auc'"),
        (lambda: th.BinaryClassHead(metrics={"a": "f1", "b": "f3"}), r"'f3'"),
        (lambda: th.MultiClassHead(3, metrics=["f1/class3"]), r"among \['class0'"),
        (lambda: th.MultiLabelHead(3, metrics=["exact_match/class0"]), r"'exact_match/class0'"),
        (lambda: th.MultiLabelHead(3, metrics=["f1_macro_per_class"]), r"'f1_macro_per_class'"),
        (
            lambda: th.MultiLabelHead(3, metrics=[ExactMatch(column=1)]),
            r"of one class among \['acc",
        ),
        (
            lambda: th.MultiLabelHead(3, metrics=[F1(column=1, average="macro")]),
            r"of one class among .*average='macro'",
        ),
        (lambda: th.MultiClassHead(3, metrics=[CohenKappa(column=1)]), r"of one class among"),
        (lambda: th.MultiLabelHead(2, metrics=[RocAuc(column=2)]), r"with a column in \[0, 1\]"),
        (lambda: F1(threshold=1.5), r"F1: expected threshold in \(0, 1\), got 1\.5"),
        (lambda: th.MultiClassHead(3000, metrics=["cohen_kappa_linear"]), r"at most 2048 classes"),
        (
            lambda: th.BinaryClassHead(loss_fn=absolute, metrics=["log_loss"]),
            r"'log_loss'\. A loss_fn of one's own is no log loss\. Here there is 'average_loss'",
        ),
        (lambda: FBeta(beta=-1.0), r"FBeta: expected beta >= 0 and finite, got -1\.0"),
        (lambda: CohenKappa("cubic"), r"weights among .*'cubic'"),
        (lambda: F1(average="mean"), r"average among .*'mean'"),
        (lambda: TopKAccuracy(0), r"k at least 1, got 0"),
        (lambda: multi(["roc_auc"]), r"as th.metrics.MeanOverHeads.*argument of that head"),
        (lambda: multi({"m": MeanOverHeads("rocauc")}), r"'rocauc'\. The nearest is 'roc_auc'"),
        (lambda: multi({"auc/a": MeanOverHeads("auc")}), r"'auc/a' twice"),
        (lambda: multi({"loss/a": MeanOverHeads("auc")}), r"keys other than .*'loss/a'"),
        (lambda: MeanOverHeads(3), r"MeanOverHeads: expected key as a string, got 3"),  # type: ignore
    ],
)
def test_what_cannot_be_is_refused_in_words(make: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        make()


@pytest.mark.parametrize(
    "reading",
    [kind(average=average) for kind in AVERAGED for average in ("micro", "macro", "weighted")],
    ids=repr,
)
def test_one_column_has_no_average_over_classes(reading: Any) -> None:
    with pytest.raises(ValueError, match=r"average over classes, got .*\. Of one column"):
        th.BinaryClassHead(metrics=[reading])
    th.MultiLabelHead(2, metrics=[reading])


@pytest.mark.parametrize("kind", [*AVERAGED, Specificity, NegativePredictiveValue])
def test_of_several_class_ids_a_metric_of_one_class_says_which(kind: Any) -> None:
    with pytest.raises(ValueError, match=rf"of one class.* got {kind.__name__}\(.*column=\.\.\."):
        th.MultiClassHead(3, metrics=[kind()])
    logits, labels = torch.eye(3)[[0, 0, 1, 2]], [0, 1, 1, 2]
    head = th.MultiClassHead(3, metrics={"own": kind(column=1)})
    right = {"Precision": 1.0, "F1": 2 / 3, "FBeta": 2 / 3, "Specificity": 1.0}
    right |= {"NegativePredictiveValue": 2 / 3}
    value = head.update_metrics(logits=logits, labels=labels).compute()["own/class1"].item()
    assert value == pytest.approx(right.get(kind.__name__, 0.5))


def test_averages_over_class_ids_are_those_of_scikit_learn() -> None:
    asked = [F1(average="macro"), F1(average="micro"), F1(average="weighted")]
    logits, labels = torch.eye(3)[[0, 0, 1, 2]], [0, 1, 1, 2]
    head = th.MultiClassHead(3, metrics=asked)
    values = head.update_metrics(logits=logits, labels=labels).compute()
    # sklearn.metrics.f1_score([0, 1, 1, 2], [0, 0, 1, 2], average=...)
    expected = {"f1_macro": 0.777778, "f1_micro": 0.75, "f1_weighted": 0.75}
    assert {key: values[key].item() for key in expected} == pytest.approx(expected, abs=1e-6)


def test_a_column_that_came_as_neither_is_left_out_where_scikit_learn_counts_it_as_0() -> None:
    head = th.MultiLabelHead(3, metrics="f1_macro")
    logits, labels = [[1.0, -1, -1], [1, 1, -1], [-1, -1, -1]], [[1, 0, 0], [1, 1, 0], [0, 1, 0]]
    value = head.update_metrics(logits=logits, labels=labels)["f1_macro"].compute().item()
    # sklearn.metrics.f1_score(labels, predictions, average="macro", zero_division=0)
    assert value * 2 / 3 == pytest.approx(0.555556, abs=1e-6)


def test_of_equal_logits_the_lower_class_id_ranks_higher() -> None:
    head = th.MultiClassHead(3, metrics=["mean_reciprocal_rank", TopKAccuracy(1)])
    every = [
        head.update_metrics(head.metrics(), None, torch.zeros(1, 3), [label]) for label in range(3)
    ]
    ranks = [one["mean_reciprocal_rank"].compute().item() for one in every]
    assert ranks == pytest.approx([1, 1 / 2, 1 / 3])  # scikit-learn: 1/3 each
    assert [one["top_k_accuracy_1"].compute().item() for one in every] == [1, 0, 0]


@pytest.mark.parametrize(
    ("head", "reading", "words"),
    [
        (th.BinaryClassHead, F1(average="samples"), "the labels of a row"),
        (lambda **o: th.MultiClassHead(3, **o), F1(average="samples"), "the labels of a row"),
        (lambda **o: th.MultiClassHead(3, **o), F1(average="macro", threshold=0.9), "threshold"),
        (lambda **o: th.MultiClassHead(3, **o), MatthewsCorrcoef(threshold=0.9), "threshold"),
        (lambda **o: th.MultiClassHead(3, **o), BalancedAccuracy(threshold=0.9), "threshold"),
        (lambda **o: th.MultiClassHead(3, **o), F1(column=0, threshold=0.9), "threshold"),
        (lambda **o: th.OrdinalClassHead(3, **o), CohenKappa(threshold=0.9), "threshold"),
    ],
)
def test_an_argument_that_a_head_would_not_follow_is_refused(
    head: Any, reading: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=f"expected metrics without an? .*{words}"):
        head(metrics=[reading])


@pytest.mark.parametrize(
    ("head", "name", "words"),
    [
        (th.BinaryClassHead, "f1_marco", r"'f1_macro' is a metric of heads of several.*is 'f1'\."),
        (th.BinaryClassHead, "f1_scor", r"The nearest is 'f1'\."),
        (th.BinaryClassHead, "F1", r"The nearest is 'f1'\."),
        (th.BinaryClassHead, "AUROC", r"The nearest is 'roc_auc'\."),
        (th.BinaryClassHead, "R2", r"'r2' is a metric of heads of numbers\."),
        (th.RegressionHead, "F1", r"'f1' is a metric of heads of two classes or of several labels"),
        (th.RegressionHead, "R2", r"The nearest is 'r2'\."),
        (th.RegressionHead, "auroc", r"two classes or of several labels or of probabilities\."),
        (th.PoissonRegressionHead, "interval_coverage", r"heads that tell quantiles, such as Quan"),
        (th.QuantileRegressionHead, "crps", r"that predict a distribution, such as Gaussian"),
        (th.BinaryClassHead, "mae", r"heads of classes in an order or of numbers\."),
        (lambda **o: th.MultiClassHead(3, **o), "F1", r"Of several classes there are \['f1_macro'"),
        (lambda **o: th.MultiClassHead(3, **o), "f1_marco", r"The nearest is 'f1_macro'\."),
    ],
)
def test_a_name_that_is_not_known_is_met_with_the_one_that_was_meant(
    head: Any, name: str, words: str
) -> None:
    with pytest.raises(ValueError, match=rf"got '{name}'\. .*{words}"):
        head(metrics=[name])


def test_rows_are_averaged_at_the_decision() -> None:
    with pytest.raises(ValueError, match=r"F1: expected threshold as None over samples, got 0\.99"):
        F1(average="samples", threshold=0.99)


@pytest.mark.parametrize("key", ["loss", "loss/a", "global_step", "regularization_loss", "skill"])
def test_keys_that_say_something_else_are_taken(key: str) -> None:
    metric = BinaryAccuracy()
    for asked in ("f1", F1(), metric):
        with pytest.raises(ValueError, match=rf"BinaryClassHead: .*keys other than .*got '{key}'"):
            th.BinaryClassHead(metrics={key: asked})
    with pytest.raises(ValueError, match=rf"MultiHead .*keys other than .*got '{key}'"):
        multi({key: MeanOverHeads("average_loss")})
    assert "losses" in th.BinaryClassHead(metrics={"losses": "f1"}).metrics()


def test_the_coarse_cut_has_no_metrics_of_rankings() -> None:
    fine = [name for name, one in RANKINGS.items() if one.of_fine_scores]
    assert {"roc_auc", "average_precision", "gini", "ks", "lift"} <= {*fine}
    for name in fine:
        words = rf"that the coarse cut of scores tells, got '{name}'\. Make the head with fine=True"
        with pytest.raises(ValueError, match=words):
            th.BinaryClassHead(fine=False, metrics=[name])
    with pytest.raises(ValueError, match="fine=True"):
        th.MultiLabelHead(2, fine=False, metrics=["roc_auc_macro"])
    kept = th.BinaryClassHead(fine=False, metrics="all").metrics()
    assert "f1" in kept
    assert "calibration_error" in kept
    assert not {*kept} & {*fine}
    assert {*fine} <= {*th.BinaryClassHead(metrics="all").metrics()}


def absolute(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return (labels - logits).abs()


def multi(metrics: Any) -> th.MultiHead:
    return th.MultiHead(
        [th.BinaryClassHead(name="a"), th.RegressionHead(name="b")], metrics=metrics
    )


def test_a_mean_over_heads_leaves_out_what_is_undefined() -> None:
    heads = [th.BinaryClassHead(name=f"h{i}", missing_label=-1) for i in range(4)]
    asked = {"area": MeanOverHeads("roc_auc"), "old": MeanOverHeads("auc")}
    inner = th.MultiHead(heads, metrics=asked)
    head = th.MultiHead([inner, th.RegressionHead(name="x")], metrics=[MeanOverHeads("label/mean")])
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 5, generator=generator)
    labels = torch.randint(2, (20, 5), generator=generator)
    labels[:, 1], labels[:, 2] = 1, -1
    metrics = head.update_metrics(logits=logits, labels=labels)
    values = metrics.compute()
    defined = [values[f"roc_auc/h{i}"] for i in (0, 3)]
    assert values["area"] == pytest.approx(torch.stack(defined).mean().item())
    grid = [values[f"auc/h{i}"] for i in (0, 3)]
    assert values["old"] == pytest.approx(torch.stack(grid).mean().item())
    means = torch.stack([values[f"label/mean/{name}"] for name in ("h0", "h1", "h3", "x")])
    assert values["mean_label/mean"] == pytest.approx(means.mean().item())
    for key in ("area", "old", "mean_label/mean"):
        assert metrics[key].compute() == values[key]
        assert dict(metrics.items())[key].compute() == values[key]
    assert head[inner.name].metric_collection.compute()["area"] == values["area"]
    assert metrics["area"].higher_is_better is True
    metrics["area"].reset()
    assert not metrics["area"].update_called


@pytest.mark.parametrize("key", ["ece", "rates", "rates/class1"])
def test_a_mean_over_heads_says_why_it_is_of_no_metric_of_torchmetrics(key: str) -> None:
    own = {"ece": BinaryCalibrationError(), "rates": BinaryStatScores()}
    heads = [th.BinaryClassHead(name=name, metrics=own) for name in "ab"]
    with pytest.raises(ValueError, match=rf"got '{key}'\. What torchmetrics' own keep is no count"):
        th.MultiHead(heads, metrics={"mean": MeanOverHeads(key)})


ARGUMENTS = [
    (kind, one.name)
    for kind in (getattr(th.metrics, name) for name in th.metrics.__all__)
    if is_dataclass(kind) and issubclass(kind, Reading) and not isabstract(kind)
    for one in fields(kind)
    if one.init
]


@pytest.mark.parametrize(("kind", "name"), ARGUMENTS)
@pytest.mark.parametrize("value", ["x", True, [0.5], torch.tensor(0.5)], ids=repr)
def test_an_argument_of_a_wrong_type_is_refused_in_words(kind: Any, name: str, value: Any) -> None:
    is_another_word = name in {"average", "weights"} and value == "x"
    error = ValueError if is_another_word else TypeError
    given = re.escape(repr(value))
    words = rf"^{kind.__name__}: expected {name} (as|among) .*, got {given}\.$"
    with pytest.raises(error, match=words):
        kind(**{name: value})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_power_is_finite(value: float) -> None:
    with pytest.raises(ValueError, match=r"power outside of \(0, 1\) and finite"):
        th.metrics.TweedieDeviance(value)


def test_numbers_of_any_library_are_arguments() -> None:
    assert FBeta(np.float32(2)).beta == TopKAccuracy(np.int64(2)).k == 2
    assert len({TopKAccuracy(np.int64(3)), TopKAccuracy(3)}) == 1
    third = th.BinaryClassHead(metrics=[F1(threshold=Fraction(1, 3))])  # type: ignore[arg-type]
    assert "f1/positive_threshold_0.333333" in third.metrics()
    with pytest.raises(TypeError, match=r"k as an int at least 1, got 2\.5"):
        TopKAccuracy(2.5)  # type: ignore[arg-type]


def test_a_configuration_file_asks_for_metrics(tmp_path: Path) -> None:
    config = tmp_path / "head.yaml"
    config.write_text(
        """
head:
  class_path: torch_heads.MultiHead
  init_args:
    metrics: {mean_auc: {class_path: torch_heads.metrics.MeanOverHeads, init_args: {key: roc_auc}}}
    heads:
      - class_path: torch_heads.BinaryClassHead
        init_args:
          name: click
          metrics: [f1, {class_path: torch_heads.metrics.FBeta, init_args: {beta: 2}}]
      - class_path: torch_heads.MultiClassHead
        init_args:
          n_classes: 3
          name: grade
          metrics:
            qwk: {class_path: torch_heads.metrics.CohenKappa, init_args: {weights: quadratic}}
            macro: f1_macro
      - class_path: torch_heads.RegressionHead
        init_args: {name: kilos, metrics: all}
"""
    )
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--head", type=th.Head)
    parser.add_argument("--config", action="config")
    head = parser.instantiate(parser.parse_args([f"--config={config}"])).head
    keys = list(head.metrics())
    asked = ["f1/click", "fbeta_2/click", "qwk/grade", "macro/grade", "bias/kilos", "mean_auc"]
    assert [key for key in keys if key in asked] == asked


# ---- the page ----


def test_the_page_lists_every_name_with_its_heads_and_sums() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\w, ]+) \| (.+?) \| ([\w, ]+) \|", PAGE.read_text(), re.M)
    kinds = {
        "B": (Counts.SCORES, False, True),
        "ML": (Counts.SCORES, True, True),
        "MC": (Counts.CLASSES, False, False),
        "R": (Counts.NUMBERS, False, False),
        "LR": (Counts.NUMBERS, False, True),
    }
    expected: dict[str, tuple[list[str], set[str]]] = {}
    for kind, given in kinds.items():
        for name, reading in names_for(*given).items():
            heads, sums = expected.setdefault(name, ([], set()))
            heads.append(kind)
            sums |= {words(type(need).__name__) for need in reading.needs(given[0])}
    assert [name for name, *_ in rows] == [*expected]
    for name, heads, _, sums in rows:
        assert heads.split(", ") == expected[name][0], name
        assert set(sums.split(", ")) == (expected[name][1] or {"totals"}), name


def words(need: str) -> str:
    known = {"ScoreCounts": "scores", "ClassCounts": "classes", "ClassScoreCounts": "class scores"}
    known |= {"ResidualCounts": "residuals", "RankCounts": "ranks"}
    return known.get(need) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", need.removesuffix("Term")).lower()


def test_every_public_name_is_documented() -> None:
    assert [name for name in th.metrics.__all__ if not getattr(th.metrics, name).__doc__] == []


@dataclass(frozen=True)
class Excess(th.metrics.Reading):
    """How far the mean label lies above a threshold, which is a field like any other."""

    threshold: float = 0.0

    def read(self, sums: th.metrics.Sums) -> torch.Tensor:
        total = th.metrics.Total
        return sums.total(total.LABEL) / sums.total(total.WEIGHT) - self.threshold


@dataclass(frozen=True)
class CostOfClass(th.metrics.Reading):
    """The mean label of a column, times the cost of this very column."""

    def read(self, sums: th.metrics.Sums) -> torch.Tensor:
        assert self.column is not None
        total = th.metrics.Total
        return 10**self.column * sums.total(total.LABEL) / sums.total(total.WEIGHT)


class ExcessHead(th.RegressionHead):
    def __init__(self, over: float, **options: Any) -> None:
        self.over = over
        super().__init__(**options)

    def readings(self) -> Iterator[tuple[str, th.metrics.Reading]]:
        yield "excess", Excess(self.over)


def test_a_threshold_of_ones_own_is_a_field_like_any_other() -> None:
    head = th.RegressionHead(metrics={"x": Excess(1.0), "y": Excess(5.0)})
    metrics = head.update_metrics(logits=torch.zeros(1, 1), labels=[10.0]).compute()
    assert (metrics["x"], metrics["y"]) == (9, 5)
    both = th.MultiHead([ExcessHead(1.0, name="a"), ExcessHead(5.0, name="b")])
    metrics = both.update_metrics(logits=torch.zeros(1, 2), labels=[[10.0, 10.0]]).compute()
    assert (metrics["excess/a"], metrics["excess/b"]) == (9, 5)


def test_a_reading_of_ones_own_may_look_at_its_column() -> None:
    head = th.MultiLabelHead(2, metrics=[CostOfClass(column=0), CostOfClass(column=1)])
    metrics = head.update_metrics(logits=torch.zeros(1, 2), labels=[[1, 1]]).compute()
    assert metrics["cost_of_class/class0"] == 1
    assert metrics["cost_of_class/class1"] == 10


def test_a_column_that_a_head_has_not_is_refused_however_it_comes() -> None:
    class Second(th.RegressionHead):
        def readings(self) -> Iterator[tuple[str, th.metrics.Reading]]:
            yield "second", th.metrics.Mean(of=th.metrics.Total.LABEL, column=1)

    with pytest.raises(ValueError, match=r"expected metrics with a column in \[0, 0\]"):
        Second()
    assert Second(label_dimension=2).metrics()["second"]


def test_another_field_named_column_is_refused() -> None:
    with pytest.raises(TypeError, match="Spread: expected column as the label column"):

        @dataclass(frozen=True)
        class Spread(th.metrics.Reading):
            column: str = "price"  # type: ignore[assignment]
