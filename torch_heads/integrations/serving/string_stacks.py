"""The strings of many heads side by side, beside their predictions that are tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch_heads.integrations.serving.answers import Answers, below
from torch_heads.integrations.serving.stacks import Place, Stack, stack_name

Names = tuple[str, ...]


class StringStack(NamedTuple):
    """A prediction of several heads that is strings.

    Attributes:
        key: the key that it has in each of them.
        like: the tensor of the class ids that say which; or, where each row has all names of a
            head, the tensor of another prediction of these heads.
        by_ids: whether these are class ids.
        behind: how many axes of `like` are behind those of the batch.
        columns: how many label columns there are; some may be those of heads without it.
        stride: how many places each label column has.
        inner: whether an axis is behind that of the places.
        places: those of the heads.
        names: those of each head.
    """

    key: str
    like: str
    by_ids: bool
    behind: int
    columns: int
    stride: int
    inner: bool
    places: list[Place]
    names: list[Names]


def string_stacks(answers: Answers, stacks: Mapping[str, Stack]) -> dict[str, StringStack]:
    """Return the strings of many heads by the name of their tensor."""
    standing: list[dict[str, tuple[str, Place]]] = [{} for _ in answers.paths]
    for tensor, stack in stacks.items():
        for place in stack.places:
            standing[place.target][stack.key] = tensor, place
    found: dict[tuple[str, bool, str], tuple[list[Place], list[Names]]] = {}
    for path, target, own in zip(answers.paths, answers.targets, standing, strict=True):
        for key in target.string_keys:
            strings = answers.strings[below(path, key)]
            like, place = own[strings.ids] if strings.ids else next(iter(own.values()))
            if strings.ids is None:
                place = place._replace(size=len(strings.names))
            places, names = found.setdefault((key, strings.ids is not None, like), ([], []))
            places.append(place)
            names.append(strings.names)
    made = []
    for (key, by_ids, like), (places, names) in found.items():
        stack = stacks[like]
        if by_ids:
            stride, inner = stack.stride, stack.inner
            columns = stack.values.shape[-1 - inner] // stride
        else:
            # each column has as many as the head with the most needs
            stride, inner = max(-(-place.size // place.columns) for place in places), False
            columns = max(place.column + place.columns for place in places)
        form = by_ids, 1 + stack.inner, columns, stride, inner
        made.append(StringStack(key, like, *form, places, names))
    return {stack_name(len(stacks) + i, one.key): one for i, one in enumerate(made)}
