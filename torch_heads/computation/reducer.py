"""From one loss per label column to one loss per target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from torch_heads.computation.target import Target
from torch_heads.functional.constants import Constants
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.values import safe_divide


class ElementWeights(NamedTuple):
    """What each label of a batch counts, ``[N, U]`` or ``[N, 1]``; None where all count 1.

    Attributes:
        share: what it counts in a mean over the batch.
        loss: that times its weight.
        norm: what it counts in a mean over the weights.
    """

    share: Tensor | None = None
    loss: Tensor | None = None
    norm: Tensor | None = None

    def by(self, reduction: Reduction) -> Tensor | None:
        """Return what counts in the divisor of a mean."""
        return self.norm if reduction is Reduction.WEIGHTED_MEAN else self.share


UNWEIGHTED = ElementWeights()


class Reducer:
    """The means over each target's columns, and its losses under its own reduction.

    A target's mean over rows and columns is tf.estimator's in every form: over the classes of a
    multi-label example they average, over the columns of a regression they count.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        sizes = [target.columns for target in targets]
        owner = [i for i, size in enumerate(sizes) for _ in range(size)]
        self._count = len(targets)
        self._size = sizes[0] if len(set(sizes)) == 1 else None
        self._averages = any(target.averages and target.columns > 1 for target in targets)
        elements = [target.loss_columns for target in targets]
        self._elements = elements[0] if len(set(elements)) == 1 else None
        self._kinds = list(dict.fromkeys(target.reduction for target in targets))
        self._sums = Reduction.SUM in self._kinds
        uses = {str(one): [t.reduction is one for t in targets] for one in self._kinds}
        averaged = [targets[i].averages for i in owner]
        self._constants = Constants(
            owner=owner, sizes=sizes, elements=elements, averaged=averaged, **uses
        )

    @property
    def columns_of_means(self) -> int | None:
        """How many columns each target's loss is the mean of; None if they differ, or any sums."""
        return None if self._sums else self._size

    def target_means(self, columns: Tensor) -> Tensor:
        """Return the mean over each target's columns ``[U]`` or ``[1]``, ``[H]``."""
        if columns.numel() == 1:
            return columns.expand(self._count)
        if self._size is not None:
            return columns if self._size == 1 else columns.view(self._count, -1).mean(-1)
        constants = self._constants.on(columns.device)
        sums = columns.new_zeros(self._count).index_add(0, constants["owner"], columns)
        return sums / constants["sizes"]

    def shares(self, present: Tensor) -> Tensor:
        """Return what each label counts in its example's loss: 1 on average where all are there.

        The loss of an example that averages over its columns is the mean over those present.

        Args:
            present: ``[N, U]`` or ``[N, 1]``, 1 or 0.
        """
        if not self._averages or present.shape[-1] == 1:
            return present
        if self._count == 1:
            return safe_divide(present, present.mean(-1, keepdim=True))
        constants = self._constants.on(present.device)
        owner = constants["owner"]
        counts = present.new_zeros(len(present), self._count).index_add(1, owner, present)
        means = (counts / constants["sizes"]).index_select(1, owner)
        return present.where(~constants["averaged"], safe_divide(present, means))

    def reduce(
        self, means: Tensor, rows: int, weights: ElementWeights, divisors: Tensor | None
    ) -> Tensor:
        """Return the losses ``[H]`` from the means over rows and columns, weighted.

        Args:
            means: ``[H]``.
            rows: how many rows there are.
            weights: what the labels counted in these means.
            divisors: ``[H]``, what to divide by instead of what `divisors` returns.
        """
        if weights is UNWEIGHTED and divisors is None and not self._sums:
            return means

        def losses(reduction: Reduction) -> Tensor:
            if reduction is Reduction.SUM:
                return means * self._elements_in(rows, means)
            if divisors is not None:
                return safe_divide(means * self._elements_in(rows, means), divisors)
            by = weights.by(reduction)
            return means if by is None else safe_divide(means, self.means_over_rows(by))

        return self._by_reduction(losses)

    def divisors(self, rows: int, weights: ElementWeights, ones: Tensor) -> Tensor:
        """Return what each target's loss is divided by, ``[H]``; 1 under the reduction ``sum``."""

        def divisors(reduction: Reduction) -> Tensor:
            if reduction is Reduction.SUM:
                return ones
            by = weights.by(reduction)
            means = ones if by is None else self.means_over_rows(by)
            return means * self._elements_in(rows, ones)

        return self._by_reduction(divisors)

    def means_over_rows(self, values: Tensor) -> Tensor:
        """Return each target's mean over its rows and columns of ``[N, U]`` or ``[N, 1]``."""
        return self.target_means(values.sum(0) / max(len(values), 1))

    def _elements_in(self, rows: int, like: Tensor) -> int | Tensor:
        """Return how many loss elements each target has in so many rows."""
        if self._elements is not None:
            return self._elements * rows
        return self._constants.on(like.device)["elements"] * rows

    def _by_reduction(self, values: Callable[[Reduction], Tensor]) -> Tensor:
        """Return each target's value under its own reduction."""
        result = values(self._kinds[0])
        for reduction in self._kinds[1:]:
            uses = self._constants.on(result.device)[str(reduction)]
            result = values(reduction).where(uses, result)
        return result
