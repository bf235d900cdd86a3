"""What a `MultiHead` is given: its heads and their factors, and inputs by head name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.tensors import (
    SWAPPED,
    check_columns,
    check_logits,
    to_tensor,
)
from torch_heads.heads.base import Head

LACKING = "Only a head with a missing_label may lack its labels."


class NamedInputs:
    """The checks of inputs that come in dicts by head name, or for all heads side by side."""

    def __init__(self, title: str, heads: Sequence[Head]) -> None:
        self.title = title
        self.names = [head.name or "" for head in heads]
        self.widths = [head.logits_dimension for head in heads]
        self.labels_dimension = sum(head.labels_dimension for head in heads)
        self._may_miss = {head.name for head in heads if head.may_miss}
        self._with_class_names = [head.name for head in heads if head.takes_names]
        self._known = set(self.names)

    def check_logits(self, logits: Any) -> Tensor | Mapping[str, Any]:
        """Return a dict with the logits of every head, or one tensor as wide as all of them.

        Raises:
            ValueError: if a head's are missing, or the shape or type is another one.
        """
        if not isinstance(logits, Mapping):
            return check_logits(self.title, logits, sum(self.widths))
        self._check_names("logits", logits, [])
        return logits

    def check_labels(
        self, labels: Any, logits: Tensor | Mapping[str, Any]
    ) -> Tensor | Mapping[str, Any]:
        """Return a dict with the labels of every head that may not miss any, or one tensor.

        Raises:
            ValueError: if labels are missing, or one tensor does not fit the heads.
        """
        if isinstance(labels, Mapping):
            self._check_names("labels", labels, self._may_miss)
            if labels and self._known.isdisjoint(labels):
                expected = f"by head names {preview(self.names)}"
                raise ValueError(unexpected(self.title, "labels", expected, preview(labels)))
            return labels
        if labels is None:
            expected = "as a dict by head name, or one numeric tensor"
            raise ValueError(unexpected(self.title, "labels", expected, None))
        if self._with_class_names:
            given = type(labels).__name__
            hint = f"The heads {preview(self._with_class_names)} take class names."
            raise ValueError(
                unexpected(
                    self.title, "labels", "as a dict by head name", given, f"{hint} {SWAPPED}"
                )
            )
        first = logits if isinstance(logits, Tensor) else logits[self.names[0]]
        while isinstance(first, Mapping):  # the head is a `MultiHead`, too
            first = next(iter(first.values()), None)
        first = to_tensor(self.title, "logits", first)
        if not first.is_floating_point():
            raise ValueError(
                unexpected(self.title, "logits", "to be floating", first.dtype, SWAPPED)
            )
        stacked = to_tensor(self.title, "labels", labels, first.device)
        return check_columns(self.title, "labels", stacked, first.shape[:-1], self.labels_dimension)

    def check_weights(self, weights: Any) -> Mapping[str, Any]:
        """Return a dict of weights for some heads, empty for None.

        Raises:
            TypeError: if they are not in a dict.
            ValueError: if there is no head of a name.
        """
        if weights is None:
            return {}
        if not isinstance(weights, Mapping):
            given = type(weights).__name__
            raise TypeError(unexpected(self.title, "weights", "as a dict by head name", given))
        unknown = [name for name in weights if name not in self._known]
        if unknown:
            expected = f"by head names {preview(self.names)}"
            raise ValueError(unexpected(self.title, "weights", expected, preview(unknown)))
        return weights

    def _check_names(
        self, argument: str, given: Mapping[str, Any], may_lack: Iterable[str | None]
    ) -> None:
        absent = self._known.difference(given).difference(may_lack)
        if absent:
            missing = preview(name for name in self.names if name in absent)
            expected = f"for the heads {missing}"
            hint = LACKING if argument == "labels" else ""
            raise ValueError(unexpected(self.title, argument, expected, preview(given), hint))


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
    children = list(heads)
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


def check_factors(who: str, head_weights: Any, count: int) -> Tensor | None:
    """Return one factor per head, None where none is given.

    Raises:
        TypeError: if they are not numbers.
        ValueError: if there are not as many as heads, or one is not finite.
    """
    if head_weights is None:
        return None
    expected = f"as one finite number per head, {count} in all"
    if isinstance(head_weights, (str, Mapping)) or not isinstance(head_weights, Iterable):
        raise TypeError(unexpected(who, "head_weights", expected, repr(head_weights)))
    given = list(head_weights)
    for weight in given:
        if not isinstance(weight, Real) and not (isinstance(weight, Tensor) and weight.dim() == 0):
            raise TypeError(unexpected(who, "head_weights", expected, repr(weight)))
        if not isfinite(weight):
            raise ValueError(unexpected(who, "head_weights", expected, repr(weight)))
    factors = [float(weight) for weight in given]
    if factors and len(factors) != count:
        came = f"{len(factors)}: {preview(factors)}"
        raise ValueError(unexpected(who, "head_weights", expected, came))
    return torch.tensor(factors, dtype=torch.float64) if factors else None
