"""The forms in which a batch comes from a data loader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch_heads.functional.errors import preview, unexpected
from torch_heads.heads.base import Head
from torch_heads.heads.multi import MultiHead

FORMS = "as (inputs, labels), (inputs, labels, features or weights), or a dict with 'inputs'"


class Batch(NamedTuple):
    """What the backbone and the head get of one batch."""

    inputs: Any
    labels: Any = None
    features: Mapping[str, Any] | None = None
    weights: Any = None

    @classmethod
    def of(cls, given: Any, head: Head) -> Batch:
        """Return a batch from any of its forms.

        The third of three is weights, unless it is a dict: then it is features, unless all its
        keys are names of a `MultiHead`'s heads. Whatever is neither a tuple, a list nor a dict is
        inputs alone.

        Raises:
            ValueError: if there are too many parts, or keys of other names.

        >>> from torch_heads import BinaryClassHead
        >>> Batch.of(([[0.5]], [1], {"weight": [2.0]}), BinaryClassHead())
        Batch(inputs=[[0.5]], labels=[1], features={'weight': [2.0]}, weights=None)
        """
        if isinstance(given, Mapping):
            if "inputs" not in given or not given.keys() <= set(cls._fields):
                expected = f"as a dict with 'inputs' and at most {preview(cls._fields[1:])}"
                raise ValueError(unexpected("HeadModule", "a batch", expected, preview(given)))
            return cls(**given)
        if not isinstance(given, (tuple, list)):
            return cls(given)
        if not 1 <= len(given) <= 3:
            raise ValueError(unexpected("HeadModule", "a batch", FORMS, f"{len(given)} parts"))
        inputs, labels, third = (*given, None, None)[:3]
        by_head = isinstance(head, MultiHead) and isinstance(third, Mapping) and {*third} <= {*head}
        if isinstance(third, Mapping) and not by_head:
            return cls(inputs, labels, features=third)
        return cls(inputs, labels, weights=third)
