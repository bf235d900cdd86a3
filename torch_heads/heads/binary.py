"""The head of one yes-or-no target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.families import Bernoulli
from torch_heads.functional.scores import ScoreBins
from torch_heads.functional.tensors import check_columns
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.arguments import MissingLabel, check_thresholds
from torch_heads.heads.class_head import ClassHead
from torch_heads.heads.custom import LossFn
from torch_heads.heads.evaluated import Labels
from torch_heads.heads.spec import (
    ClassificationOutput,
    ExportOutput,
    PredictOutput,
    RegressionOutput,
)
from torch_heads.metrics.readings import (
    AUC,
    Accuracy,
    AccuracyBaseline,
    AUCPrecisionRecall,
    AverageLoss,
    Mean,
    Precision,
    Reading,
    Recall,
    threshold_readings,
)
from torch_heads.metrics.sums import Total


class BinaryClassHead(ClassHead):
    """Two exclusive classes from one logit, by the sigmoid cross entropy.

    Shapes: logits ``[D0, ..., DN, 1]``; labels the same, or without the last dimension. Labels are
    numbers in [0, 1] (soft ones too), or class names with a ``label_vocabulary``.

    Predictions: ``logits``, ``logistic`` and ``class_ids`` ``[D*, 1]``, ``probabilities`` and
    ``all_class_ids`` ``[D*, 2]``, and the strings ``classes`` and ``all_classes``.

    Args:
        weight_column: the key of the example weights in ``features``, or a callable of them.
        thresholds: scores in (0, 1) at which to keep accuracy, precision and recall.
        label_vocabulary: the names of class 0 and class 1.
        loss_reduction: see `Reduction`.
        loss_fn: a loss ``[D*, 1]`` of ``labels``, ``logits`` and, if wanted, ``features`` and
            ``loss_reduction``. Rows that do not count are passed as 0, so it must treat each row
            by itself.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled": NaN, a number outside [0, 1], or a
            string with a ``label_vocabulary``.
        pos_weight: a factor of the positive labels' loss; metrics stay unweighted by it.
        label_smoothing: how far labels move to a half in the loss; metrics keep the labels.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = BinaryClassHead()
    >>> head.loss(labels=[[1], [1]], logits=[[45.0], [-41.0]])
    tensor(20.5000)
    """

    family = Bernoulli()
    pos_weight: Tensor | None
    tensor_keys = ("logits", "logistic", "probabilities", "class_ids", "all_class_ids")
    string_keys = ("classes", "all_classes")

    def __init__(
        self,
        weight_column: WeightColumn = None,
        thresholds: Sequence[float] | None = None,
        label_vocabulary: Sequence[str] | None = None,
        loss_reduction: str = "sum_over_batch_size",
        loss_fn: LossFn | None = None,
        name: str | None = None,
        *,
        missing_label: MissingLabel = None,
        pos_weight: float | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(name)
        self.configure(weight_column, loss_reduction, loss_fn, label_vocabulary, missing_label)
        self.configure_balance(pos_weight=pos_weight, label_smoothing=label_smoothing)
        self.thresholds = check_thresholds(self.title, thresholds)
        self.bins = ScoreBins(tuple(sorted(self.thresholds)))

    @property
    def logits_dimension(self) -> int:
        """One logit, of class 1."""
        return 1

    @property
    def labels_dimension(self) -> int:
        """One label."""
        return 1

    @property
    def number_of_classes(self) -> int:
        """Two classes."""
        return 2

    def label_columns(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return labels ``[D*, 1]``, class names as ids."""
        labels = self.numbers(labels, device, mask)
        return check_columns(self.title, "labels", labels, leading, 1)

    @property
    def takes_names(self) -> bool:
        """Whether labels are class names."""
        return self.label_vocabulary is not None

    @property
    def regularized_after(self) -> str:
        """The metric key after which the regularization loss stands."""
        return "auc_precision_recall"

    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield the metrics by key."""
        yield "average_loss", AverageLoss()
        yield "accuracy", Accuracy()
        yield "precision", Precision()
        yield "recall", Recall()
        yield "prediction/mean", Mean(of=Total.PREDICTION)
        yield "label/mean", Mean(of=Total.LABEL)
        yield "accuracy_baseline", AccuracyBaseline()
        yield "auc", AUC()
        yield "auc_precision_recall", AUCPrecisionRecall()
        yield from threshold_readings(self.thresholds)

    def tensor_predictions(self, logits: Tensor) -> dict[str, Tensor]:
        """Return the predictions that are tensors, by key."""
        logits = self.check_logits(logits)
        ids = torch.arange(2, device=logits.device).expand(*logits.shape[:-1], 2)
        return {
            "logits": logits,
            "logistic": torch.sigmoid(logits),
            "probabilities": torch.sigmoid(torch.cat([-logits, logits], dim=-1)),
            "class_ids": (logits > 0).to(torch.int64),
            "all_class_ids": ids,
        }

    def string_predictions(self, logits: Tensor) -> dict[str, np.ndarray[Any, Any]]:
        """Return the class of each row, and all classes."""
        names = np.array(self.class_names())
        ids = (logits > 0).to(torch.int64).cpu().numpy()
        return {
            "classes": names[ids],
            "all_classes": np.broadcast_to(names, (*logits.shape[:-1], 2)),
        }

    def export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        """Return the classification, the probability as a regression, and all predictions."""
        classes = ClassificationOutput(predictions["probabilities"], predictions["all_classes"])
        return {
            "serving_default": classes,
            "classification": classes,
            "regression": RegressionOutput(predictions["logistic"]),
            "predict": PredictOutput(predictions),
        }
