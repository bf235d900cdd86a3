"""The head of a model: the one that is given, or the only one in it."""

from __future__ import annotations

from typing import Any

from torch import nn

from torch_heads.functional.errors import class_of, preview, unexpected
from torch_heads.heads.base import Head


def head_of(who: str, model: nn.Module, head: Any = None) -> Head:
    """Return the head, or the one in a model; ``who`` asks, as errors say it.

    Raises:
        TypeError: if ``head`` is no head, or ``model`` no module.
        ValueError: if there is no head, or more than one.
    """
    if not isinstance(model, nn.Module):
        given = class_of(model)
        raise TypeError(unexpected(who, "model", "as a torch.nn.Module", given))
    if head is not None:
        if not isinstance(head, Head):
            raise TypeError(unexpected(who, "head", "as a head", class_of(head)))
        return head
    found = [one for one in model.modules() if isinstance(one, Head)]
    inner = {id(part) for one in found for part in one.modules() if part is not one}
    heads = [one for one in found if id(one) not in inner]
    if len(heads) != 1:
        given = preview(one.title for one in heads)
        raise ValueError(unexpected(who, "model", "with one head, or head=...", given))
    return heads[0]
