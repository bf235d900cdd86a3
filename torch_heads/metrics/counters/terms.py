"""Sums of functions of labels, and of whole rows of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from torch_heads.functional.values import sum_rows
from torch_heads.metrics.counters.counter import Addition, Counter, Slot, TallyInput
from torch_heads.metrics.counters.usual import Selection
from torch_heads.metrics.needs import Elements, Need, Rows, RowTerm, Term


class TermCounter(Counter):
    """The weighted sums of terms, of the columns that need each; the state is flat.

    Args:
        columns: the label columns of each target of the group.
        terms: the places of the targets that need each term.
        blocks: how many columns stand in each block of logits.
    """

    name = "terms"

    def __init__(
        self,
        columns: Sequence[slice],
        terms: Mapping[Term, Sequence[int]],
        blocks: Sequence[int],
    ) -> None:
        ends = [*accumulate(blocks)]
        self.slots: dict[tuple[Need, int], Slot] = {}
        #: Each term with the block of its columns, these, and their places in the block.
        self._parts: list[tuple[Term, int, Selection, Selection]] = []
        size = 0
        for term, targets in terms.items():
            for block, (end, count) in enumerate(zip(ends, blocks, strict=True)):
                own = [i for i in targets if end - count <= columns[i].start < end]
                each: list[int] = []
                for i in own:
                    run = range(columns[i].start, columns[i].stop)
                    self.slots[term, i] = Slot(size + len(each), (len(run),))
                    each += run
                if each:
                    inside = Selection([column - (end - count) for column in each], count)
                    part = term, block, Selection(each, columns[-1].stop), inside
                    self._parts.append(part)
                    size += len(each)
        self.shape = (size,)

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds."""
        sums = []
        for term, block, columns, inside in self._parts:
            labels, predictions = columns.of(seen.labels), columns.of(seen.predictions)
            logits = inside.of(seen.blocks[block])
            values = term.values(
                Elements(
                    seen.family,
                    labels.double() if labels.is_floating_point() else labels,
                    predictions.double() if predictions.is_floating_point() else predictions,
                    logits.double(),
                )
            )
            sums.append(sum_rows(weighted(values, columns.weights(seen))))
        return [Addition(state, torch.cat(sums))]


class RowTermCounter(Counter):
    """The weighted sums of functions of rows, and the weights of these: ``[2]`` each, flat.

    The weight of a row is the mean of those of its labels that are there.

    Args:
        columns: the label columns of each target of the group.
        terms: the row terms that each target needs, by its place.
    """

    name = "row_terms"

    def __init__(self, columns: Sequence[slice], terms: Mapping[int, Sequence[RowTerm]]) -> None:
        self._columns = columns
        self._terms = terms
        pairs = [(term, i) for i, own in terms.items() for term in own]
        self.slots = {pair: Slot(2 * place, (2,)) for place, pair in enumerate(pairs)}
        self.shape = (2 * len(pairs),)

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds."""
        sums: list[Tensor] = []
        odds = torch.logit(seen.predictions) if seen.log_odds is None else seen.log_odds
        shape = seen.labels.shape
        for i, terms in self._terms.items():
            run = self._columns[i]
            labels = seen.labels[:, run]
            present = torch.ones_like(labels, dtype=torch.bool)
            if seen.present is not None:
                present = seen.present.expand(shape)[:, run]
            weights = present.double()
            if seen.weights is not None:
                weights = seen.weights.expand(shape)[:, run].double()
            some = present.sum(-1)
            each = torch.where(some > 0, weights.sum(-1) / some, 0.0)
            rows = Rows((labels > 0).double(), odds[:, run], present)
            for term in terms:
                sums += [weighted(term.values(rows), each).sum(), each.sum()]
        return [Addition(state, torch.stack(sums))]


def weighted(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return values times weights, 0 where the weight is 0, whatever the value."""
    return values if weights is None else torch.where(weights != 0, values * weights, 0.0)
