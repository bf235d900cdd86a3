"""The heads of a `MultiHead`, and the factors of their losses: checked, and then fixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from torch_heads.functional.containers import in_order, listed, named_values
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.number_lists import as_float, refuse_learned
from torch_heads.functional.tensors import to_tensor
from torch_heads.heads.base import Head

LEARNED = "Weights that are learned are one nn.Parameter, with a number for each head."
FIXED = "The heads are computed as one; make a MultiHead of the others instead."


class FixedHeads(nn.ModuleList):
    """The heads of a `MultiHead`: a list of modules that refuses to be changed."""

    def __init__(self, title: str, heads: Sequence[Head]) -> None:
        super().__init__(heads)
        self.title = title

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Refuse another head, however it comes."""
        self._refuse_change()
        super().add_module(name, module)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse another head; take what is none."""
        if name in self.__dict__.get("_modules", ()):
            self._refuse_change()
        super().__setattr__(name, value)

    def __setitem__(self, index: int, module: nn.Module) -> None:
        """Refuse another head."""
        self._refuse_change()
        super().__setitem__(index, module)

    def __delitem__(self, index: int | slice) -> None:
        """Refuse to lose a head."""
        self._refuse_change()
        super().__delitem__(index)

    def insert(self, index: int, module: nn.Module) -> None:
        """Refuse another head."""
        self._refuse_change()
        super().insert(index, module)

    def _refuse_change(self) -> None:
        if "title" in self.__dict__:  # and so made
            expected, given = "as they were when it was made", "a change"
            raise TypeError(unexpected(self.title, "heads", expected, given, FIXED))


def check_heads(who: str, heads: Any) -> list[Head]:
    """Return heads with names that differ.

    Raises:
        TypeError: if they are not heads.
        ValueError: if there is none, or a name is missing or used twice.
    """
    if heads is None:
        raise ValueError(unexpected(who, "heads", "with at least one head", heads))
    if isinstance(heads, Head) or not isinstance(heads, Iterable):
        raise TypeError(unexpected(who, "heads", "as a list of heads", type(heads).__name__))
    children = listed(who, "heads", "as a list of heads", heads)
    if not children:
        raise ValueError(unexpected(who, "heads", "with at least one head", children))
    for head in children:
        if not isinstance(head, Head):
            given = type(head).__name__
            raise TypeError(unexpected(who, "heads", "as a list of heads", f"a {given} in it"))
        if not head.name:
            given = f"a {type(head).__name__} without"
            raise ValueError(unexpected(who, "heads", "with a name each", given))
    for name, times in Counter(head.name for head in children).items():
        if times > 1:
            raise ValueError(unexpected(who, "heads", "with different names", f"{name!r} twice"))
    return children


def check_head_weights(who: str, head_weights: Any, names: Sequence[str]) -> Tensor | None:
    """Return one factor per head, in the order of the names; None where none is given.

    Those that are made on the meta device have no values yet, and stay there.

    Raises:
        TypeError: if they are not numbers, or have a gradient and are no ``nn.Parameter``.
        ValueError: if there are not as many as heads, or one is not finite.
    """
    if head_weights is None:
        return None
    count = len(names)
    expected = f"as one finite number per head, {count} in all"
    named = named_values(head_weights)
    if named is not None:
        head_weights = in_order(who, "head_weights", named, names, "head")
    if not isinstance(head_weights, nn.Parameter):
        refuse_learned(who, "head_weights", head_weights, LEARNED)
    if isinstance(head_weights, Tensor):
        head_weights = to_tensor(who, "head_weights", head_weights, may_miss=False)
        if head_weights.is_meta and head_weights.shape != (count,):
            size = f"a tensor of shape {list(head_weights.shape)}"
            raise ValueError(unexpected(who, "head_weights", expected, size))
        head_weights = head_weights if head_weights.is_meta else head_weights.tolist()
    if isinstance(head_weights, (str, set, frozenset)) or not isinstance(head_weights, Iterable):
        raise TypeError(unexpected(who, "head_weights", expected, repr(head_weights)))
    given = listed(who, "head_weights", expected, head_weights)
    factors = [_factor(who, expected, weight) for weight in given]
    if factors and len(factors) != count:
        came = f"{len(factors)}: {preview(factors)}"
        raise ValueError(unexpected(who, "head_weights", expected, came))
    if None in factors:
        return torch.empty(count, dtype=torch.float64, device="meta")
    return torch.tensor(factors, dtype=torch.float64, device="cpu") if factors else None


def _factor(who: str, expected: str, weight: Any) -> float | None:
    """Return the factor of one head's loss; None where it has no value yet."""
    if isinstance(weight, Tensor) and weight.dim() == 0:
        scalar = to_tensor(who, "head_weights", weight, may_miss=False)
        if scalar.is_meta:
            return None
        weight = scalar.item()
    if not isinstance(weight, Real):
        raise TypeError(unexpected(who, "head_weights", expected, repr(weight)))
    factor = as_float(who, "head_weights", weight)
    if not isfinite(factor):
        raise ValueError(unexpected(who, "head_weights", expected, repr(weight)))
    return factor
