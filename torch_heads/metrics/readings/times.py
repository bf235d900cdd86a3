"""Readings of times to an event."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.functional.concordance import concordance
from torch_heads.metrics.needs import Need, TimeCounts
from torch_heads.metrics.readings.reading import Reading
from torch_heads.metrics.sums import Sums


@dataclass(frozen=True)
class Concordance(Reading):
    """The share of comparable pairs that are predicted in the right order (Harrell, 1982).

    Predicted is the mean time. Times are told apart by 256 cells or more, predictions by 192 bins
    of their log odds among the time that is followed; equal ones count as half right.
    """

    higher_is_better = True
    of_counts = True

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return the counts of times."""
        return (TimeCounts(),)

    def read(self, sums: Sums) -> Tensor:
        """Return the mean over the columns."""
        return concordance(sums.times).nanmean(-1)
