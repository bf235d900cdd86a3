"""The head of any subset of several classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from torch_heads.computation.encoder import leaves_dense
from torch_heads.computation.loss_fn import LossFn
from torch_heads.families.bernoulli import Bernoulli
from torch_heads.families.family import Counts, Statistic
from torch_heads.functional.arguments import MissingLabel, check_count
from torch_heads.functional.containers import listed
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.forms import is_real
from torch_heads.functional.label_sets import LabelSets
from torch_heads.functional.row_form import IDS, MULTI_HOT
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.class_head import ClassHead
from torch_heads.heads.computing_module import head_title
from torch_heads.heads.metric_owner import Labels
from torch_heads.heads.spec import ExportOutput, PredictOutput
from torch_heads.metrics.asked import Asked
from torch_heads.metrics.readings.areas import AUC, AUCPrecisionRecall
from torch_heads.metrics.readings.means import Mean
from torch_heads.metrics.readings.reading import Reading
from torch_heads.metrics.readings.usual import fine_readings, usual_readings
from torch_heads.metrics.sums import Total


class MultiLabelHead(ClassHead):
    """Any subset of the classes, one logit each, by the sigmoid cross entropy.

    An example's loss is the mean over its classes. Metrics count every pair of an example and a
    class (the micro average), class-based ones the pairs of one class.

    Shapes: logits ``[D0, ..., DN, n_classes]``. Labels are multi-hot of the same shape, with
    values in [0, 1]; or sets of class ids: ``torch.sparse_coo_tensor`` of shape
    ``[D0, ..., DN, ?]`` with ids as values, a jagged nested tensor, Python sets, or nested lists;
    or sets of class names, with a ``label_vocabulary``; or a dict or table with a column per class.
    Rows of numbers in lists are what ``label_lists`` says. Python sets always hold ids.

    Predictions: ``logits`` and ``probabilities`` ``[D*, n_classes]``, and the strings ``classes``,
    which are the names of all classes.

    Args:
        n_classes: how many classes, at least 2.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        thresholds: scores in (0, 1) at which to keep accuracy, precision and recall.
        label_vocabulary: the names of the classes.
        loss_reduction: see `Reduction`.
        loss_fn: a loss ``[D*, 1]`` of ``labels``, ``logits`` and, if wanted, ``features`` and
            ``loss_reduction``. It gets no rows that are missing or padded, and all of weight 0.
            Among the labels of a row, missing entries are NaN.
        classes_for_class_based_metrics: the ids or names of classes that get metrics of their own.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the entry of a multi-hot row that means "not labelled": NaN or a number
            outside [0, 1]; the mean of an example is over the entries that are there. Of sets of
            ids or names, the number or string that, alone in a set, means that the whole row is
            not labelled. It may be a list of these. With it, None, NaN and what is masked are
            missing, too, and so is a row that is None.
        class_weight: a factor of the loss per class, ``[n_classes]``, or a dict of them by class
            name or id.
        pos_weight: a factor of the positive labels' loss per class, likewise. Metrics stay
            unweighted by both.
        label_smoothing: how far labels move to a half in the loss; metrics keep the labels.
        label_lists: what rows of numbers are, in nested lists and all that holds rows, and in
            sparse and nested tensors: ``"ids"`` or ``"multi_hot"``. By default those in lists are
            multi-hot where all rows have length ``n_classes``, as in arrays, and sets of ids where
            none can be multi-hot; those in sparse and nested tensors are sets of ids. What could be
            both is refused: so are lists of two classes that have 0 and 1 once each in every row.
        metrics: which to keep beside the usual ones; see `TensorHead`.
        fine: whether scores are also cut finely by their logit; see `TensorHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = MultiLabelHead(n_classes=2)
    >>> head.loss(labels=[[1, 0], [1, 1]], logits=[[-1.0, 1.0], [-1.5, 1.5]])
    tensor(1.1323)
    """

    string_keys = ("classes",)
    _averages = True
    _regularized_after = "auc_precision_recall"

    def __init__(
        self,
        n_classes: int,
        weight_column: WeightColumn = None,
        thresholds: Sequence[float] | None = None,
        label_vocabulary: Sequence[str] | None = None,
        loss_reduction: str = "sum_over_batch_size",
        loss_fn: LossFn | None = None,
        classes_for_class_based_metrics: Sequence[int] | Sequence[str] | None = None,
        name: str | None = None,
        *,
        missing_label: MissingLabel = None,
        class_weight: Sequence[float] | Tensor | None = None,
        pos_weight: Sequence[float] | Tensor | None = None,
        label_smoothing: float = 0.0,
        label_lists: Literal["ids", "multi_hot"] | None = None,
        metrics: Asked = None,
        fine: bool = True,
    ) -> None:
        who = head_title(type(self), name)
        n_classes = check_count(who, "n_classes", n_classes, 2)
        super().__init__(
            Bernoulli(),
            n_classes,
            weight_column=weight_column,
            thresholds=thresholds,
            label_vocabulary=label_vocabulary,
            loss_reduction=loss_reduction,
            loss_fn=loss_fn,
            name=name,
            missing_label=missing_label,
            class_weight=class_weight,
            pos_weight=pos_weight,
            label_smoothing=label_smoothing,
            metrics=metrics,
            fine=fine,
        )
        known = isinstance(label_lists, str) and label_lists in (IDS, MULTI_HOT)
        if not (known or label_lists is None):
            expected = f"as {IDS!r}, {MULTI_HOT!r} or None"
            raise ValueError(unexpected(who, "label_lists", expected, repr(label_lists)))
        self.label_lists = label_lists
        self.n_classes = n_classes
        self.classes_for_class_based_metrics = self._class_ids(classes_for_class_based_metrics)

    @property
    def predicted(self) -> Mapping[str, Statistic]:
        """What is predicted, by key."""
        return {"logits": Bernoulli.logits, "probabilities": Bernoulli.mean}

    @leaves_dense
    def encode_labels(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return labels ``[D*, n_classes]``, one entry per class."""
        names, missing = self.label_vocabulary, self.missing_label
        sets = LabelSets(self.title, self.n_classes, names, missing, self.label_lists)
        return sets.multi_hot(labels, leading, device, mask)

    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield the metrics by key."""
        yield from usual_readings(Counts.SCORES, self.thresholds, fine=False)
        names = self._metric_class_names()
        own = [(i, f"/{names[i]}") for i in self.classes_for_class_based_metrics]
        for i, suffix in own:
            yield f"probability_mean{suffix}", Mean(column=i, of=Total.PREDICTION)
            yield f"auc{suffix}", AUC(column=i)
            yield f"auc_precision_recall{suffix}", AUCPrecisionRecall(column=i)
        if self.fine:
            yield from fine_readings()
            for i, suffix in own:
                yield from fine_readings(i, suffix)

    def string_predictions(self, predictions: Mapping[str, Tensor]) -> Mapping[str, Any]:
        """Return the names of all classes."""
        shape = predictions["probabilities"].shape
        return {"classes": np.broadcast_to(self.class_names(), shape)}

    def export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        """Return the classification, and all predictions."""
        return super().export_outputs({**predictions, "all_classes": predictions["classes"]}) | {
            "predict": PredictOutput(predictions)
        }

    def _class_ids(self, classes: Sequence[int] | Sequence[str] | None) -> tuple[int, ...]:
        argument = "classes_for_class_based_metrics"
        ids: list[int] = []
        for given in () if classes is None else listed(self.title, argument, "as a list", classes):
            if not isinstance(given, str):
                whole = isinstance(given, Integral) and is_real(given)
                if not whole or not 0 <= given < self.n_classes:
                    allowed = f"in [0, {self.n_classes - 1}]"
                    raise ValueError(unexpected(self.title, argument, allowed, repr(given)))
                ids.append(int(given))
                continue
            names = self.label_vocabulary
            if names is None:
                hint = "Class names need a label_vocabulary."
                raise ValueError(unexpected(self.title, argument, "as ids", repr(given), hint))
            if given not in names:
                allowed = f"among {preview(names)}"
                raise ValueError(unexpected(self.title, argument, allowed, repr(given)))
            ids.append(names.index(given))
        if len(set(ids)) < len(ids):
            raise ValueError(unexpected(self.title, argument, "without duplicates", ids))
        return tuple(ids)
