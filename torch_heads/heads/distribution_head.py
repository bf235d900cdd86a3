"""What the heads share that predict the whole distribution of a number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from torch_heads.families.distribution import Distribution
from torch_heads.functional.arguments import check_share
from torch_heads.functional.values import check_logits
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.metrics.readings.distributions import Crps, IntervalCoverage
from torch_heads.metrics.readings.numbers import MeanAbsoluteError
from torch_heads.metrics.readings.reading import Reading


class DistributionHead(TensorHead):
    """What the heads share that predict more of a number than its mean: quantiles and intervals."""

    family: Distribution

    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield the metrics by key."""
        yield from super().readings()
        yield "mean_absolute_error", MeanAbsoluteError()
        yield "crps", Crps()
        yield "interval_coverage", IntervalCoverage()

    def quantile(self, logits: Any, q: float) -> Tensor:
        """Return the number ``[D*, label_dimension]`` that a share ``q`` of labels does not exceed.

        Args:
            logits: as for `loss`.
            q: in (0, 1).

        Raises:
            TypeError: if ``q`` is no number.
            ValueError: if it is out of range, or the head does not tell that quantile; and as
                `loss` does.

        >>> from torch_heads import GaussianRegressionHead
        >>> GaussianRegressionHead().quantile([[5.0, 0.0]], 0.975)
        tensor([[6.9600]])
        """
        return self.family.quantile(self._per_label(logits), check_share(self.title, "q", q))

    def interval(self, logits: Any, level: float) -> tuple[Tensor, Tensor]:
        """Return the bounds ``[D*, label_dimension]`` that a share ``level`` of labels lies within.

        As many lie below as above.

        Args:
            logits: as for `loss`.
            level: in (0, 1).

        Raises:
            TypeError: if ``level`` is no number.
            ValueError: if it is out of range, or the head does not tell the quantiles; and as
                `loss` does.

        >>> from torch_heads import QuantileRegressionHead
        >>> head = QuantileRegressionHead((0.1, 0.5, 0.9))
        >>> head.interval([[1.0, 0.0, 0.0]], 0.8)
        (tensor([[1.]]), tensor([[2.3863]]))
        """
        return self.family.interval(
            self._per_label(logits), check_share(self.title, "level", level)
        )

    def _per_label(self, logits: Any) -> Tensor:
        checked = check_logits(self.title, logits, self.logits_dimension)
        (block,) = self.computation.groups[0].predictor.blocks(checked)
        return block
