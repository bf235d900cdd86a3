"""The head of quantiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch_heads.families.family import Statistic
from torch_heads.families.quantiles import Quantiles
from torch_heads.functional.arguments import MissingLabel
from torch_heads.functional.number_lists import check_ascending
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.computing_module import head_title
from torch_heads.heads.distribution_head import DistributionHead
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.metrics.asked import Asked
from torch_heads.metrics.readings.distributions import QuantileCoverage, QuantilePinball
from torch_heads.metrics.readings.numbers import MeanAbsoluteError
from torch_heads.metrics.readings.reading import Reading


class QuantileRegressionHead(DistributionHead):
    """Quantiles of real numbers at several levels, which cannot cross, by the pinball loss.

    The loss of a label is the mean over the levels ``q`` of ``max(q * e, (q - 1) * e)``, where
    ``e`` is the label minus the quantile (Koenker & Bassett, 1978). The first logit is the lowest
    quantile; the softplus of each other one is the step to the next.

    Shapes: logits ``[D0, ..., DN, label_dimension * Q]`` for ``Q`` levels, those of one label side
    by side; labels ``[D0, ..., DN, label_dimension]``, which may lack the last dimension where it
    is 1.

    Predictions: ``predictions``, the median or the quantile at the level nearest to it,
    ``[D*, label_dimension]``; ``quantiles`` ``[D*, label_dimension, Q]``, ascending; and
    ``logits``.

    Args:
        levels: ascending numbers in (0, 1).
        label_dimension: how many numbers per example.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        loss_reduction: see `Reduction`.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled": NaN, or a number that no label has, or
            a list of these. With it, None, NaN and what is masked are missing, too.
        metrics: which to keep beside the usual ones; see `TensorHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = QuantileRegressionHead(levels=(0.1, 0.5, 0.9))
    >>> head.loss(labels=[3.0], logits=[[1.0, 0.5413, 0.5413]]).round(decimals=4)
    tensor(0.2333)
    """

    def __init__(
        self,
        levels: Sequence[float] = (0.1, 0.5, 0.9),
        label_dimension: int = 1,
        weight_column: WeightColumn = None,
        loss_reduction: str = "sum_over_batch_size",
        name: str | None = None,
        *,
        missing_label: MissingLabel = None,
        metrics: Asked = None,
    ) -> None:
        checked = check_ascending(head_title(type(self), name), "levels", levels, 1.0)
        super().__init__(
            Quantiles(checked),
            label_dimension,
            weight_column=weight_column,
            loss_reduction=loss_reduction,
            name=name,
            missing_label=missing_label,
            metrics=metrics,
        )
        self.levels = checked

    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield the metrics by key: of each level the pinball loss and the share below."""
        yield from TensorHead.readings(self)
        yield "mean_absolute_error", MeanAbsoluteError()
        for level in self.levels:
            yield f"pinball_loss/{level:g}", QuantilePinball(level)
            yield f"quantile_coverage/{level:g}", QuantileCoverage(level)

    @property
    def predicted(self) -> Mapping[str, Statistic]:
        """What is predicted, by key."""
        return {
            "predictions": Quantiles.mean,
            "quantiles": Quantiles.quantiles,
            "logits": Quantiles.logits,
        }
