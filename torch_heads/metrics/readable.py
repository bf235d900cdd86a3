"""What of a head decides which metrics it can have, and which these are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch_heads.families.family import Counts
from torch_heads.metrics.needs import (
    ClassCounts,
    Confusions,
    Need,
    ResidualCounts,
    ScoreCounts,
    TimeCounts,
)
from torch_heads.metrics.readings.names import OF_A_CLASS, OF_A_COLUMN, names_for
from torch_heads.metrics.readings.reading import Reading

MOST_CONFUSIONS = 2**22  # entries of all confusion matrices of a tally: 32 MiB


class Readable(NamedTuple):
    """What of a head decides which metrics it can have.

    Attributes:
        title: the head's class and name, as errors say it.
        counts: what its metrics count.
        columns: how many label columns it has.
        n_classes: how many class ids, 0 where labels are none.
        class_names: as they stand in keys; without these it has no metrics of a class.
        probabilities: whether its numbers are probabilities.
        quantiles: between which levels it tells any quantile; None where it tells none.
        own_loss: whether its loss is a function of the user's.
        thresholds: the user's, at which readings of one threshold are kept, too.
        fine: whether scores are also cut finely by their logit.
        usual: the readings that it has without being asked, by key.
    """

    title: str
    counts: Counts
    columns: int
    n_classes: int
    class_names: Sequence[str]
    probabilities: bool
    quantiles: tuple[float, float] | None
    own_loss: bool
    thresholds: Sequence[float]
    fine: bool
    usual: Mapping[str, Reading]

    @property
    def kind(self) -> tuple[Counts, bool, bool, bool]:
        """What tells its readings by name, as `names_for` takes it."""
        return self.counts, self.several, self.probabilities, self.quantiles is not None

    @property
    def several(self) -> bool:
        """Whether there are several columns of scores."""
        return self.counts is Counts.SCORES and self.columns > 1

    @property
    def named(self) -> Mapping[str, Reading]:
        """The readings that it can have, by name."""
        plain = {key: one for key, one in self.usual.items() if "/" not in key}
        found = {**plain, **names_for(*self.kind)}
        if self.own_loss:  # the average loss is no log loss then
            found.pop("log_loss", None)
        return found

    @property
    def of_a_class(self) -> Mapping[str, Reading]:
        """The readings that it can have of one class, by name."""
        if not self.class_names:
            return {}
        known = OF_A_CLASS if self.counts is Counts.CLASSES else OF_A_COLUMN
        return {name: one for name, one in known.items() if name != "log_loss" or not self.own_loss}

    @property
    def costs_nothing(self) -> Iterable[str]:
        """The names of the readings that need nothing that is not kept anyway."""
        kept: dict[Counts, set[Need]] = {
            Counts.SCORES: {ScoreCounts()},
            Counts.NUMBERS: {ResidualCounts()},
            Counts.CLASSES: {Confusions(), ClassCounts()},
            Counts.TIMES: {TimeCounts()},
        }
        own = set() if self.n_classes**2 > MOST_CONFUSIONS else kept[self.counts]
        return [
            name
            for name, one in self.named.items()
            if own.issuperset(one.needs(self.counts)) and (self.fine or not one.of_fine_scores)
        ]
