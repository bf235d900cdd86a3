"""The head of counts."""

from __future__ import annotations

from torch_heads.families.poisson import Poisson
from torch_heads.functional.arguments import MissingLabel, check_flag
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.computing_module import head_title
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.metrics.asked import Asked


class PoissonRegressionHead(TensorHead):
    """Counts, by the Poisson negative log-likelihood of the log rate.

    Shapes: logits and labels ``[D0, ..., DN, label_dimension]``; labels, which must not be
    negative, may lack the last dimension where it is 1. Weights may also be given per column.

    Predictions: ``predictions``, the rate ``exp(logits)``, and ``logits``.

    Args:
        label_dimension: how many counts per example.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        loss_reduction: see `Reduction`.
        compute_full_loss: whether to add Stirling's approximation of ``log(label!)`` for labels
            above 1, on which the gradient does not depend.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled": NaN, or a negative number.
        metrics: which to keep beside the usual ones; see `TensorHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = PoissonRegressionHead()
    >>> head.loss(labels=[0, 1, 2, 5], logits=[[0.0], [-1.0], [1.0], [0.5]])
    tensor(1.9144)
    """

    def __init__(
        self,
        label_dimension: int = 1,
        weight_column: WeightColumn = None,
        loss_reduction: str = "sum_over_batch_size",
        compute_full_loss: bool = True,
        name: str | None = None,
        *,
        missing_label: MissingLabel = None,
        metrics: Asked = None,
    ) -> None:
        full = check_flag(head_title(type(self), name), "compute_full_loss", compute_full_loss)
        super().__init__(
            Poisson(full=full),
            label_dimension,
            weight_column=weight_column,
            loss_reduction=loss_reduction,
            name=name,
            missing_label=missing_label,
            metrics=metrics,
        )
        self.compute_full_loss = full
