"""The head of any subset of several classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.families import Bernoulli
from torch_heads.functional.labels import multi_hot
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.scores import ScoreBins
from torch_heads.heads.base import Labels
from torch_heads.heads.spec import ClassificationOutput, ExportOutput, PredictOutput
from torch_heads.heads.tensor_head import (
    LossFn,
    TensorHead,
    WeightColumn,
    check_count,
    check_thresholds,
)
from torch_heads.metrics.readings import (
    AUC,
    Accuracy,
    AUCPrecisionRecall,
    AverageLoss,
    Mean,
    Precision,
    Reading,
    Recall,
)
from torch_heads.metrics.tally import Total


class MultiLabelHead(TensorHead):
    """Any subset of the classes, one logit each, by the sigmoid cross entropy.

    An example's loss is the mean over its classes. Metrics count every pair of an example and a
    class (the micro average), class-based ones the pairs of one class.

    Shapes: logits ``[D0, ..., DN, n_classes]``. Labels are multi-hot of the same shape, with
    values in [0, 1]; or sets of class ids: ``torch.sparse_coo_tensor`` of shape
    ``[D0, ..., DN, ?]`` with ids as values, a jagged nested tensor, or nested lists; or sets of
    class names in nested lists, with a ``label_vocabulary``. Nested lists of numbers in which each
    row has length ``n_classes`` are read as multi-hot.

    Predictions: ``logits`` and ``probabilities`` ``[D*, n_classes]``, and the strings ``classes``,
    which are the names of all classes.

    Args:
        n_classes: how many classes, at least 2.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        thresholds: scores in (0, 1) at which to keep accuracy, precision and recall.
        label_vocabulary: the names of the classes.
        loss_reduction: see `Reduction`.
        loss_fn: a loss ``[D*, 1]`` of ``labels``, ``logits`` and, if wanted, ``features``.
        classes_for_class_based_metrics: the ids or names of classes that get metrics of their own.
        name: the suffix of the metric keys; required under a `MultiHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = MultiLabelHead(n_classes=2)
    >>> head.loss(labels=[[1, 0], [1, 1]], logits=[[-1.0, 1.0], [-1.5, 1.5]])
    tensor(1.1323)
    """

    family = Bernoulli()
    string_keys: ClassVar[tuple[str, ...]] = ("classes",)

    def __init__(
        self,
        n_classes: int,
        weight_column: WeightColumn = None,
        thresholds: Sequence[float] | None = None,
        label_vocabulary: Sequence[str] | None = None,
        loss_reduction: str = Reduction.SUM_OVER_BATCH_SIZE,
        loss_fn: LossFn | None = None,
        classes_for_class_based_metrics: Sequence[int] | Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name, weight_column, loss_reduction, loss_fn, label_vocabulary)
        self.n_classes = check_count(self.title, "n_classes", n_classes, 2)
        self.check_vocabulary_size()
        self.thresholds = check_thresholds(self.title, thresholds)
        self.bins = ScoreBins(tuple(sorted(self.thresholds)))
        self.classes_for_class_based_metrics = self._class_ids(classes_for_class_based_metrics)

    @property
    def logits_dimension(self) -> int:
        """The number of classes."""
        return self.n_classes

    @property
    def labels_dimension(self) -> int:
        """The number of classes."""
        return self.n_classes

    def label_columns(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return labels ``[D*, n_classes]``, one entry per class."""
        return multi_hot(self.title, labels, self.label_vocabulary, leading, self.n_classes, device)

    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield the metrics by key."""
        yield "average_loss", AverageLoss()
        yield "auc", AUC()
        yield "auc_precision_recall", AUCPrecisionRecall()
        for threshold in self.thresholds:
            yield f"accuracy/positive_threshold_{threshold:g}", Accuracy(threshold=threshold)
            yield f"precision/positive_threshold_{threshold:g}", Precision(threshold=threshold)
            yield f"recall/positive_threshold_{threshold:g}", Recall(threshold=threshold)
        for i in self.classes_for_class_based_metrics:
            suffix = self.label_vocabulary[i] if self.label_vocabulary else f"class{i}"
            yield f"probability_mean/{suffix}", Mean(column=i, of=Total.PREDICTION)
            yield f"auc/{suffix}", AUC(column=i)
            yield f"auc_precision_recall/{suffix}", AUCPrecisionRecall(column=i)

    def tensor_predictions(self, logits: Tensor) -> dict[str, Tensor]:
        """Return the predictions that are tensors, by key."""
        logits = self.check_logits(logits)
        return {"logits": logits, "probabilities": self.family.mean(logits)}

    def string_predictions(self, logits: Tensor) -> dict[str, np.ndarray[Any, Any]]:
        """Return the names of all classes."""
        return {"classes": np.broadcast_to(self.class_names(self.n_classes), logits.shape)}

    def export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        """Return the classification, and all predictions."""
        classes = ClassificationOutput(predictions["probabilities"], predictions["classes"])
        return {
            "serving_default": classes,
            "classification": classes,
            "predict": PredictOutput(predictions),
        }

    def _class_ids(self, classes: Sequence[int] | Sequence[str] | None) -> tuple[int, ...]:
        argument = "classes_for_class_based_metrics"
        ids = []
        for given in classes or ():
            if isinstance(given, str) and self.label_vocabulary is None:
                raise ValueError(
                    unexpected(
                        self.title,
                        argument,
                        "as ids",
                        repr(given),
                        "Class names need a label_vocabulary.",
                    )
                )
            known = self.label_vocabulary if isinstance(given, str) else range(self.n_classes)
            if given not in known or isinstance(given, bool):
                allowed = preview(known) if isinstance(given, str) else f"[0, {self.n_classes - 1}]"
                raise ValueError(unexpected(self.title, argument, f"in {allowed}", repr(given)))
            ids.append(known.index(given))
        if len(set(ids)) < len(ids):
            raise ValueError(unexpected(self.title, argument, "without duplicates", list(classes)))
        return tuple(ids)
