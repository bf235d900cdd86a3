"""Sets of class ids, out of every form but multi-hot: each id with the row in which it stands."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_heads.functional.containers import are_entries, is_gap
from torch_heads.functional.errors import preview, unexpected

COLLECTIONS = (list, tuple, set, frozenset)


class IdSets(NamedTuple):
    """Sets of class ids.

    Attributes:
        ids: ``[M]``, of all sets one after the other.
        rows: ``[M]``, the row of each.
        leading: the batch shape.
        named: whether they came as names.
        gaps: the rows without a set.
    """

    ids: Tensor
    rows: Tensor
    leading: tuple[int, ...]
    named: bool = False
    gaps: Sequence[int] = ()

    @classmethod
    def of_sparse(cls, who: str, labels: Tensor) -> IdSets:
        """Return the ids of a sparse tensor ``[D*, ?]``, wherever in their row they stand."""
        if labels.dense_dim():
            given = f"{labels.dense_dim()} dense dimensions"
            raise ValueError(unexpected(who, "sparse labels", "with one id in each place", given))
        # not coalesced: that would add up the ids at equal positions
        ids, leading = labels._values(), tuple(labels.shape[:-1])
        rows = torch.zeros(len(ids), dtype=torch.int64, device=ids.device)
        for place, size in zip(labels._indices(), leading, strict=False):
            rows = rows * size + place
        return cls(ids, rows, leading)

    @classmethod
    def of_nested(cls, who: str, labels: Tensor) -> IdSets:
        """Return the ids of a nested tensor, one part per row."""
        parts = labels.unbind()
        if labels.dim() != 2:
            given = f"parts of {labels.dim() - 1} dimensions"
            raise ValueError(unexpected(who, "nested labels", "as one list of ids per row", given))
        lengths = torch.tensor([len(part) for part in parts], device=labels.device)
        ids = torch.cat(list(parts)) if parts else torch.zeros(0, dtype=torch.int64)
        rows = torch.arange(len(parts), device=labels.device)
        return cls(ids, rows.repeat_interleave(lengths, output_size=len(ids)), (len(parts),))

    def without(self, keep: Tensor) -> IdSets:
        """Return them with id 0 in rows that do not count; ``keep`` is ``[R]``."""
        return self._replace(ids=torch.where(keep[self.rows], self.ids, 0))

    def are_nothing_but(self, values: set[Any]) -> Tensor:
        """Return the rows whose only entry is one of the values, ``[R]``."""
        counts = torch.zeros(prod(self.leading), dtype=torch.int64, device=self.ids.device)
        alone = torch.eq(counts.index_add(0, self.rows, torch.ones_like(self.rows)), 1)
        held = torch.zeros_like(alone)
        for value in values:
            if not isinstance(value, str):  # a name, among ids
                hits = torch.eq(self.ids, value).to(torch.int64)
                held = held | (counts.index_add(0, self.rows, hits) == 1)
        return alone & held


def rows_of_lists(labels: Any, depth: int) -> list[Any] | None:
    """Return what stands in each row of nested lists; None where a row is no list."""
    level: list[Any] = [labels]
    for _ in range(depth):
        if any(_is_entry(part) or isinstance(part, (set, frozenset)) for part in level):
            return None
        level = [item for part in level for item in part]
    return None if any(_is_entry(row) and not is_gap(row) for row in level) else level


def batch_shape(who: str, labels: Any, depth: int) -> tuple[int, ...]:
    """Return the shape of the batch of nested lists.

    Raises:
        ValueError: if its parts differ in length.
    """
    sizes: list[int] = []
    level = [labels]
    for _ in range(depth):
        lengths = {len(part) for part in level}
        if len(lengths) > 1:
            expected = "with as many rows in each part of the batch"
            raise ValueError(unexpected(who, "labels", expected, preview(sorted(lengths))))
        sizes += lengths or {0}
        level = [item for part in level for item in part]
    return tuple(sizes)


def refuse_sets_within(who: str, entries: Sequence[Any]) -> None:
    """Refuse entries of sets that hold others.

    Raises:
        ValueError: if one does.
    """
    if are_entries({*map(type, entries)}):
        return
    for entry in entries:
        if not _is_entry(entry):
            expected, given = "as one set of classes per row", f"a row that holds {entry!r}"
            raise ValueError(unexpected(who, "labels", expected, given))


def _is_entry(value: Any) -> bool:
    return not isinstance(value, COLLECTIONS) and getattr(value, "ndim", 0) == 0
