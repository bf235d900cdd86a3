"""Labels of several heads in a table, or stacked with gaps: which column is whose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torch_heads.computation.target import Target
from torch_heads.functional.errors import unexpected
from torch_heads.functional.forms import is_float8
from torch_heads.functional.gaps import gap


def by_head(
    title: str, table: dict[Any, Any], names: Sequence[str], targets: Sequence[Target | None]
) -> dict[Any, Any]:
    """Return a table's columns by head, those of the classes of one head together.

    Args:
        title: the head of these heads, as errors say it.
        table: its columns by name, of heads or of classes.
        names: of the heads.
        targets: the only target of each head; None of a head of several.

    Raises:
        ValueError: if a column is a class of two heads.
    """
    found, owner = dict(table), dict[Any, str]()
    for name, target in zip(names, targets, strict=True):
        classes = () if target is None else target.label_vocabulary or ()
        several = target is not None and len(classes) == target.columns > 1
        if several and name not in table and {*names}.isdisjoint(classes):
            own = {one: table[one] for one in classes if one in table}
            shared = [one for one in own if one in owner]
            if shared:
                heads = f"{shared[0]!r}, a class of {owner[shared[0]]!r} and of {name!r}"
                hint = "A dict of tables by head name tells them apart."
                expected = "with columns of one head each"
                raise ValueError(unexpected(title, "labels", expected, heads, hint))
            owner |= dict.fromkeys(own, name)
            if own:
                found[name] = own
    return {key: column for key, column in found.items() if key not in owner}


def float8_widened(labels: Any, targets: Sequence[Target]) -> Any:
    """Return stacked labels in float8 as float32, each target's missing ones as they are."""
    sizes = [target.given_columns for target in targets]
    if not is_float8(labels) or labels.dim() == 0 or labels.shape[-1] != sum(sizes):
        return labels
    parts = zip(targets, labels.split(sizes, dim=-1), strict=True)
    return torch.cat([target.missing.widened(part) for target, part in parts], dim=-1)


def refuse_gaps(labels: Tensor, targets: Sequence[Target]) -> None:
    """Refuse labels ``[D*, U]`` with a gap where a target may not miss any."""
    owners = [target for target in targets for _ in range(target.given_columns)]
    for column in labels.isnan().flatten(0, -2).any(0).nonzero().flatten().tolist():
        if not owners[column].may_miss:
            place = labels[..., column].isnan().nonzero()[0].tolist()
            raise ValueError(gap(owners[column].title, "labels", "a gap", place))
