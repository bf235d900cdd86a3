"""The head of one class out of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.errors import unexpected
from torch_heads.functional.families import Categorical
from torch_heads.functional.labels import whole_numbers
from torch_heads.functional.tensors import SWAPPED, blank, check_columns
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.arguments import MissingLabel, check_count
from torch_heads.heads.class_head import ClassHead
from torch_heads.heads.custom import LossFn
from torch_heads.heads.evaluated import Labels
from torch_heads.heads.spec import ClassificationOutput, ExportOutput, PredictOutput
from torch_heads.metrics.readings import AverageLoss, CorrectShare, Reading


class MultiClassHead(ClassHead):
    """More than two exclusive classes, one logit each, by the softmax cross entropy.

    Shapes: logits ``[D0, ..., DN, n_classes]``; labels ``[D0, ..., DN]`` or ``[D0, ..., DN, 1]``:
    integer class ids, or class names with a ``label_vocabulary``.

    Predictions: ``logits``, ``probabilities`` and ``all_class_ids`` ``[D*, n_classes]``,
    ``class_ids`` ``[D*, 1]`` (the first of equals), and the strings ``classes`` and
    ``all_classes``.

    Args:
        n_classes: how many classes, more than 2.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        label_vocabulary: the names of the classes.
        loss_reduction: see `Reduction`.
        loss_fn: a loss ``[D*, 1]`` of ``labels``, ``logits`` and, if wanted, ``features`` and
            ``loss_reduction``. Rows that do not count are passed as 0, so it must treat each row
            by itself.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled": an int that is no class id, or a
            string with a ``label_vocabulary``.
        class_weight: a factor of the loss per class, ``[n_classes]``. With the reduction
            ``weighted_mean`` the loss is that of ``torch.nn.functional.cross_entropy``, which
            divides by these weights, too. Metrics stay unweighted by them.
        label_smoothing: how far labels move to uniform in the loss; metrics keep the labels.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = MultiClassHead(n_classes=3)
    >>> head.loss(labels=[1, 1], logits=[[10.0, 0.0, 0.0], [0.0, 10.0, 0.0]])
    tensor(5.0001)
    """

    family = Categorical()
    class_weight: Tensor | None
    tensor_keys = ("logits", "probabilities", "class_ids", "all_class_ids")
    string_keys = ("classes", "all_classes")

    def __init__(
        self,
        n_classes: int,
        weight_column: WeightColumn = None,
        label_vocabulary: Sequence[str] | None = None,
        loss_reduction: str = "sum_over_batch_size",
        loss_fn: LossFn | None = None,
        name: str | None = None,
        *,
        missing_label: MissingLabel = None,
        class_weight: Sequence[float] | Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(name)
        self.n_classes = check_count(self.title, "n_classes", n_classes, 3)
        self.configure(weight_column, loss_reduction, loss_fn, label_vocabulary, missing_label)
        self.configure_balance(class_weight, label_smoothing=label_smoothing)

    @property
    def logits_dimension(self) -> int:
        """The number of classes."""
        return self.n_classes

    @property
    def labels_dimension(self) -> int:
        """One label, a class id."""
        return 1

    def label_columns(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return class ids ``[D*, 1]``."""
        labels = self.numbers(labels, device, mask)
        if labels.numel() == 0:
            labels = labels.to(torch.int64)  # an empty list has no type
        if labels.is_floating_point() or labels.dtype == torch.bool:
            hint = SWAPPED if labels.is_floating_point() else ""
            raise ValueError(
                unexpected(self.title, "labels", "to be integer class ids", labels.dtype, hint)
            )
        return check_columns(self.title, "labels", labels, leading, 1)

    @property
    def label_range(self) -> tuple[float, float]:
        """The lowest and the highest class id."""
        return 0.0, self.n_classes - 1.0

    def unstack(self, columns: Tensor, mask: Tensor | None) -> Tensor:
        """Return class ids, which may stand among floats."""
        if not columns.is_floating_point():
            return columns
        if mask is not None:
            columns = blank(columns, mask.unsqueeze(-1))
        if self.missing is None:
            return whole_numbers(self.title, "labels", columns)
        # among floats, a missing label may be NaN, too
        gone = columns.isnan() | ~self.missing.present(columns)
        ids = whole_numbers(self.title, "labels", columns.masked_fill(gone, 0.0))
        return ids.masked_fill(gone, self.missing.value)

    @property
    def takes_names(self) -> bool:
        """Whether labels are class names."""
        return self.label_vocabulary is not None

    @property
    def regularized_after(self) -> str:
        """The metric key after which the regularization loss stands."""
        return "average_loss"

    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield the metrics by key."""
        yield "average_loss", AverageLoss()
        yield "accuracy", CorrectShare()

    def tensor_predictions(self, logits: Tensor) -> dict[str, Tensor]:
        """Return the predictions that are tensors, by key."""
        logits = self.check_logits(logits)
        return {
            "logits": logits,
            "probabilities": self.family.mean(logits),
            "class_ids": logits.argmax(-1, keepdim=True),
            "all_class_ids": torch.arange(self.n_classes, device=logits.device).expand(
                logits.shape
            ),
        }

    def string_predictions(self, logits: Tensor) -> dict[str, np.ndarray[Any, Any]]:
        """Return the class of each row, and all classes."""
        names = np.array(self.class_names())
        ids = logits.argmax(-1, keepdim=True).cpu().numpy()
        return {"classes": names[ids], "all_classes": np.broadcast_to(names, logits.shape)}

    def export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        """Return the classification, and all predictions."""
        classes = ClassificationOutput(predictions["probabilities"], predictions["all_classes"])
        return {
            "serving_default": classes,
            "classification": classes,
            "predict": PredictOutput(predictions),
        }
