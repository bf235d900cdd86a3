"""What one head of a single target declares, and all that its computation knows of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_heads.computation.loss_fn import CustomLoss
from torch_heads.families.event_times import event_times
from torch_heads.families.family import ClassBalance, Counts, Family, Statistic
from torch_heads.functional.missing import Missing
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.scores import ScoreBins
from torch_heads.functional.weights import WeightColumn
from torch_heads.metrics.needs import (
    Confusions,
    Need,
    ResidualCounts,
    ScoreCounts,
    SurvivalSums,
    TimeCounts,
)
from torch_heads.metrics.readings.reading import Reading
from torch_heads.metrics.torchmetric import Torchmetric

#: What the metrics keep in any case: for curves, confusions and residuals.
KEPT: Mapping[Counts, tuple[Need, ...]] = {
    Counts.SCORES: (ScoreCounts(),),
    Counts.CLASSES: (Confusions(),),
    Counts.NUMBERS: (ResidualCounts(),),
    Counts.TIMES: (TimeCounts(), SurvivalSums()),
}


class TargetPrior(NamedTuple):
    """The prior of one target.

    Attributes:
        offset: ``[C]``, added to its logits.
        scale: ``[C]``, a factor of them before.
        loss: its average loss where its logits are the offset, a scalar; NaN without labels.
        origin: what that owes to the unit of the labels, a scalar.
    """

    offset: Tensor
    scale: Tensor
    loss: Tensor
    origin: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Target:
    """One target: a family, and how a head reads it.

    Attributes:
        title: the head's class and name, as errors say it.
        name: the head's name, the suffix of its metric keys.
        kind: the name of the head's class.
        label_vocabulary: the names of the classes; None without.
        family: the distribution of its labels.
        columns: how many label columns it has, in the computation.
        averages: whether an example's loss is the mean over its columns; else each column is a
            loss element of its own.
        has_column_axis: whether statistics of several numbers per label keep an axis of columns.
        reduction: how the losses of a batch become one.
        missing: what stands for a missing label.
        weight_column: where its weights are looked up.
        label_smoothing: how far labels move to uniform in the loss.
        bins: where the scores of its metrics are cut; None where none are counted.
        counts: what its metrics count.
        readings: its metrics, by key without the name.
        torchmetrics: those of torchmetrics' own, likewise.
        asked: the keys of those that a user asked for.
        class_names: the names of its classes in metric keys; empty where there are none.
        regularized_after: the key after which a regularization loss stands; None for the beginning.
        predicted: what it predicts, by key.
        encode_labels: from labels in any form, the batch shape, the device and a mask of valid
            rows to numbers ``[D*, given_columns]``, of any dtype, in which missing labels are one
            of ``missing``; not checked for their range.
        leaves_dense: whether that returns dense numbers as they are, and need not be asked.
        string_keys: which of its predictions are strings.
        predict_strings: returns these by key, NumPy arrays, from the predictions that are tensors.
        class_balance: returns the head's present corrections of class imbalance, per logit, on a
            device.
        prior: returns what is known of its labels before any input is seen; None for nothing.
        keep_prior: keeps that, or forgets it.
        loss_fn: a loss of one's own, ``[D*, loss_columns]`` of a batch.
    """

    title: str
    name: str | None
    kind: str
    label_vocabulary: tuple[str, ...] | None
    family: Family
    columns: int
    averages: bool
    has_column_axis: bool
    reduction: Reduction
    missing: Missing
    weight_column: WeightColumn
    label_smoothing: float
    bins: ScoreBins | None
    counts: Counts
    readings: dict[str, Reading]
    torchmetrics: Mapping[str, Torchmetric]
    asked: frozenset[str]
    class_names: Sequence[str]
    regularized_after: str | None
    predicted: Mapping[str, Statistic]
    encode_labels: Callable[..., Tensor]
    leaves_dense: bool
    string_keys: tuple[str, ...]
    predict_strings: Callable[[Mapping[str, Tensor]], Mapping[str, Any]]
    class_balance: Callable[[torch.device], ClassBalance]
    prior: Callable[[], TargetPrior | None]
    keep_prior: Callable[[TargetPrior | None], None]
    loss_fn: CustomLoss | None

    @property
    def needs(self) -> list[Need]:
        """What its metrics need: what is kept of all heads of a kind, and then for the readings."""
        read = [need for one in self.readings.values() for need in one.needs(self.counts)]
        # one that is asked for stands twice
        return [*KEPT[self.counts], *dict.fromkeys(read)]

    @property
    def time_shapes(self) -> Mapping[Need, tuple[int, ...]]:
        """What is kept of each column of times to an event, by need."""
        if self.counts is not Counts.TIMES:
            return {}
        family = event_times(self.family)
        times = (2, family.cells, family.SCORE_BINS)
        return {TimeCounts(): times, SurvivalSums(): (family.stages,)}

    @property
    def metric_keys(self) -> list[str]:
        """The keys of all its metrics, without the name."""
        return [*self.readings, *self.torchmetrics]

    @property
    def n_classes(self) -> int:
        """How many class ids its labels may be; 0 for none."""
        return int(self.family.highest) + 1 if self.family.takes_ids else 0

    @property
    def logits(self) -> int:
        """How many logits it has."""
        return self.columns * self.family.logits_per_label

    @property
    def given_columns(self) -> int:
        """How many columns of numbers a user gives as its labels."""
        return self.columns * self.family.numbers_per_label

    @property
    def loss_columns(self) -> int:
        """How many elements an example's loss has."""
        return 1 if self.averages else self.columns

    @property
    def may_miss(self) -> bool:
        """Whether labels may be missing."""
        return bool(self.missing)

    @property
    def fuses(self) -> bool:
        """Whether it can be computed with others: it has no function that looks at all logits."""
        return self.loss_fn is None
