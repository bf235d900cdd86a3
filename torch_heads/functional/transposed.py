"""A batch of lists as ``default_collate`` returns it: a list per position, not per example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from torch_heads.functional.errors import unexpected
from torch_heads.functional.tensors import is_text


def refuse_transposed(who: str, labels: Any, leading: Sequence[int]) -> None:
    """Refuse a list of tuples of names, or of tensors, each of which is as long as the batch.

    Raises:
        ValueError: if the labels are such a list.
    """
    if not isinstance(labels, list) or not labels or not leading or leading[0] < 2:
        return
    names = all(isinstance(part, tuple) and is_text(part) for part in labels)
    tensors = all(isinstance(part, Tensor) and part.dim() > 0 for part in labels)
    if (names or tensors) and all(len(part) == leading[0] for part in labels):
        kind = "tensors" if tensors else "tuples"
        given = f"a list of {len(labels)} {kind}, each as long as the batch"
        out = "torch.stack(labels, 1)" if tensors else "[list(row) for row in zip(*labels)]"
        hint = f"default_collate lists positions: {out} lists examples."
        if len(labels) == leading[0]:
            own = "torch.stack(labels)" if tensors else "[list(row) for row in labels]"
            hint += f" If these are the examples, give {own}."
        raise ValueError(unexpected(who, "labels", "by example", given, hint))
