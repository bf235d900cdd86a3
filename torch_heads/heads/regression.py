"""The head of real numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from torch_heads.computation.loss_fn import LossFn
from torch_heads.families.family import Statistic
from torch_heads.families.linked import LinkedNormal
from torch_heads.families.normal import Normal
from torch_heads.functional.arguments import MissingLabel, check_function
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.computing_module import head_title
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.metrics.asked import Asked


class RegressionHead(TensorHead):
    """Real numbers, by the squared error.

    Shapes: logits and labels ``[D0, ..., DN, label_dimension]``; labels may lack the last
    dimension where it is 1. Weights may also be given per column.

    Predictions: ``predictions``, and with an ``inverse_link_fn`` also ``logits``, both of the
    logits' shape. The loss is on the logits, without the inverse link.

    Args:
        label_dimension: how many numbers per example.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        loss_reduction: see `Reduction`.
        loss_fn: a loss ``[D*, label_dimension]`` of ``labels``, ``logits`` and, if wanted,
            ``features`` and ``loss_reduction``. It gets no rows that are missing or padded, and all
            of weight 0.
        inverse_link_fn: from logits to predictions, of the same shape.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled": NaN, or a number that no label has, or
            a list of these. With it, None, NaN and what is masked are missing, too.
        metrics: which to keep beside the usual ones; see `TensorHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = RegressionHead()
    >>> head.loss(labels=[43, 44], logits=[[45.0], [41.0]])
    tensor(6.5000)
    """

    def __init__(
        self,
        label_dimension: int = 1,
        weight_column: WeightColumn = None,
        loss_reduction: str = "sum_over_batch_size",
        loss_fn: LossFn | None = None,
        inverse_link_fn: Callable[[Tensor], Any] | None = None,
        name: str | None = None,
        *,
        missing_label: MissingLabel = None,
        metrics: Asked = None,
    ) -> None:
        title = head_title(type(self), name)
        if inverse_link_fn is not None:
            check_function(title, "inverse_link_fn", inverse_link_fn)
        super().__init__(
            Normal() if inverse_link_fn is None else LinkedNormal(inverse_link_fn, title),
            label_dimension,
            weight_column=weight_column,
            loss_reduction=loss_reduction,
            loss_fn=loss_fn,
            name=name,
            missing_label=missing_label,
            metrics=metrics,
        )
        self.inverse_link_fn = inverse_link_fn

    @property
    def predicted(self) -> Mapping[str, Statistic]:
        """What is predicted, by key: with an inverse link, the logits too."""
        predicted = super().predicted
        if self.inverse_link_fn is not None:
            return predicted
        return {key: predicted[key] for key in predicted if key != "logits"}
