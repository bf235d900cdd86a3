"""The labels of many heads of one family, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.columns import Columns
from torch_heads.functional.constants import Constants
from torch_heads.functional.families import Categorical
from torch_heads.functional.labels import check_values, whole_numbers
from torch_heads.functional.missing import MissingColumns
from torch_heads.heads.evaluated import ABSENT
from torch_heads.heads.tensor_head import TensorHead


class JoinedLabels(Constants):
    """Puts labels side by side, out of dicts by head name or of stacked columns.

    Wherever the heads' labels are alike, that takes one pass; else each head first turns its
    own labels into numbers.

    Args:
        heads: the heads, of equal families.
        places: where their labels stand among the stacked labels of the `MultiHead`.
    """

    owner: Tensor
    highest: Tensor

    def __init__(self, heads: Sequence[TensorHead], places: Sequence[int]) -> None:
        super().__init__()
        self.heads = tuple(heads)  # in a tuple, they do not become child modules
        self.names = [head.name or "" for head in heads]
        self.family = heads[0].family
        self.columns = Columns(places)
        sizes = [head.labels_dimension for head in heads]
        self._size = sizes[0] if len(set(sizes)) == 1 else None
        self._named = any(head.takes_names for head in heads)
        #: Whether labels may be missing, of any head.
        self.may_miss = any(head.may_miss for head in heads)
        self._missing_values = [
            nan if head.missing is None else head.missing.value for head in heads
        ]
        finite = [abs(value) for value in self._missing_values if isfinite(value)]
        self._largest_missing = max(finite, default=0.0)
        self._low = heads[0].label_range[0]
        highs = [head.label_range[1] for head in heads]
        self._high = highs[0] if len(set(highs)) == 1 else None
        owner = [i for i, size in enumerate(sizes) for _ in range(size)]
        self.constant("owner", owner)
        self.constant("highest", [highs[i] for i in owner])
        self.missing = MissingColumns([heads[i].missing for i in owner])

    def encode(self, labels: Mapping[str, Any] | Tensor, logits: Tensor) -> Tensor:
        """Return the labels as numbers ``[D*, U]``, of any dtype, not range-checked.

        Args:
            labels: by head name, or those of all heads of the `MultiHead`, side by side.
            logits: the heads' own, ``[D*, C]``, for their shape, dtype and device.
        """
        dtype = self.family.label_dtype(logits)
        if isinstance(labels, Tensor):
            labels = self.columns.of(labels)
            if dtype.is_floating_point or not labels.is_floating_point():
                return labels
            if not self.may_miss:
                return whole_numbers(self._blame, "labels", labels)
            # class ids among floats, where a missing label may be NaN, too
            values = self.missing.values
            gone = ~self.missing.present(labels) | (labels.isnan() & ~values.isnan())
            ids = whole_numbers(self._blame, "labels", labels.masked_fill(gone, 0.0))
            return torch.where(gone, values.nan_to_num(0.0).to(torch.int64), ids)
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
            if not isinstance(self.family, Categorical):
                # a dtype beside which the others' labels are not rounded
                dtype = like.dtype if like.is_floating_point() else torch.float64
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
        if self._named or self._size is None or not isinstance(given[0], Tensor):
            return None
        try:
            joined = self._stack(given, leading, dtype)
        except RuntimeError:  # of several devices, say, or nested
            return None
        if joined is None:
            return None
        if self._size == 1:
            return joined.view(len(given), *leading).movedim(0, -1).contiguous()
        return joined.movedim(0, -2).flatten(-2)

    def _stack(
        self, given: Sequence[Tensor], leading: torch.Size, dtype: torch.dtype
    ) -> Tensor | None:
        shape = given[0].shape
        flat = shape == leading and self._size == 1
        if given[0].is_sparse or not (flat or shape == (*leading, self._size)):
            return None
        if not all(isinstance(one, Tensor) and one.shape == shape for one in given):
            return None
        dtypes, ids = {one.dtype for one in given}, not dtype.is_floating_point
        floats = {one for one in dtypes if one.is_floating_point}
        if any(one.is_complex for one in dtypes) or (ids and (floats or torch.bool in dtypes)):
            return None  # so that the head says itself what is wrong
        if len(dtypes) > 1 and not ids:
            # as each head would read them: PyTorch's common dtype may round some
            if not self.may_miss:
                given = [one.to(dtype) for one in given]
            elif floats - {torch.float64}:
                return None
        return torch.stack(list(given))

    def rows(self, labels: Mapping[str, Any] | Tensor, labelled: Tensor) -> Tensor | None:
        """Return where a label could be: nowhere in the columns of an absent head.

        None stands for everywhere.
        """
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

    def check(self, columns: Tensor) -> None:
        """Refuse labels that are out of range.

        Raises:
            ValueError: by the head whose they are.
        """
        high = self.highest if self._high is None else self._high
        check_values(self._blame, "labels", columns, self._low, high)

    def _blame(self, bad: Tensor) -> str:
        """Return whose the first bad label is."""
        column = int(bad.flatten(0, -2).any(0).nonzero()[0])
        return self.heads[int(self.owner[column])].title
