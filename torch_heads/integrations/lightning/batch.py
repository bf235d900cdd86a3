"""The forms in which a batch comes from a data loader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch_heads.functional.containers import nearest
from torch_heads.functional.errors import preview, unexpected
from torch_heads.heads.base import Head
from torch_heads.heads.multi import MultiHead
from torch_heads.heads.sequential import SequentialHeadWrapper

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
            ValueError: if there are too many parts, or keys of other names; or if a dict could be
                both weights and features, or the head would read nothing of it.

        >>> from torch_heads import BinaryClassHead
        >>> Batch.of(([[0.5]], [1], {"weight": [2.0]}), BinaryClassHead("weight"))
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
        if not isinstance(third, Mapping):
            return cls(inputs, labels, weights=third)
        heads = [*head] if isinstance(head, MultiHead) else []
        if heads and third.keys() <= {*heads}:
            return cls(inputs, labels, weights=third)
        refuse_unread(head, heads, third)
        return cls(inputs, labels, features=third)


def refuse_unread(head: Head, heads: Sequence[str], given: Mapping[Any, Any]) -> None:
    """Refuse features that could be weights of some ``heads``, or of which nothing is read.

    Raises:
        ValueError: if they are.
    """
    both, targets = any(name in heads for name in given), head.computation.targets
    reads_any = any(callable(one.weight_column) or one.loss_fn is not None for one in targets)
    reads = reads_any or not given or any(name in given for name in features_of(head))
    if reads and not both:
        return
    known = list(dict.fromkeys(features_of(head)))
    expected = "with features" + ("" if reads_any else f" of which it reads {preview(known)}")
    expected += f", or with weights by head names {preview(heads)} alone" if heads else ""
    meant = [nearest(name, [*heads, *known]) for name in given if name not in [*heads, *known]]
    hint = "A batch that is a dict has both, as 'features' and as 'weights'."
    hint = " ".join([*filter(None, meant[:1]), hint])
    raise ValueError(unexpected("HeadModule", "a batch", expected, preview(given), hint))


def features_of(head: Head) -> Iterator[str]:
    """Yield the names of the features that a head reads; its functions may read others."""
    for target in head.computation.targets:
        if isinstance(target.weight_column, str):
            yield target.weight_column
        for one in target.torchmetrics.values():
            yield from one.features.values()
    for module in head.modules():
        if isinstance(module, SequentialHeadWrapper):
            yield from (module.sequence_length_mask, *module.feature_columns)
