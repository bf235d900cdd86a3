"""The batch of many heads of one family, encoded as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf, isfinite, nan
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from torch_heads.functional.constants import Constants
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.groups import Groups
from torch_heads.functional.labels import check_values, whole_numbers
from torch_heads.functional.missing import MissingColumns
from torch_heads.functional.tensors import blank
from torch_heads.heads.block import Batch, counting
from torch_heads.heads.evaluated import ABSENT, Features
from torch_heads.heads.tensor_head import TensorHead


class JoinedEncoder(Constants):
    """Makes the batch of a `JoinedBlock` out of dicts by head name, or of stacked columns.

    Wherever the heads' labels and weights are alike, they are checked and encoded in one pass;
    else head by head, before they are joined.

    Args:
        heads: the heads, of equal families.
        groups: how logits of class ids are padded; None for other families.
        logits: where each one's logits stand among the stacked logits of the `MultiHead`.
        labels: where each one's labels stand among the stacked labels.
    """

    owner: Tensor
    logit_owner: Tensor
    highest: Tensor
    logits_index: Tensor
    labels_index: Tensor

    def __init__(
        self,
        heads: Sequence[TensorHead],
        groups: Groups | None,
        logits: Sequence[slice],
        labels: Sequence[slice],
    ) -> None:
        super().__init__()
        self.heads = tuple(heads)  # in a tuple, they do not become child modules
        self.names = [head.name or "" for head in heads]
        self.family = heads[0].family
        self._padded = (groups,) if groups is not None and not groups.uniform else ()
        padded = self._padded[0].index.tolist() if self._padded else None
        self._logits = self._run("logits_index", logits, padded)
        self._labels = self._run("labels_index", labels)
        sizes = [head.labels_dimension for head in heads]
        self._size = sizes[0] if len(set(sizes)) == 1 else None
        self._named = any(head.takes_names for head in heads)
        column = heads[0].weight_column
        self._one_column = all(head.weight_column == column for head in heads)
        self._row_weights = all(head.loss_dimension == 1 for head in heads)
        self._may_miss = any(head.may_miss for head in heads)
        self._low = heads[0].label_range[0]
        highs = [head.label_range[1] for head in heads]
        self._high = highs[0] if len(set(highs)) == 1 else None
        owner = [i for i, size in enumerate(sizes) for _ in range(size)]
        missing = [nan if head.missing is None else head.missing.value for head in heads]
        self._missing_values = missing
        self._largest_missing = max((abs(v) for v in missing if isfinite(v)), default=0.0)
        widths = [head.logits_dimension for head in heads]
        logit_owner = [i for i, width in enumerate(widths) for _ in range(width)]
        self.constant("logit_owner", [logit_owner[i] for i in padded or range(len(logit_owner))])
        self.constant("owner", owner)
        self.constant("highest", [highs[i] for i in owner])
        self.missing = MissingColumns([heads[i].missing for i in owner])

    def _run(
        self, name: str, parts: Sequence[slice], padded: Sequence[int] | None = None
    ) -> slice | None:
        """Return the columns as one slice, which is a view, or keep their index and return None."""
        if padded is None and all(left.stop == right.start for left, right in pairwise(parts)):
            return slice(parts[0].start, parts[-1].stop)
        index = [i for part in parts for i in range(part.start, part.stop)]
        self.constant(name, index if padded is None else [index[i] for i in padded])
        return None

    def encode(
        self,
        labels: Mapping[str, Any] | Tensor,
        logits: Mapping[str, Any] | Tensor,
        features: Features | None,
        weights: Mapping[str, Any],
    ) -> Batch:
        """Return the checked batch of all heads, out of stacked columns or dicts by head name."""
        if isinstance(logits, Tensor):
            self._check_device(logits)
            index = self.logits_index if self._logits is None else None
            joined = logits[..., self._logits] if index is None else logits.index_select(-1, index)
        else:
            each = [
                head.check_logits(logits[name])
                for head, name in zip(self.heads, self.names, strict=True)
            ]
            if any(one.shape[:-1] != each[0].shape[:-1] for one in each):
                return self._encode_ragged(labels, each, features, weights)
            joined = torch.cat(each, dim=-1)
            self._check_device(joined)
            for groups in self._padded:
                joined = joined.index_select(-1, groups.index)
        columns = self._columns(labels, joined)
        found = self._weights(labels, features, weights, joined)
        labelled = rows = None
        if self._may_miss:
            labelled = self.missing.present(columns)
            found = None if found is None else blank(found, labelled)
            rows = self._rows(labels, labelled)
        columns = blank(columns.to(self.family.label_dtype(joined)), labelled)
        high = self.highest if self._high is None else self._high
        check_values(self._blame, "labels", columns, self._low, high)
        # before anything is computed, so that no NaN spreads from what does not count
        keep = counting(found, labelled)
        if keep is not None:
            columns = blank(columns, keep)
            if keep.shape[-1] not in (1, joined.shape[-1]):
                keep = keep.index_select(-1, self.logit_owner)
            joined = blank(joined, keep)
        for groups in self._padded:
            joined = joined.masked_fill_(groups.padding, -inf)
        return Batch(joined, columns, found, labelled, rows)

    def _check_device(self, logits: Tensor) -> None:
        if logits.device != self.owner.device:
            who, expected = (
                f"MultiHead of {preview(self.names)}",
                f"on its device {self.owner.device}",
            )
            hint = "Move it by head.to(device)."
            raise ValueError(unexpected(who, "logits", expected, logits.device, hint))

    def _columns(self, labels: Mapping[str, Any] | Tensor, logits: Tensor) -> Tensor:
        dtype = self.family.label_dtype(logits)
        if isinstance(labels, Tensor):
            index = self.labels_index if self._labels is None else None
            labels = labels[..., self._labels] if index is None else labels.index_select(-1, index)
            if labels.is_floating_point() and not dtype.is_floating_point:
                # class ids among floats, where NaN is how a missing label is written
                missing = self.missing.values.to(labels.dtype)
                labels = torch.where(labels.isnan(), missing, labels)
                labels = whole_numbers(self._blame, "labels", labels)
            return labels
        leading, device = logits.shape[:-1], logits.device
        given = [labels.get(name, ABSENT) for name in self.names]
        joined = self._join(self._filled(given, leading, device), leading, dtype)
        if joined is not None and joined.device == device:
            return joined
        each = [
            head.absent_columns(leading, device)
            if one is ABSENT
            else head.label_columns(one, leading, device)
            for head, one in zip(self.heads, given, strict=True)
        ]
        alike = [
            one.to(dtype) if head.missing is None else head.missing.cast(one, dtype)
            for head, one in zip(self.heads, each, strict=True)
        ]
        return torch.cat(alike, dim=-1)

    def _filled(
        self, given: Sequence[Any], leading: torch.Size, device: torch.device
    ) -> Sequence[Any]:
        """Return labels with missing ones for absent heads, of the shape of the others'.

        Where the others are no dense tensors, what is absent stays so.
        """
        if self._named or not any(one is ABSENT for one in given):
            return given
        like = next((one for one in given if one is not ABSENT), None)
        shape, dtype = (*leading, self._size or 1), None
        if like is not None:
            if not isinstance(like, Tensor) or like.is_nested or like.layout != torch.strided:
                return given
            if like.shape not in (shape, leading):
                return given
            shape = like.shape
            if like.is_floating_point():
                dtype = like.dtype
                if self._largest_missing > torch.finfo(dtype).max:
                    return given
        fillers: dict[str, Tensor] = {}  # one for all heads that write it alike; by text, for NaN
        filled = []
        for value, one in zip(self._missing_values, given, strict=True):
            if one is ABSENT and str(value) not in fillers:
                fillers[str(value)] = torch.full(shape, value, dtype=dtype, device=device)
            filled.append(fillers[str(value)] if one is ABSENT else one)
        return filled

    def _join(self, given: Sequence[Any], leading: torch.Size, dtype: torch.dtype) -> Tensor | None:
        """Return labels joined in one pass, None if they are not dense tensors of one shape."""
        first = given[0]
        if self._named or self._size is None or not isinstance(first, Tensor):
            return None
        shape = first.shape
        flat = shape == leading and self._size == 1
        if first.is_sparse or not (flat or shape == (*leading, self._size)):
            return None
        if not all(isinstance(one, Tensor) and one.shape == shape for one in given):
            return None
        if self._may_miss and len({one.dtype for one in given if one.is_floating_point()}) > 1:
            return None  # a missing label would not be read as it was written
        try:
            joined = torch.stack(list(given))
        except RuntimeError:  # of several devices, say
            return None
        # the dtype to which all promote: if that is of class ids, then so is each
        if not dtype.is_floating_point and (
            joined.is_floating_point() or joined.dtype == torch.bool
        ):
            return None
        if self._size == 1:
            return joined.view(len(given), *leading).movedim(0, -1).contiguous()
        return joined.movedim(0, -2).flatten(-2)

    def _weights(
        self,
        labels: Mapping[str, Any] | Tensor,
        features: Features | None,
        weights: Mapping[str, Any],
        logits: Tensor,
    ) -> Tensor | None:
        heads = self.heads
        if isinstance(labels, Mapping) and not any(name in labels for name in self.names):
            return None  # nor are there features to look for, maybe
        if not weights or not any(name in weights for name in self.names):
            if self._one_column and heads[0].weight_column is None:
                return None
            if self._one_column and self._row_weights:
                part = logits[..., : heads[0].logits_dimension]
                return heads[0].encode_weights(features, None, part)
        found, start = [], 0
        for head, name in zip(heads, self.names, strict=True):
            part = logits[..., start : start + head.logits_dimension]
            start += head.logits_dimension
            absent = isinstance(labels, Mapping) and name not in labels
            one = None if absent else head.encode_weights(features, weights.get(name), part)
            one = part.new_ones(()) if one is None else one
            found.append(one.expand(*logits.shape[:-1], head.labels_dimension))
        return torch.cat(found, dim=-1)

    def _rows(self, labels: Mapping[str, Any] | Tensor, labelled: Tensor) -> Tensor | None:
        """Return where a label could be: nowhere in the columns of an absent head."""
        if isinstance(labels, Tensor) or all(name in labels for name in self.names):
            return None
        fillers: dict[tuple[int, bool], Tensor] = {}
        given = []
        for head, name in zip(self.heads, self.names, strict=True):
            key = head.labels_dimension, name in labels
            if key not in fillers:
                fillers[key] = labelled.new_full(key[:1], key[1])
            given.append(fillers[key])
        return torch.cat(given).expand(labelled.shape)

    def _encode_ragged(
        self,
        labels: Mapping[str, Any] | Tensor,
        given_logits: Sequence[Tensor],
        features: Features | None,
        weights: Mapping[str, Any],
    ) -> Batch:
        """Encode heads of different batch shapes: short ones are padded by rows that do not count.

        Only a dict of labels fits such logits.
        """
        each: list[Batch] = []
        for head, name, own in zip(self.heads, self.names, given_logits, strict=True):
            given = labels.get(name, ABSENT) if isinstance(labels, Mapping) else labels
            each += head.encode(given, own, features, weights.get(name))
        length = max(batch.labels[..., 0].numel() for batch in each)

        def joined(parts: Sequence[Tensor]) -> Tensor:
            flat = [part.flatten(0, -2) for part in parts]
            return torch.cat([pad(part, (0, 0, 0, length - len(part))) for part in flat], dim=-1)

        def filled(values: Tensor | None, like: Tensor, dtype: torch.dtype) -> Tensor:
            if values is None:
                return torch.ones_like(like, dtype=dtype)
            return values.expand(like.shape)

        logits = joined([batch.logits for batch in each])
        for groups in self._padded:
            logits = groups.pad(logits, -inf)
        return Batch(
            logits,
            joined([batch.labels for batch in each]),
            joined([filled(b.weights, b.labels, b.logits.dtype) for b in each]),
            joined([filled(b.labelled, b.labels, torch.bool) for b in each]),
            joined([filled(b.rows, b.labels, torch.bool) for b in each]),
        )

    def _blame(self, bad: Tensor) -> str:
        """Return whose the first bad label is."""
        column = int(bad.flatten(0, -2).any(0).nonzero()[0])
        return self.heads[int(self.owner[column])].title
