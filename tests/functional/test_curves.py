"""Curves and calibration against scikit-learn, and against a search through all thresholds."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    f1_score,
    fbeta_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_curve,
)

from torch_heads.functional.bins import GRID, Histogram
from torch_heads.functional.curves import ScoreCurves
from torch_heads.functional.scores import NEGATIVE, POSITIVE, SOFT, ScoreBins

BINS = ScoreBins((0.3,), fine=False)


def coarse_bins(scores: torch.Tensor, thresholds: tuple[float, ...]) -> torch.Tensor:
    """Return the bins of scores ``[N]``, which are the places of labels 0."""
    column = scores.unsqueeze(-1)
    histogram = Histogram([(thresholds, False)])
    return histogram.places(column, column.logit(), torch.zeros_like(column)).squeeze(-1)


@pytest.fixture
def sample(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores and labels of 400 examples."""
    random = torch.Generator().manual_seed(0)
    labels = (torch.rand(400, generator=random) < 0.4).long()
    scores = torch.sigmoid(torch.randn(400, generator=random) + labels)
    return scores.to(device), labels.to(device)


@pytest.fixture
def curves(sample: tuple[torch.Tensor, torch.Tensor]) -> ScoreCurves:
    scores, labels = sample
    bins = coarse_bins(scores, (0.3,))
    counts = torch.zeros(3, BINS.size, dtype=torch.float64, device=scores.device)
    kinds = torch.where(labels > 0, POSITIVE, NEGATIVE)
    counts.index_put_((kinds, bins), counts.new_ones(()), accumulate=True)
    return ScoreCurves(counts[None], BINS)


def test_rates_are_shares_above_each_threshold(
    curves: ScoreCurves, sample: tuple[torch.Tensor, torch.Tensor]
) -> None:
    scores, labels = sample
    roc, pr = curves.roc(), curves.precision_recall()
    assert torch.equal(roc.thresholds, pr.thresholds)
    y = labels.cpu().numpy()
    for place in range(1, len(roc.thresholds) - 1, 9):
        above = (scores > roc.thresholds[place]).long().cpu().numpy()
        recall = recall_score(y, above)
        fallout = recall_score(1 - y, above)
        assert roc.true_positive_rate[0, place].item() == pytest.approx(recall)
        assert pr.recall[0, place].item() == pytest.approx(recall)
        assert roc.false_positive_rate[0, place].item() == pytest.approx(fallout)
        precision = precision_score(y, above, zero_division=1)
        assert pr.precision[0, place].item() == pytest.approx(precision)


def test_calibration_compares_scores_with_shares(
    curves: ScoreCurves, sample: tuple[torch.Tensor, torch.Tensor]
) -> None:
    scores, labels = sample
    curve = curves.calibration(bins=4)
    assert curve.weight.sum() == 400
    for i in range(4):
        # a bin of the grid that lies on a border belongs to the side of its centre
        inside = (scores > i / 4) & (scores <= (i + 1) / 4)
        assert curve.weight[0, i].item() == pytest.approx(inside.sum().item(), abs=4)
        mean, share = scores[inside].mean().item(), labels[inside].double().mean().item()
        assert curve.mean_score[0, i].item() == pytest.approx(mean, abs=0.01)
        assert curve.positive_share[0, i].item() == pytest.approx(share, abs=0.05)
    gap = (curve.mean_score - curve.positive_share).abs() * curve.weight / 400
    torch.testing.assert_close(curves.expected_calibration_error(bins=4), gap.sum(-1))


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_the_best_threshold_is_found_by_looking_at_all(
    curves: ScoreCurves, sample: tuple[torch.Tensor, torch.Tensor], beta: float
) -> None:
    scores, labels = sample
    best = curves.best_threshold(beta)
    y, above = labels.cpu().numpy(), (scores > best.threshold).long().cpu().numpy()
    assert best.f_score.item() == pytest.approx(fbeta_score(y, above, beta=beta))
    for threshold in curves.roc().thresholds[1:-1:7]:
        other = (scores > threshold).long().cpu().numpy()
        assert best.f_score.item() >= fbeta_score(y, other, beta=beta) - 1e-9
    if beta == 1:
        assert best.f_score.item() == pytest.approx(f1_score(y, above))


# ---- scores on a few values away from the grid, where bins lose nothing ----


class Few(NamedTuple):
    """Examples of one column, and their curves."""

    scores: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    curves: ScoreCurves


@st.composite
def few(draw: st.DrawFn, weighted: bool = True, soft: bool = False) -> Few:
    """Draw examples of both labels with scores in the middle of bins."""
    middles = st.integers(0, GRID - 1).filter(lambda place: place != GRID // 2)
    places = np.array(draw(st.lists(middles, min_size=1, max_size=6, unique=True)))
    count = draw(st.integers(2, 30))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    scores = (random.choice(places, count) + 0.5) / GRID
    labels = random.integers(3, size=count) / 2 if soft else random.integers(2, size=count) * 1.0
    labels[:2] = 0, 1
    weights = random.integers(1, 9, count) / 4 if weighted else np.ones(count)
    return Few(scores, labels, weights, counted(scores, labels, weights))


def counted(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> ScoreCurves:
    """Return the curves of one column, counted one example at a time; soft labels apart."""
    bins = ScoreBins(fine=False)
    counts = torch.zeros(1, 3, bins.size, dtype=torch.float64)
    for score, label, weight in zip(scores, labels, weights, strict=True):
        place = sum(score > edge for edge in bins.edges[1:-1])
        counts[0, {0.0: NEGATIVE, 0.5: SOFT, 1.0: POSITIVE}[label], place] += weight
    return ScoreCurves(counts, bins)


def points(*coordinates: object) -> np.ndarray:
    """Return the distinct points of a curve."""
    return np.unique(np.stack([np.asarray(values) for values in coordinates]).round(9), axis=1)


@given(sample=few())
@settings(deadline=None, max_examples=30)
def test_curves_have_the_points_that_scikit_learn_finds(sample: Few) -> None:
    roc, pr = sample.curves.roc(), sample.curves.precision_recall()
    scores, labels, weights, _ = sample
    fpr, tpr, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    np.testing.assert_allclose(
        points(roc.false_positive_rate[0], roc.true_positive_rate[0]), points(fpr, tpr)
    )
    precision, recall, _ = precision_recall_curve(labels, scores, sample_weight=weights)
    np.testing.assert_allclose(points(pr.precision[0], pr.recall[0]), points(precision, recall))


@given(sample=few(soft=True))
@settings(deadline=None, max_examples=15)
def test_a_soft_label_counts_as_positive(sample: Few) -> None:
    scores, labels, weights, curves = sample
    hard = counted(scores, np.ceil(labels), weights)
    for actual, expected in zip(
        [
            *curves.roc(),
            *curves.precision_recall(),
            *curves.calibration(),
            *curves.best_threshold(),
        ],
        [*hard.roc(), *hard.precision_recall(), *hard.calibration(), *hard.best_threshold()],
        strict=True,
    ):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("bins", [1, 4, 10, 30])
@given(sample=few(weighted=False))
@settings(deadline=None, max_examples=15)
def test_calibration_is_that_of_scikit_learn(bins: int, sample: Few) -> None:
    scores, labels, _, curves = sample
    curve = curves.calibration(bins)
    share, mean = calibration_curve(labels, scores, n_bins=bins)
    full = curve.weight[0] > 0
    np.testing.assert_allclose(curve.positive_share[0, full], share)
    np.testing.assert_allclose(curve.mean_score[0, full], mean)
    assert not curve.mean_score[0, ~full].any()
    error = np.average(np.abs(share - mean), weights=curve.weight[0, full])
    assert curves.expected_calibration_error(bins).item() == pytest.approx(error, abs=1e-12)


@given(sample=few(), beta=st.sampled_from([0.5, 1.0, 2.0]))
@settings(deadline=None, max_examples=30)
def test_the_best_threshold_is_the_lowest_of_equals(sample: Few, beta: float) -> None:
    scores, labels, weights, curves = sample

    def f_score(threshold: float) -> float:
        above = scores > threshold
        return fbeta_score(labels, above, beta=beta, sample_weight=weights, zero_division=0)

    best = curves.best_threshold(beta)
    each = np.unique(scores)
    between = [0.0, *((low + high) / 2 for low, high in pairwise(each))]
    assert best.f_score.item() == pytest.approx(max(map(f_score, between)))
    assert f_score(best.threshold.item()) == pytest.approx(best.f_score.item())
    if below := [value for value in [0.0, *each] if value < best.threshold]:
        # all thresholds under the next lower score are worse
        assert f_score(below[-1] - 1e-9) < best.f_score.item()


def test_scores_on_a_boundary_lie_below_it() -> None:
    bins = ScoreBins(fine=False)
    scores = torch.tensor([0.0, 1.0])
    assert coarse_bins(scores, ()).tolist() == [0, bins.size - 1]
    roc = counted(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.ones(2)).roc()
    assert roc.thresholds[[0, -1]].tolist() == [0, 1]
    assert roc.false_positive_rate[0, :2].tolist() == [1, 0]
    assert roc.true_positive_rate[0, [0, -2, -1]].tolist() == [1, 1, 0]


def test_without_examples_curves_are_flat() -> None:
    bins = ScoreBins()
    curves = ScoreCurves(torch.zeros(2, 3, bins.size, dtype=torch.float64), bins)
    assert not curves.roc().true_positive_rate.any()
    assert not curves.precision_recall().recall.any()
    assert (curves.precision_recall().precision == 1).all()
    assert curves.expected_calibration_error().tolist() == [0, 0]
    assert curves.best_threshold().f_score.tolist() == [0, 0]
