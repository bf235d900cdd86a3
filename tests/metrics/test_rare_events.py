"""Areas and thresholds of rare events, whose scores lie in a few bins of tf.estimator's grid."""

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from sklearn.calibration import calibration_curve
from torch import Tensor

import torch_heads as th
from torch_heads.metrics import CoarseAreaWarning
from torch_heads.metrics.interval import bootstrap

ROWS = 200_000
SHIFTS = [0.0, -2.0, -4.0, -5.5, -7.0, -8.5]  # 50 % to 0.05 % positives
# inside of +-64, where the fine cut ends
CASES = [
    (shift, scale) for scale in (1.0, 8.0, 1 / 8) for shift in SHIFTS if scale * (5 - shift) <= 64
]


def draw(shift: float, scale: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return scaled logits, labels by the logits as they were, and weights."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=ROWS) + shift
    labels = random.random(ROWS) < 1 / (1 + np.exp(-logits))
    weights = random.random(ROWS)
    given = (scale * logits.astype(np.float32), labels.astype(np.float32), weights)
    return tuple(map(torch.from_numpy, given))  # type: ignore[return-value]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("shift", "scale"), CASES)
def test_areas_are_those_of_scikit_learn_at_any_base_rate(
    shift: float, scale: float, weighted: bool
) -> None:
    logits, labels, weights = draw(shift, scale)
    head = th.BinaryClassHead()
    given = {"weights": weights} if weighted else {}
    values = head.update_metrics(logits=logits[:, None], labels=labels, **given).compute()
    y, z, w = labels.numpy(), logits.numpy(), weights.numpy() if weighted else None
    area, precise = (
        score(y, z, sample_weight=w) for score in (sk.roc_auc_score, sk.average_precision_score)
    )
    assert values["roc_auc"].item() == pytest.approx(area, abs=2e-3)
    tolerance = max(1e-3, 0.01 * precise)
    assert values["average_precision"].item() == pytest.approx(precise, abs=tolerance)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [-6.0, -7.5, -8.0, -8.5])
def test_the_average_precision_of_rare_events_does_not_ask_how_weights_spread(
    shift: float, seed: int
) -> None:
    logits, labels, _ = draw(shift, seed=1000 + seed)
    weights = torch.from_numpy(np.random.default_rng(seed).exponential(size=ROWS))
    head = th.BinaryClassHead()
    values = head.update_metrics(logits=logits[:, None], labels=labels, weights=weights).compute()
    given = (one.numpy() for one in (labels, logits))
    precise = sk.average_precision_score(*given, sample_weight=weights.numpy())
    tolerance = max(1e-3, 0.01 * precise)
    assert values["average_precision"].item() == pytest.approx(precise, abs=tolerance)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("values", [[-1.0], [-1.0, 1.0], np.linspace(-2, 2.2, 7), range(-60, 61)])
def test_the_average_precision_of_equal_scores_is_that_below_all_of_them(
    values: Sequence[float], weighted: bool
) -> None:
    random = np.random.default_rng(0)
    logits = random.choice([*values], size=2000).astype(np.float32)
    labels = (random.random(2000) < 0.2 + 0.5 * (logits > 0)).astype(np.float32)
    weights = random.exponential(size=2000) if weighted else None
    head = th.BinaryClassHead()
    found = head.update_metrics(logits=logits[:, None], labels=labels, weights=weights).compute()
    exact = sk.average_precision_score(labels, logits, sample_weight=weights)
    spaced = len(values) < 100  # so far that the bins between are empty
    assert found["average_precision"].item() == pytest.approx(exact, rel=1e-6 if spaced else 0.03)


def test_the_best_threshold_reaches_the_best_f_score_of_rare_events() -> None:
    logits, labels, _ = draw(-6.3)
    assert 0.002 < labels.mean() < 0.004
    head = th.BinaryClassHead()
    best = head.update_metrics(logits=logits[:, None], labels=labels).curves().best_threshold()
    scores = torch.sigmoid(logits).double().numpy()
    precision, recall, _ = sk.precision_recall_curve(labels.numpy(), scores)
    each = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    reached = sk.f1_score(labels.numpy(), scores > best.threshold.item())
    assert reached >= 0.99 * each.max()
    assert best.f_score.item() == pytest.approx(reached, rel=1e-9)


def test_the_best_threshold_is_as_good_for_other_rows_as_the_exact_one() -> None:
    # of rare events, the exact best of some rows is the best of a thousand by chance
    other_logits, other_labels, _ = draw(-6.4, seed=100)
    reached: dict[str, list[float]] = {"bins": [], "exact": []}
    for seed in range(10):
        logits, labels, _ = draw(-6.4, seed=seed)
        head = th.BinaryClassHead()
        metrics = head.update_metrics(logits=logits[:, None], labels=labels)
        found = metrics.curves().best_threshold().threshold.item()
        precision, recall, thresholds = sk.precision_recall_curve(labels.numpy(), logits.numpy())
        each = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
        exact = thresholds[each[:-1].argmax()]
        for name, cut in [("bins", np.log(found / (1 - found))), ("exact", exact)]:
            above = (other_logits >= cut).numpy()
            reached[name].append(sk.f1_score(other_labels.numpy(), above))
    assert np.mean(reached["bins"]) >= 0.99 * np.mean(reached["exact"])


def test_thresholds_sharpen_what_is_not_cut_finely() -> None:
    logits, labels, _ = draw(-5.5)
    exact = sk.roc_auc_score(labels.numpy(), logits.numpy())
    cuts = torch.sigmoid(torch.linspace(-9, -2, 60)).tolist()
    off = []
    for thresholds in ([], cuts):
        head = th.BinaryClassHead(thresholds=thresholds, fine=False)
        roc = head.update_metrics(logits=logits[:, None], labels=labels).curves().roc()
        area = -torch.trapezoid(roc.true_positive_rate[0], roc.false_positive_rate[0])
        off.append(abs(area.item() - exact))
    assert off[1] < off[0] / 10


def test_without_the_fine_cut_the_state_is_a_quarter_and_the_areas_stay_away() -> None:
    sizes = []
    for fine in (True, False):
        head = th.BinaryClassHead(fine=fine)
        metrics = head.metrics()
        states = [one for tally in metrics.tallies.values() for one in tally.metric_state.values()]
        sizes.append(sum(state.nbytes for state in states))
        assert ("roc_auc" in metrics) == fine
    assert sizes[0] <= 20 * 1024
    assert sizes[1] < 0.3 * sizes[0]


def test_it_warns_once_for_each_head_where_the_grid_misreads() -> None:
    logits, labels, _ = draw(-7.0)
    head = th.MultiHead([th.BinaryClassHead(name="rare"), th.BinaryClassHead(name="other")])
    plain = torch.randn(ROWS, generator=torch.Generator().manual_seed(0))
    both = torch.stack([labels, (plain > 0).float()], -1)
    for _ in range(2):
        metrics = head.metrics()
        head.update_metrics(metrics, None, torch.stack([logits, plain], -1), both)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            metrics.compute()
            metrics.compute()
        own = [one for one in caught if one.category is CoarseAreaWarning]
        if _ == 0:
            [warning] = own
            assert "'auc/rare' reads 0." in str(warning.message)
            assert str(warning.message).endswith(
                "Read 'roc_auc/rare', and 'average_precision/rare' in place of "
                "'auc_precision_recall/rare'."
            )
        else:
            assert own == []


def test_it_warns_by_the_keys_that_are_read() -> None:
    head = th.BinaryClassHead(name="a", metrics={"mine": "roc_auc"})
    metrics = head.metrics().clone(prefix="val/", postfix="!")
    head.update_metrics(metrics, None, [[-8.0], [-8.5], [-9.0]], [1, 0, 0])
    words = (
        r"^'val/auc/a!' reads 0\.500, 'val/roc_auc/a!' 1\.000\. .* Read 'val/roc_auc/a!', and "
        r"'val/average_precision/a!' in place of 'val/auc_precision_recall/a!'\.$"
    )
    with pytest.warns(CoarseAreaWarning, match=words):
        metrics.compute()


def test_it_warns_once_for_all_classes_of_a_head() -> None:
    asked = ["auc_per_class", "roc_auc_per_class"]
    head = th.MultiLabelHead(3, name="tags", metrics=asked)
    logits = torch.tensor([[-8.0], [-8.5], [-9.0]]).expand(3, 3)
    labels = torch.tensor([[1], [0], [0]]).expand(3, 3)
    metrics = head.update_metrics(logits=logits, labels=labels)
    with pytest.warns(CoarseAreaWarning) as caught:
        metrics.compute()
    metrics.compute()
    [warning] = caught
    assert str(warning.message).startswith("'auc/tags' reads 0.500, 'roc_auc/tags' 1.000.")


def test_it_warns_of_few_labels_too_whose_areas_are_as_exact() -> None:
    head = th.BinaryClassHead()
    metrics = head.update_metrics(logits=[[-8.0], [-8.5], [-9.0]], labels=[1, 0, 0])
    with pytest.warns(CoarseAreaWarning, match=r"'auc' reads 0\.500, 'roc_auc' 1\.000"):
        metrics.compute()


def test_mean_scores_of_calibration_are_those_of_the_scores() -> None:
    logits, labels, _ = draw(-1.0)
    head = th.BinaryClassHead()
    curve = head.update_metrics(logits=logits[:, None], labels=labels).curves().calibration(10)
    scores = torch.sigmoid(logits).double()
    place = (scores * 10).long().clamp(max=9)
    weight = torch.bincount(place, minlength=10)
    mean = torch.bincount(place, scores, 10) / weight
    torch.testing.assert_close(curve.mean_score[0], mean, rtol=0, atol=2e-3)


def test_bins_of_equal_weight_tell_rare_scores_apart() -> None:
    logits, labels, _ = draw(-5.5)
    head = th.BinaryClassHead()
    curves = head.update_metrics(logits=logits[:, None] + 1, labels=labels).curves()
    share, mean = calibration_curve(
        labels.numpy(), torch.sigmoid(logits + 1).double().numpy(), n_bins=10, strategy="quantile"
    )
    curve = curves.calibration(10, "quantile")
    np.testing.assert_allclose(curve.mean_score[0], mean, rtol=0.03)
    np.testing.assert_allclose(curve.positive_share[0], share, rtol=0.15)
    assert (curve.weight / ROWS - 0.1).abs().max() < 0.02
    with pytest.raises(ValueError, match=r"strategy among \['uniform', 'quantile'\], got 'equal'"):
        curves.expected_calibration_error(10, "equal")  # type: ignore[arg-type]


@pytest.mark.parametrize("score", [1e-3, 1e-6, 0.3, 0.999])
def test_scores_that_are_all_alike_have_that_mean(score: float) -> None:
    head = th.BinaryClassHead(metrics=["calibration_error"])
    logits = torch.full((1000, 1), score, dtype=torch.float64).logit()
    labels = (torch.arange(1000) < round(1000 * score)).long()
    metrics = head.update_metrics(logits=logits, labels=labels)
    curve = metrics.curves().calibration(10)
    mean = curve.mean_score[curve.weight > 0].item()
    assert mean == pytest.approx(score, rel=1e-6)
    error = abs(score - round(1000 * score) / 1000)
    assert metrics["calibration_error"].compute().item() == pytest.approx(error, abs=1e-7)
    assert metrics.curves().expected_calibration_error().item() == pytest.approx(error, abs=1e-7)


def test_the_mean_of_all_scores_is_exact_however_they_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(5000, 2, generator=generator, dtype=torch.float64) - 4
    weights = torch.rand(5000, generator=generator, dtype=torch.float64)
    labels = (torch.rand(5000, 2, generator=generator) < 0.1).int()
    head = th.MultiLabelHead(2)
    metrics = head.update_metrics(None, None, logits, labels, weights=weights)
    curve = metrics.curves().calibration(10)
    mean = (curve.mean_score * curve.weight).sum(-1) / curve.weight.sum(-1)
    expected = (logits.sigmoid() * weights[:, None]).sum(0) / weights.sum()
    torch.testing.assert_close(mean, expected, rtol=1e-6, atol=0)


def test_the_spread_of_a_calibration_error_is_that_of_the_bootstrap_of_the_examples() -> None:
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.normal(size=(400, 1))) - 1
    labels = torch.from_numpy((random.random(400) < 0.5).astype(np.float32))
    head = th.BinaryClassHead(metrics=["calibration_error"])
    metrics = head.update_metrics(logits=logits, labels=labels)
    bound = metrics.readings["calibration_error"]
    [each] = bootstrap([bound], metrics.tallies[bound.place.tally].flat(), samples=1000, seed=0)
    found = np.quantile(each, [0.05, 0.95])

    def drawn() -> float:
        rows = torch.from_numpy(random.integers(400, size=400))
        own = head.update_metrics(head.metrics(), None, logits[rows], labels[rows])
        return float(own["calibration_error"].compute())

    expected = np.quantile([drawn() for _ in range(300)], [0.05, 0.95])
    np.testing.assert_allclose(found, expected, atol=0.2 * (expected[1] - expected[0]))
