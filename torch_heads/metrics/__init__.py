"""Metrics: readings of what tallies have summed, and the collection that holds them."""

from torch_heads.metrics.readings import (
    AUC,
    Accuracy,
    AccuracyBaseline,
    AUCPrecisionRecall,
    AverageLoss,
    ClassAccuracy,
    Coverage,
    Mean,
    Precision,
    Reading,
    Recall,
)
from torch_heads.metrics.sums import Sums, Total

__all__ = [
    "AUC",
    "AUCPrecisionRecall",
    "Accuracy",
    "AccuracyBaseline",
    "AverageLoss",
    "ClassAccuracy",
    "Coverage",
    "Mean",
    "Precision",
    "Reading",
    "Recall",
    "Sums",
    "Total",
]
