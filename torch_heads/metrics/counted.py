"""What a tally counts of each target of a group, and the tally that does."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from torch_heads.functional.residuals import BINS
from torch_heads.functional.scores import ScoreBins
from torch_heads.metrics.counters.classes import ClassScoreCounter, RankCounter, RightCounter
from torch_heads.metrics.counters.counter import Counter
from torch_heads.metrics.counters.terms import RowTermCounter, TermCounter
from torch_heads.metrics.counters.times import SurvivalCounter, TimeCounter
from torch_heads.metrics.counters.usual import (
    ConfusionCounter,
    ResidualCounter,
    ScoreCounter,
    TotalsCounter,
)
from torch_heads.metrics.needs import (
    ClassCounts,
    ClassScoreCounts,
    Confusions,
    Need,
    RankCounts,
    ResidualCounts,
    RowTerm,
    ScoreCounts,
    Term,
)
from torch_heads.metrics.readable import MOST_CONFUSIONS
from torch_heads.metrics.tally import Tally


class Counted(NamedTuple):
    """What is counted of one target.

    Attributes:
        columns: its label columns in the group.
        needs: what its readings need.
        bins: where its scores are cut; None where none are counted.
        n_classes: how many class ids its labels may be; 0 for none.
        time_shapes: what is kept of each column for needs of times to an event, by need.
    """

    columns: slice
    needs: Sequence[Need]
    bins: ScoreBins | None
    n_classes: int
    time_shapes: Mapping[Need, tuple[int, ...]]


def make_tally(targets: Sequence[Counted], blocks: Sequence[int], classes: bool) -> Tally:
    """Return a new tally of a group.

    Args:
        targets: in the order of their columns.
        blocks: how many columns stand in each block of logits.
        classes: whether predictions are class ids.
    """
    columns = [target.columns for target in targets]

    def having(need: Need) -> list[int]:
        return [i for i, target in enumerate(targets) if need in target.needs]

    def classes_of(places: Sequence[int]) -> dict[int, int]:
        return {i: targets[i].n_classes for i in places}

    confused = _kept_confusions(targets, having(Confusions()))
    counters: list[Counter] = [TotalsCounter(columns, classes)]
    bins = {i: own for i in having(ScoreCounts()) if (own := targets[i].bins)}
    if bins:
        counters.append(ScoreCounter(columns, bins))
    if numbers := having(ResidualCounts()):
        counters.append(ResidualCounter(columns, numbers, (BINS,)))
    if confused:
        counters.append(ConfusionCounter(columns, classes_of(confused)))
    if rest := [i for i in having(ClassCounts()) if i not in confused]:
        counters.append(RightCounter(columns, classes_of(rest)))
    if ranked := having(RankCounts()):
        counters.append(RankCounter(columns, classes_of(ranked), blocks))
    if scored := having(ClassScoreCounts()):
        counters.append(ClassScoreCounter(columns, classes_of(scored)))
    counters += [
        kind(columns, timed, targets[timed[0]].time_shapes[kind.need])
        for kind in (TimeCounter, SurvivalCounter)
        if (timed := having(kind.need))
    ]
    terms, of_rows = _terms(targets)
    if terms:
        counters.append(TermCounter(columns, terms, blocks))
    if of_rows:
        counters.append(RowTermCounter(columns, of_rows))
    return Tally(counters)


def _terms(
    targets: Sequence[Counted],
) -> tuple[dict[Term, list[int]], dict[int, list[RowTerm]]]:
    """Return the targets that need each term of a label, and the terms of rows of each target."""
    of_labels: dict[Term, list[int]] = {}
    of_rows: dict[int, list[RowTerm]] = {}
    for i, target in enumerate(targets):
        for need in target.needs:
            if isinstance(need, Term):
                of_labels.setdefault(need, []).append(i)
            elif isinstance(need, RowTerm):
                of_rows.setdefault(i, []).append(need)
    return of_labels, of_rows


def _kept_confusions(targets: Sequence[Counted], wanted: Sequence[int]) -> list[int]:
    """Return whose confusions are kept: those that were asked for, and of the rest the smallest.

    All of the rest together have at most `MOST_CONFUSIONS` entries.
    """
    asked = [i for i in wanted if targets[i].needs.count(Confusions()) > 1]
    others = sorted((i for i in wanted if i not in asked), key=lambda i: targets[i].n_classes)
    ends = list(accumulate(targets[i].n_classes ** 2 for i in others))
    return sorted([*asked, *others[: bisect_right(ends, MOST_CONFUSIONS)]])
