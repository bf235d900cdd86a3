"""Curves and confusions of the heads whose metrics a collection holds."""

from math import nan
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve
from torch import Tensor

import torch_heads as th
from torch_heads.functional.curves import ScoreCurves
from torch_heads.metrics.collection import ReadingCollection

ROWS = 60
LEVELS = torch.tensor([-2.0, -0.7, -0.1, 0.3, 1.1, 2.5])  # logits, of scores away from the grid
COLUMNS = {"even": [0], "bars": [2, 3, 4], "odd": [5]}  # of labels and of logits


class Seen(NamedTuple):
    """What the metrics of a fused head have seen, in three batches."""

    head: th.MultiHead
    metrics: ReadingCollection
    logits: Tensor
    labels: Tensor
    weights: Tensor

    def column(self, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the labels, scores and weights where there is a label."""
        there = ~self.labels[:, place].isnan()
        values = self.labels[:, place], self.logits[:, place].sigmoid(), self.weights
        return tuple(value[there].cpu().numpy() for value in values)


@pytest.fixture(params=[False, True], ids=["all labelled", "some missing"])
def seen(request: pytest.FixtureRequest, device: torch.device) -> Seen:
    random = torch.Generator().manual_seed(3)
    options: dict[str, Any] = {"missing_label": nan} if request.param else {}
    head = th.MultiHead(
        [
            th.BinaryClassHead("w", [0.2, 0.8], name="even", **options),
            th.RegressionHead(1, "w", name="ink"),
            th.MultiLabelHead(3, "w", classes_for_class_based_metrics=[0], name="bars", **options),
            th.BinaryClassHead("w", name="odd", **options),
            th.LogisticRegressionHead("w", name="share"),
            th.MultiClassHead(3, "w", name="digit", missing_label=-1),
            th.MultiClassHead(5, "w", name="size", missing_label=-1),
        ]
    )
    logits = LEVELS[torch.randint(len(LEVELS), (ROWS, 15), generator=random)]
    hot = torch.randint(2, (ROWS, 7), generator=random).float()
    ids = [torch.randint(-1 * request.param, n, (ROWS, 1), generator=random) for n in (3, 5)]
    if request.param:
        for columns in COLUMNS.values():
            hot[torch.rand(ROWS, generator=random) < 0.3, slice(columns[0], columns[-1] + 1)] = nan
    weights = torch.randint(1, 9, (ROWS,), generator=random) / 4
    labels = torch.cat([hot, *ids], -1).to(device)
    everything = Seen(head, head.metrics(), logits.to(device), labels, weights.to(device))
    for rows in torch.arange(ROWS, device=device).split([25, 5, 30]):
        features = {"w": everything.weights[rows]}
        head.update_metrics(everything.metrics, features, everything.logits[rows], labels[rows])
    return everything


def points(*coordinates: Any) -> np.ndarray:
    """Return the distinct points of a curve."""
    return np.unique(np.stack([np.asarray(values) for values in coordinates]).round(9), axis=1)


@pytest.mark.parametrize("name", COLUMNS)
def test_curves_are_those_of_scikit_learn_for_each_class(seen: Seen, name: str) -> None:
    curves = seen.metrics.curves(name)
    assert isinstance(curves, ScoreCurves)
    assert len(curves.counts) == len(COLUMNS[name])
    roc, pr = curves.roc(), curves.precision_recall()
    for i, place in enumerate(COLUMNS[name]):
        labels, scores, weights = seen.column(place)
        fpr, tpr, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
        actual = points(roc.false_positive_rate[i].cpu(), roc.true_positive_rate[i].cpu())
        np.testing.assert_allclose(actual, points(fpr, tpr))
        precision, recall, _ = precision_recall_curve(labels, scores, sample_weight=weights)
        actual = points(pr.precision[i].cpu(), pr.recall[i].cpu())
        np.testing.assert_allclose(actual, points(precision, recall))


@pytest.mark.parametrize("name", COLUMNS)
def test_curves_of_heads_together_are_those_of_each_alone(seen: Seen, name: str) -> None:
    head, columns = seen.head[name], COLUMNS[name]
    own = head.update_metrics(
        head.metrics(), {"w": seen.weights}, seen.logits[:, columns], seen.labels[:, columns]
    )
    for metrics in [seen.metrics, seen.metrics.clone(prefix="val_")]:
        actual, expected = metrics.curves(name), own.curves(name)
        assert actual.bins == expected.bins
        for each in ["roc", "precision_recall", "calibration", "best_threshold"]:
            torch.testing.assert_close(getattr(actual, each)(), getattr(expected, each)())


def test_curves_agree_with_the_metrics(seen: Seen) -> None:
    values = seen.metrics.compute()
    curves = seen.metrics.curves("even")
    roc = curves.roc()
    area = -torch.trapezoid(roc.true_positive_rate, roc.false_positive_rate)
    torch.testing.assert_close(area.squeeze().float(), values["auc/even"])
    pr = curves.precision_recall()
    place = (pr.thresholds - 0.8).abs().argmin()
    for key, curve in [("precision", pr.precision), ("recall", pr.recall)]:
        expected = values[f"{key}/positive_threshold_0.8/even"]
        torch.testing.assert_close(curve[0, place].float(), expected)


def test_a_head_without_a_name_has_curves_too(device: torch.device) -> None:
    head = th.MultiLabelHead(2, classes_for_class_based_metrics=[1])
    logits = torch.tensor([[2.0, -1.0], [-2.0, -0.5]], device=device)
    metrics = head.update_metrics(head.metrics(), None, logits, torch.eye(2, device=device))
    assert len(metrics.curves().counts) == 2
    with pytest.raises(KeyError, match="bars"):
        metrics.curves("bars")


@pytest.mark.parametrize("name", ["ink", "share", "digit", "none", None])
def test_a_head_without_counted_scores_has_no_curves(seen: Seen, name: str | None) -> None:
    words = "Several heads have counted scores" if name is None else name
    with pytest.raises(KeyError, match=rf"{words}.*'even', 'bars'"):
        seen.metrics.curves(name)


def test_a_class_is_not_a_head(seen: Seen) -> None:
    assert "auc/class0/bars" in seen.metrics
    with pytest.raises(KeyError, match="'even', 'bars', 'odd'"):
        seen.metrics.curves("class0/bars")


def test_heads_in_heads_are_found_by_the_names_in_their_keys(device: torch.device) -> None:
    inner = th.MultiHead([th.BinaryClassHead(name="left"), th.MultiClassHead(3, name="kind")])
    head = th.MultiHead([inner, th.SequentialHeadWrapper(th.BinaryClassHead(name="up"), "mask")])
    logits = torch.tensor([[[3.0, 0.0, 1.0, 0.0, -3.0]]], device=device)
    labels = {
        "left_kind": {"left": [[1]], "kind": [[0]]},
        "up_sequential": [[1]],
    }
    metrics = head.update_metrics(head.metrics(), {"mask": [[1]]}, logits, labels)
    assert metrics.curves("left").best_threshold().f_score == 1
    assert metrics.curves("up").best_threshold().f_score == 1
    assert metrics.confusion_matrix("kind").tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


# ---- confusions ----


@pytest.mark.parametrize(
    ("name", "place", "columns"), [("digit", 7, [7, 10]), ("size", 8, [10, 15])]
)
def test_confusions_are_those_of_scikit_learn(
    seen: Seen, name: str, place: int, columns: list[int]
) -> None:
    logits, labels = seen.logits[:, slice(*columns)], seen.labels[:, place].long()
    classes = range(logits.shape[-1])
    matrix = seen.metrics.confusion_matrix(name)
    there = labels >= 0
    expected = confusion_matrix(
        labels[there].cpu(),
        logits[there].argmax(-1).cpu(),
        labels=classes,
        sample_weight=seen.weights[there].cpu(),
    )
    assert matrix.dtype == torch.float64
    np.testing.assert_array_equal(matrix.cpu(), expected)
    accuracy = matrix.trace() / matrix.sum()
    torch.testing.assert_close(accuracy.float(), seen.metrics.compute()[f"accuracy/{name}"])
    head = seen.head[name]
    own = head.update_metrics(head.metrics(), {"w": seen.weights}, logits, labels)
    assert torch.equal(own.confusion_matrix(name), matrix)


def test_confusions_are_a_copy_and_are_reset(seen: Seen) -> None:
    before = seen.metrics.confusion_matrix("size").clone()
    seen.metrics.confusion_matrix("size").zero_()
    assert torch.equal(seen.metrics.confusion_matrix("size"), before)
    seen.metrics.reset()
    assert not seen.metrics.confusion_matrix("size").any()


@pytest.mark.parametrize(
    "name", ["even", "ink", "bars", "none", "positive_threshold_0.2/even", None]
)
def test_only_a_multi_class_head_has_confusions(seen: Seen, name: str | None) -> None:
    with pytest.raises(KeyError, match=name or "Several heads have confusions: name one"):
        seen.metrics.confusion_matrix(name)


def test_too_many_classes_have_no_confusions(device: torch.device) -> None:
    wide = th.MultiClassHead(2049, name="wide")
    logits = torch.zeros(2, 2049, device=device).index_fill(1, torch.tensor(7, device=device), 1)
    metrics = wide.update_metrics(wide.metrics(), None, logits, [7, 3])
    assert metrics.compute()["accuracy/wide"] == 0.5
    with pytest.raises(ValueError, match=rf"up to {2**22} entries in all, .* here are {2049**2}"):
        metrics.confusion_matrix("wide")
    narrow = th.MultiClassHead(3, name="narrow")
    both = th.MultiHead([wide, narrow, th.MultiClassHead(4, name="four")]).to(device)
    labels = torch.tensor([[7, 2, 3], [3, 1, 0]], device=device)
    logits = torch.arange(2.0 * (2049 + 7), device=device).view(2, -1).sin()
    weights = {"narrow": torch.tensor([1.0, 3.0], device=device)}
    metrics = both.update_metrics(both.metrics(), None, logits, labels, weights=weights)
    with pytest.raises(ValueError, match=rf"smallest matrices first; here are {2049**2}"):
        metrics.confusion_matrix("wide")
    own = narrow.update_metrics(
        narrow.metrics(), None, logits[:, 2049:2052], labels[:, 1:2], weights=weights["narrow"]
    )
    assert torch.equal(metrics.confusion_matrix("narrow"), own.confusion_matrix("narrow"))
    assert metrics.confusion_matrix("four").sum() == 2


def test_a_regression_of_probabilities_has_residuals_beside_heads_of_classes(
    device: torch.device,
) -> None:
    shares = [th.LogisticRegressionHead(name=name, missing_label=-1) for name in ("s", "t")]
    heads = [shares[0], th.MultiLabelHead(2, name="m", thresholds=[0.3]), shares[1]]
    head = th.MultiHead(heads).to(device)
    random = torch.Generator().manual_seed(0)
    logits, labels = (torch.rand(30, 4, generator=random).to(device) for _ in range(2))
    labels[:4, 0] = labels[7:9, 3] = -1
    weights = {"t": torch.rand(30, generator=random).to(device)}
    metrics = head.update_metrics(head.metrics(), None, logits, labels, weights=weights)
    for alone, column in zip(shares, [0, 3], strict=True):
        own = alone.update_metrics(
            alone.metrics(),
            None,
            logits[:, [column]],
            labels[:, [column]],
            weights=weights.get(alone.name or ""),
        )
        expected = own.residuals(alone.name).counts
        torch.testing.assert_close(metrics.residuals(alone.name).counts, expected)
    with pytest.raises(KeyError, match="'m' has no residuals"):
        metrics.residuals("m")
    with pytest.raises(KeyError, match="Several heads have residuals: name one of"):
        metrics.residuals()
    with pytest.raises(KeyError, match="No head has survival curves here; the heads are"):
        metrics.survival("m")


def test_a_column_without_labels_has_no_precision(device: torch.device) -> None:
    head = th.BinaryClassHead(missing_label=-1)
    metrics = head.update_metrics(None, None, torch.zeros(2, 1, device=device), [-1, -1])
    assert all(values.isnan().all() for values in metrics.curves().precision_recall()[:2])


@pytest.mark.parametrize("bins", [2.5, "10", True])
def test_bins_are_whole(seen: Seen, bins: Any) -> None:
    with pytest.raises(TypeError, match="calibration: expected bins as an int, got"):
        seen.metrics.curves("even").calibration(bins)


@pytest.mark.parametrize("beta", [-1.0, float("inf"), float("nan"), "1", True])
def test_a_beta_that_makes_no_sense_is_refused(seen: Seen, beta: Any) -> None:
    with pytest.raises(ValueError, match="best_threshold: expected beta >= 0 and finite"):
        seen.metrics.curves("even").best_threshold(beta)
