"""The names of the readings, for each kind of head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

from torch_heads.families.family import Counts
from torch_heads.metrics.readings import (
    areas,
    class_agreement,
    classes,
    distributions,
    means,
    numbers,
    outcomes,
    ranking,
    times,
)
from torch_heads.metrics.readings.reading import Reading

AVERAGED: Mapping[str, type[outcomes.AveragedReading]] = {
    "f1": outcomes.F1,
    "fbeta": outcomes.FBeta,
    "precision": outcomes.Precision,
    "recall": outcomes.Recall,
    "jaccard": outcomes.Jaccard,
}
LOSSES: Mapping[str, Reading] = {
    "average_loss": means.AverageLoss(),
    "log_loss": means.LogLoss(),
    "brier_score": means.BrierScore(),
}
AGREEMENT: Mapping[str, Reading] = {
    "matthews_corrcoef": class_agreement.MatthewsCorrcoef(),
    "cohen_kappa": class_agreement.CohenKappa(),
    **{
        f"cohen_kappa_{weights}": class_agreement.CohenKappa(weights)
        for weights in get_args(class_agreement.Weights)
    },
}
RANKINGS: Mapping[str, Reading] = {
    "auc": areas.AUC(),
    "auc_precision_recall": areas.AUCPrecisionRecall(),
    "roc_auc": areas.RocAuc(),
    "average_precision": areas.AveragePrecision(),
    "ks": ranking.KolmogorovSmirnov(),
    "gini": ranking.Gini(),
    "equal_error_rate": ranking.EqualErrorRate(),
    "sensitivity_at_specificity": ranking.SensitivityAtSpecificity(),
    "precision_at_recall": ranking.PrecisionAtRecall(),
    "lift": ranking.Lift(),
    "calibration_error": ranking.CalibrationError(),
}
OUTCOMES: Mapping[str, Reading] = {
    "accuracy": outcomes.Accuracy(),
    **{name: kind() for name, kind in AVERAGED.items()},
    "specificity": outcomes.Specificity(),
    "negative_predictive_value": outcomes.NegativePredictiveValue(),
    "balanced_accuracy": outcomes.BalancedAccuracy(),
}
NUMBERS: Mapping[str, Reading] = {
    "average_loss": means.AverageLoss(),
    "mean_squared_error": numbers.MeanSquaredError(),
    "root_mean_squared_error": numbers.RootMeanSquaredError(),
    "mean_absolute_error": numbers.MeanAbsoluteError(),
    "median_absolute_error": numbers.MedianAbsoluteError(),
    "bias": numbers.Bias(),
    "r2": numbers.R2(),
    "explained_variance": numbers.ExplainedVariance(),
    "pearson_corrcoef": numbers.PearsonCorrcoef(),
    "concordance_corrcoef": numbers.ConcordanceCorrcoef(),
    "mean_pinball_loss": numbers.Pinball(),
    "mean_poisson_deviance": numbers.PoissonDeviance(),
    "mean_gamma_deviance": numbers.GammaDeviance(),
    "mean_tweedie_deviance": numbers.TweedieDeviance(),
    "mean_squared_log_error": numbers.MeanSquaredLogError(),
    "mean_absolute_percentage_error": numbers.MeanAbsolutePercentageError(),
    "smape": numbers.SymmetricMeanAbsolutePercentageError(),
    "wmape": numbers.WeightedMeanAbsolutePercentageError(),
}


def averages() -> Iterator[tuple[str, Reading]]:
    """Yield the averages over classes, by key."""
    for name, kind in AVERAGED.items():
        yield f"{name}_macro", kind(average="macro")
        yield f"{name}_micro", kind(average="micro")
        yield f"{name}_weighted", kind(average="weighted")


BINARY: Mapping[str, Reading] = {**OUTCOMES, **AGREEMENT, **RANKINGS, **LOSSES}
MULTI_LABEL: Mapping[str, Reading] = {
    **OUTCOMES,
    **dict(averages()),
    **RANKINGS,
    "roc_auc_macro": areas.RocAuc(average="macro"),
    "roc_auc_weighted": areas.RocAuc(average="weighted"),
    "average_precision_macro": areas.AveragePrecision(average="macro"),
    "average_precision_weighted": areas.AveragePrecision(average="weighted"),
    **LOSSES,
    "hamming_loss": outcomes.HammingLoss(),
    "exact_match": classes.ExactMatch(),
    "f1_samples": outcomes.F1(average="samples"),
    "label_ranking_average_precision": classes.LabelRankingAveragePrecision(),
    "coverage_error": classes.CoverageError(),
}
CLASSES: Mapping[str, Reading] = {
    "accuracy": means.ClassAccuracy(),
    **dict(averages()),
    "balanced_accuracy": outcomes.BalancedAccuracy(),
    **AGREEMENT,
    **LOSSES,
    "top_k_accuracy": classes.TopKAccuracy(),
    "mean_reciprocal_rank": classes.MeanReciprocalRank(),
    "roc_auc_ovr": areas.RocAucOneVersusRest(),
}
#: Of numbers that are probabilities, whose scores can be counted, too.
PROBABILITIES: Mapping[str, Reading] = {
    **NUMBERS,
    "roc_auc": areas.RocAuc(),
    "average_precision": areas.AveragePrecision(),
    "log_loss": means.LogLoss(),
    "brier_score": means.BrierScore(),
}
#: Of numbers of which quantiles are told.
QUANTILES: Mapping[str, Reading] = {
    **NUMBERS,
    "interval_coverage": distributions.IntervalCoverage(),
    "quantile_coverage": distributions.QuantileCoverage(),
    "quantile_pinball": distributions.QuantilePinball(),
}
TIMES: Mapping[str, Reading] = {
    "average_loss": means.AverageLoss(),
    "log_loss": means.LogLoss(),
    "concordance": times.Concordance(),
}
#: Of one column of scores, the readings by name.
OF_A_COLUMN: Mapping[str, Reading] = {**OUTCOMES, **RANKINGS, **LOSSES}
#: Of one class among several ids, the readings by name.
OF_A_CLASS: Mapping[str, Reading] = {
    **{name: kind() for name, kind in AVERAGED.items()},
    "specificity": outcomes.Specificity(),
    "negative_predictive_value": outcomes.NegativePredictiveValue(),
}


#: What people call some of these elsewhere.
OTHER_NAMES: Mapping[str, str] = {
    "acc": "accuracy",
    "auprc": "average_precision",
    "auroc": "roc_auc",
    "ece": "calibration_error",
    "f1_score": "f1",
    "kappa": "cohen_kappa",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mcc": "matthews_corrcoef",
    "mrr": "mean_reciprocal_rank",
    "mse": "mean_squared_error",
    "msle": "mean_squared_log_error",
    "qwk": "cohen_kappa_quadratic",
    "r2_score": "r2",
    "rmse": "root_mean_squared_error",
}


def names_for(
    counts: Counts, several: bool, probabilities: bool, quantiles: bool = False
) -> Mapping[str, Reading]:
    """Return the readings of a kind of head, by name.

    Args:
        counts: what its metrics count.
        several: whether it has several columns of scores.
        probabilities: whether its numbers are probabilities.
        quantiles: whether it tells any quantile.
    """
    if counts is Counts.CLASSES:
        return CLASSES
    if counts is Counts.TIMES:
        return TIMES
    if counts is Counts.SCORES:
        return MULTI_LABEL if several else BINARY
    if quantiles:
        return QUANTILES
    return PROBABILITIES if probabilities else NUMBERS
