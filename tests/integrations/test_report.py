"""Pictures and tables of an evaluation hold what scikit-learn computes from its examples."""

import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html.parser import HTMLParser
from io import StringIO
from math import inf, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.patches import StepPatch
from rich.console import Console
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

import torch_heads as th
from tests import processes
from tests.cases import CASES, Case
from tests.integrations.disks import no_file_longer_than
from tests.mixture import mixture, random_batch
from torch_heads.integrations.report import print_report, report_figures, write_report
from torch_heads.integrations.report.evaluation import evaluation
from torch_heads.integrations.report.residual_pictures import error_curve
from torch_heads.integrations.report.sections import make_sections
from torch_heads.metrics.collection import ReadingCollection
from torch_heads.metrics.readings.names import BINARY

ROWS = 400
LEVELS = torch.tensor([-2.0, -0.7, -0.1, 0.3, 1.1, 2.5])  # logits, of scores away from the grid
VOID = {"meta", "img"}


class Seen(NamedTuple):
    """A binary head's metrics, and the labels, scores and weights that were there."""

    head: th.Head
    metrics: ReadingCollection
    labels: np.ndarray
    scores: np.ndarray
    weights: np.ndarray


@pytest.fixture
def binary(device: torch.device) -> Seen:
    torch.manual_seed(3)
    logits = LEVELS[torch.randint(len(LEVELS), (ROWS,))]
    labels = (torch.rand(ROWS) < logits.sigmoid()).float()
    weights = torch.rand(ROWS) + 0.5
    there = torch.rand(ROWS) < 0.8
    head = th.BinaryClassHead(name="even", missing_label=nan, thresholds=[0.33])
    given = labels.where(there, nan)
    metrics = head.update_metrics(
        logits=logits[:, None].to(device), labels=given.to(device), weights=weights.to(device)
    )
    kept = (values[there].double().numpy() for values in (labels, logits.sigmoid(), weights))
    return Seen(head, metrics, *kept)


def wide(count: int, device: torch.device | str = "cpu") -> tuple[th.MultiHead, ReadingCollection]:
    """Return binary heads from bad to good; number 1 has no labels, number 2 those of one class."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(2, (ROWS, count), generator=generator).float()
    noise = torch.randn(ROWS, count, generator=generator)
    logits = (2 * labels - 1) * torch.linspace(0, 3, count) + noise
    labels[:, 1], labels[:, 2] = nan, 1.0
    head = th.MultiHead([th.BinaryClassHead(name=f"t{i}", missing_label=nan) for i in range(count)])
    return head, head.update_metrics(logits=logits.to(device), labels=labels.to(device))


def distinct(*columns: Any) -> np.ndarray:
    return np.unique(np.stack(columns, axis=1).round(9), axis=0)


def drawn(axes: Axes, label: str) -> np.ndarray:
    """Return the distinct points of the line with a label that begins so."""
    (line,) = (line for line in axes.lines if str(line.get_label()).startswith(label))
    return distinct(*line.get_data())


def panel(figure: Any, title: str) -> Axes:
    (axes,) = (axes for axes in figure.axes if axes.get_title().startswith(title))
    return axes


def row_names(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


class Page(HTMLParser):
    """A page that is well-formed: what it links to, its images, its headings and its text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.images: list[dict[str, str]] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(file.read_text("utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        assert not {key for key in given if key.startswith("on")}
        assert tag not in {"script", "link", "iframe"}
        if tag not in VOID:
            self.open.append(tag)
        if "id" in given:
            assert given["id"] not in self.ids
            self.ids.add(given["id"])
        if "href" in given:
            self.links.append(given["href"])
        if tag == "img":
            self.images.append(given)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)
        if "style" not in self.open:
            self.text += data


# ---- what the pictures hold ----


def test_the_roc_and_precision_recall_curves_are_those_of_scikit_learn(binary: Seen) -> None:
    figure = report_figures(binary.head, binary.metrics)["even-curves"]
    labels, scores, weights = binary[2:]
    false, true, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    np.testing.assert_allclose(drawn(panel(figure, "ROC"), "even"), distinct(false, true))
    precision, recall, _ = precision_recall_curve(labels, scores, sample_weight=weights)
    expected = distinct(recall, precision)
    np.testing.assert_allclose(drawn(panel(figure, "Precision"), "even"), expected)


def test_the_calibration_curve_is_that_of_scikit_learn(binary: Seen) -> None:
    head = th.BinaryClassHead(name="even")
    logits = np.log(binary.scores / (1 - binary.scores))
    metrics = head.update_metrics(logits=logits[:, None], labels=binary.labels)
    axes = panel(report_figures(head, metrics)["even-curves"], "Calibration")
    share, score = calibration_curve(binary.labels, binary.scores, n_bins=10)
    points = drawn(axes, "even")
    np.testing.assert_allclose(points[:, 1], share)
    np.testing.assert_allclose(points[:, 0], score, atol=0.5 / 199)
    error = metrics.curves().expected_calibration_error().item()
    assert axes.get_title() == f"Calibration: expected error {error:.3f}"
    (dots,) = (c for c in axes.collections if isinstance(c, PathCollection))
    counts, _ = np.histogram(binary.scores, bins=10, range=(0, 1))
    sizes = (np.asarray(dots.get_sizes()) - 12) / 200
    np.testing.assert_allclose(sizes, counts[counts > 0] / counts.sum())


def test_the_histograms_are_those_of_numpy(binary: Seen) -> None:
    axes = panel(report_figures(binary.head, binary.metrics)["even-curves"], "Scores by label")
    for label in (0, 1):
        chosen = binary.labels == label
        weights = binary.weights[chosen]
        counts, _ = np.histogram(binary.scores[chosen], bins=20, range=(0, 1), weights=weights)
        patches = [p for p in axes.patches if p.get_label() == f"labels {label}"]
        (steps,) = (patch for patch in patches if isinstance(patch, StepPatch))
        np.testing.assert_allclose(steps.get_data().values, counts / weights.sum())


RARE = -torch.arange(3.0, 13.0)  # logits of ten scores, all below 0.05


@pytest.mark.parametrize("sign", [1, -1], ids=["rare", "nearly always"])
def test_scores_close_to_an_end_are_told_apart(sign: int) -> None:
    generator = torch.Generator().manual_seed(9)
    scores = RARE.sigmoid()
    rows = torch.arange(10).repeat_interleave(20_000)
    positive = torch.rand(len(rows), generator=generator) < 2 * scores[rows]
    labels = positive if sign > 0 else ~positive
    head = th.BinaryClassHead(name="rare")
    metrics = head.update_metrics(logits=sign * RARE[rows][:, None], labels=labels)
    figure = report_figures(head, metrics)["rare-curves"]
    axes = panel(figure, "Calibration")
    line = next(line for line in axes.lines if str(line.get_label()).startswith("rare"))
    x, y = (np.asarray(values)[::sign] for values in line.get_data())
    np.testing.assert_allclose(x, np.sort((sign * RARE).sigmoid())[::sign], rtol=0.03)
    share = labels.view(10, -1).double().mean(1).numpy()[::-1]
    low, high = axes.get_ylim()
    assert axes.get_xlim() == (low, high)
    inside = (share > 0) & (share < 1)
    np.testing.assert_allclose(y[inside], share[inside])
    np.testing.assert_array_equal(y[~inside], low if sign > 0 else high)  # drawn at the end
    assert 4 < inside.sum() < 10
    gap = np.abs((sign * RARE).double().sigmoid().numpy()[::-1] - share).mean()
    shown = float(axes.get_title().removeprefix("Calibration: expected error "))
    assert shown == pytest.approx(gap, abs=6e-4)


def test_the_histogram_of_rare_scores_is_by_the_logit() -> None:
    generator = torch.Generator().manual_seed(9)
    logits = torch.randn(100_000, generator=generator) - 7
    labels = torch.rand(len(logits), generator=generator) < logits.sigmoid()
    weights = torch.rand(len(logits), generator=generator) + 0.5
    head = th.BinaryClassHead(name="rare")
    metrics = head.update_metrics(logits=logits[:, None], labels=labels, weights=weights)
    axes = panel(report_figures(head, metrics)["rare-curves"], "Scores by label")
    scores = logits.sigmoid().double().numpy()
    for label in (0, 1):
        patches = [p for p in axes.patches if p.get_label() == f"labels {label}"]
        (steps,) = (patch.get_data() for patch in patches if isinstance(patch, StepPatch))
        chosen = (labels == label).numpy()
        low, *inner, high = steps.edges
        np.testing.assert_allclose(np.diff(np.log([low, *inner]), 2), 0, atol=0.01)
        edges = [0, *inner, 1]  # what lies beyond is in the first and in the last step
        counts, _ = np.histogram(scores[chosen], edges, weights=weights.numpy()[chosen])
        np.testing.assert_allclose(steps.values.sum(), 1)
        assert np.abs(steps.values - counts / counts.sum()).sum() < (0.01, 0.2)[label]
        assert (counts > 0).sum() > 8
        assert axes.get_xlim() == pytest.approx((low, high))


def test_a_rare_class_beside_a_common_one_is_readable() -> None:
    torch.manual_seed(9)
    logits = torch.randn(50_000, 2) + torch.tensor([0.0, -7.0])
    labels = torch.rand(logits.shape) < logits.sigmoid()
    head = th.MultiLabelHead(2, label_vocabulary=["common", "rare"], name="seen")
    figures = report_figures(head, head.update_metrics(logits=logits, labels=labels))
    curves = figures["seen-curves"]
    for axes in (panel(curves, "Calibration"), panel(curves, "Scores by label")):
        low, high = axes.get_xlim()
        assert 1e-6 < low < 1e-3
        assert 0.5 < high < 1
    common, rare = (panel(figures["seen-histograms"], name) for name in ("common", "rare"))
    assert common.get_xscale() == "linear"
    assert rare.get_xscale() == "logit"


@pytest.mark.parametrize(
    ("options", "positive"),
    [({"fine": False}, 1.0), ({}, 0.5)],
    ids=["no fine cut", "soft labels, which are not counted finely"],
)
def test_scores_that_are_not_known_finely_are_on_the_axis_from_0_to_1(
    options: dict[str, bool], positive: float
) -> None:
    head = th.BinaryClassHead(name="rare", **options)  # type: ignore[arg-type]
    logits = torch.linspace(-9, -5, 100)[:, None]
    labels = torch.zeros(100).index_fill(0, torch.tensor([90]), positive)
    figure = report_figures(head, head.update_metrics(logits=logits, labels=labels))["rare-curves"]
    for axes in (panel(figure, "Calibration"), panel(figure, "Scores by label")):
        assert axes.get_xlim() == (-0.02, 1.02)


@pytest.mark.parametrize("logit", [-5.8, -100.0, 100.0])
def test_a_score_that_all_rows_have_is_one_bar(logit: float) -> None:
    head = th.BinaryClassHead(name="same")
    labels = torch.arange(1000) == 7
    metrics = head.update_metrics(logits=torch.full((1000, 1), logit), labels=labels)
    axes = panel(report_figures(head, metrics)["same-curves"], "Scores by label")
    (steps,) = (p.get_data() for p in axes.patches if p.get_label() == "labels 1")
    assert 1 <= (steps.values > 0.01).sum() <= 2


def test_each_class_of_a_multi_label_head_has_its_curve_its_row_and_its_histogram() -> None:
    torch.manual_seed(1)
    names = ["cat", "dog", "owl"]
    head = th.MultiLabelHead(3, label_vocabulary=names, name="seen")
    logits = LEVELS[torch.randint(len(LEVELS), (ROWS, 3))]
    labels = (torch.rand(ROWS, 3) < (logits * torch.tensor([2.0, 0.1, 1.0])).sigmoid()).float()
    figures = report_figures(head, head.update_metrics(logits=logits, labels=labels))
    assert list(figures) == ["seen-curves", "seen-histograms"]
    for i, name in enumerate(names):
        false, true, _ = roc_curve(labels[:, i], logits[:, i].sigmoid(), drop_intermediate=False)
        points = drawn(panel(figures["seen-curves"], "ROC"), f"{name}, AUC")
        np.testing.assert_allclose(points, distinct(false, true))
    spread = panel(figures["seen-curves"], "Scores by label")
    assert row_names(spread) == ["dog", "owl", "cat"]  # the worst on top
    assert [axes.get_title() for axes in figures["seen-histograms"].axes] == names


def test_the_middle_halves_of_the_scores_are_those_of_numpy() -> None:
    torch.manual_seed(2)
    logits = torch.randn(10 * ROWS, 2)
    labels = torch.randint(2, logits.shape).float()
    head = th.MultiLabelHead(2, label_vocabulary=["left", "right"], name="side")
    figure = report_figures(head, head.update_metrics(logits=logits, labels=labels))["side-curves"]
    axes = panel(figure, "Scores by label")
    columns = [["left", "right"].index(name) for name in row_names(axes)]
    for label, collection in enumerate(axes.collections):
        assert collection.get_label() == f"scores of labels {label}"
        for column, path in zip(columns, collection.get_paths(), strict=True):
            scores = logits[:, column].sigmoid()[labels[:, column] == label]
            ends = np.percentile(scores.numpy(), [25, 75])
            np.testing.assert_allclose(path.vertices[:, 0], ends, atol=1 / 199)  # a bin's width


def test_the_confusions_are_those_of_scikit_learn(device: torch.device) -> None:
    torch.manual_seed(4)
    names = np.array(["cat", "dog", "owl", "yak"])
    logits = torch.randn(ROWS, 4)
    ids = torch.randint(3, (ROWS,))  # no yak
    head = th.MultiClassHead(4, label_vocabulary=list(names), name="kind")
    metrics = head.update_metrics(logits=logits.to(device), labels=names[ids])
    left, right = report_figures(head, metrics)["kind-confusion"].axes[:2]
    expected = confusion_matrix(ids, logits.argmax(-1), normalize="true")
    image = left.images[0].get_array()
    np.testing.assert_allclose(image[:3], expected[:3])
    assert np.ma.getmaskarray(image)[3].all()
    assert [label.get_text() for label in left.get_xticklabels()] == list(names)
    assert row_names(left) == row_names(right) == list(names)
    assert right.get_ylim() == left.get_ylim()  # a class has one height in both
    recall, precision = (line.get_xdata() for line in right.lines)
    np.testing.assert_allclose(recall[:3], image.diagonal()[:3])
    counts = confusion_matrix(ids, logits.argmax(-1))
    np.testing.assert_allclose(precision, counts.diagonal() / counts.sum(0))


def test_of_many_classes_the_most_confused_pairs_are_named() -> None:
    ids = torch.cat([torch.arange(1000).repeat(2), torch.tensor([8])])
    predicted = ids.clone()
    predicted[[7, 1007]], predicted[[8, 1008, 2000]], predicted[1011] = 5, 4, 3
    logits = 9 * torch.nn.functional.one_hot(predicted, 1000).float()
    head = th.MultiClassHead(1000, name="kind")
    figure = report_figures(head, head.update_metrics(logits=logits, labels=ids))["kind-confusion"]
    pairs, worst, recall = figure.axes
    assert row_names(pairs) == ["8 → 4", "7 → 5", "11 → 3"]
    assert [bar.get_width() for bar in pairs.patches] == [3, 2, 1]
    assert row_names(worst)[:4] == ["8 (3)", "7 (2)", "11 (2)", "0 (2)"]
    assert [bar.get_width() for bar in worst.patches[:4]] == [0, 0, 0.5, 1]
    assert sum(bar.get_height() for bar in recall.patches) == 1000


def test_regressions_show_their_means_and_their_error() -> None:
    torch.manual_seed(6)
    labels, logits = torch.randn(2, ROWS, 3) * torch.tensor([1.0, 2.0, 3.0])
    head = th.RegressionHead(3, name="ink")
    (axes,) = report_figures(head, head.update_metrics(logits=logits, labels=labels))[
        "ink-means"
    ].axes
    order = (logits.mean(0) - labels.mean(0)).abs().argsort(descending=True)
    assert row_names(axes) == [f"column {i}" for i in order]
    label, prediction = (line.get_xdata() for line in axes.lines)
    np.testing.assert_allclose(label, labels.mean(0)[order], atol=1e-6)
    np.testing.assert_allclose(prediction, logits.mean(0)[order], atol=1e-6)
    bars = np.array([path.vertices[:, 0] for path in axes.collections[0].get_paths()])
    error = (labels - logits).square().mean(0).sqrt()[order]
    np.testing.assert_allclose(bars[:, 1] - bars[:, 0], 2 * error, rtol=1e-5)


def test_residuals_are_those_of_numpy() -> None:
    torch.manual_seed(8)
    values = torch.randn(10 * ROWS, 1) + 0.5
    head = th.RegressionHead(name="ink")
    metrics = head.update_metrics(logits=values, labels=torch.zeros_like(values))
    left, right = report_figures(head, metrics)["ink-residuals"].axes
    steps = left.patches[0].get_data()
    counts, _ = np.histogram(values, bins=steps.edges)
    near = np.abs(steps.values - counts / len(values))
    assert near.sum() < 0.15
    errors, shares = right.lines[0].get_data()
    expected = [(values.abs() <= error).double().mean() for error in errors]
    np.testing.assert_allclose(shares, expected, atol=1e-3)


@pytest.mark.parametrize(("error", "low", "high"), [(3.0, 2.5, 4.0), (0.0, 0.0, 1e-15)])
def test_an_error_that_all_rows_have_is_drawn_where_it_is(
    error: float, low: float, high: float
) -> None:
    head = th.RegressionHead(name="ink")
    metrics = head.update_metrics(logits=[[error], [1 + error]], labels=[0, 1])
    right = report_figures(head, metrics)["ink-residuals"].axes[1]
    errors, shares = right.lines[0].get_data()
    assert len(errors) == 2
    assert low < min(errors) <= max(errors) < high
    assert shares[-1] == 1


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("wild", [1e30, inf, -inf, nan])
def test_residuals_that_are_not_finite_are_left_out(
    columns: int, wild: float, tmp_path: Path
) -> None:
    head = th.RegressionHead(columns, name="ink")
    logits = torch.tensor([0.0, 1.0, 2.0, wild])[:, None].expand(-1, columns)
    metrics = head.update_metrics(logits=logits, labels=torch.ones(4, columns))
    left, right = report_figures(head, metrics)["ink-residuals"].axes
    assert max(map(abs, left.get_xlim())) < 2
    errors, shares = right.lines[0].get_data()
    assert max(errors) < 2
    assert shares[-1] == 0.75
    page = Page(write_report(head, metrics, tmp_path))
    assert "25.000% of the residuals are not finite" in page.text


def test_a_column_without_a_finite_mean_is_not_the_most_biased() -> None:
    head = th.RegressionHead(3, name="ink")
    metrics = head.update_metrics(logits=[[nan, 1.0, 5.0]], labels=torch.zeros(1, 3))
    (axes,) = report_figures(head, metrics)["ink-means"].axes
    assert row_names(axes) == ["column 2", "column 1", "column 0"]


def test_means_without_an_error_are_drawn_from_zero() -> None:
    head = th.PoissonRegressionHead(name="count")
    metrics = head.update_metrics(logits=[[5.0], [5.01]], labels=[148, 149])
    low, high = report_figures(head, metrics)["count-means"].axes[0].get_xlim()
    assert low < 0
    assert high > 149


def test_an_error_is_drawn_only_where_the_loss_is_that_of_the_predictions() -> None:
    linked = th.RegressionHead(name="ink", inverse_link_fn=torch.exp)
    for head in (linked, th.PoissonRegressionHead(name="ink")):
        metrics = head.update_metrics(logits=[[0.0], [1.0]], labels=[1, 2])
        assert not report_figures(head, metrics)["ink-means"].axes[0].collections


def test_the_label_coverage_is_ranked() -> None:
    head = th.MultiHead([th.RegressionHead(name=name, missing_label=nan) for name in "abc"])
    labels = torch.tensor([[1, nan, 1], [nan, nan, 1], [1, 1, 1], [1, nan, 1]])
    metrics = head.update_metrics(logits=torch.zeros(4, 3), labels=labels)
    (axes,) = report_figures(head, metrics)["label-coverage"].axes
    assert row_names(axes) == ["b", "a", "c"]
    assert [bar.get_width() for bar in axes.patches] == [0.25, 0.75, 1]


@pytest.mark.parametrize(("count", "shown"), [(21, 21), (22, 20)])
def test_no_gap_stands_for_one_head_alone(count: int, shown: int) -> None:
    head = th.MultiHead([th.RegressionHead(name=f"r{i}", missing_label=nan) for i in range(count)])
    labels = torch.tensor([[1.0] * count, [nan] * count])
    metrics = head.update_metrics(logits=torch.zeros(2, count), labels=labels)
    ranked, spread = report_figures(head, metrics)["label-coverage"].axes
    assert len(row_names(ranked)) == shown
    assert all(tick % 1 == 0 for tick in spread.get_yticks())  # heads are counted whole


def test_a_head_without_any_row_has_no_coverage_to_draw(tmp_path: Path) -> None:
    head = th.MultiHead([th.RegressionHead(name=name, missing_label=nan) for name in "abc"])
    metrics = head.update_metrics(logits=torch.zeros(2, 3), labels={"b": [1.0, nan]})
    (axes,) = report_figures(head, metrics)["label-coverage"].axes
    assert row_names(axes) == ["b"]
    page = Page(write_report(head, metrics, tmp_path / "some"))
    assert "Without any label: ['a', 'c']" in page.text
    metrics = head.update_metrics(head.metrics(), logits=torch.zeros(2, 3), labels={})
    page = Page(write_report(head, metrics, tmp_path / "none"))
    assert "Without any label: ['a', 'b', 'c']" in page.text
    assert page.images == []


def test_the_curve_of_errors_begins_where_there_is_none_yet() -> None:
    head = th.RegressionHead()
    logits = torch.linspace(-500, 500, 50)[:, None]
    metrics = head.update_metrics(logits=logits, labels=torch.full((50,), 20_000.0))
    errors, shares = error_curve(metrics.residuals(), 0)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert errors[0] < metrics.residuals().absolute_quantile(0.5) < errors[-1]


# ---- many heads ----


def test_many_heads_of_many_kinds_are_few_pictures() -> None:
    kinds = [
        th.BinaryClassHead,
        partial(th.MultiClassHead, 3),
        partial(th.MultiLabelHead, 4),
        th.RegressionHead,
        th.PoissonRegressionHead,
        th.LogisticRegressionHead,
    ]
    head = th.MultiHead([kinds[i % 6](name=f"task {i}") for i in range(60)])
    labels = torch.randint(2, (50, head.labels_dimension))
    metrics = head.update_metrics(logits=torch.randn(50, head.logits_dimension), labels=labels)
    assert len(report_figures(head, metrics)) <= 24


def test_many_heads_are_ranked_and_only_the_best_and_the_worst_shown(device: torch.device) -> None:
    head, metrics = wide(100, device)
    values = {i: metrics[f"roc_auc/t{i}"].compute().item() for i in [0, *range(3, 100)]}
    ranked = [f"t{i}" for i in sorted(values, key=lambda i: values[i])]
    figures = report_figures(head, metrics)
    shown = [name.removesuffix("-curves") for name in figures if re.match(r"t\d", name)]
    assert shown == ranked[:3] + ranked[-3:]
    bars = figures["binaryclasshead-ranking"].axes[1]
    assert row_names(bars) == ranked[:10] + ranked[-10:]
    expected = [values[int(name[1:])] for name in row_names(bars)]
    np.testing.assert_allclose([bar.get_width() for bar in bars.patches], expected)
    strips = figures["binaryclasshead-ranking"].axes[0]
    dots = strips.lines[0].get_xdata()
    np.testing.assert_allclose(sorted(dots), sorted(values.values()))


def test_heads_that_cannot_be_ranked_are_named(tmp_path: Path) -> None:
    page = Page(write_report(*wide(20), tmp_path))
    assert "both kinds of labels: ['t1', 't2']" in page.text
    assert "Without any label: ['t1']" in page.text


def test_regressions_are_ranked_by_their_loss() -> None:
    head = th.MultiHead([th.RegressionHead(name=f"r{i}") for i in range(10)])
    logits, labels = torch.arange(10.0)[None], torch.zeros(1, 10)
    metrics = head.update_metrics(logits=logits, labels=labels, weights={"r2": [0.0]})
    left, right = report_figures(head, metrics)["regressionhead-ranking"].axes
    weighed = [0, 1, *range(3, 10)]  # r2 has no label that counts
    assert row_names(right) == [f"r{i}" for i in weighed[::-1]]
    assert [bar.get_width() for bar in right.patches] == [i**2 for i in weighed[::-1]]
    np.testing.assert_allclose(sorted(left.lines[1].get_ydata()), weighed)


def strips(axes: Axes) -> dict[str, list[float]]:
    """Return the dots of each row, and check that the line beside them is at their median."""
    dots, medians = axes.lines[::2], axes.lines[1::2]
    found = {}
    for name, row, line in zip(row_names(axes), dots, medians, strict=True):
        found[name] = sorted(row.get_xdata())
        np.testing.assert_allclose(line.get_xdata(), np.median(found[name]))
    return found


def ranking_of_many(head: th.Head, metrics: ReadingCollection) -> tuple[list[Axes], str]:
    """Return the panels of the picture of heads of one kind, and what stands beside it."""
    sections = make_sections(evaluation(head, metrics).tasks)
    (section,) = (one for one in sections if " × " in one.title)
    (picture,) = (one for one in section.pictures if one.stem.endswith("ranking"))
    return picture.figure.axes, "\n".join([*section.notes, picture.caption])


def bar_widths(axes: Axes) -> dict[str, float]:
    widths = [bar.get_width() for bar in axes.patches]
    return dict(zip(row_names(axes), widths, strict=True))


@pytest.mark.parametrize("differing", ["fine", "missing_label"])
def test_heads_of_one_kind_with_different_metrics_are_ranked_by_one_that_all_have(
    differing: str,
) -> None:
    generator = torch.Generator().manual_seed(7)
    labels = torch.randint(2, (ROWS, 9), generator=generator)
    logits = torch.randn(ROWS, 9, generator=generator) + labels * torch.linspace(0, 2, 9)
    own = [{"fine": i > 0} if differing == "fine" else {} for i in range(9)]
    own[8] |= {"missing_label": nan} if differing == "missing_label" else {}
    head = th.MultiHead([th.BinaryClassHead(name=f"t{i}", **own[i]) for i in range(9)])
    metrics = head.update_metrics(logits=logits, labels=labels)
    by = "auc" if differing == "fine" else "roc_auc"
    values = {f"t{i}": metrics[f"{by}/t{i}"].compute().item() for i in range(9)}
    (left, right), said = ranking_of_many(head, metrics)
    assert f"the heads by {by}." in said
    assert bar_widths(right) == pytest.approx(values)
    assert row_names(right) == sorted(values, key=values.__getitem__)
    if differing == "fine":
        areas = [metrics[f"roc_auc/t{i}"].compute().item() for i in range(1, 9)]
        assert strips(left)["roc_auc (8 heads)"] == pytest.approx(sorted(areas))
    text = report_text(head, metrics)
    assert f"From the worst to the best {by}\n" in text
    if differing == "missing_label":
        rows = [re.split(r"\s*[│┃]\s*", line)[1:-1] for line in text.split("\n")]
        (worst,) = (row for row in rows if row[:2] == ["t0", "9"])
        (best,) = (row for row in rows if row[:2] == ["t8", "1"])
        assert (worst[-1], best[-1]) == ("", "1.000")


def test_a_strip_shows_every_head_whose_value_is_defined() -> None:
    head, metrics = wide(100)
    left, _ = report_figures(head, metrics)["binaryclasshead-ranking"].axes
    found = strips(left)
    defined = [metrics[f"accuracy/t{i}"].compute().item() for i in [0, *range(2, 100)]]
    assert found["accuracy (99 heads)"] == pytest.approx(sorted(defined))
    assert len(found["roc_auc (98 heads)"]) == 98
    assert all(np.isfinite(values).all() for values in found.values())


def test_a_head_whose_labels_all_weigh_nothing_is_in_no_spread() -> None:
    head = th.MultiHead([th.MultiClassHead(2, name=f"c{i}") for i in range(9)])
    logits = torch.tensor([[1.0, 0.0] * 9, [0.0, 1.0] * 9])
    labels = torch.tensor([[0] * 9, [1] * 9])
    metrics = head.update_metrics(logits=logits, labels=labels, weights={"c4": [0.0, 0.0]})
    left, _ = report_figures(head, metrics)["multiclasshead-ranking"].axes
    assert strips(left) == {"accuracy (8 heads)": [1.0] * 8}
    assert re.search(r"accuracy\W+8\W+1.000\W+1.000", report_text(head, metrics))


def test_heads_that_nothing_ranks_still_show_what_is_defined() -> None:
    head = th.MultiHead([th.BinaryClassHead(name=f"t{i}") for i in range(9)])
    metrics = head.update_metrics(logits=torch.arange(9.0)[None] - 3.5, labels=torch.ones(1, 9))
    (axes,) = report_figures(head, metrics)["binaryclasshead-ranking"].axes
    assert strips(axes)["accuracy"] == [0.0] * 4 + [1.0] * 5


def test_metrics_that_were_asked_for_are_drawn_of_many_heads() -> None:
    asked = ["f1", "matthews_corrcoef", "lift"]
    head = th.MultiHead(
        [
            th.BinaryClassHead(
                name=f"t{i}", metrics=[*asked, *["ks"] * (i == 0)]
            )  # one of one head
            for i in range(9)
        ]
    )
    generator = torch.Generator().manual_seed(7)
    labels = torch.randint(2, (ROWS, 9), generator=generator)
    logits = torch.randn(ROWS, 9, generator=generator) + labels * torch.linspace(-1, 2, 9)
    metrics = head.update_metrics(logits=logits, labels=labels)
    (shares, lift, _), said = ranking_of_many(head, metrics)
    found = strips(shares) | strips(lift)
    for key in asked:
        values = [metrics[f"{key}/t{i}"].compute().item() for i in range(9)]
        assert found[key] == pytest.approx(sorted(values))
    assert "ks" not in found
    assert min(found["matthews_corrcoef"]) < 0
    low, high = shares.get_xlim()
    assert low < min(found["matthews_corrcoef"])
    assert high > 1
    assert "want of room" not in said


def test_metrics_of_regressions_that_were_asked_for_have_an_axis_each() -> None:
    heads = [th.RegressionHead(name=f"r{i}", metrics=["r2", "bias"]) for i in range(9)]
    head = th.MultiHead(heads)
    logits, labels = torch.randn(2, 50, 9, generator=torch.Generator().manual_seed(1))
    metrics = head.update_metrics(logits=logits, labels=labels * torch.arange(1, 10))
    (bias, *own, _), _ = ranking_of_many(head, metrics)
    assert bias.get_ylabel() == "mean prediction"
    for axes, key in zip(own, ["r2", "bias"], strict=True):
        ((name, values),) = strips(axes).items()
        assert name == key
        expected = [metrics[f"{key}/r{i}"].compute().item() for i in range(9)]
        assert values == pytest.approx(sorted(expected))


def test_what_has_no_room_is_named() -> None:
    head = th.MultiHead([th.BinaryClassHead(name=f"t{i}", metrics="all") for i in range(9)])
    labels = torch.tensor([[0.0] * 9, [1.0] * 9])
    metrics = head.update_metrics(logits=labels, labels=labels)
    (*panels, _), said = ranking_of_many(head, metrics)
    shown = {key for axes in panels for key in strips(axes)}
    assert len(shown) < 27
    (named,) = re.findall("want of room: (.*)", said)
    asked = {key.removesuffix("/t0") for key in metrics["t0"]} & set(BINARY)
    assert asked - shown == set(re.findall(r"'(\w+)'", named))


def test_one_head_of_many_can_be_reported_alone() -> None:
    head, metrics = wide(20)
    alone = report_figures(head["t9"], metrics)
    assert list(alone) == ["label-coverage", "t9-curves"]
    labels = [line.get_label() for line in alone["t9-curves"].axes[0].lines]
    assert labels[0] == f"t9, AUC {metrics['auc/t9'].compute():.3f}"


# ---- the page ----


@pytest.mark.parametrize(
    "case", [case for case in CASES if "3-D" not in case.about], ids=lambda case: case.about
)
def test_every_head_can_be_reported(case: Case, tmp_path: Path, device: torch.device) -> None:
    head, batch = case.head(device), case.batch.to(device)
    metrics = head.update_metrics(None, batch.features, batch.logits, batch.labels)
    page = Page(write_report(head, metrics, tmp_path))
    assert {link for link in page.links if not link.startswith("#")} == set()
    assert {link[1:] for link in page.links} == page.ids
    for image in page.images:
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/png;base64"
        assert image["alt"]
        assert b64decode(data) in [file.read_bytes() for file in tmp_path.glob("*.png")]
    assert len(page.images) == len(list(tmp_path.glob("*.png"))) > 0
    names = [part.name for part in head.modules() if isinstance(part, th.Head) and part.name]
    for key in metrics:
        bare = next((key.removesuffix(f"/{n}") for n in names if key.endswith(f"/{n}")), key)
        assert any(line.startswith((bare, key)) for line in page.text.splitlines())


def test_names_are_escaped_and_their_files_differ(tmp_path: Path) -> None:
    names = ["a/b", "A b", "<b>&", "感情", "../ü", r"$\frac$", "\n", "x" * 300]
    head = th.MultiHead([th.BinaryClassHead(name=name) for name in names])
    labels = torch.tensor([[0.0] * 8, [1.0] * 8])
    metrics = head.update_metrics(logits=torch.zeros(2, 8), labels=labels)
    page = Page(write_report(head, metrics, tmp_path / "deep" / "down"))
    assert page.headings[1:] == names
    files = sorted(file.name for file in page_files(tmp_path))
    assert files == [
        "a-b-curves-2.png",
        "a-b-curves.png",
        "b-curves.png",
        "frac-curves.png",
        "head-curves-2.png",
        "head-curves.png",
        "report.html",
        "u-curves.png",
        f"{'x' * 40}-curves.png",
    ]


def page_files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def test_the_metrics_are_in_the_table(binary: Seen, tmp_path: Path) -> None:
    text = Page(write_report(binary.head, binary.metrics, tmp_path)).text
    for key, value in binary.metrics.compute().items():
        assert re.search(rf"{re.escape(key.removesuffix('/even'))}\s*{value:.3f}", text)


def test_prefixed_clones_are_reported_alike(binary: Seen) -> None:
    renamed = binary.metrics.clone(prefix="val/", postfix="_end")
    for metrics in (binary.metrics, renamed):
        figures = report_figures(binary.head, metrics)
        points = drawn(panel(figures["even-curves"], "ROC"), "even")
        printed = report_text(binary.head, metrics)
        if metrics is binary.metrics:
            before = points, printed
    np.testing.assert_array_equal(points, before[0])
    assert printed == before[1]


@pytest.mark.parametrize(
    ("head", "labels", "note"),
    [
        (th.BinaryClassHead(missing_label=nan), [nan], "No labels were seen"),
        (th.RegressionHead(missing_label=nan), [nan], "No labels were seen"),
        (th.BinaryClassHead(), [1.0], "No curves for want of labels of both kinds"),
        (th.MultiClassHead(3000), [5], "too many classes"),
        (th.BinaryClassHead(), [0.5], "between 0 and 1"),
        (th.RegressionHead(), [1e30], "100.000% of the residuals are not finite, or beyond 2**60"),
        (th.RegressionHead(), [], "No labels were seen"),
        (th.MultiClassHead(40), [], "No labels were seen"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    head: th.Head, labels: Any, note: str, tmp_path: Path
) -> None:
    metrics = head.metrics()
    given = torch.tensor(labels or [0])
    weights = torch.zeros(1) if not labels else None  # so that no label counts
    logits = torch.zeros(1, head.logits_dimension)
    head.update_metrics(metrics, logits=logits, labels=given, weights=weights)
    assert note in Page(write_report(head, metrics, tmp_path)).text


def test_metrics_that_saw_nothing_are_refused() -> None:
    head = th.BinaryClassHead(name="even")
    with pytest.raises(ValueError, match="'even': expected metrics that have seen a batch"):
        report_figures(head, head.metrics())


def test_metrics_of_another_head_are_refused() -> None:
    metrics = th.BinaryClassHead(name="even").metrics()
    with pytest.raises(ValueError, match=r"'odd': expected metrics with .*accuracy/odd"):
        report_figures(th.BinaryClassHead(name="odd"), metrics)
    with pytest.raises(TypeError, match="expected metrics made by its metrics"):
        report_figures(th.BinaryClassHead(), metrics.compute)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected head as a head, got ReadingCollection"):
        report_figures(metrics, metrics)  # type: ignore[arg-type]


# what makes heads whose metrics have the same keys, and what tells the first from the second
ALIKE = [
    (partial(th.RegressionHead, 3), th.RegressionHead, "3 normal label columns"),
    (th.RegressionHead, partial(th.RegressionHead, 3), "1 normal label column"),
    (th.RegressionHead, th.PoissonRegressionHead, "1 normal label column"),
    (th.PoissonRegressionHead, th.BinaryClassHead, "1 poisson label column"),
    (partial(th.MultiLabelHead, 2), partial(th.MultiLabelHead, 4), "2 bernoulli label columns"),
    (partial(th.MultiClassHead, 3), partial(th.MultiClassHead, 5), "3 categorical classes"),
    (partial(th.MultiClassHead, 3), th.BinaryClassHead, "3 categorical classes"),
]


@pytest.mark.parametrize(("make", "make_other", "wanted"), ALIKE)
@pytest.mark.parametrize("names", ["x", "wxy"], ids=["alone", "one of a family"])
def test_metrics_of_another_head_with_the_same_keys_are_refused(
    make: Callable[..., th.Head],
    make_other: Callable[..., th.Head],
    wanted: str,
    names: str,
    tmp_path: Path,
) -> None:
    other = th.MultiHead([make_other(name=name) for name in names])
    logits = torch.zeros(2, other.logits_dimension)
    labels = torch.zeros(2, other.labels_dimension, dtype=torch.int64)
    metrics = other.update_metrics(logits=logits, labels=labels)
    with pytest.raises(ValueError, match=f"'x': expected metrics of {wanted}, got [0-9]"):
        write_report(make(name="x"), metrics, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_report_on_a_full_disk_leaves_the_earlier_page(binary: Seen, tmp_path: Path) -> None:
    page = write_report(binary.head, binary.metrics, tmp_path)
    before = page.read_bytes()
    many, metrics = wide(9)
    with no_file_longer_than(len(before) // 2), pytest.raises(OSError, match="too large"):
        write_report(many, metrics, tmp_path)
    assert page.read_bytes() == before
    assert not [*tmp_path.glob(".*")]


def test_a_report_removes_the_pictures_of_an_earlier_one_and_no_other_file(
    binary: Seen, tmp_path: Path
) -> None:
    many, metrics = wide(9)
    write_report(many, metrics, tmp_path)
    first, changed, *gone = sorted(tmp_path.glob("*.png"))
    copy = tmp_path / "my-favourite.png"
    copy.write_bytes(first.read_bytes())
    changed.write_bytes(b"drawn over")
    (tmp_path / "notes.txt").write_text("mine")
    write_report(binary.head, binary.metrics, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        "report.html",
        "even-curves.png",
        "label-coverage.png",
        copy.name,
        changed.name,
        "notes.txt",
    }
    assert changed.read_bytes() == b"drawn over"
    assert len(gone) > 4


def test_the_pictures_of_a_head_with_a_name_of_two_lines_are_removed(tmp_path: Path) -> None:
    for name, left in {"two\nlines > 1": "two-lines-1-curves.png", "new": "new-curves.png"}.items():
        head = th.BinaryClassHead(name=name)
        metrics = head.update_metrics(logits=[[1.0], [-1.0]], labels=[1, 0])
        write_report(head, metrics, tmp_path)
        assert [file.name for file in tmp_path.glob("*.png")] == [left]


def test_reports_leave_pyplot_alone_and_can_be_written_in_threads(
    binary: Seen, tmp_path: Path
) -> None:
    def write(folder: Path) -> bytes:
        return write_report(binary.head, binary.metrics, folder).read_bytes()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(write, [tmp_path / "a", tmp_path / "b"])
    assert first == second
    assert pyplot.get_fignums() == []


def test_metrics_of_several_heads_are_in_the_tables(tmp_path: Path) -> None:
    inner = th.MultiHead([th.BinaryClassHead(name="a"), th.BinaryClassHead(name="b")])
    head = th.MultiHead([inner, th.RegressionHead(name="c")])
    metrics = head.metrics(regularization_losses=[1.0])
    head.update_metrics(
        metrics,
        logits=torch.zeros(2, 3),
        labels=torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 2.0]]),
        regularization_losses=[0.125],
    )
    page = Page(write_report(head, metrics, tmp_path))
    for text in (page.text, report_text(head, metrics)):
        assert re.search(r"loss/a_b\W*1.386", text)
        assert re.search(r"regularization_loss/a_b_c\W*0.125", text)
        assert "loss/c" not in text
    assert "several heads" not in report_text(inner["a"], metrics)


@pytest.mark.parametrize("count", [2, 9])
@pytest.mark.parametrize("nested", [False, True])
def test_means_over_heads_are_in_the_tables(count: int, nested: bool, tmp_path: Path) -> None:
    heads = [th.MultiClassHead(2, name=f"c{i}") for i in range(count)]
    means = {"mean_accuracy": th.metrics.MeanOverHeads("accuracy")}
    inner = head = th.MultiHead(heads, metrics=means)
    if nested:
        head = th.MultiHead([inner, th.RegressionHead(name="ink")])
    labels = torch.tensor([[0], [1], [0], [0]]).expand(-1, head.labels_dimension)
    logits = torch.tensor([[1.0, 0.0] * count + [0.0] * nested]).expand(4, -1)
    metrics = head.update_metrics(logits=logits, labels=labels)
    page = Page(write_report(head, metrics, tmp_path))
    for text in (page.text, report_text(head, metrics), report_text(inner, metrics)):
        assert re.search(r"mean_accuracy\W*0\.750", text)
    assert "mean_accuracy" not in report_text(heads[0], metrics)


def test_the_classes_of_a_binary_head_go_by_their_names() -> None:
    head = th.BinaryClassHead(label_vocabulary=["no", "yes"], name="even")
    metrics = head.update_metrics(logits=[[0.0], [1.0]], labels=["no", "yes"])
    (legend,) = report_figures(head, metrics)["even-curves"].legends
    assert [text.get_text() for text in legend.get_texts()][:2] == ["label no", "label yes"]


# ---- the terminal ----


def report_text(head: th.Head, metrics: ReadingCollection, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width)
    print_report(head, metrics, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_few_heads_are_printed_side_by_side() -> None:
    head = th.MultiHead([th.RegressionHead(name="[red]"), th.MultiClassHead(3, name="kind")])
    metrics = head.update_metrics(
        logits=torch.tensor([[1.0, 5.0, 0.0, 0.0]]), labels=torch.tensor([[3, 0]])
    )
    rows = [re.split(r"\s*[│┃]\s*", line)[1:-1] for line in report_text(head, metrics).split("\n")]
    assert ["metric", "[red]", "kind"] in rows
    assert ["average_loss", "4.000", "0.013"] in rows
    assert ["accuracy", "", "1.000"] in rows


@pytest.mark.parametrize("count", [4, 12])
def test_no_name_and_no_number_is_cut(count: int) -> None:
    names = [f"toxicity_assay_{i}" for i in range(count)]
    head = th.MultiHead([th.BinaryClassHead(name=name, thresholds=[0.5]) for name in names])
    labels = torch.randint(2, (50, count))
    metrics = head.update_metrics(logits=torch.randn(50, count), labels=labels)
    text = report_text(head, metrics)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    if count == 4:
        assert all(name in text for name in names)


def test_of_many_heads_the_spread_and_the_ends_are_printed() -> None:
    head, metrics = wide(100)
    text = report_text(head, metrics)
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) < 50
    rows = [re.split(r"\s*[│┃]\s*", line)[1:-1] for line in text.split("\n")]
    # of the heads 1 and 2, one has no labels, and one has labels of one class
    for key in ("auc", "roc_auc", "average_precision"):
        values = np.array([metrics[f"{key}/t{i}"].compute() for i in [0, *range(3, 100)]])
        marks = [f"{mark:.3f}" for mark in np.percentile(values, [0, 25, 50, 75, 100])]
        assert [key, "98", *marks] in rows
    places = [row[1] for row in rows if re.match(r"t\d", row[0] if row else "")]
    assert places == ["98", "97", "96", "95", "94", "5", "4", "3", "2", "1"]


# ---- several processes ----


def everything() -> Any:
    return random_batch(37, torch.Generator().manual_seed(11))


def a_report(rank: int) -> dict[str, Any]:
    head, batch = mixture(), everything().take(range(20) if rank else range(20, 37))
    metrics = head.update_metrics(None, None, batch.logits, batch.labels, weights=batch.weights)
    print_report(head, metrics, console := Console(file=StringIO(), width=80))
    page = write_report(head, metrics, f"by-{rank}")
    return {"page": str(page), "printed": console.file.getvalue()}  # type: ignore[attr-defined]


@processes.needs_gloo
def test_the_first_of_two_processes_reports_the_batches_of_both(tmp_path: Path) -> None:
    processes.run([a_report], tmp_path)
    first, second = processes.results(tmp_path, a_report)
    assert (tmp_path / first["page"]).exists()
    assert not (tmp_path / second["page"]).exists()
    head, batch = mixture(), everything()
    metrics = head.update_metrics(None, None, batch.logits, batch.labels, weights=batch.weights)
    lines = report_text(head, metrics).splitlines()
    kept = [line for line in lines if not line.startswith("│ loss ")]  # means over calls
    assert kept == [x for x in first["printed"].splitlines() if not x.startswith("│ loss ")]
    assert second["printed"] == ""


def test_what_is_undefined_is_printed_without_an_interval(
    capsys: pytest.CaptureFixture[str],
) -> None:
    head = th.BinaryClassHead()
    metrics = head.update_metrics(logits=[[1.0], [2.0], [-1.0]], labels=[1, 1, 1])
    print_report(head, metrics, interval=0.95)
    printed = capsys.readouterr().out
    assert "- (" not in printed
    assert "nan" not in printed
    assert " (0" in printed  # the accuracy


@pytest.mark.parametrize(
    ("level", "error", "says"),
    [
        (0, ValueError, r"in \(0, 1\), got 0"),
        (1.0, ValueError, r"in \(0, 1\), got 1\.0"),
        (nan, ValueError, r"in \(0, 1\), got nan"),
        ("0.95", TypeError, "as a number, got '0.95'"),
        (True, TypeError, "as a number, got True"),
    ],
)
def test_a_level_that_is_none_is_refused(level: Any, error: Any, says: str, tmp_path: Path) -> None:
    head = th.BinaryClassHead()
    metrics = head.update_metrics(logits=[[1.0], [-1.0]], labels=[1, 0])
    with pytest.raises(error, match=f"Report: expected interval {says}"):
        print_report(head, metrics, interval=level)
    with pytest.raises(error, match=f"Report: expected interval {says}"):
        write_report(head, metrics, tmp_path / "report", interval=level)
    assert not (tmp_path / "report").exists()
