"""A batch of lists as ``default_collate`` returns it: a list per position, not per example."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from torch import Tensor

from torch_heads.functional.errors import unexpected
from torch_heads.functional.forms import is_text
from torch_heads.functional.tables import fields_of


def refuse_transposed(
    who: str, values: Any, leading: Sequence[int], argument: str = "labels"
) -> None:
    """Refuse lists of tuples of names, or of tensors, each of which is as long as the batch.

    Args:
        who: the head, as errors say it.
        values: what may be such lists, also nested ones.
        leading: the shape of the batch.
        argument: what the values are, as errors say it.

    Raises:
        ValueError: if they are.
    """
    if not isinstance(values, (list, tuple)) or fields_of(values) or not values or not leading:
        return
    rows, alone = leading[0], len(values) == 1
    if rows == 0 or (rows == 1 and alone):  # an example of one position is the same either way
        return
    first, depth = values[0], 1
    while isinstance(first, (list, tuple)) and first and not _is_leaf(first):
        first, depth = first[0], depth + 1
    if not _is_leaf(first) or len(first) != rows:
        return
    level: Sequence[Any] = values
    for _ in range(depth - 1):
        if not all(isinstance(part, (list, tuple)) for part in level):
            return
        level = [*chain.from_iterable(level)]
    if all(_is_leaf(part) and len(part) == rows for part in level):
        _refuse(who, argument, len(values), depth, isinstance(first, Tensor), rows)


def _is_leaf(part: Any) -> bool:
    """Return whether a part could hold one position of all examples."""
    if isinstance(part, Tensor):
        return part.dim() > 0 and not part.is_nested
    return isinstance(part, tuple) and is_text(part)


def _refuse(who: str, argument: str, count: int, depth: int, are_tensors: bool, rows: int) -> None:
    kind = "tensors" if are_tensors else "tuples"
    name = argument if argument.isidentifier() else "values"
    what = f"a list of {count} {kind}" if depth == 1 else f"nested lists of {kind}"
    out = _stacked(name, depth) if are_tensors else _lists(_zipped(name, depth), depth)
    hint = f"default_collate lists positions: {out} lists examples."
    if count == rows:
        own = _examples(name, depth) if are_tensors else _lists(name, depth)
        hint += f" If these are the examples, give {own}."
    given = f"{what}, each as long as the batch"
    raise ValueError(unexpected(who, argument, "by example", given, hint))


def _stacked(name: str, depth: int) -> str:
    """Return the code that stacks the positions of lists that are nested so deep."""
    if depth == 1:
        return f"torch.stack({name}, 1)"
    return f"torch.stack([{_stacked('part', depth - 1)} for part in {name}], 1)"


def _examples(name: str, depth: int) -> str:
    """Return the code that stacks examples that are first already."""
    if depth == 1:
        return f"torch.stack({name})"
    return f"torch.stack([{_examples('part', depth - 1)} for part in {name}])"


def _lists(rows: str, depth: int) -> str:
    """Return the code that makes lists of rows that are nested so deep, without tuples."""
    return f"[{'list(row)' if depth == 1 else _lists('row', depth - 1)} for row in {rows}]"


def _zipped(name: str, depth: int) -> str:
    """Return the code that lists examples first."""
    if depth == 1:
        return f"zip(*{name})"
    return f"zip(*({_zipped('part', depth - 1)} for part in {name}))"
