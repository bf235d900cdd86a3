"""The weights of a group: given by head, or looked up in the features, for each label column."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torch_heads.computation.inputs import ABSENT, Inputs
from torch_heads.computation.places import Places
from torch_heads.computation.target import Target
from torch_heads.functional.errors import unexpected
from torch_heads.functional.values import stack_alike
from torch_heads.functional.weights import check_weights, find_weights


class Source(NamedTuple):
    """Where targets take their weights from: a column of the features, or what they are given.

    What is looked up is told apart by the column, of which ``columns`` label columns may have
    weights of their own; what is ``given`` by its dtype. All is empty for a weight of 1.
    """

    alike: Hashable = None
    columns: int = 1
    given: bool = False


ONE = Source()


class Weighing:
    """Finds the weights of all targets of a group, each source of them once."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        columns = [target.columns for target in targets]
        self._places = Places(columns)
        #: Whose each label column is.
        self._owner = [i for i, count in enumerate(columns) for _ in range(count)]
        self._looked_up = [_looked_up(target) for target in targets]
        #: Whether any target has a weight column.
        self.looks_up = any(target.weight_column is not None for target in targets)

    def encode(self, inputs: Inputs, logits: Tensor) -> Tensor | None:
        """Return weights ``[D*, 1]`` or ``[D*, U]``; None where all are 1.

        Targets without labels have a weight of 1: there may be no features to look into.

        Raises:
            ValueError: if a target's weights are not what it takes.
        """
        sources: dict[Source, list[int]] = {}
        for i, target in enumerate(self._targets):
            sources.setdefault(self._source(i, target, inputs), []).append(i)
        if list(sources) == [ONE]:
            return None
        joined = self._joined(sources, inputs, logits)
        if joined is not None:
            return joined
        found: list[Tensor] = []
        places: dict[int, range] = {}  # of each target's weights among all that are found
        count = 0
        for source, members in sources.items():
            for weights, users in self._find(source, members, inputs, logits):
                places |= dict.fromkeys(users, range(count, count + weights.shape[-1]))
                found.append(weights)
                count += weights.shape[-1]
        if count == 1:
            return found[0]
        columns: list[int] = []
        for i, target in enumerate(self._targets):
            columns += [*places[i]] * (1 if len(places[i]) == target.columns else target.columns)
        return self._places.select(torch.cat(found, -1) if found[1:] else found[0], columns)

    def _source(self, i: int, target: Target, inputs: Inputs) -> Source:
        given = None if inputs.weights is None else inputs.weights[i]
        if not isinstance(inputs.labels, Tensor) and inputs.labels[i] is ABSENT:
            return ONE
        if given is None:
            return self._looked_up[i]
        if target.weight_column is not None:
            expected = f"or the weight_column {target.weight_column!r} alone"
            raise ValueError(unexpected(target.title, "weights", expected, "both"))
        return Source(given=True, alike=given.dtype if isinstance(given, Tensor) else i)

    def _joined(
        self, sources: dict[Source, list[int]], inputs: Inputs, logits: Tensor
    ) -> Tensor | None:
        """Return weights that are given in dense tensors alike, or not at all, in one pass."""
        given = [source for source in sources if source != ONE]
        if len(given) > 1 or not given[0].given or len(self._targets) == 1:
            return None
        first = inputs.weights[sources[given[0]][0]]
        if not isinstance(first, Tensor) or first.layout != torch.strided:
            return None
        ones = torch.ones_like(first) if ONE in sources else first
        unweighted = set(sources.get(ONE, ()))
        each = [ones if i in unweighted else own for i, own in enumerate(inputs.weights)]
        joined = stack_alike(each, [1] * len(each), logits.shape[:-1], logits.device)
        return None if joined is None else self._places.select(joined.to(logits.dtype), self._owner)

    def _find(
        self, source: Source, members: Sequence[int], inputs: Inputs, logits: Tensor
    ) -> Iterator[tuple[Tensor, Sequence[int]]]:
        """Yield weights ``[D*, k]`` of a source, with the targets that share them."""
        first = self._targets[members[0]]
        if source.given:
            for i in members:
                target, own = self._targets[i], inputs.weights[i]
                columns, mask = target.columns, inputs.mask
                yield check_weights(target.title, "weights", own, logits, columns, mask), [i]
        elif source == ONE:
            yield logits.new_ones((*logits.shape[:-1], 1)), members
        else:
            features, columns, mask = inputs.features, source.columns, inputs.mask
            yield (
                find_weights(first.title, first.weight_column, features, logits, columns, mask),
                members,
            )


def _looked_up(target: Target) -> Source:
    """Return where a target's weights are looked up, where none are given."""
    column = target.weight_column
    if column is None:
        return ONE
    # heads that average over their columns look up one weight per example
    return Source(column if isinstance(column, Hashable) else id(column), target.loss_columns)
