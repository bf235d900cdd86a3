"""The metrics that a head has without being asked."""

from collections.abc import Iterable, Iterator

from torch_heads.families.family import Counts
from torch_heads.metrics.readings.areas import AUC, AUCPrecisionRecall, AveragePrecision, RocAuc
from torch_heads.metrics.readings.means import AverageLoss, ClassAccuracy, Mean
from torch_heads.metrics.readings.outcomes import Accuracy, Precision, Recall
from torch_heads.metrics.readings.reading import Reading
from torch_heads.metrics.readings.times import Concordance
from torch_heads.metrics.sums import Total


def usual_readings(
    counts: Counts, thresholds: Iterable[float] = (), fine: bool = True
) -> Iterator[tuple[str, Reading]]:
    """Yield the metrics, by key, of a head of which nothing is known but what is counted.

    Args:
        counts: what is counted.
        thresholds: the user's, of scores.
        fine: whether scores are cut finely, too.
    """
    yield "average_loss", AverageLoss()
    if counts is Counts.NUMBERS:
        yield "prediction/mean", Mean(of=Total.PREDICTION)
        yield "label/mean", Mean(of=Total.LABEL)
    elif counts is Counts.CLASSES:
        yield "accuracy", ClassAccuracy()
    elif counts is Counts.TIMES:
        yield "concordance", Concordance()
    else:
        yield "auc", AUC()
        yield "auc_precision_recall", AUCPrecisionRecall()
        yield from threshold_readings(thresholds)
        if fine:
            yield from fine_readings()


def threshold_readings(thresholds: Iterable[float]) -> Iterator[tuple[str, Reading]]:
    """Yield accuracy, precision and recall at each of the user's thresholds, by key."""
    for threshold in thresholds:
        for name, reading in (("accuracy", Accuracy), ("precision", Precision), ("recall", Recall)):
            yield f"{name}/positive_threshold_{threshold:g}", reading(threshold=threshold)


def fine_readings(column: int | None = None, suffix: str = "") -> Iterator[tuple[str, Reading]]:
    """Yield the areas from the fine cut, which stand beside tf.estimator's."""
    yield f"roc_auc{suffix}", RocAuc(column=column)
    yield f"average_precision{suffix}", AveragePrecision(column=column)
