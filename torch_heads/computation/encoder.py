"""The labels of a group, from every form into numbers side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from torch_heads.computation.inputs import ABSENT, Inputs
from torch_heads.computation.places import Places
from torch_heads.computation.target import Target
from torch_heads.computation.weighing import Weighing
from torch_heads.families.family import LabelPart
from torch_heads.functional.constants import Constants
from torch_heads.functional.containers import has_mask
from torch_heads.functional.missing import MissingColumns
from torch_heads.functional.transposed import refuse_transposed
from torch_heads.functional.values import (
    Blame,
    active_labels,
    both,
    check_values,
    needs_cast,
    refuse_nan,
    stack_alike,
    whole_numbers,
    zero_where_false,
)

EncodeLabels = TypeVar("EncodeLabels", bound=Callable[..., Tensor])


class Labels(NamedTuple):
    """Labels of some columns, ``[D*, K]``, and where they are present and valid; None: everywhere.

    Where a label is not present, its value is 0. Class ids may come with the ``probabilities`` of
    the classes, ``[D*, n_classes]``, of which they are the likeliest.
    """

    values: Tensor
    present: Tensor | None
    valid: Tensor | None
    probabilities: Tensor | None = None


def leaves_dense(encode_labels: EncodeLabels) -> EncodeLabels:
    """Mark an `encode_labels` that returns dense numbers as they are, and need not be asked."""
    encode_labels.leaves_dense = True  # type: ignore[attr-defined]
    return encode_labels


class Encoder:
    """Turns labels and weights that users give for the targets of a group into tensors.

    Labels come stacked, or for each target apart: those that are dense tensors alike are joined
    in one pass where their heads leave them as they are, the others are first encoded by these.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = targets
        self.family = targets[0].family
        self.sizes = [target.given_columns for target in targets]
        columns = [target.columns for target in targets]
        owner = [i for i, size in enumerate(columns) for _ in range(size)]
        parts = self.family.numbers_per_label
        self._missing = MissingColumns([targets[i].missing for i in owner for _ in range(parts)])
        highs = [targets[i].family.highest for i in owner]
        self._highest = highs[0] if len(set(highs)) == 1 else None
        self._weighing = Weighing(targets)
        self._owner = owner
        self._places = Places(columns)
        self._given_places = self._places if parts == 1 else Places(self.sizes)
        self._constants = Constants(highest=torch.tensor(highs, device="cpu"))
        self._leave_dense = all(target.leaves_dense for target in targets)

    def encode(self, inputs: Inputs, logits: Tensor) -> tuple[Labels, Tensor | None]:
        """Return the labels and the weights of a batch, checked.

        Args:
            inputs: of all targets.
            logits: ``[D*, ...]``, for the batch shape, the dtype and the device.

        Raises:
            ValueError: if labels or weights are not what a target takes.
        """
        labels = self._labels(inputs, logits)
        high: float | Tensor | None = self._highest
        if high is None:
            high = self._constants.on(labels.values.device)["highest"]
        check_values(self._blame, "labels", labels.values, self.family.lowest, high)
        if inputs.weights is None and not self._weighing.looks_up:
            return labels, None
        weights = self._weighing.encode(inputs, logits)
        if weights is not None:
            present = both(labels.present, labels.valid)
            weights = zero_where_false(weights, present)
            active = active_labels(weights, present)
            if active is not None and active is not present:
                # a loss_fn may look at rows that do not count
                keep = active if self.targets[0].fuses else active | labels.values.isfinite()
                labels = labels._replace(values=zero_where_false(labels.values, keep))
        return labels, weights

    def refuse_nan(self, values: Tensor) -> None:
        """Refuse NaN among labels ``[D*, U]``.

        Raises:
            ValueError: by the title of the target whose label it is.
        """
        refuse_nan(self._blame, "labels", values)

    # Labels.

    def _labels(self, inputs: Inputs, logits: Tensor) -> Labels:
        leading, device, mask = logits.shape[:-1], logits.device, inputs.mask
        given = inputs.labels
        if not self._leave_dense:
            return self._in_pieces(given, logits, mask)
        if isinstance(given, Tensor):
            return self._numbers(given, logits, mask)
        joined = stack_alike(given, self.sizes, leading, device)
        if joined is not None and self._takes(joined):
            return self._numbers(joined, logits, mask)
        return self._in_pieces(given, logits, mask)

    def _takes(self, labels: Any) -> bool:
        """Return whether labels are a tensor that needs no closer look by its head."""
        if not isinstance(labels, Tensor) or labels.is_complex() or needs_cast(labels):
            return False
        if type(labels) is not Tensor and has_mask(labels):
            return False
        ids = not labels.is_floating_point() and labels.dtype != torch.bool
        return ids or not self.family.takes_ids

    def _numbers(
        self, columns: Tensor, logits: Tensor, mask: Tensor | None, places: Tensor | None = None
    ) -> Labels:
        """Return labels ``[D*, K]`` of any dtype as numbers; ``places`` says which columns.

        Where a label has several parts, these stand side by side.
        """
        present = self._missing.present(columns, places) if self._missing.any else None
        ids = self.family.takes_ids
        valid = None if mask is None else mask.unsqueeze(-1)
        columns = zero_where_false(columns, both(present, valid))
        if self.family.label_parts:
            columns, present = self._join_parts(columns, present)
        if ids:
            columns = whole_numbers(self._blame, "labels", columns)
        return Labels(columns.to(torch.int64 if ids else logits.dtype), present, valid)

    def _join_parts(self, columns: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the one number of each label, from its parts side by side; all must be there."""
        known = self.family.label_parts
        each = columns.unflatten(-1, (-1, len(known)))  # type: ignore[no-untyped-call]
        for part, values in zip(known, each.unbind(-1), strict=True):
            check_part(self._blame, part, values)
        labels = self.family.encode(*each.unbind(-1))
        if present is None:
            return labels, None
        present = present.unflatten(-1, (-1, len(known))).all(-1)  # type: ignore[no-untyped-call]
        return zero_where_false(labels, present), present

    def _in_pieces(
        self, given: Tensor | Sequence[Any], logits: Tensor, mask: Tensor | None
    ) -> Labels:
        """Encode targets whose labels are alike together, and join them in the targets' order."""
        stacked = isinstance(given, Tensor)
        if isinstance(given, Tensor):
            given = self._apart(given, mask)
        alike: dict[Any, list[int]] = {}
        for i, labels in enumerate(given):
            key: Any = i
            if labels is ABSENT:
                key = "absent"
            elif self.targets[i].leaves_dense and (stacked or self._takes(labels)):
                key = (labels.dtype, labels.layout, self.sizes[i])
            alike.setdefault(key, []).append(i)
        pieces = [
            self._absent(members, logits)
            if key == "absent"
            else self._piece(given, members, isinstance(key, tuple), logits, mask)
            for key, members in alike.items()
        ]
        return self._join_pieces(pieces, [*alike.values()], logits)

    def _apart(self, stacked: Tensor, mask: Tensor | None) -> list[Tensor]:
        """Return each target's columns of a tensor whose floats may be class ids."""
        each = torch.split(stacked, self.sizes, dim=-1)
        if not (self.family.takes_ids and stacked.is_floating_point()):
            return [*each]
        valid = None if mask is None else mask.unsqueeze(-1)
        return [
            own
            if target.may_miss
            else whole_numbers(target.title, "labels", zero_where_false(own, valid)).long()
            for target, own in zip(self.targets, each, strict=True)
        ]

    def _absent(self, members: Sequence[int], logits: Tensor) -> Labels:
        """Return the labels of targets of which none is given."""
        count = sum(self.targets[i].columns for i in members)
        dtype = torch.int64 if self.family.takes_ids else logits.dtype
        zeros = torch.zeros((*logits.shape[:-1], count), dtype=dtype, device=logits.device)
        nowhere = torch.zeros_like(zeros, dtype=torch.bool)
        return Labels(zeros, nowhere, nowhere)

    def _piece(
        self,
        given: Sequence[Any],
        members: Sequence[int],
        are_tensors: bool,
        logits: Tensor,
        mask: Tensor | None,
    ) -> Labels:
        """Return the labels of targets that are tensors alike, or of one target in any form."""
        leading, device = logits.shape[:-1], logits.device
        sizes = [self.sizes[i] for i in members]
        columns = None
        if are_tensors:
            columns = stack_alike([given[i] for i in members], sizes, leading, device)
        if columns is None:
            for i in members:
                refuse_transposed(self.targets[i].title, given[i], leading)
            each = [self.targets[i].encode_labels(given[i], leading, device, mask) for i in members]
            columns = torch.cat(each, dim=-1) if len(each) > 1 else each[0]
            ids = self.family.takes_ids
            if ids and columns.is_floating_point() and columns.shape[-1] > sum(sizes):
                return self._likeliest(self.targets[members[0]], columns, logits, mask)
        places = self._given_places.of(members, device) if self._missing.any else None
        return self._numbers(columns, logits, mask, places)

    def _join_pieces(
        self, pieces: Sequence[Labels], members: Sequence[Sequence[int]], logits: Tensor
    ) -> Labels:
        """Return the labels of all targets, in their order; ``members`` are those of each piece."""
        order, device = [i for own in members for i in own], logits.device
        shapes = [piece.values.shape for piece in pieces]
        present = [piece.present for piece in pieces]
        valid = [piece.valid for piece in pieces]
        probabilities = None
        if any_mask([piece.probabilities for piece in pieces]):
            each = self._all_probabilities(pieces, members, logits)
            probabilities = torch.cat(each, dim=-1)
        return Labels(
            self._join([piece.values for piece in pieces], order),
            self._join(filled(present, shapes, device), order) if any_mask(present) else None,
            self._join(filled(valid, shapes, device), order) if any_mask(valid) else None,
            probabilities,
        )

    def _likeliest(
        self, target: Target, columns: Tensor, logits: Tensor, mask: Tensor | None
    ) -> Labels:
        """Return probabilities of classes ``[D*, n_classes]`` with the class ids that metrics read.

        NaN in a row means that its label is missing, where one may be.
        """
        present = ~columns.isnan().any(-1, keepdim=True) if target.may_miss else None
        valid = None if mask is None else mask.unsqueeze(-1)
        columns = zero_where_false(columns, both(present, valid)).to(logits.dtype)
        hint = "A row without a label is NaN." if target.may_miss else ""
        check_values(target.title, "class probabilities", columns, 0.0, 1.0, hint)
        sums = columns.sum(-1, keepdim=True)
        off = zero_where_false((sums - 1).abs(), both(present, valid))
        check_values(
            target.title, "the distance from 1 of the sums of class probabilities", off, 0.0, 1e-2
        )
        return Labels(columns.argmax(-1, keepdim=True), present, valid, columns)

    def _all_probabilities(
        self, pieces: Sequence[Labels], members: Iterable[Sequence[int]], logits: Tensor
    ) -> list[Tensor]:
        """Return the probabilities of each target's classes, 1 for a class id."""
        found: dict[int, Tensor] = {}
        for piece, own in zip(pieces, members, strict=True):
            for k, i in enumerate(own):
                found[i] = (
                    one_hot(piece.values[..., k], self.targets[i].family.logits_per_label, logits)
                    if piece.probabilities is None
                    else piece.probabilities
                )
        return [found[i] for i in range(len(self.targets))]

    def _join(self, parts: Sequence[Tensor], order: Sequence[int]) -> Tensor:
        """Return the columns ``[D*, U]`` of all targets, out of parts in another order of them."""
        joined = torch.cat(list(parts), dim=-1) if len(parts) > 1 else parts[0]
        return joined if [*order] == sorted(order) else self._places.reorder(joined, order)

    def _blame(self, bad: Tensor) -> str:
        """Return whose the first bad label is."""
        column = int(bad.flatten(0, -2).any(0).nonzero()[0])
        return self.targets[self._owner[column]].title


def check_part(who: Blame, part: LabelPart, values: Tensor) -> None:
    """Refuse values ``[D*, U]`` of one part of each label that it may not have.

    Raises:
        ValueError: if a value is out of range or, where it must be whole, has a fraction.
    """
    argument = f"labels {part.name!r}"
    check_values(who, argument, values, part.lowest, part.highest)
    if part.whole:
        whole_numbers(who, argument, values, "as whole numbers")


def one_hot(ids: Tensor, n_classes: int, like: Tensor) -> Tensor:
    """Return 1 for each class id ``[D*]`` and 0 for the others, ``[D*, n_classes]``.

    That of `torch.nn.functional` looks at the values, which `torch.func.vmap` forbids.
    """
    return (ids.unsqueeze(-1) == torch.arange(n_classes, device=ids.device)).to(like.dtype)


def any_mask(masks: Sequence[Tensor | None]) -> bool:
    """Return whether any of the masks says more than True everywhere."""
    return any(mask is not None for mask in masks)


def filled(
    masks: Sequence[Tensor | None], shapes: Sequence[torch.Size], device: torch.device
) -> list[Tensor]:
    """Return masks of these shapes, of which None is True everywhere."""
    return [
        torch.ones(shape, dtype=torch.bool, device=device) if mask is None else mask.expand(shape)
        for mask, shape in zip(masks, shapes, strict=True)
    ]
