"""The head of one class out of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from torch_heads.computation.encoder import leaves_dense
from torch_heads.computation.loss_fn import LossFn
from torch_heads.families.categorical import Categorical
from torch_heads.families.family import Statistic
from torch_heads.functional.arguments import MissingLabel, check_count
from torch_heads.functional.errors import unexpected
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.class_head import ClassHead
from torch_heads.heads.computing_module import head_title
from torch_heads.heads.metric_owner import Labels
from torch_heads.metrics.asked import Asked


class MultiClassHead(ClassHead):
    """Exclusive classes, one logit each, by the softmax cross entropy.

    Shapes: logits ``[D0, ..., DN, n_classes]``; labels ``[D0, ..., DN]`` or ``[D0, ..., DN, 1]``:
    integer class ids, with a ``label_vocabulary`` also class names; or class probabilities
    ``[D0, ..., DN, n_classes]``, floating, as in distillation or mixup. Metrics read the likeliest
    of these, the first of equals.

    Predictions: ``logits``, ``probabilities`` and ``all_class_ids`` ``[D*, n_classes]``,
    ``class_ids`` ``[D*, 1]`` (the first of equals), and the strings ``classes`` and
    ``all_classes``.

    Args:
        n_classes: how many classes, at least 2.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        label_vocabulary: the names of the classes.
        loss_reduction: see `Reduction`.
        loss_fn: a loss ``[D*, 1]`` of ``labels``, ``logits`` and, if wanted, ``features`` and
            ``loss_reduction``. It gets no rows that are missing or padded, and all of weight 0.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled": an int that is no class id, a string
            with a ``label_vocabulary``, or a list of these. With it, None, NaN and what is masked
            are missing, too, and ids may be floats, as beside NaN they are.
        class_weight: a factor of the loss per class, ``[n_classes]``, or a dict of them by class
            name or id. With the reduction
            ``weighted_mean`` the loss is that of ``torch.nn.functional.cross_entropy``, which
            divides by these weights, too. Metrics stay unweighted by them.
        label_smoothing: how far labels move to uniform in the loss; metrics keep the labels.
        metrics: which to keep beside the usual ones; see `TensorHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = MultiClassHead(n_classes=3)
    >>> head.loss(labels=[1, 1], logits=[[10.0, 0.0, 0.0], [0.0, 10.0, 0.0]])
    tensor(5.0001)
    """

    string_keys = ("classes", "all_classes")
    _regularized_after = "average_loss"

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
        metrics: Asked = None,
    ) -> None:
        n_classes = check_count(head_title(type(self), name), "n_classes", n_classes, 2)
        super().__init__(
            Categorical(n_classes),
            weight_column=weight_column,
            label_vocabulary=label_vocabulary,
            loss_reduction=loss_reduction,
            loss_fn=loss_fn,
            name=name,
            missing_label=missing_label,
            class_weight=class_weight,
            label_smoothing=label_smoothing,
            metrics=metrics,
        )
        self.n_classes = n_classes

    @property
    def predicted(self) -> Mapping[str, Statistic]:
        """What is predicted, by key."""
        return {
            "logits": Categorical.logits,
            "probabilities": Categorical.mean,
            "class_ids": Categorical.class_ids,
            "all_class_ids": Categorical.all_class_ids,
        }

    @leaves_dense
    def encode_labels(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return class ids ``[D*, 1]``, or probabilities ``[D*, n_classes]``."""
        wide = (*leading, self.n_classes)
        ids = self._numbers(labels, device, mask)
        if ids.shape == wide and ids.is_floating_point():
            return ids
        if ids.shape == wide:
            hint = "One-hot labels are class ids by labels.argmax(-1), probabilities by .float()."
            expected, given = "as class ids", f"{ids.dtype} of shape {list(ids.shape)}"
            raise ValueError(unexpected(self.title, "labels", expected, given, hint))
        hint = f"Class ids are integers; probabilities have shape {[*wide]}."
        return self._checked_ids(ids, leading, hint)
