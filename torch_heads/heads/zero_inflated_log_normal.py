"""The head of amounts that are often 0."""

from __future__ import annotations

from collections.abc import Mapping

from torch_heads.families.family import Statistic
from torch_heads.families.zero_inflated_log_normal import ZeroInflatedLogNormal
from torch_heads.functional.arguments import MissingLabel
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.distribution_head import DistributionHead
from torch_heads.metrics.asked import Asked


class ZeroInflatedLogNormalHead(DistributionHead):
    """Amounts that are often 0 and else spread over magnitudes, such as what a customer spends.

    The loss is the negative log-likelihood of "0, or else log-normal" (Wang et al., "A Deep
    Probabilistic Model for Customer Lifetime Value Prediction", 2019), constants included: of 0
    ``-log(1 - p)``, of an amount ``-log(p)`` and
    ``log(y) + log(s) + log(2 pi) / 2 + ((log(y) - m) / s) ** 2 / 2``.

    Shapes: logits ``[D0, ..., DN, label_dimension * 3]``, of each label the log odds of ``p``, then
    ``m``, then what the softplus makes ``s``; labels ``[D0, ..., DN, label_dimension]``, which must
    not be negative and may lack the last dimension where it is 1.

    Predictions: ``predictions``, the mean ``p * exp(m + s ** 2 / 2)``; ``probability_positive``,
    ``p``; and ``scale``, ``s``, the standard deviation of the log of amounts above 0; all
    ``[D*, label_dimension]``; and ``logits``.

    Args:
        label_dimension: how many amounts per example.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        loss_reduction: see `Reduction`.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled": NaN, or a negative number.
        metrics: which to keep beside the usual ones; see `TensorHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = ZeroInflatedLogNormalHead()
    >>> head.loss(labels=[0.0, 1.0], logits=[[0.0, 0.0, 0.5413], [0.0, 0.0, 0.5413]])
    tensor(1.1527)
    """

    def __init__(
        self,
        label_dimension: int = 1,
        weight_column: WeightColumn = None,
        loss_reduction: str = "sum_over_batch_size",
        name: str | None = None,
        *,
        missing_label: MissingLabel = None,
        metrics: Asked = None,
    ) -> None:
        super().__init__(
            ZeroInflatedLogNormal(),
            label_dimension,
            weight_column=weight_column,
            loss_reduction=loss_reduction,
            name=name,
            missing_label=missing_label,
            metrics=metrics,
        )

    @property
    def predicted(self) -> Mapping[str, Statistic]:
        """What is predicted, by key."""
        return {
            "predictions": ZeroInflatedLogNormal.mean,
            "probability_positive": ZeroInflatedLogNormal.probability_positive,
            "scale": ZeroInflatedLogNormal.scale,
            "logits": ZeroInflatedLogNormal.logits,
        }
