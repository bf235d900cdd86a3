"""The names of the readings, for each kind of head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

from torch_heads.families.family import Counts
from torch_heads.metrics.readings.classes import (
    CoverageError,
    ExactMatch,
    LabelRankingAveragePrecision,
    MeanReciprocalRank,
    TopKAccuracy,
)
from torch_heads.metrics.readings.distributions import (
    IntervalCoverage,
    QuantileCoverage,
    QuantilePinball,
)
from torch_heads.metrics.readings.means import AverageLoss, BrierScore, ClassAccuracy, LogLoss
from torch_heads.metrics.readings.numbers import (
    R2,
    Bias,
    ConcordanceCorrcoef,
    ExplainedVariance,
    GammaDeviance,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogError,
    MedianAbsoluteError,
    PearsonCorrcoef,
    Pinball,
    PoissonDeviance,
    RootMeanSquaredError,
    SymmetricMeanAbsolutePercentageError,
    TweedieDeviance,
    WeightedMeanAbsolutePercentageError,
)
from torch_heads.metrics.readings.outcomes import (
    F1,
    Accuracy,
    AveragedReading,
    BalancedAccuracy,
    CohenKappa,
    FBeta,
    HammingLoss,
    Jaccard,
    MatthewsCorrcoef,
    NegativePredictiveValue,
    Precision,
    Recall,
    Specificity,
    Weights,
)
from torch_heads.metrics.readings.ranking import (
    AUC,
    AUCPrecisionRecall,
    AveragePrecision,
    CalibrationError,
    EqualErrorRate,
    Gini,
    KolmogorovSmirnov,
    Lift,
    PrecisionAtRecall,
    RocAuc,
    RocAucOneVersusRest,
    SensitivityAtSpecificity,
)
from torch_heads.metrics.readings.reading import Reading
from torch_heads.metrics.readings.times import Concordance

AVERAGED: Mapping[str, type[AveragedReading]] = {
    "f1": F1,
    "fbeta": FBeta,
    "precision": Precision,
    "recall": Recall,
    "jaccard": Jaccard,
}
LOSSES: Mapping[str, Reading] = {
    "average_loss": AverageLoss(),
    "log_loss": LogLoss(),
    "brier_score": BrierScore(),
}
AGREEMENT: Mapping[str, Reading] = {
    "matthews_corrcoef": MatthewsCorrcoef(),
    "cohen_kappa": CohenKappa(),
    **{f"cohen_kappa_{weights}": CohenKappa(weights) for weights in get_args(Weights)},
}
RANKINGS: Mapping[str, Reading] = {
    "auc": AUC(),
    "auc_precision_recall": AUCPrecisionRecall(),
    "roc_auc": RocAuc(),
    "average_precision": AveragePrecision(),
    "ks": KolmogorovSmirnov(),
    "gini": Gini(),
    "equal_error_rate": EqualErrorRate(),
    "sensitivity_at_specificity": SensitivityAtSpecificity(),
    "precision_at_recall": PrecisionAtRecall(),
    "lift": Lift(),
    "calibration_error": CalibrationError(),
}
OUTCOMES: Mapping[str, Reading] = {
    "accuracy": Accuracy(),
    **{name: kind() for name, kind in AVERAGED.items()},
    "specificity": Specificity(),
    "negative_predictive_value": NegativePredictiveValue(),
    "balanced_accuracy": BalancedAccuracy(),
}
NUMBERS: Mapping[str, Reading] = {
    "average_loss": AverageLoss(),
    "mean_squared_error": MeanSquaredError(),
    "root_mean_squared_error": RootMeanSquaredError(),
    "mean_absolute_error": MeanAbsoluteError(),
    "median_absolute_error": MedianAbsoluteError(),
    "bias": Bias(),
    "r2": R2(),
    "explained_variance": ExplainedVariance(),
    "pearson_corrcoef": PearsonCorrcoef(),
    "concordance_corrcoef": ConcordanceCorrcoef(),
    "mean_pinball_loss": Pinball(),
    "mean_poisson_deviance": PoissonDeviance(),
    "mean_gamma_deviance": GammaDeviance(),
    "mean_tweedie_deviance": TweedieDeviance(),
    "mean_squared_log_error": MeanSquaredLogError(),
    "mean_absolute_percentage_error": MeanAbsolutePercentageError(),
    "smape": SymmetricMeanAbsolutePercentageError(),
    "wmape": WeightedMeanAbsolutePercentageError(),
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
    "roc_auc_macro": RocAuc(average="macro"),
    "roc_auc_weighted": RocAuc(average="weighted"),
    "average_precision_macro": AveragePrecision(average="macro"),
    "average_precision_weighted": AveragePrecision(average="weighted"),
    **LOSSES,
    "hamming_loss": HammingLoss(),
    "exact_match": ExactMatch(),
    "f1_samples": F1(average="samples"),
    "label_ranking_average_precision": LabelRankingAveragePrecision(),
    "coverage_error": CoverageError(),
}
CLASSES: Mapping[str, Reading] = {
    "accuracy": ClassAccuracy(),
    **dict(averages()),
    "balanced_accuracy": BalancedAccuracy(),
    **AGREEMENT,
    **LOSSES,
    "top_k_accuracy": TopKAccuracy(),
    "mean_reciprocal_rank": MeanReciprocalRank(),
    "roc_auc_ovr": RocAucOneVersusRest(),
}
#: Of numbers that are probabilities, whose scores can be counted, too.
PROBABILITIES: Mapping[str, Reading] = {
    **NUMBERS,
    "roc_auc": RocAuc(),
    "average_precision": AveragePrecision(),
    "log_loss": LogLoss(),
    "brier_score": BrierScore(),
}
#: Of numbers of which quantiles are told.
QUANTILES: Mapping[str, Reading] = {
    **NUMBERS,
    "interval_coverage": IntervalCoverage(),
    "quantile_coverage": QuantileCoverage(),
    "quantile_pinball": QuantilePinball(),
}
TIMES: Mapping[str, Reading] = {
    "average_loss": AverageLoss(),
    "log_loss": LogLoss(),
    "concordance": Concordance(),
}
#: Of one column of scores, the readings by name.
OF_A_COLUMN: Mapping[str, Reading] = {**OUTCOMES, **RANKINGS, **LOSSES}
#: Of one class among several ids, the readings by name.
OF_A_CLASS: Mapping[str, Reading] = {
    **{name: kind() for name, kind in AVERAGED.items()},
    "specificity": Specificity(),
    "negative_predictive_value": NegativePredictiveValue(),
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
