"""The bins of scores against comparisons with every threshold, and the areas under the curves."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torch_heads.functional.average_precision import average_precision
from torch_heads.functional.bins import (
    STEPS,
    Histogram,
    fine_limits,
    fine_logits,
    fine_steps,
)
from torch_heads.functional.scores import (
    ScoreBins,
    expit,
    grid_limits,
    precision_recall_auc,
    roc_auc,
)

GRID = np.arange(1, 199) / 199  # the originals' thresholds between the first and the last
THRESHOLDS = st.lists(
    st.just(0.5) | st.floats(0.001, 0.999).map(lambda value: round(value, 4)),
    max_size=5,
    unique=True,
).map(lambda values: tuple(sorted(values)))
LOGITS = st.sampled_from([0.0, 1e-12, -1e-12, 1e-7, 40.0, -40.0, 200.0, -200.0]) | st.floats(
    -12, 12, width=32
)
both_cuts = pytest.mark.parametrize("fine", [True, False])


def binned(
    logits: Tensor, thresholds: tuple[float, ...], fine: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the scores and their bins."""
    scores = torch.sigmoid(logits)
    return scores.squeeze(-1), bins_of(scores, logits, thresholds, fine)


def bins_of(scores: Tensor, logits: Tensor, thresholds: Sequence[float], fine: bool) -> Tensor:
    """Return the bins of scores ``[N, 1]``, which are the places of labels 0."""
    places = Histogram([(thresholds, fine)]).places(scores, logits, torch.zeros_like(scores))
    return places.squeeze(-1)


@both_cuts
@given(logits=st.lists(LOGITS, min_size=1, max_size=40), thresholds=THRESHOLDS)
@settings(deadline=None, max_examples=100)
def test_bins_tell_on_which_side_of_each_threshold_a_score_lies(
    fine: bool, logits: list[float], thresholds: tuple[float, ...], device: torch.device
) -> None:
    column = torch.tensor(logits, device=device).view(-1, 1)
    scores, bins = binned(column, thresholds, fine)
    table = ScoreBins(thresholds, fine)
    assert ((bins >= 0) & (bins < table.size)).all()
    assert torch.equal(bins >= table.positions[None], column.squeeze(-1) > 0)
    for threshold in thresholds:
        assert torch.equal(bins >= table.positions[threshold], scores > threshold)
    for step, threshold in enumerate(GRID, start=1):
        # on the grid itself the originals, too, are only right up to the rounding of a float32
        clear = (scores - threshold).abs() > 1e-7
        above = bins >= table.grid[step]
        assert torch.equal(above[clear], (scores > threshold)[clear])


@both_cuts
@given(thresholds=THRESHOLDS)
@settings(deadline=None, max_examples=30)
def test_bins_are_bounded_by_all_thresholds_in_order(
    fine: bool, thresholds: tuple[float, ...]
) -> None:
    table = ScoreBins(thresholds, fine)
    steps = expit(fine_logits()) if fine else []
    expected = np.sort([0.0, *GRID, 0.5, *steps, *thresholds, 1.0])
    np.testing.assert_allclose(table.edges, expected, rtol=0, atol=1e-7)
    assert (np.diff(table.edges) >= 0).all()
    assert len(table.edges) == table.size + 1
    assert len(table.grid) == 200
    assert (np.diff(table.grid) > 0).all()
    assert len(table.coarse) == table.coarse_size


@given(logits=st.lists(LOGITS, min_size=1, max_size=40), thresholds=THRESHOLDS)
@settings(deadline=None, max_examples=50)
def test_a_fine_bin_lies_in_one_coarse_bin(
    logits: list[float], thresholds: tuple[float, ...], device: torch.device
) -> None:
    column = torch.tensor(logits, device=device).view(-1, 1)
    coarse, fine = (binned(column, thresholds, fine)[1].cpu().numpy() for fine in (False, True))
    table = ScoreBins(thresholds)
    assert (np.searchsorted(table.coarse, fine, side="right") - 1 == coarse).all()


def test_a_logit_lies_above_the_steps_below_it(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.cat([torch.randn(9999, generator=random) * scale for scale in (0.5, 5, 50)])
    steps = torch.from_numpy(fine_logits())
    above = (logits.double().unsqueeze(-1) >= steps).sum(-1) - STEPS
    actual = fine_steps(logits.to(device)).cpu()
    assert (actual - above).abs().max() <= 1  # one rounding away from a step
    assert (actual != above).float().mean() < 1e-3
    at = torch.from_numpy(fine_limits()).float()
    expected = torch.arange(-STEPS + 1, STEPS + 1)
    assert (fine_steps(at) < expected).all()
    beyond = at + 1e-6 * at.abs().clamp(min=1e-3)
    assert (fine_steps(beyond) >= expected).all()


def test_scores_one_rounding_away_from_a_threshold_lie_on_their_side_of_it(
    device: torch.device,
) -> None:
    near = np.array([*GRID, 0.5], dtype=np.float32)
    for value in [near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(1))]:
        for threshold in value.tolist():
            middle = np.float32(threshold)
            sides = [np.nextafter(middle, np.float32(side)) for side in (0, 1)]
            scores = torch.tensor([[sides[0]], [middle], [sides[1]]], device=device)
            logits = scores.double().logit()
            bins = bins_of(scores, logits, [threshold], fine=True)
            table = ScoreBins((threshold,))
            assert (bins >= table.positions[threshold]).tolist() == [False, False, True]
            assert torch.equal(bins >= table.positions[None], scores.squeeze(-1) > 0.5)
            steps = torch.tensor(table.grid[1:-1], device=device)
            limits = torch.tensor(grid_limits(), device=device)
            assert torch.equal(bins.unsqueeze(-1) >= steps, logits > limits)


def test_every_score_lies_above_the_lowest_threshold_and_none_above_the_highest(
    device: torch.device,
) -> None:
    ends = torch.tensor([[-torch.inf], [torch.inf], [torch.nan]], device=device)
    _, bins = binned(ends, ())
    table = ScoreBins()
    assert bins.tolist() == [0, table.size - 1, 0]  # NaN counts as lowest
    assert (table.grid[0], table.grid[-1]) == (0, table.size)


def test_a_score_on_a_threshold_counts_as_below_it(device: torch.device) -> None:
    threshold = torch.sigmoid(torch.tensor(-0.75)).item()
    _, bins = binned(torch.tensor([[-0.75], [-0.7499]], device=device), (threshold,))
    assert (bins >= ScoreBins((threshold,)).positions[threshold]).tolist() == [False, True]


def test_a_tiny_logit_is_a_positive_decision_with_a_score_of_a_half(device: torch.device) -> None:
    scores, bins = binned(torch.tensor([[1e-12]], device=device), (0.5,))
    table = ScoreBins((0.5,))
    assert scores == 0.5
    assert bins >= table.positions[None]
    assert bins < table.positions[0.5]


@both_cuts
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_labels_of_no_and_yes_and_soft_ones_are_counted_apart(
    dtype: torch.dtype, fine: bool, device: torch.device
) -> None:
    labels = torch.tensor([[0.0], [1.0], [1e-6], [0.5], [0.999]], dtype=dtype, device=device)
    table = ScoreBins((0.3,), fine)
    scores = torch.full((5, 1), 0.4, device=device)
    places = Histogram([((0.3,), fine)]).places(scores, scores.logit(), labels).squeeze(-1)
    own = bins_of(scores, scores.logit(), (0.3,), fine)[0].item()
    assert places[:2].tolist() == [own, table.size + own]
    coarse = np.searchsorted(table.coarse, own, side="right") - 1
    assert (places[2:] == 2 * table.size + coarse).all()


# The originals' formulas, threshold by threshold.


def areas_in_a_loop(tp: list[float], fp: list[float]) -> tuple[float, float]:
    positives, negatives = tp[0], fp[0]
    roc = pr = 0.0
    for k in range(len(tp) - 1):
        if positives and negatives:
            height = (tp[k] + tp[k + 1]) / positives
            roc += (fp[k] - fp[k + 1]) / negatives * height / 2
        low, high = tp[k + 1] + fp[k + 1], tp[k] + fp[k]
        if positives and high > low:
            gained = tp[k] - tp[k + 1]
            slope = gained / (high - low)
            ratio = high / low if low > 0 else 1.0
            pr += slope * (gained + (tp[k + 1] - slope * low) * np.log(ratio)) / positives
    return roc, pr


COUNTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12)


@given(per_bin=COUNTS)
@settings(deadline=None, max_examples=60)
def test_areas_are_the_sums_of_the_originals(
    per_bin: list[tuple[int, int]], device: torch.device
) -> None:
    above = np.cumsum([(0, 0), *per_bin], axis=0)[::-1].astype(float)
    tp, fp = torch.tensor(above.copy(), device=device).T
    actual = roc_auc(tp, fp).item(), precision_recall_auc(tp, fp).item()
    assert actual == pytest.approx(areas_in_a_loop(tp.tolist(), fp.tolist()), abs=1e-12)


@given(per_bin=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), max_size=4))
@settings(deadline=None, max_examples=30)
def test_the_average_precision_is_that_of_a_positive_in_the_middle_of_its_bin(
    per_bin: list[tuple[int, int]], device: torch.device
) -> None:
    per_bin = [*per_bin, (0, 1), (0, 1)]  # beside others, scores of a bin are not equal
    above = np.cumsum([(0, 0), *per_bin], axis=0)[::-1].astype(float)
    tp, fp = torch.tensor(above.copy(), device=device).T
    total = found = ranked = 0.0
    for positives, negatives in per_bin:
        if positives:
            total += (found + 1) / (ranked + 1 + negatives / 2)
        found, ranked = found + positives, ranked + positives + negatives
    expected = total / found if found else 0.0
    assert average_precision(tp, fp).item() == pytest.approx(expected, abs=1e-12)
    twice = average_precision(2 * tp, 2 * fp).item()
    assert twice == pytest.approx(expected, abs=1e-12)


def test_areas_of_many_columns_are_those_of_each(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    counts = torch.rand(2, 4, 9, generator=random, dtype=torch.float64).to(device)
    tp, fp = counts.cumsum(-1).flip(-1)
    for area in [roc_auc, precision_recall_auc]:
        each = torch.stack([area(*column) for column in zip(tp, fp, strict=True)])
        torch.testing.assert_close(area(tp, fp), each)
