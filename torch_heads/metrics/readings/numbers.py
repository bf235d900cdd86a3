"""Readings of numbers: errors, correlations, deviances.

Those that are linear in sums are over all columns together; others are the mean of the columns'
own, as scikit-learn's uniform average.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.functional.residuals import Residuals
from torch_heads.metrics.needs import Need, ResidualCounts, Term
from torch_heads.metrics.readings.means import TermMean
from torch_heads.metrics.readings.reading import Reading, check_level, check_number, ratio
from torch_heads.metrics.sums import Sums, Total
from torch_heads.metrics.terms import (
    AbsoluteError,
    AbsoluteLabel,
    DevianceTerm,
    PercentageError,
    SquaredError,
    SquaredLabel,
    SquaredLogError,
    SquaredPrediction,
    SymmetricPercentageError,
)


@dataclass(frozen=True)
class NumberReading(Reading):
    """A metric of numbers, from the sums of some terms."""

    terms: ClassVar[tuple[Term, ...]] = ()

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return its terms."""
        return self.terms


@dataclass(frozen=True)
class MeanSquaredError(TermMean):
    """The mean of ``(p - y)^2``."""

    higher_is_better = False
    term = SquaredError()


@dataclass(frozen=True)
class RootMeanSquaredError(NumberReading):
    """The root of the mean of ``(p - y)^2``, of each column."""

    higher_is_better = False
    terms = (SquaredError(),)

    def read(self, sums: Sums) -> Tensor:
        """Return the mean over the columns."""
        squares = ratio(sums.term(SquaredError()), sums.totals[..., Total.WEIGHT])
        return squares.sqrt().nanmean(-1)


@dataclass(frozen=True)
class MeanAbsoluteError(TermMean):
    """The mean of ``|p - y|``; of class ids, in classes."""

    higher_is_better = False
    term = AbsoluteError()


@dataclass(frozen=True)
class MedianAbsoluteError(Reading):
    """The median of ``|p - y|``, to a bin: a step of 1.25 or less, linear inside.

    NaN where any prediction is, as the other metrics are.
    """

    higher_is_better = False
    of_counts = True

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return the counts of residuals."""
        return (ResidualCounts(),)

    def read(self, sums: Sums) -> Tensor:
        """Return the mean of the columns' medians."""
        counts = sums.residuals
        each = Residuals(counts.flatten(0, -2)).absolute_quantile(0.5)
        medians = each.view(counts.shape[:-1])
        unknown = sums.totals[..., Total.PREDICTION].isnan().any(-1)
        return torch.where(unknown, torch.nan, medians.nanmean(-1))


@dataclass(frozen=True)
class Bias(Reading):
    """The mean of ``p - y``: above 0, predictions are too large."""

    def read(self, sums: Sums) -> Tensor:
        """Return the difference of the means."""
        difference = sums.total(Total.PREDICTION) - sums.total(Total.LABEL)
        return ratio(difference, sums.total(Total.WEIGHT))


@dataclass(frozen=True)
class R2(NumberReading):
    """The share of the labels' variance that is explained: ``1 - sum e^2 / sum (y - mean)^2``."""

    higher_is_better = True
    terms = (SquaredError(), SquaredLabel())

    def read(self, sums: Sums) -> Tensor:
        """Return the mean over the columns."""
        spread = squares(sums, SquaredLabel(), Total.LABEL)
        share = 1 - ratio(sums.term(SquaredError()), spread)
        return sure(share, spread, sums, SquaredLabel()).nanmean(-1)


@dataclass(frozen=True)
class ExplainedVariance(NumberReading):
    """``1 - var(p - y) / var(y)``: as `R2`, but a bias does not count."""

    higher_is_better = True
    terms = (SquaredError(), SquaredLabel())

    def read(self, sums: Sums) -> Tensor:
        """Return the mean over the columns."""
        errors = sums.term(SquaredError()) - squared_bias(sums)
        spread = squares(sums, SquaredLabel(), Total.LABEL)
        share = 1 - ratio(errors, spread)
        return sure(share, spread, sums, SquaredLabel(), SquaredError()).nanmean(-1)


@dataclass(frozen=True)
class PearsonCorrcoef(NumberReading):
    """The correlation of predictions and labels."""

    higher_is_better = True
    terms = (SquaredError(), SquaredLabel(), SquaredPrediction())

    def read(self, sums: Sums) -> Tensor:
        """Return the mean over the columns."""
        together, labels, predictions = moments(sums)
        both = labels.sqrt() * predictions.sqrt()
        found = sure(ratio(together, both), both, sums, SquaredError())
        found = sure(found, labels, sums, SquaredLabel())
        return sure(found, predictions, sums, SquaredPrediction()).nanmean(-1)


@dataclass(frozen=True)
class ConcordanceCorrcoef(NumberReading):
    """The agreement of predictions and labels, in place and scale (Lin, 1989)."""

    higher_is_better = True
    terms = (SquaredError(), SquaredLabel(), SquaredPrediction())

    def read(self, sums: Sums) -> Tensor:
        """Return ``2 cov / (var p + var y + (mean p - mean y)^2)``, the mean over the columns."""
        together, labels, predictions = moments(sums)
        apart = labels + predictions + squared_bias(sums)
        return sure(ratio(2 * together, apart), apart, sums, *self.terms).nanmean(-1)


@dataclass(frozen=True)
class Pinball(NumberReading):
    """The mean pinball loss of a quantile ``level`` (Koenker & Bassett, 1978)."""

    higher_is_better = False
    terms = (AbsoluteError(),)
    level: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_level(self)

    def read(self, sums: Sums) -> Tensor:
        """Return the mean of ``|e| / 2 + (level - 1 / 2) e``, with ``e = y - p``."""
        error = sums.total(Total.LABEL) - sums.total(Total.PREDICTION)
        loss = sums.term(AbsoluteError()).sum(-1) / 2 + (self.level - 0.5) * error
        return ratio(loss, sums.total(Total.WEIGHT))


@dataclass(frozen=True)
class TweedieDeviance(TermMean):
    """The mean deviance of the Tweedie distribution of a power (Jorgensen, 1987).

    0 is the normal distribution, 1 Poisson's, 2 the gamma distribution. NaN where a label or a
    prediction is none of the distribution's.
    """

    higher_is_better = False
    power: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = "outside of (0, 1) and finite"
        check_number(self, "power", expected, lambda power: isfinite(power) and not 0 < power < 1)

    @property
    def term(self) -> Term:
        """The deviance of this power."""
        return DevianceTerm(self.power)


@dataclass(frozen=True)
class PoissonDeviance(TweedieDeviance):
    """The mean deviance of Poisson's distribution, ``2 (y log(y / p) - y + p)``."""

    power: float = field(default=1.0, init=False)


@dataclass(frozen=True)
class GammaDeviance(TweedieDeviance):
    """The mean deviance of the gamma distribution, ``2 (log(p / y) + y / p - 1)``."""

    power: float = field(default=2.0, init=False)


@dataclass(frozen=True)
class MeanSquaredLogError(TermMean):
    """The mean of ``(log(1 + p) - log(1 + y))^2``."""

    higher_is_better = False
    term = SquaredLogError()


@dataclass(frozen=True)
class MeanAbsolutePercentageError(TermMean):
    """The mean of ``|p - y| / |y|``, a share, not in percent; huge where a label is 0."""

    higher_is_better = False
    term = PercentageError()


@dataclass(frozen=True)
class SymmetricMeanAbsolutePercentageError(TermMean):
    """The mean of ``2 |p - y| / (|p| + |y|)``, in [0, 2]."""

    higher_is_better = False
    term = SymmetricPercentageError()


@dataclass(frozen=True)
class WeightedMeanAbsolutePercentageError(NumberReading):
    """``sum |p - y| / sum |y|``."""

    higher_is_better = False
    terms = (AbsoluteError(), AbsoluteLabel())

    def read(self, sums: Sums) -> Tensor:
        """Return the ratio over all columns."""
        return ratio(sums.term(AbsoluteError()).sum(-1), sums.term(AbsoluteLabel()).sum(-1))


def squares(sums: Sums, term: Term, of: int) -> Tensor:
    """Return the sum of squared distances from the mean, ``[..., U]``."""
    weight = sums.totals[..., Total.WEIGHT]
    kept = sums.term(term)
    spread = kept - ratio(sums.totals[..., of] ** 2, weight)
    # what rounding leaves of equal numbers is none
    return torch.where(spread > 1e-14 * kept, spread, 0.0)


def squared_bias(sums: Sums) -> Tensor:
    """Return the weight of all labels times the square of the mean error, ``[..., U]``."""
    bias = sums.totals[..., Total.PREDICTION] - sums.totals[..., Total.LABEL]
    return ratio(bias**2, sums.totals[..., Total.WEIGHT])


def sure(values: Tensor, spread: Tensor, sums: Sums, *terms: Term) -> Tensor:
    """Return metrics, NaN where rounding of these sums of squares is seen beside a spread.

    Numbers that lie more than 1e5 standard deviations away from 0 would have less than six digits.
    """
    largest = torch.stack([sums.term(term) for term in terms]).amax(0)
    return torch.where(spread > 1e-10 * largest, values, torch.nan)


def moments(sums: Sums) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sums of products of the deviations: of both, of labels, of predictions."""
    labels = squares(sums, SquaredLabel(), Total.LABEL)
    predictions = squares(sums, SquaredPrediction(), Total.PREDICTION)
    errors = sums.term(SquaredError()) - squared_bias(sums)
    return (labels + predictions - errors) / 2, labels, predictions
