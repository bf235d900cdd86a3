"""The named metrics against scikit-learn, torchmetrics, and the originals' corner cases."""

from math import isnan, log

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as tm
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    explained_variance_score,
    log_loss,
    r2_score,
    roc_auc_score,
)
from torch import Tensor

import torch_heads as th

HEAD = th.BinaryClassHead(thresholds=[0.2, 0.5, 0.9])


def evaluate(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> dict[str, float]:
    metrics = HEAD.metrics()
    HEAD.update_metrics(metrics, None, logits.view(-1, 1), labels, weights=weights)
    return {key: value.item() for key, value in metrics.compute().items()}


def sample(seed: int, device: torch.device, rows: int = 2000) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits that say something of the labels, the labels, and weights."""
    random = torch.Generator().manual_seed(seed)
    labels = (torch.rand(rows, generator=random) < 0.3).float()
    logits = 1.5 * torch.randn(rows, generator=random) + 1.3 * labels - 0.5
    return logits.to(device), labels.to(device), torch.rand(rows, generator=random).to(device)


@pytest.mark.parametrize("weighted", [False, True])
@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_the_auc_is_scikit_learns_up_to_ties_within_a_bin(
    weighted: bool, seed: int, device: torch.device
) -> None:
    logits, labels, weights = sample(seed, device)
    if not weighted:
        weights = torch.ones_like(weights)
    scores = torch.sigmoid(logits)
    y, p, w = (values.cpu().double().numpy() for values in (labels, scores, weights))
    # each pair of a positive and a negative of one bin counts a half, where 0 or 1 would be right
    bins = np.clip(np.ceil(p * 199) - 1, 0, 198).astype(int)
    positive, negative = (np.bincount(bins, w * kind, minlength=199) for kind in (y, 1 - y))
    tied = (positive * negative).sum() / (positive.sum() * negative.sum())
    assert tied / 2 < 1 / 199
    actual = evaluate(logits, labels, weights if weighted else None)
    assert actual["auc"] == pytest.approx(roc_auc_score(y, p, sample_weight=w), abs=tied / 2 + 1e-6)
    precise = average_precision_score(y, p, sample_weight=w)
    assert actual["auc_precision_recall"] == pytest.approx(precise, abs=0.01)


@given(seed=st.integers(0, 10_000), rows=st.integers(2, 50))
@settings(deadline=None, max_examples=20)
def test_metrics_at_a_threshold_are_those_of_torchmetrics(
    seed: int, rows: int, device: torch.device
) -> None:
    logits, labels, _ = sample(seed, device, rows)
    actual = evaluate(logits, labels)
    for threshold in HEAD.thresholds:
        scores, ids = torch.sigmoid(logits), labels.long()
        for name, peer in [
            ("accuracy", tm.binary_accuracy),
            ("precision", tm.binary_precision),
            ("recall", tm.binary_recall),
        ]:
            expected = peer(scores, ids, threshold=threshold).item()
            key = f"{name}/positive_threshold_{threshold:g}"
            assert actual[key] == pytest.approx(expected, abs=1e-6)
            if threshold == 0.5:
                assert actual[name] == pytest.approx(expected, abs=1e-6)


def logits_of(scores: list[float], device: torch.device) -> Tensor:
    """Return logits of these scores, also of 0 and 1."""
    return torch.tensor(scores, dtype=torch.float64, device=device).clamp(1e-12, 1 - 1e-12).logit()


@pytest.mark.parametrize(
    ("labels", "scores", "roc", "pr"),
    [
        ([1, 1, 1], [0.1, 0.5, 0.9], 0, 1),
        ([0, 0, 0], [0.1, 0.5, 0.9], 0, 0),
        ([0, 1, 1], [0.5, 0.5, 0.5], 0.5, 2 / 3),
        ([0, 1], [0.9999, 0.99995], 0.5, 0.5),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 1, 1),
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], 0, 1 - log(2)),
        ([0, 1], [0, 1], 1, 1),
        ([1, 0], [0, 1], 0, 1 - log(2)),
    ],
    ids=[
        "all positive",
        "all negative",
        "all tied",
        "same bin",
        "perfect",
        "inverted",
        "perfect at the ends",
        "inverted at the ends",
    ],
)
def test_the_areas_have_the_originals_corner_cases(
    labels: list[int], scores: list[float], roc: float, pr: float, device: torch.device
) -> None:
    actual = evaluate(logits_of(scores, device), torch.tensor(labels, device=device))
    assert actual["auc"] == pytest.approx(roc, abs=1e-6)
    assert actual["auc_precision_recall"] == pytest.approx(pr, abs=1e-6)


def test_no_weight_at_all_reads_as_zero_as_in_tf_estimator(device: torch.device) -> None:
    logits, labels, weights = sample(0, device, rows=5)
    values = evaluate(logits, labels, 0 * weights)
    assert all(isnan(values.pop(key)) for key in ("roc_auc", "average_precision"))
    assert not any(values.values())


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_the_auc_of_the_opposite_is_the_opposite_auc(seed: int, device: torch.device) -> None:
    logits, labels, weights = sample(seed, device, rows=60)
    assume(0 < labels.sum() < 60)
    actual = evaluate(logits, labels, weights)["auc"]
    opposite = evaluate(logits, 1 - labels, weights)["auc"]
    assert actual + opposite == pytest.approx(1, abs=1e-6)


def test_a_score_of_nan_is_never_predicted_positive(device: torch.device) -> None:
    logits = torch.tensor([torch.nan, 3.0, -3.0], device=device)
    actual = evaluate(logits, torch.tensor([1.0, 1.0, 0.0], device=device))
    assert actual["recall"] == actual["recall/positive_threshold_0.2"] == 0.5
    assert actual["precision"] == 1
    assert actual["auc"] == 0.5  # it ranks below all others


def test_a_soft_label_is_positive_for_curves_and_never_equal_to_a_prediction(
    device: torch.device,
) -> None:
    logits = torch.tensor([2.0, 2.0, -2.0], device=device)
    actual = evaluate(logits, torch.tensor([0.3, 1.0, 0.0], device=device))
    assert actual["accuracy"] == pytest.approx(2 / 3)
    assert actual["precision"] == actual["recall"] == actual["auc"] == 1
    assert actual["label/mean"] == pytest.approx(1.3 / 3)


def test_the_baseline_is_that_of_the_whole_stream(device: torch.device) -> None:
    metrics, logits = HEAD.metrics(), torch.zeros(4, 1, device=device)
    for label in [1.0, 0.0]:
        labels = torch.full((4,), label, device=device)
        HEAD.update_metrics(metrics, None, logits, labels)
    assert metrics.compute()["accuracy_baseline"] == 0.5  # not the mean of two perfect ones


def test_to_read_a_metric_changes_no_other(device: torch.device) -> None:
    metrics, logits = HEAD.metrics(), torch.zeros(4, 1, device=device)
    labels = torch.tensor([1.0, 0.0, 0.0, 0.0], device=device)
    for _ in range(2):
        HEAD.update_metrics(metrics, None, logits, labels)
        for _ in range(2):
            assert metrics["accuracy_baseline"].compute() == 0.75
            assert metrics["label/mean"].compute() == 0.25
            assert metrics.compute()["accuracy_baseline"] == 0.75


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mean", [100.0, 1e3, -1e4])
def test_numbers_in_float32_are_read_to_their_last_digit(mean: float, weighted: bool) -> None:
    random = torch.Generator().manual_seed(0)
    labels = mean + torch.randn(2000, 1, generator=random)
    logits = labels + 0.3 * torch.randn(2000, 1, generator=random)
    weights = 0.1 + torch.rand(2000, generator=random) if weighted else None
    metrics = ["r2", "explained_variance", "bias", "mean_pinball_loss", "pearson_corrcoef"]
    head = th.RegressionHead(metrics=metrics)
    values = head.update_metrics(logits=logits, labels=labels, weights=weights).compute()
    y, p = labels[:, 0].double().numpy(), logits[:, 0].double().numpy()
    w = None if weights is None else weights.double().numpy()
    covariance = np.cov(p, y, aweights=w, ddof=0)
    expected = {
        "r2": r2_score(y, p, sample_weight=w),
        "explained_variance": explained_variance_score(y, p, sample_weight=w),
        "bias": np.average(p - y, weights=w),
        "mean_pinball_loss": np.average(np.abs(p - y), weights=w) / 2,
        "pearson_corrcoef": covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]),
    }
    for key, right in expected.items():
        assert values[key].item() == pytest.approx(right, rel=1e-5, abs=1e-6), key


@pytest.mark.parametrize("mean", [0.0, 2e3, 2e4, -5e4, 1e6, 1e9, 1e12])
def test_correlations_of_numbers_far_from_0_have_six_digits_or_are_nan(mean: float) -> None:
    random = np.random.default_rng(0)
    labels = random.normal(size=2000)
    predicted = labels + 0.5 * random.normal(size=2000)
    keys = ["r2", "explained_variance", "pearson_corrcoef", "concordance_corrcoef"]
    head = th.RegressionHead(metrics=keys)
    logits = torch.from_numpy(predicted + mean).view(-1, 1)
    values = head.update_metrics(logits=logits, labels=torch.from_numpy(labels + mean)).compute()
    moved = predicted + mean, labels + mean
    covariance = np.cov(*moved, ddof=0)
    total = np.trace(covariance) + (moved[0].mean() - moved[1].mean()) ** 2
    expected = [
        r2_score(*moved[::-1]),
        explained_variance_score(*moved[::-1]),
        np.corrcoef(*moved)[0, 1],
        2 * covariance[0, 1] / total,
    ]
    if abs(mean) > 1e5:
        expected = [float("nan")] * 4
    for key, right in zip(keys, expected, strict=True):
        assert values[key].item() == pytest.approx(right, abs=2e-6, nan_ok=True), key


def test_a_constant_prediction_agrees_with_nothing() -> None:
    head = th.RegressionHead(metrics=["concordance_corrcoef", "r2", "pearson_corrcoef"])
    logits = torch.full((3, 1), 5.0)
    values = head.update_metrics(logits=logits, labels=[4.0, 5.0, 6.0]).compute()
    assert values["concordance_corrcoef"].item() == pytest.approx(0)
    assert values["r2"].item() == pytest.approx(0)
    assert isnan(values["pearson_corrcoef"])


@pytest.mark.parametrize("unknown", [1, 3])
def test_a_median_of_errors_is_nan_where_a_prediction_is(unknown: int) -> None:
    head = th.RegressionHead(metrics=["median_absolute_error", "mean_absolute_error"])
    logits = torch.tensor([[1.0], [2.0], [3.0]])
    logits[3 - unknown :] = torch.nan
    values = head.update_metrics(logits=logits, labels=[1.5, 2.0, 3.0]).compute()
    assert isnan(values["median_absolute_error"])
    assert isnan(values["mean_absolute_error"])
    left_out = head.update_metrics(
        head.metrics(), None, logits, [2.0] * 3, weights=[1.0] * (3 - unknown) + [0.0] * unknown
    )
    assert isnan(left_out["median_absolute_error"].compute()) == (unknown == 3)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_log_loss_of_a_class_weighs_all_of_its_labels_alike(weighted: bool) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(60, 3)).astype(np.float32)
    labels = random.integers(0, 2, size=(60, 3))
    missing = random.random((60, 3)) < 0.3
    weights = random.random((60, 1)).astype(np.float32) if weighted else None
    head = th.MultiLabelHead(3, missing_label=-1, metrics=["log_loss_per_class"])
    metrics = head.update_metrics(
        logits=torch.from_numpy(logits), labels=np.where(missing, -1, labels), weights=weights
    )
    for i in range(3):
        there = ~missing[:, i]
        scores = 1 / (1 + np.exp(-logits[there, i].astype(float)))
        own = None if weights is None else weights[there, 0]
        exact = log_loss(labels[there, i], scores, sample_weight=own, labels=[0, 1])
        assert metrics[f"log_loss/class{i}"].compute().item() == pytest.approx(exact, rel=1e-6)


def test_the_log_loss_of_a_row_is_the_mean_over_its_labels_that_are_there() -> None:
    head = th.MultiLabelHead(2, missing_label=-1, metrics=["log_loss"])
    metrics = head.update_metrics(logits=[[0.0, 2.0], [1.0, 0.0]], labels=[[1, -1], [1, 0]])
    first, second = log(2), (log(1 + np.exp(-1)) + log(2)) / 2
    assert metrics["log_loss"].compute().item() == pytest.approx((first + second) / 2)


def test_the_brier_score_of_a_soft_label_is_against_its_most_likely_class() -> None:
    head = th.MultiClassHead(3, metrics=["brier_score"])
    logits = torch.tensor([[1.0, 0.0, -1.0]])
    soft = head.update_metrics(logits=logits, labels=[[0.6, 0.3, 0.1]])
    expected = (logits.softmax(-1) - torch.tensor([1.0, 0.0, 0.0])).square().sum()
    assert soft["brier_score"].compute().item() == pytest.approx(expected.item())
