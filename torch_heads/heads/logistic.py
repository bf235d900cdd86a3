"""The head of probabilities as labels."""

from __future__ import annotations

from torch_heads.families.bernoulli import Bernoulli
from torch_heads.families.family import Counts
from torch_heads.functional.arguments import MissingLabel
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.metrics.asked import Asked


class LogisticRegressionHead(TensorHead):
    """A probability, by the sigmoid cross entropy; the metrics are a regression's.

    Shapes: logits ``[D0, ..., DN, 1]``; labels, numbers in [0, 1], the same or without the last
    dimension.

    Predictions: ``predictions``, the probability ``sigmoid(logits)``, and ``logits``.

    Args:
        weight_column: the key of the example weights in ``features``, or a callable of them.
        loss_reduction: see `Reduction`.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled": NaN, or a number outside [0, 1].
        metrics: which to keep beside the usual ones; see `TensorHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = LogisticRegressionHead()
    >>> head.loss(labels=[1, 0, 1], logits=[[2.0], [-1.0], [0.0]])
    tensor(0.3778)
    """

    _counts = Counts.NUMBERS

    def __init__(
        self,
        weight_column: WeightColumn = None,
        loss_reduction: str = "sum_over_batch_size",
        name: str | None = None,
        *,
        missing_label: MissingLabel = None,
        metrics: Asked = None,
    ) -> None:
        super().__init__(
            Bernoulli(),
            weight_column=weight_column,
            loss_reduction=loss_reduction,
            name=name,
            missing_label=missing_label,
            metrics=metrics,
        )
