"""Heads that can be computed as one: which, in what order, and where each stands."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from torch_heads.computation.computation import Computation
from torch_heads.computation.group import Group
from torch_heads.computation.layout import in_buckets
from torch_heads.computation.target import Target


def merged(children: Sequence[Computation]) -> list[tuple[Group, list[int]]]:
    """Return groups of the targets that can be computed as one, with the places of their heads."""
    alike: dict[Hashable, list[tuple[int, Target]]] = {}
    for i, child in enumerate(children):
        target = child.fusable_target
        if target is not None:
            kernel = target.family.kernel if target.fuses else i
            alike.setdefault(kernel, []).append((i, target))
    found = []
    for members in alike.values():
        places = [i for i, _ in members]
        if places != [*range(places[0], places[-1] + 1)]:
            # they are copied side by side anyway: so let those that are counted alike be, too
            needs = [target.needs for _, target in members]
            members = sorted(members, key=lambda one: needs.index(one[1].needs))
        targets = [target for _, target in members]
        order = in_buckets(targets)
        found.append((Group([targets[i] for i in order]), [members[i][0] for i in order]))
    return found
