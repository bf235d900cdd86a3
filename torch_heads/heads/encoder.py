"""The batch of many heads of one family, encoded as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from torch_heads.functional.columns import Columns
from torch_heads.functional.constants import Constants
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.groups import Groups
from torch_heads.functional.tensors import blank
from torch_heads.heads.batch import Batch, counting
from torch_heads.heads.evaluated import ABSENT, Features
from torch_heads.heads.joined_labels import JoinedLabels
from torch_heads.heads.tensor_head import TensorHead


class JoinedEncoder(Constants):
    """Makes the batch of a `JoinedBlock` out of dicts by head name, or of stacked columns.

    Wherever the heads' labels and weights are alike, they are checked and encoded in one pass;
    else head by head, before they are joined.

    Args:
        heads: the heads, of equal families.
        groups: how logits of class ids are padded; None for other families.
        logits: where their logits stand among the stacked logits of the `MultiHead`.
        labels: where their labels stand among the stacked labels.
    """

    logit_owner: Tensor

    def __init__(
        self,
        heads: Sequence[TensorHead],
        groups: Groups | None,
        logits: Sequence[int],
        labels: Sequence[int],
    ) -> None:
        super().__init__()
        self.heads = tuple(heads)  # in a tuple, they do not become child modules
        self.names = [head.name or "" for head in heads]
        self.family = heads[0].family
        # in a tuple: no child module, and empty where there is nothing to pad
        self._padded = (groups,) if groups is not None and not groups.uniform else ()
        self.labels = JoinedLabels(heads, labels)
        column = heads[0].weight_column
        self._one_column = all(head.weight_column == column for head in heads)
        self._row_weights = all(head.loss_dimension == 1 for head in heads)
        owner = [i for i, head in enumerate(heads) for _ in range(head.logits_dimension)]
        for each in self._padded:
            padded = each.index.tolist()
            logits, owner = [logits[i] for i in padded], [owner[i] for i in padded]
        self.logits = Columns(logits)
        self.constant("logit_owner", owner)

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
            joined = self.logits.of(logits)
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
        columns = self.labels.encode(labels, joined)
        found = self._weights(labels, features, weights, joined)
        labelled = rows = None
        if self.labels.may_miss:
            labelled = self.labels.missing.present(columns)
            found = None if found is None else blank(found, labelled)
            rows = self.labels.rows(labels, labelled)
        columns = blank(columns.to(self.family.label_dtype(joined)), labelled)
        self.labels.check(columns)
        # before anything is computed, so that no NaN spreads from what does not count
        keep = counting(found, labelled)
        if keep is not None:
            columns = blank(columns, keep)
            if keep.shape[-1] not in (1, joined.shape[-1]):
                keep = keep.index_select(-1, self.logit_owner)
            joined = blank(joined, keep)
        for groups in self._padded:
            if groups.padding is not None:  # then this is a copy
                joined = joined.masked_fill_(groups.padding, -inf)
        return Batch(joined, columns, found, labelled, rows)

    def _check_device(self, logits: Tensor) -> None:
        if logits.device != self.logit_owner.device:
            who = f"MultiHead {preview(self.names, 4)}"
            expected = f"on its device {self.logit_owner.device}"
            hint = "Move it by head.to(device)."
            raise ValueError(unexpected(who, "logits", expected, logits.device, hint))

    def _weights(
        self,
        labels: Mapping[str, Any] | Tensor,
        features: Features | None,
        weights: Mapping[str, Any],
        logits: Tensor,
    ) -> Tensor | None:
        heads = self.heads
        if isinstance(labels, Mapping) and not any(name in labels for name in self.names):
            return None  # and there may be no features to look into
        if not weights or not any(name in weights for name in self.names):
            if self._one_column and heads[0].weight_column is None:
                return None
            if self._one_column and self._row_weights:
                part = logits[..., : heads[0].logits_dimension]
                return heads[0].encode_weights(features, None, part)
        alike = self._stack_weights(labels, weights, logits)
        if alike is not None:
            return alike
        found, start = [], 0
        for head, name in zip(heads, self.names, strict=True):
            part = logits[..., start : start + head.logits_dimension]
            start += head.logits_dimension
            absent = isinstance(labels, Mapping) and name not in labels
            one = None if absent else head.encode_weights(features, weights.get(name), part)
            one = part.new_ones(()) if one is None else one
            found.append(one.expand(*logits.shape[:-1], head.labels_dimension))
        return torch.cat(found, dim=-1)

    def _stack_weights(
        self,
        labels: Mapping[str, Any] | Tensor,
        weights: Mapping[str, Any],
        logits: Tensor,
    ) -> Tensor | None:
        """Return weights joined in one pass, None if they are not tensors of one shape."""
        if not self._one_column or self.heads[0].weight_column is not None or not self._row_weights:
            return None
        given = [
            weights.get(name) if isinstance(labels, Tensor) or name in labels else None
            for name in self.names
        ]
        first = next((one for one in given if one is not None), None)
        if not isinstance(first, Tensor) or first.is_complex() or first.device != logits.device:
            return None
        leading = logits.shape[:-1]
        try:
            if first.shape not in (leading, (*leading, 1)):
                return None
            ones = torch.ones_like(first)
            each = [ones if one is None else one for one in given]
            if any(one.shape != first.shape or one.dtype != first.dtype for one in each):
                return None
            joined = torch.stack(each).view(len(each), *leading).movedim(0, -1)
        except (AttributeError, RuntimeError, TypeError):  # of no tensors, or of nested ones
            return None
        joined = joined.to(logits.dtype)
        owner = self.labels.owner
        return joined if len(owner) == len(each) else joined.index_select(-1, owner)

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
