"""The metrics of whole predicted distributions, and of classes in an order."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scoringrules
import torch
from scipy import stats
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, mean_pinball_loss
from torch import Tensor

import torch_heads as th
from torch_heads.metrics import Crps, IntervalCoverage, QuantileCoverage, QuantilePinball

ROWS = 500


def weights(device: torch.device) -> Tensor:
    return torch.rand(ROWS, generator=torch.Generator().manual_seed(2)).to(device)


def normals(width: int, device: torch.device) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randn(ROWS, width, generator=random, dtype=torch.float64).to(device)


def values_of(head: th.Head, logits: Tensor, labels: Any, by: Tensor) -> dict[str, float]:
    """Return the metrics over two batches."""
    metrics = head.metrics()
    for rows in (slice(0, 200), slice(200, ROWS)):
        head.update_metrics(metrics, None, logits[rows], labels[rows], weights=by[rows])
    return {key: value.item() for key, value in metrics.compute().items()}


def test_of_a_gaussian(device: torch.device) -> None:
    logits, labels, by = normals(2, device), 2 * normals(1, device)[:, 0].flip(0), weights(device)
    given = [IntervalCoverage(0.5), QuantilePinball(0.2), QuantileCoverage(0.2)]
    head = th.GaussianRegressionHead(metrics=given)
    found = values_of(head, logits, labels, by)
    (m, s), y, w = logits.T.cpu().numpy(), labels.cpu().numpy(), by.cpu().numpy()
    oracle = stats.norm(m, np.exp(s))
    expected = {
        "average_loss": np.average(-oracle.logpdf(y), weights=w),
        "mean_absolute_error": mean_absolute_error(y, m, sample_weight=w),
        "crps": np.average(scoringrules.crps_normal(y, m, np.exp(s)), weights=w),
        "interval_coverage": np.average(abs(y - m) < 1.644853627 * np.exp(s), weights=w),
        "interval_coverage_0.5": np.average(abs(y - m) < 0.67448975 * np.exp(s), weights=w),
        "quantile_pinball_0.2": mean_pinball_loss(y, oracle.ppf(0.2), alpha=0.2, sample_weight=w),
        "quantile_coverage_0.2": np.average(y <= oracle.ppf(0.2), weights=w),
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-5)
    assert set(found) == {*expected, "prediction/mean", "label/mean"}


def test_of_quantiles(device: torch.device) -> None:
    logits, labels, by = normals(3, device), normals(1, device)[:, 0].flip(0), weights(device)
    head = th.QuantileRegressionHead((0.1, 0.5, 0.9), metrics=IntervalCoverage(0.8))
    found = values_of(head, logits, labels, by)
    values, y, w = (
        head(logits)["quantiles"].squeeze(1).cpu().numpy(),
        labels.cpu().numpy(),
        by.cpu(),
    )
    for i, level in enumerate(head.levels):
        loss = mean_pinball_loss(y, values[:, i], alpha=level, sample_weight=w)
        assert found[f"pinball_loss/{level:g}"] == pytest.approx(loss, rel=1e-5)
        below = np.average(y <= values[:, i], weights=w)
        assert found[f"quantile_coverage/{level:g}"] == pytest.approx(below, rel=1e-5)
    inside = np.average((values[:, 0] <= y) & (y <= values[:, 2]), weights=w)
    assert found["interval_coverage_0.8"] == pytest.approx(inside, rel=1e-5)
    each = [found[f"pinball_loss/{level:g}"] for level in head.levels]
    assert found["average_loss"] == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize("levels", [(0.1, 0.5, 0.9), (0.2, 0.8), (0.5,), (0.05, 0.95)])
@pytest.mark.parametrize(
    ("asked", "needed"),
    [
        ("interval_coverage", (0.05, 0.95)),
        (IntervalCoverage(0.8), (0.1, 0.9)),
        ("quantile_coverage", (0.5,)),
        (QuantileCoverage(0.1), (0.1,)),
        ("quantile_pinball", (0.5,)),
        (QuantilePinball(0.85), (0.85,)),
        ("mean_pinball_loss", ()),
    ],
)
def test_of_quantiles_beyond_the_levels_there_is_none_from_the_start(
    levels: tuple[float, ...], asked: Any, needed: tuple[float, ...]
) -> None:
    def make() -> th.Head:
        return th.QuantileRegressionHead(levels, name="q", metrics={"own": asked})

    if all(levels[0] <= q <= levels[-1] for q in needed):
        metrics = make().update_metrics(logits=torch.zeros(3, len(levels)), labels=[0.0, 1.0, 2.0])
        assert metrics["own/q"].compute().isfinite()
    else:
        allowed = re.escape(f"of quantiles in [{levels[0]:g}, {levels[-1]:g}], got {asked!r}. ")
        at = " and ".join(map(str, needed))
        with pytest.raises(ValueError, match=f"QuantileRegressionHead 'q': .*{allowed}.* at {at}:"):
            make()


@pytest.mark.parametrize(
    ("make", "width"),
    [(th.NegativeBinomialRegressionHead, 2), (th.ZeroInflatedLogNormalHead, 3)],
)
def test_of_counts_and_amounts(make: Callable[..., Any], width: int, device: torch.device) -> None:
    logits, by = normals(width, device), weights(device)
    labels = (normals(1, device)[:, 0].flip(0).clamp(min=0) * 5).round()
    head = make()
    found = values_of(head, logits, labels, by)
    per_label = logits.unsqueeze(1)
    w = by.cpu()
    crps = head.family.crps(per_label, labels.unsqueeze(-1))[:, 0].cpu()
    assert found["crps"] == pytest.approx(np.average(crps, weights=w), rel=1e-5)
    low, high = head.interval(logits, 0.9)
    inside = ((low[:, 0] <= labels) & (labels <= high[:, 0])).cpu()
    assert found["interval_coverage"] == pytest.approx(np.average(inside, weights=w), rel=1e-5)


def test_intervals_of_the_truth_hold(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 2, generator=random)
    noise = torch.randn(20_000, generator=random)
    labels = logits[:, 0] + logits[:, 1].exp() * noise
    for shift, coverage in [(0.0, 0.9), (-1.0, 0.455)]:
        wrong = torch.stack([logits[:, 0], logits[:, 1] + shift], -1).to(device)
        head = th.GaussianRegressionHead()
        found = head.update_metrics(None, None, wrong, labels.to(device)).compute()
        assert found["interval_coverage"].item() == pytest.approx(coverage, abs=0.01)


def test_of_grades(device: torch.device) -> None:
    logits, by = normals(4, device), weights(device)
    labels = torch.arange(ROWS, device=device) % 5
    head = th.OrdinalClassHead(
        5, metrics=["roc_auc_ovr", "top_k_accuracy", "brier_score", "f1_macro"]
    )
    found = values_of(head, logits, labels, by)
    ids, y, w = head(logits)["class_ids"][:, 0].cpu(), labels.cpu(), by.cpu()
    kappa = cohen_kappa_score(y, ids, weights="quadratic", sample_weight=w)
    assert found["cohen_kappa_quadratic"] == pytest.approx(kappa, rel=1e-5)
    error = mean_absolute_error(y, ids, sample_weight=w)
    assert found["mean_absolute_error"] == pytest.approx(error, rel=1e-5)
    # what is read from the probabilities of the classes is that of a head with these
    same = th.MultiClassHead(5, metrics=["roc_auc_ovr", "top_k_accuracy", "brier_score"])
    expected = values_of(same, head(logits)["probabilities"].log(), labels, by)
    shared = ["accuracy", "average_loss", "roc_auc_ovr", "top_k_accuracy", "brier_score"]
    assert {key: found[key] for key in shared} == pytest.approx(
        {key: expected[key] for key in shared}, rel=1e-4
    )


def test_they_may_be_asked_for_by_name_and_by_their_arguments() -> None:
    head = th.GaussianRegressionHead(metrics=["crps", "r2", IntervalCoverage(0.5)])
    assert [*head.metrics()][-2:] == ["r2", "interval_coverage_0.5"]
    with pytest.raises(ValueError, match=r"level in \(0, 1\), got 1.5"):
        IntervalCoverage(1.5)
    with pytest.raises(TypeError, match=r"RegressionHead: expected metrics of this kind of head"):
        th.RegressionHead(metrics={"score": Crps()})
    with pytest.raises(TypeError, match=r"QuantileRegressionHead: expected metrics of this kind"):
        th.QuantileRegressionHead(metrics=Crps())
