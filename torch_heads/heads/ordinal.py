"""The head of one class out of several that have an order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from torch_heads.computation.encoder import leaves_dense
from torch_heads.families.family import Statistic
from torch_heads.families.ordered_classes import OrderedClasses
from torch_heads.functional.arguments import MissingLabel, check_count
from torch_heads.functional.errors import unexpected
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.class_head import ClassHead
from torch_heads.heads.computing_module import head_title
from torch_heads.heads.metric_owner import Labels
from torch_heads.metrics.asked import Asked
from torch_heads.metrics.readings.class_agreement import CohenKappa
from torch_heads.metrics.readings.numbers import MeanAbsoluteError
from torch_heads.metrics.readings.reading import Reading


class OrdinalClassHead(ClassHead):
    """Exclusive classes in ascending order, such as grades, by the continuation ratio.

    Each logit is the log odds to stop at a class, of those who reach it. The loss is the negative
    log-likelihood of the label: the sum of the sigmoid cross entropies of the classes that were
    reached (Tutz, "Sequential models in categorical regression", 1991; CORN, Shi et al., 2021, has
    the same but for its normalisation).

    Shapes: logits ``[D0, ..., DN, n_classes - 1]``; labels ``[D0, ..., DN]`` or
    ``[D0, ..., DN, 1]``: integer class ids, with a ``label_vocabulary`` also class names.

    Predictions: ``logits`` ``[D*, n_classes - 1]``, ``probabilities`` and ``all_class_ids``
    ``[D*, n_classes]``, ``class_ids`` ``[D*, 1]`` (the likeliest, the first of equals), and the
    strings ``classes`` and ``all_classes``.

    Args:
        n_classes: how many classes, at least 2.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        label_vocabulary: the names of the classes, in ascending order.
        loss_reduction: see `Reduction`.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled": an int that is no class id, a string
            with a ``label_vocabulary``, or a list of these. With it, None, NaN and what is masked
            are missing, too.
        metrics: which to keep beside the usual ones; see `TensorHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = OrdinalClassHead(n_classes=3, label_vocabulary=["low", "middle", "high"])
    >>> head.loss(labels=["low", "high"], logits=[[2.0, 0.0], [-2.0, -1.0]])
    tensor(0.2836)
    """

    string_keys = ("classes", "all_classes")
    _regularized_after = "average_loss"

    def __init__(
        self,
        n_classes: int,
        weight_column: WeightColumn = None,
        label_vocabulary: Sequence[str] | None = None,
        loss_reduction: str = "sum_over_batch_size",
        name: str | None = None,
        *,
        missing_label: MissingLabel = None,
        metrics: Asked = None,
    ) -> None:
        n_classes = check_count(head_title(type(self), name), "n_classes", n_classes, 2)
        super().__init__(
            OrderedClasses(n_classes),
            weight_column=weight_column,
            label_vocabulary=label_vocabulary,
            loss_reduction=loss_reduction,
            name=name,
            missing_label=missing_label,
            metrics=metrics,
        )
        self.n_classes = n_classes

    @property
    def predicted(self) -> Mapping[str, Statistic]:
        """What is predicted, by key."""
        return {
            "logits": OrderedClasses.logits,
            "probabilities": OrderedClasses.mean,
            "class_ids": OrderedClasses.class_ids,
            "all_class_ids": OrderedClasses.all_class_ids,
        }

    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield the metrics by key."""
        yield from super().readings()
        yield "mean_absolute_error", MeanAbsoluteError()
        yield "cohen_kappa_quadratic", CohenKappa("quadratic")

    @leaves_dense
    def encode_labels(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return class ids ``[D*, 1]``."""
        ids = self._numbers(labels, device, mask)
        if ids.shape == (*leading, self.n_classes):
            hint = "One-hot labels are class ids by labels.argmax(-1)."
            expected, given = "as class ids", f"{ids.dtype} of shape {list(ids.shape)}"
            raise ValueError(unexpected(self.title, "labels", expected, given, hint))
        return self._checked_ids(ids, leading, "Class ids are integers.")
