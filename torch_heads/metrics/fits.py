"""Whether a reading, with the arguments that it was given, can be read of a head."""

from __future__ import annotations

from math import isqrt

from torch_heads.families.family import Counts
from torch_heads.functional.errors import preview, unexpected
from torch_heads.metrics.distribution_terms import OfQuantiles
from torch_heads.metrics.needs import Confusions
from torch_heads.metrics.readable import MOST_CONFUSIONS, Readable
from torch_heads.metrics.readings.areas import AreaReading
from torch_heads.metrics.readings.outcomes import (
    AveragedReading,
    NegativePredictiveValue,
    Specificity,
    ThresholdReading,
)
from torch_heads.metrics.readings.reading import Reading, is_own

#: Of one class: of all ids together they are something else, or nothing.
OF_ONE_CLASS = (AveragedReading, Specificity, NegativePredictiveValue)


def check_fits(reading: Reading, head: Readable, asked: str | Reading) -> None:
    """Refuse a reading whose arguments a head would not follow.

    Args:
        reading: with its arguments.
        head: that it would be read of.
        asked: how it was asked for: its name, or the reading itself.

    Raises:
        ValueError: if it is one.
    """
    for misfit in (_threshold, _average, _class, _fine, _confusions, _quantiles):
        expected, hint = misfit(reading, head)
        if expected:
            raise ValueError(unexpected(head.title, "metrics", expected, repr(asked), hint))


def check_column(reading: Reading, head: Readable) -> None:
    """Refuse a reading of a column that a head has not.

    Raises:
        ValueError: if it is one.
    """
    count = len(head.class_names) or head.columns
    if reading.column is not None and reading.column not in range(count):
        expected = f"with a column in [0, {count - 1}]"
        raise ValueError(unexpected(head.title, "metrics", expected, repr(reading)))


Misfit = tuple[str, str]  # what was expected instead, and a hint; empty where it fits
FITS: Misfit = ("", "")


def _threshold(reading: Reading, head: Readable) -> Misfit:
    if head.counts is Counts.SCORES or not isinstance(reading, ThresholdReading):
        return FITS
    if reading.threshold is None:
        return FITS
    return "without a threshold", "What is predicted is the most likely class."


def _average(reading: Reading, head: Readable) -> Misfit:
    if not isinstance(reading, (AveragedReading, AreaReading)) or reading.average is None:
        return FITS
    if reading.average == "samples" and not head.several:
        return "without an average over the labels of a row", "A row has a single label."
    if head.columns == 1 and head.counts is not Counts.CLASSES:
        kind = type(reading).__name__
        return "without an average over classes", f"Of one column of scores there is {kind}()."
    return FITS


def _class(reading: Reading, head: Readable) -> Misfit:
    average = getattr(reading, "average", None)
    if reading.column is None:
        if head.counts is not Counts.CLASSES or not isinstance(reading, OF_ONE_CLASS):
            return FITS
        kind = type(reading).__name__
        if not isinstance(reading, AveragedReading):
            return "of one class", f"Give {kind}(column=...)."
        hint = f"Give {kind}(average='macro'), 'micro' or 'weighted', or {kind}(column=...)."
        return ("of one class, or averaged over classes", hint) if average is None else FITS
    if not is_own(reading) or not head.class_names:
        return FITS
    kinds = {type(one) for one in head.of_a_class.values()}
    if average is None and type(reading) in kinds:
        return FITS
    return f"of one class among {preview(head.of_a_class, 80)}", ""


def _fine(reading: Reading, head: Readable) -> Misfit:
    if head.fine or not reading.of_fine_scores:
        return FITS
    return "that the coarse cut of scores tells", "Make the head with fine=True."


def _confusions(reading: Reading, head: Readable) -> Misfit:
    most = isqrt(MOST_CONFUSIONS)
    if head.n_classes <= most or Confusions() not in reading.needs(head.counts):
        return FITS
    return f"that need confusions of at most {most} classes", f"Here are {head.n_classes}."


def _quantiles(reading: Reading, head: Readable) -> Misfit:
    terms = [one for one in reading.needs(head.counts) if isinstance(one, OfQuantiles)]
    if head.quantiles is None or not terms:
        return FITS
    low, high = head.quantiles
    wanted = [level for term in terms for level in term.quantiles]
    if low <= min(wanted) and max(wanted) <= high:
        return FITS
    levels = " and ".join(f"{level:g}" for level in wanted)
    kind = type(reading).__name__
    hint = f"It is read at {levels}: give {kind} another level, or the head levels around these."
    return f"of quantiles in [{low:g}, {high:g}]", hint
