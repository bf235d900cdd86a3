"""Sequences of different lengths, in lists: padded to one length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.containers import by_key, opened
from torch_heads.functional.errors import unexpected
from torch_heads.functional.tables import Table, is_table, table_columns
from torch_heads.functional.transposed import refuse_transposed

DIFFERENT = "A sequence may be shorter than the logits by its padding alone."


def padded(who: str, argument: str, values: Any, counts: Tensor) -> Any:
    """Return lists of sequences as lists of one length, and anything else as it is.

    Behind the end of a sequence its last step is repeated, which has the form of a step, whatever
    that is, and counts nowhere.

    Args:
        who: the head, as errors say it.
        argument: what the values are, likewise.
        values: in a list or another container, or a nested tensor; or a dict or table of these.
        counts: ``[B, T]``, where a step counts.

    Raises:
        ValueError: if a sequence is longer than ``T``, or ends before its last step that counts, or
            lists are of steps.

    >>> padded("head", "labels", [[1, 2, 3], [4]], torch.tensor([[1, 1, 1], [1, 0, 0]]) > 0)
    [[1, 2, 3], [4, 4, 4]]
    """
    values = by_key(values)
    if isinstance(values, Mapping):
        return {
            key: padded(who, f"{argument}[{key!r}]", one, counts) for key, one in values.items()
        }
    refuse_transposed(who, values, counts.shape, argument)
    held = opened(values)
    if is_table(held):
        columns = padded(who, argument, table_columns(who, argument, held), counts)
        return Table([*columns], columns)
    rows = sequences_of(held)
    count, steps = counts.shape
    if rows is None or len(rows) != count:
        return values
    if {*map(len, rows)} <= {steps} and not isinstance(values, Tensor):  # which is a nested one
        return values
    places = torch.arange(1, steps + 1, device=counts.device)
    known = steps and not counts.is_meta
    needed = (counts * places).amax(1).tolist() if known else [0] * count
    for i, (row, least) in enumerate(zip(rows, needed, strict=True)):
        if not least <= len(row) <= steps:
            expected = f"with at least {least} steps" if len(row) < least else f"of {steps} steps"
            raise ValueError(
                unexpected(who, argument, expected, f"{len(row)} in sequence {i}", DIFFERENT)
            )
    first = next((row for row in rows if len(row)), [0])
    # an empty one has no type of its own
    each = [_extended(row if len(row) else first[:0], steps, first[0]) for row in rows]
    alike = all(isinstance(row, Tensor) and row.shape == each[0].shape for row in each)
    return torch.stack(each) if alike and each else each


def sequences_of(values: Any) -> Sequence[Any] | None:
    """Return the sequences in a container of them; None where it holds anything else."""
    if isinstance(values, Tensor):
        return list(values.unbind()) if values.is_nested else None
    held = opened(values)
    if not isinstance(held, (list, tuple)):
        return None
    return held if all(map(_is_sequence, held)) else None


def longest(who: str, values: Any) -> int:
    """Return how many steps the longest sequence among labels has, 0 without any.

    >>> longest("head", {"a": [[1, 2], [3]]})
    2
    """
    held = opened(values)
    if is_table(held):
        held = table_columns(who, "labels", held)
    if isinstance(held, Mapping):
        return max((longest(who, one) for one in held.values()), default=0)
    return max(map(len, sequences_of(held) or ()), default=0)


def _is_sequence(row: Any) -> bool:
    if isinstance(row, (Tensor, np.ndarray)):
        return row.ndim > 0
    return isinstance(row, Sequence) and not isinstance(row, (str, bytes))


def _extended(row: Any, steps: int, some: Any) -> Any:
    """Return a sequence of as many steps, those behind its end as its last; or ``some``."""
    more = steps - len(row)
    if isinstance(row, Tensor):
        last = row[-1:] if len(row) else row.new_zeros((1, *row.shape[1:]))
        return torch.cat([row, last.expand(more, *row.shape[1:])])
    if isinstance(row, np.ndarray):
        end = row[-1:] if len(row) else np.zeros((1, *row.shape[1:]), row.dtype)
        return np.concatenate([row, np.repeat(end, more, axis=0)])
    return [*row, *[row[-1] if len(row) else some] * more]
