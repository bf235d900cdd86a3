"""The head of counts that spread more than those of Poisson."""

from __future__ import annotations

from collections.abc import Mapping

from torch_heads.families.family import Statistic
from torch_heads.families.negative_binomial import NegativeBinomial
from torch_heads.functional.arguments import MissingLabel
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.distribution_head import DistributionHead
from torch_heads.metrics.asked import Asked


class NegativeBinomialRegressionHead(DistributionHead):
    """Counts whose variance ``m + a * m ** 2`` is above their mean, by the negative binomial.

    The loss is the negative log-likelihood of NB2 (Cameron & Trivedi, 1998), constants included.

    Shapes: logits ``[D0, ..., DN, label_dimension * 2]``, of each label ``log(m)`` and ``log(a)``,
    the latter taken within +-30; labels ``[D0, ..., DN, label_dimension]``, which must not be
    negative and may lack the last dimension where it is 1.

    Predictions: ``predictions``, the mean ``m``, and ``dispersion``, ``a``, both
    ``[D*, label_dimension]``, and ``logits``.

    Args:
        label_dimension: how many counts per example.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        loss_reduction: see `Reduction`.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled": NaN, or a negative number.
        metrics: which to keep beside the usual ones; see `TensorHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = NegativeBinomialRegressionHead()
    >>> head.loss(labels=[0, 1, 4], logits=[[0.0, 0.0], [0.0, 0.0], [1.0, -1.0]])
    tensor(1.4353)
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
            NegativeBinomial(),
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
            "predictions": NegativeBinomial.mean,
            "dispersion": NegativeBinomial.dispersion,
            "logits": NegativeBinomial.logits,
        }
