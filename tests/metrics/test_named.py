"""Every metric that has a name, against scikit-learn, scipy or a plain formula."""

import warnings
from collections.abc import Callable, Mapping
from math import isnan
from typing import Any, NamedTuple

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from scipy import stats
from torch import Tensor

import torch_heads as th
from torch_heads.families.family import Counts
from torch_heads.metrics.readings.names import names_for

ROWS, CLASSES = 300, 4
THRESHOLDS = [0.3, 0.7]
Array = np.ndarray


class Seen(NamedTuple):
    """What was seen of one head, without what is missing; of several columns ``[N, U]``."""

    y: Array
    p: Array  # scores, numbers, or the probabilities of class ids
    w: Array

    @property
    def z(self) -> Array:
        """Return the decisions: of scores at a half, else class ids."""
        return self.p.argmax(-1) if self.p.ndim > self.y.ndim else (self.p > 0.5).astype(float)


Oracle = Callable[[Seen], float]


def weighted(function: Callable[..., float], at: float = 0.5, **options: Any) -> Oracle:
    """Return a metric of decisions, of all pairs of a row and a column."""

    def oracle(seen: Seen) -> float:
        z = seen.z if at == 0.5 else (seen.p > at).astype(float)
        return function(seen.y.ravel(), z.ravel(), sample_weight=spread(seen), **options)

    return oracle


def scored(function: Callable[..., float], **options: Any) -> Oracle:
    """Return a metric of scores, of all pairs of a row and a column."""
    return lambda s: function(s.y.ravel(), s.p.ravel(), sample_weight=spread(s), **options)


def spread(seen: Seen) -> Array:
    return np.broadcast_to(seen.w.reshape(-1, *[1] * (seen.y.ndim - 1)), seen.y.shape).ravel()


def whole(function: Callable[..., float], **options: Any) -> Oracle:
    """Return a metric of rows of decisions."""
    return lambda s: function(s.y, s.z, sample_weight=s.w, **options)


def ranked(function: Callable[..., float], **options: Any) -> Oracle:
    """Return a metric of rows of scores."""
    return lambda s: function(s.y, s.p, sample_weight=s.w, **options)


def rates(seen: Seen) -> tuple[Array, Array]:
    fpr, tpr, _ = sk.roc_curve(
        seen.y.ravel(), seen.p.ravel(), sample_weight=spread(seen), drop_intermediate=False
    )
    return fpr, tpr


def equal_error(seen: Seen) -> float:
    fpr, tpr = rates(seen)
    place = np.abs(1 - tpr - fpr).argmin()
    return (1 - tpr[place] + fpr[place]) / 2


def precision_at_recall(seen: Seen) -> float:
    y, p, w = seen.y.ravel(), seen.p.ravel(), spread(seen)
    precision, recall, _ = sk.precision_recall_curve(y, p, sample_weight=w)
    return precision[recall >= 0.9].max()


def lift(seen: Seen) -> float:
    order = np.argsort(-seen.p.ravel())
    y, w = seen.y.ravel()[order], spread(seen)[order]
    taken = np.cumsum(w) / w.sum()
    return np.interp(0.1, taken, np.cumsum(w * y)) / (w * y).sum() / 0.1


def calibration_error(seen: Seen) -> float:
    y, p, w = seen.y.ravel(), seen.p.ravel(), spread(seen)
    bins = np.minimum((p * 15).astype(int), 14)
    gaps = np.bincount(bins, w * (y - p), 15)
    return np.abs(gaps).sum() / w.sum()


def negative_predictive_value(seen: Seen, at: float = 0.5) -> float:
    negative = sk.precision_score
    z = (seen.p > at).astype(float).ravel()
    return negative(1 - seen.y.ravel(), 1 - z, sample_weight=spread(seen))


def specificity(seen: Seen, at: float = 0.5) -> float:
    z = (seen.p > at).astype(float).ravel()
    return sk.recall_score(1 - seen.y.ravel(), 1 - z, sample_weight=spread(seen))


def mean_of(value: Callable[[Array, Array], Array]) -> Oracle:
    return lambda s: float(np.average(value(s.y, s.p), weights=s.w))


def correlation(seen: Seen) -> float:
    deviations = np.cov(seen.y, seen.p, aweights=seen.w, ddof=0)
    return deviations[0, 1] / np.sqrt(deviations[0, 0] * deviations[1, 1])


def concordance(seen: Seen) -> float:
    deviations = np.cov(seen.y, seen.p, aweights=seen.w, ddof=0)
    gap = np.average(seen.y, weights=seen.w) - np.average(seen.p, weights=seen.w)
    return 2 * deviations[0, 1] / (deviations[0, 0] + deviations[1, 1] + gap**2)


def reciprocal_rank(seen: Seen) -> float:
    own = np.take_along_axis(seen.p, seen.y.astype(int)[:, None], -1)
    return np.average(1 / (seen.p >= own).sum(-1), weights=seen.w)


OUTCOMES: Mapping[str, Oracle] = {
    "accuracy": weighted(sk.accuracy_score),
    "f1": weighted(sk.f1_score),
    "fbeta": weighted(sk.fbeta_score, beta=1.0),
    "precision": weighted(sk.precision_score),
    "recall": weighted(sk.recall_score),
    "jaccard": weighted(sk.jaccard_score),
    "specificity": specificity,
    "negative_predictive_value": negative_predictive_value,
    "balanced_accuracy": weighted(sk.balanced_accuracy_score),
}
AGREEMENT: Mapping[str, Oracle] = {
    "matthews_corrcoef": weighted(sk.matthews_corrcoef),
    "cohen_kappa": weighted(sk.cohen_kappa_score),
    "cohen_kappa_linear": weighted(sk.cohen_kappa_score, weights="linear"),
    "cohen_kappa_quadratic": weighted(sk.cohen_kappa_score, weights="quadratic"),
}
RANKINGS: Mapping[str, Oracle] = {
    "auc": scored(sk.roc_auc_score),
    "auc_precision_recall": scored(sk.average_precision_score),
    "roc_auc": scored(sk.roc_auc_score),
    "average_precision": scored(sk.average_precision_score),
    "ks": lambda s: float(np.abs(np.subtract(*rates(s))).max()),
    "gini": lambda s: 2 * scored(sk.roc_auc_score)(s) - 1,
    "equal_error_rate": equal_error,
    "sensitivity_at_specificity": lambda s: float(rates(s)[1][1 - rates(s)[0] >= 0.9].max()),
    "precision_at_recall": precision_at_recall,
    "lift": lift,
    "calibration_error": calibration_error,
}
LOSSES: Mapping[str, Oracle] = {
    "average_loss": scored(sk.log_loss),
    "log_loss": scored(sk.log_loss),
    "brier_score": scored(sk.brier_score_loss),
}
AVERAGED: Mapping[str, Any] = {
    "f1": (sk.f1_score, {}),
    "fbeta": (sk.fbeta_score, {"beta": 1.0}),
    "precision": (sk.precision_score, {}),
    "recall": (sk.recall_score, {}),
    "jaccard": (sk.jaccard_score, {}),
}
AVERAGES: Mapping[str, Oracle] = {
    f"{name}_{average}": whole(function, average=average, **options)
    for name, (function, options) in AVERAGED.items()
    for average in ("macro", "micro", "weighted")
}
ORACLES: Mapping[str, Mapping[str, Oracle]] = {
    "binary": {**OUTCOMES, **AGREEMENT, **RANKINGS, **LOSSES},
    "tags": {
        **OUTCOMES,
        **AVERAGES,
        **RANKINGS,
        **LOSSES,
        "roc_auc_macro": ranked(sk.roc_auc_score, average="macro"),
        "roc_auc_weighted": ranked(sk.roc_auc_score, average="weighted"),
        "average_precision_macro": ranked(sk.average_precision_score, average="macro"),
        "average_precision_weighted": ranked(sk.average_precision_score, average="weighted"),
        "hamming_loss": whole(sk.hamming_loss),
        "exact_match": whole(sk.accuracy_score),
        "f1_samples": whole(sk.f1_score, average="samples", zero_division=0),
        "label_ranking_average_precision": ranked(sk.label_ranking_average_precision_score),
        "coverage_error": ranked(sk.coverage_error),
    },
    "class": {
        **AVERAGES,
        **AGREEMENT,
        "accuracy": whole(sk.accuracy_score),
        "balanced_accuracy": whole(sk.balanced_accuracy_score),
        "average_loss": ranked(sk.log_loss, labels=range(CLASSES)),
        "log_loss": ranked(sk.log_loss, labels=range(CLASSES)),
        "brier_score": ranked(sk.brier_score_loss, labels=range(CLASSES)),
        "top_k_accuracy": ranked(sk.top_k_accuracy_score, k=2, labels=range(CLASSES)),
        "mean_reciprocal_rank": reciprocal_rank,
        "roc_auc_ovr": lambda s: float(
            np.mean([sk.roc_auc_score(s.y == k, s.p[:, k], sample_weight=s.w) for k in range(4)])
        ),
    },
    "number": {
        "average_loss": ranked(sk.mean_squared_error),
        "mean_squared_error": ranked(sk.mean_squared_error),
        "root_mean_squared_error": ranked(sk.root_mean_squared_error),
        "mean_absolute_error": ranked(sk.mean_absolute_error),
        "median_absolute_error": ranked(sk.median_absolute_error),
        "bias": mean_of(lambda y, p: p - y),
        "r2": ranked(sk.r2_score),
        "explained_variance": ranked(sk.explained_variance_score),
        "pearson_corrcoef": correlation,
        "concordance_corrcoef": concordance,
        "mean_pinball_loss": ranked(sk.mean_pinball_loss),
        "mean_poisson_deviance": ranked(sk.mean_poisson_deviance),
        "mean_gamma_deviance": ranked(sk.mean_gamma_deviance),
        "mean_tweedie_deviance": ranked(sk.mean_tweedie_deviance),
        "mean_squared_log_error": ranked(sk.mean_squared_log_error),
        "mean_absolute_percentage_error": ranked(sk.mean_absolute_percentage_error),
        "smape": mean_of(lambda y, p: 2 * np.abs(p - y) / (np.abs(p) + np.abs(y))),
        "wmape": lambda s: float((s.w * np.abs(s.p - s.y)).sum() / (s.w * np.abs(s.y)).sum()),
    },
}
ORACLES = {
    **ORACLES,
    # the loss of counts has Stirling's term, as the original's; see the golden cases
    "count": {key: own for key, own in ORACLES["number"].items() if key != "average_loss"},
    "share": {
        **ORACLES["number"],
        "average_loss": lambda s: float(
            -np.average(s.y * np.log(s.p) + (1 - s.y) * np.log1p(-s.p), weights=s.w)
        ),
        "brier_score": ranked(sk.mean_squared_error),
    },
}
# what is read from bins: to the width of one
LOOSE = {
    "auc": 6e-3,
    "auc_precision_recall": 2e-2,
    "roc_auc": 1e-3,
    "roc_auc_macro": 2e-3,
    "roc_auc_weighted": 2e-3,
    "roc_auc_ovr": 2e-3,
    "average_precision": 4e-3,
    "average_precision_macro": 6e-3,
    "average_precision_weighted": 6e-3,
    "gini": 2e-3,
    "ks": 1e-2,
    "equal_error_rate": 1e-2,
    "sensitivity_at_specificity": 3e-2,
    "precision_at_recall": 1e-2,
    "lift": 8e-2,
    "calibration_error": 1e-2,
    "median_absolute_error": 0.1,
}


def heads(missing: bool) -> dict[str, th.Head]:
    """Return a head of each kind, with every metric that it can have."""
    number, word = {True: (-1.0, -1), False: (None, None)}[missing]
    makes: dict[str, Callable[..., th.Head]] = {
        "binary": lambda **o: th.BinaryClassHead(thresholds=THRESHOLDS, missing_label=word, **o),
        "tags": lambda **o: th.MultiLabelHead(3, missing_label=word, **o),
        "class": lambda **o: th.MultiClassHead(CLASSES, missing_label=word, **o),
        "number": lambda **o: th.RegressionHead(missing_label=number, **o),
        "count": lambda **o: th.PoissonRegressionHead(missing_label=number, **o),
        "share": lambda **o: th.LogisticRegressionHead(missing_label=number, **o),
    }
    return {kind: make(name=kind, metrics=[*ORACLES[kind]]) for kind, make in makes.items()}


def draw(missing: bool, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Return logits and labels of each head, and weights; scores are not at thresholds."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    widths = {"binary": 1, "tags": 3, "class": CLASSES, "number": 1, "count": 1, "share": 1}
    logits = {kind: 1.5 * normal(ROWS, width) for kind, width in widths.items()}
    logits["number"] = logits["number"].abs() + 0.1
    labels = {
        "binary": (logits["binary"] + normal(ROWS, 1) > 0.5).float(),
        "tags": (logits["tags"] + 2 * normal(ROWS, 3) > 0.5).float(),
        "class": (logits["class"] + normal(ROWS, CLASSES)).argmax(-1, keepdim=True),
        "number": logits["number"] + normal(ROWS, 1).abs(),
        "count": torch.poisson(logits["count"].exp(), generator=random) + 1.0,
        "share": torch.sigmoid(logits["share"] + normal(ROWS, 1)),
    }
    weights = torch.rand(ROWS, generator=random) + 0.1
    if missing:
        gaps = torch.rand(ROWS, generator=random) < 0.2
        labels = {kind: own.masked_fill(gaps[:, None], -1) for kind, own in labels.items()}
    return logits, labels, weights


def seen_of(head: th.Head, kind: str, logits: Tensor, labels: Tensor, weights: Tensor) -> Seen:
    kept = (labels >= 0).all(-1)
    predictions = head.predictions(logits)
    key = next(key for key in ("logistic", "probabilities", "predictions") if key in predictions)
    y, p = labels[kept].double().numpy(), predictions[key][kept].double().numpy()
    if kind != "tags":
        y, p = y[:, 0], p if kind == "class" else p[:, 0]
    return Seen(y, p / p.sum(-1, keepdims=True) if kind == "class" else p, weights[kept].numpy())


def evaluate(weighted: bool, missing: bool, fused: bool) -> dict[str, tuple[Seen, dict[str, Any]]]:
    """Return what each head has seen in two batches, and its metrics by key."""
    logits, labels, weights = draw(missing)
    weights = weights if weighted else torch.ones(ROWS)
    given = weights if weighted else None
    made = heads(missing)
    halves = [slice(0, 100), slice(100, None)]
    if fused:
        multi = th.MultiHead(made.values())
        metrics = multi.metrics()
        for half in halves:
            multi.update_metrics(
                metrics,
                None,
                {kind: own[half] for kind, own in logits.items()},
                {kind: own[half] for kind, own in labels.items()},
                weights=None if given is None else given[half],
            )
        every = metrics.compute()
        values = {
            kind: {
                key.removesuffix(f"/{kind}"): value.item()
                for key, value in every.items()
                if key.endswith(f"/{kind}") and not key.startswith("loss/")
            }
            for kind in made
        }
    else:
        values = {}
        for kind, head in made.items():
            metrics = head.metrics()
            for half in halves:
                own = None if given is None else given[half]
                head.update_metrics(
                    metrics, None, logits[kind][half], labels[kind][half], weights=own
                )
            values[kind] = {
                key.removesuffix(f"/{kind}"): value.item()
                for key, value in metrics.compute().items()
            }
    return {
        kind: (seen_of(made[kind], kind, logits[kind], labels[kind], weights), values[kind])
        for kind in made
    }


@pytest.fixture(scope="module")
def evaluated() -> Callable[[bool, bool, bool], dict[str, tuple[Seen, dict[str, Any]]]]:
    made: dict[tuple[bool, bool, bool], dict[str, tuple[Seen, dict[str, Any]]]] = {}

    def once(*given: bool) -> dict[str, tuple[Seen, dict[str, Any]]]:
        if given not in made:
            made[given] = evaluate(*given)
        return made[given]

    return once


@pytest.mark.parametrize("fused", [False, True], ids=["alone", "fused"])
@pytest.mark.parametrize("missing", [False, True], ids=["labelled", "missing"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind, own in ORACLES.items() for key in own]
)
def test_every_metric_equals_its_oracle(
    kind: str, key: str, weighted: bool, missing: bool, fused: bool, evaluated: Any
) -> None:
    seen, values = evaluated(weighted, missing, fused)[kind]
    expected = ORACLES[kind][key](seen)
    tolerance = {"abs": LOOSE[key]} if key in LOOSE else {"rel": 1e-6, "abs": 1e-6}
    assert values[key] == pytest.approx(expected, **tolerance)
    if key in ORACLES["binary"] and key in (*OUTCOMES, *AGREEMENT) and kind == "binary":
        for threshold in THRESHOLDS:
            cut = Seen(seen.y, np.where(seen.p > threshold, 0.9, 0.1), seen.w)
            at = values[f"{key}/positive_threshold_{threshold:g}"]
            assert at == pytest.approx(ORACLES[kind][key](cut), rel=1e-6)


def test_every_name_has_an_oracle() -> None:
    kinds = {
        "binary": (Counts.SCORES, False, True),
        "tags": (Counts.SCORES, True, True),
        "class": (Counts.CLASSES, False, False),
        "number": (Counts.NUMBERS, False, False),
        "share": (Counts.NUMBERS, False, True),
    }
    for kind, given in kinds.items():
        own = {*ORACLES[kind]}
        if kind == "share":
            own |= {"roc_auc", "average_precision", "log_loss"}
        assert own == {*names_for(*given)}


def test_a_regression_of_probabilities_ranks_hard_labels(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(ROWS, 1, generator=random)
    labels = (logits + torch.randn(ROWS, 1, generator=random) > 0).float()
    names = ["roc_auc", "average_precision", "log_loss", "brier_score"]
    head = th.LogisticRegressionHead(metrics=names)
    values = head.update_metrics(logits=logits.to(device), labels=labels.to(device)).compute()
    y, p = labels[:, 0].numpy(), torch.sigmoid(logits)[:, 0].double().numpy()
    assert values["roc_auc"].item() == pytest.approx(sk.roc_auc_score(y, p), abs=1e-3)
    precise = sk.average_precision_score(y, p)
    assert values["average_precision"].item() == pytest.approx(precise, abs=2e-3)
    assert values["log_loss"].item() == pytest.approx(sk.log_loss(y, p), rel=1e-6)
    assert values["brier_score"].item() == pytest.approx(sk.brier_score_loss(y, p), rel=1e-6)


@pytest.mark.parametrize("kind", ["tags", "class"])
def test_metrics_of_a_class_are_those_of_scikit_learn(kind: str) -> None:
    logits, labels, _ = draw(missing=False)
    names = [f"{name}_per_class" for name in AVERAGED]
    made = {
        "tags": lambda: th.MultiLabelHead(3, metrics=names),
        "class": lambda: th.MultiClassHead(4, label_vocabulary=list("abcd"), metrics=names),
    }
    head = made[kind]()
    given = np.array(list("abcd"))[labels[kind].numpy()] if kind == "class" else labels[kind]
    values = head.update_metrics(logits=logits[kind], labels=given).compute()
    seen = seen_of(head, kind, logits[kind], labels[kind], torch.ones(ROWS))
    classes = list("abcd") if kind == "class" else [f"class{i}" for i in range(3)]
    for name, (function, options) in AVERAGED.items():
        each = function(seen.y, seen.z, average=None, **options)
        assert [values[f"{name}/{one}"].item() for one in classes] == pytest.approx(list(each))


def test_deviances_of_other_powers_are_those_of_scikit_learn() -> None:
    logits, labels, weights = draw(missing=False)
    powers = [-1.0, 1.5, 3.0]
    metrics = {f"t{power}": th.metrics.TweedieDeviance(power) for power in powers}
    head = th.RegressionHead(metrics=[*metrics.values()])
    keys = [f"mean_tweedie_deviance_{power:g}" for power in powers]
    values = head.update_metrics(
        logits=logits["number"], labels=labels["number"], weights=weights
    ).compute()
    y, p = labels["number"][:, 0].double().numpy(), logits["number"][:, 0].double().numpy()
    for key, power in zip(keys, powers, strict=True):
        expected = sk.mean_tweedie_deviance(y, p, sample_weight=weights.numpy(), power=power)
        assert values[key].item() == pytest.approx(expected, rel=1e-6)


def test_pinball_losses_are_those_of_scikit_learn_at_any_level() -> None:
    logits, labels, weights = draw(missing=False)
    head = th.RegressionHead(metrics={"p90": th.metrics.Pinball(0.9)})
    values = head.update_metrics(
        logits=logits["number"], labels=labels["number"], weights=weights
    ).compute()
    y, p = labels["number"][:, 0].double().numpy(), logits["number"][:, 0].double().numpy()
    expected = sk.mean_pinball_loss(y, p, sample_weight=weights.numpy(), alpha=0.9)
    assert values["p90"].item() == pytest.approx(expected, rel=1e-6)


def test_several_columns_have_the_uniform_average_of_scikit_learn() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(ROWS, 3, generator=random)
    labels = logits * torch.tensor([1.0, 2.0, 3.0]) + torch.randn(ROWS, 3, generator=random)
    names = [*ORACLES["number"]][1:9]
    head = th.RegressionHead(3, metrics=names)
    values = head.update_metrics(logits=logits, labels=labels).compute()
    y, p = labels.double().numpy(), logits.double().numpy()
    for name in ("mean_squared_error", "root_mean_squared_error", "mean_absolute_error", "r2"):
        expected = getattr(sk, {"r2": "r2_score"}.get(name, name))(y, p)
        assert values[name].item() == pytest.approx(expected, rel=1e-6)
    each = [stats.pearsonr(a, b).statistic for a, b in zip(y.T, p.T, strict=True)]
    assert values["pearson_corrcoef"].item() == pytest.approx(np.mean(each), rel=1e-6)


@pytest.mark.parametrize("specificity", [0.07, 0.2, 0.33, 0.67, 0.9, 0.93])
def test_a_specificity_that_is_just_reached_counts(specificity: float) -> None:
    above = 100 - round(100 * specificity)  # of 100 negatives, above all positives
    head = th.BinaryClassHead(metrics=[th.metrics.SensitivityAtSpecificity(specificity)])
    logits = torch.cat([torch.ones(above), torch.full((100 - above,), -1.0), torch.zeros(5)])
    labels = torch.cat([torch.zeros(100), torch.ones(5)])
    values = head.update_metrics(logits=logits[:, None], labels=labels).compute()
    assert values[f"sensitivity_at_specificity_{specificity:g}".removesuffix("_0.9")] == 1


def test_what_is_undefined_is_nan() -> None:
    head = th.BinaryClassHead(metrics="all")
    values = head.update_metrics(logits=torch.tensor([[2.0], [1.0]]), labels=[1, 1]).compute()
    nan = {key for key, value in values.items() if isnan(value)}
    assert nan == {
        "roc_auc",
        "average_precision",
        "ks",
        "gini",
        "equal_error_rate",
        "sensitivity_at_specificity",
        "specificity",
        "negative_predictive_value",
        "balanced_accuracy",
        "matthews_corrcoef",
        "cohen_kappa",
        "cohen_kappa_linear",
        "cohen_kappa_quadratic",
    }
    number = th.RegressionHead(metrics=["r2", "pearson_corrcoef"])
    values = number.update_metrics(logits=torch.ones(2, 1), labels=[0.1, 0.1]).compute()
    assert isnan(values["r2"])
    assert isnan(values["pearson_corrcoef"])


def test_a_class_that_never_came_is_in_no_average() -> None:
    head = th.MultiClassHead(5, metrics=["f1_macro", "recall_macro", "balanced_accuracy"])
    y, p = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    logits = torch.nn.functional.one_hot(torch.tensor(p), 5).float()
    values = head.update_metrics(logits=logits, labels=torch.tensor(y)).compute()
    assert values["f1_macro"].item() == pytest.approx(sk.f1_score(y, p, average="macro"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recall = sk.recall_score(y, p, average="macro")
        balanced = sk.balanced_accuracy_score(y, p)
    assert values["recall_macro"].item() == pytest.approx(recall)
    assert values["balanced_accuracy"].item() == pytest.approx(balanced)
