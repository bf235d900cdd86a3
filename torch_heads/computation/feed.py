"""What the metrics of torchmetrics' own are fed of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torch_heads.computation.inputs import EncodedBatch, Features
from torch_heads.computation.layout import Bucket
from torch_heads.computation.target import Target
from torch_heads.families.family import Counts, Family, Statistic
from torch_heads.functional.errors import preview, shape, unexpected
from torch_heads.functional.features import find_feature
from torch_heads.functional.tensors import to_tensor
from torch_heads.functional.values import active_labels, rows_of
from torch_heads.metrics.torchmetric import SCORES
from torch_heads.metrics.update_signature import UpdateCall

CLASS_IDS = "class_ids"
APART = "Declare it by torch_heads.metrics.Torchmetric(metric, weights=None) to leave them out."
OF_TIMES = "Some times are known to be later alone, and no torchmetrics.Metric takes that."


class Feed:
    """The batches of one target as one metric takes them.

    Args:
        target: the target.
        key: the metric's key, without the target's name.
        columns: the target's label columns in its group.
        bucket: the bucket of its logits, after its place among those of the group.

    Raises:
        ValueError: if the target does not predict what the metric is to be fed, or may miss labels
            that the metric cannot leave out; or if its labels are times to an event.
    """

    def __init__(
        self, target: Target, key: str, columns: slice, bucket: tuple[int, Bucket]
    ) -> None:
        self._target, self._columns = target, columns
        self._who = target.title
        self._declared = declared = target.torchmetrics[key]
        self._argument = f"metrics[{key!r}]"
        if target.counts is Counts.TIMES:
            given = type(declared.metric).__name__
            self._refuse(f"among {preview(target.readings)}, or a Reading", given, OF_TIMES)
        place, own = bucket
        first = columns.start - own.columns.start
        self._block, self._places = place, slice(first, first + target.columns)
        self._statistic = self._find_statistic()
        self._several = target.columns > 1
        if self._several and target.may_miss and self._ignored is None:
            self._refuse(
                "with an ignore_index, which stands for the missing labels of a row",
                f"{type(declared.metric).__name__} without one",
            )

    @property
    def _ignored(self) -> int | None:
        """The label that stands for a missing one; only ids have one."""
        return self._declared.ignore_index if self._of_classes else None

    @property
    def _of_classes(self) -> bool:
        return self._target.counts is not Counts.NUMBERS

    def _refuse(self, expected: str, given: object, hint: str = "") -> None:
        raise ValueError(unexpected(self._who, self._argument, expected, given, hint))

    def _find_statistic(self) -> Statistic:
        target, wanted = self._target, self._declared.preds
        kind = type(target.family)
        if wanted == SCORES:
            return kind.mean if target.counts is Counts.CLASSES else kind.observed
        if wanted in target.predicted:
            return target.predicted[wanted]
        if wanted == CLASS_IDS and target.counts is Counts.CLASSES:
            return kind.observed
        if wanted == CLASS_IDS and target.counts is Counts.SCORES:
            return _decisions
        known = list(dict.fromkeys([SCORES, *([CLASS_IDS] * self._of_classes), *target.predicted]))
        self._refuse(f"with preds among {preview(known)}", repr(wanted))
        raise AssertionError

    def call(self, batch: EncodedBatch) -> UpdateCall | None:
        """Return the arguments of an update; None where no row has a label that counts.

        Raises:
            ValueError: if the batch is not what the metric takes.
        """
        active = self._own(active_labels(batch.weights, batch.present))
        weights = self._own(batch.weights)
        rows = None if active is None else active.any(-1).nonzero().squeeze(-1)
        labels = rows_of(batch.labels)[:, self._columns]
        if (len(labels) if rows is None else len(rows)) == 0:
            return None

        def taken(values: Tensor) -> Tensor:
            # a copy in any case: a metric may keep it, and the batch be written over
            return values.clone() if rows is None else values.index_select(0, rows)

        labels = taken(labels)
        preds = taken(self._predictions(batch))
        active = None if active is None else taken(active.expand(-1, labels.shape[-1]))
        weights = None if weights is None else taken(weights.expand(-1, labels.shape[-1]))
        if bool(preds.isnan().any()):
            self._refuse("fed numbers", f"NaN as {self._declared.preds}")
        if self._of_classes and labels.is_floating_point():
            labels = self._class_labels(labels)
        if self._several and active is not None and not bool(active.all()):
            if self._ignored is None:
                self._refuse("with an ignore_index, since a label of a row does not count", "none")
            labels = labels.masked_fill(~active, self._ignored or 0)
        if weights is not None:
            weights = self._checked(weights)
        if not self._several:
            labels = labels.squeeze(-1)
            weights = None if weights is None else weights.squeeze(-1)
        leading, device = batch.labels.shape[:-1], preds.device
        valid = None if batch.valid is None else batch.valid.any(-1)
        features = {
            argument: taken(_feature(self._who, key, batch.features, leading, device, valid))
            for argument, key in self._declared.features.items()
        }
        return self._declared.signature.call(preds, labels, weights, features)

    def _own(self, values: Tensor | None) -> Tensor | None:
        """Return the target's columns ``[N, U]`` or ``[N, 1]`` of a mask or of weights."""
        if values is None:
            return None
        rows = rows_of(values.detach())
        return rows if rows.shape[-1] == 1 else rows[:, self._columns]

    def _predictions(self, batch: EncodedBatch) -> Tensor:
        """Return what is predicted, ``[N]``, ``[N, U]``, ``[N, k]`` or ``[N, U, k]``."""
        family, leading = self._target.family, batch.labels.dim() - 1
        logits = batch.logits[self._block].detach().flatten(0, leading - 1)[:, self._places]
        if family.logits_shape:
            logits = logits[..., : family.logits_per_label]  # without padded classes
        preds = self._statistic(family, logits)
        mean = self._statistic in (type(family).mean, type(family).observed)
        if mean and preds.is_floating_point() and family.counts is not Counts.NUMBERS:
            preds = preds.clamp(0, 1)  # of 1 + 1e-7, torchmetrics would guess that it is a logit
        return preds if self._several else preds.squeeze(1)

    def _class_labels(self, labels: Tensor) -> Tensor:
        """Return labels 0 and 1 as int64."""
        ids = labels.to(torch.int64)
        soft = labels[labels != ids]
        if len(soft):
            self._refuse("fed labels 0 and 1", f"{soft[0].item():g}")
        return ids

    def _checked(self, weights: Tensor) -> Tensor | None:
        """Return weights that a metric is given; None for no weights."""
        if self._declared.signature.weights is not None:
            return weights
        if self._declared.refuses_weights:
            others = weights[(weights != 0) & (weights != 1)]
            if len(others):
                metric = type(self._declared.metric).__name__
                given = f"a weight of {others[0].item():g} for {metric}"
                self._refuse("without weights, which its update does not take", given, APART)
        return None


def _decisions(family: Family, logits: Tensor) -> Tensor:
    """Return 1 where yes is predicted, else 0, ``[..., U]``."""
    return (family.log_odds(logits, family.observed(logits)) > 0).to(torch.int64)


def _feature(
    who: str,
    key: str,
    features: Features | None,
    leading: Sequence[int],
    device: torch.device,
    valid: Tensor | None,
) -> Tensor:
    """Return a feature of each row, ``[N]``, which has no gap where ``valid``, ``[D*]``.

    Raises:
        ValueError: if it is not there, or of another shape.
    """
    argument = f"features[{key!r}]"
    given = find_feature(who, features, key, f"with {key!r} for its metrics")
    values = to_tensor(who, argument, given, device, may_miss=False, valid=valid)
    if values.shape == (*leading, 1):
        return values.flatten()
    if not 0 < values.dim() <= len(leading) or values.shape != tuple(leading[: values.dim()]):
        allowed = shape(leading, (*leading, 1))
        raise ValueError(unexpected(who, argument, f"of shape {allowed}", list(values.shape)))
    inner = [1] * (len(leading) - values.dim())
    return values.view(*values.shape, *inner).expand(*leading).flatten()
