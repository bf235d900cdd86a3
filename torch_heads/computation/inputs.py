"""A batch: as users give it, and as a group computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

Features = Mapping[str, Any]

#: The labels of a head that a batch has none for.
ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "absent"})()


class StackedLabels(NamedTuple):
    """Label columns out of a tensor of many heads' labels, which has one dtype for all."""

    columns: Tensor


class ArrangedLogits(NamedTuple):
    """Logits that have been checked, of each bucket of a group's layout, ``[D*, C]``."""

    parts: Sequence[Tensor]


class Inputs(NamedTuple):
    """One batch, as a head or a group is given it.

    Attributes:
        labels: of a head, in any of its forms; of a group, a sequence with those of each target,
            or one tensor ``[D*, U]``.
        logits: of a head, in any of its forms; of a group, a sequence with those of each target,
            or `ArrangedLogits`.
        features: where weights and masks are looked up.
        weights: of a head, per example; of a group, a sequence with those of each target.
        mask: ``[D*]``, False where a row is padding; None for nowhere.
    """

    labels: Any
    logits: Any
    features: Features | None = None
    weights: Any = None
    mask: Tensor | None = None


class EncodedBatch(NamedTuple):
    """One batch of a group, checked and encoded.

    What is not active is 0 in the labels, and in the logits wherever it could do harm.

    Attributes:
        logits: ``[D*, U, *logits_shape]`` of each bucket of the group's layout.
        labels: ``[D*, U]``, of the dtype that the family takes.
        weights: ``[D*, U]`` or ``[D*, 1]``; None where all are 1.
        present: where there is a label, of the same shapes; None for everywhere.
        valid: where there could be a label; None for everywhere.
        probabilities: of class ids, those of the classes, of the shapes of the logits; None where
            all labels are ids.
        features: for a ``loss_fn``.
    """

    logits: Sequence[Tensor]
    labels: Tensor
    weights: Tensor | None = None
    present: Tensor | None = None
    valid: Tensor | None = None
    probabilities: Sequence[Tensor] | None = None
    features: Features | None = None


def flat_logits(batch: EncodedBatch) -> Tensor:
    """Return the logits ``[D*, C]`` of a single target."""
    (block,) = batch.logits
    return block.flatten(batch.labels.dim() - 1)
