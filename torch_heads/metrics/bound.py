"""A reading bound to some columns of a tally, and many alike read at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_heads.families.family import Counts, Family
from torch_heads.functional.constants import Constants
from torch_heads.functional.errors import unexpected
from torch_heads.functional.scores import ScoreBins
from torch_heads.metrics.counters.counter import Slot
from torch_heads.metrics.needs import ClassCounts, ClassScoreCounts, Confusions, Need, Totals
from torch_heads.metrics.readings.outcomes import threshold_of
from torch_heads.metrics.readings.reading import Reading, is_own
from torch_heads.metrics.sums import Sums
from torch_heads.metrics.tally import Tally

States = Mapping[str, Tensor]


class Place:
    """Where the metrics keep what they have seen of one target.

    Attributes:
        tally: the name of the tally.
        slots: what it keeps of the target: the name of a state, and where in it, by need.
        family: the family of the target; None for means over batches.
        counts: what is counted of it.
        bins: where scores are cut; None where no scores are counted.
        may_miss: whether labels may be missing; what never had a label then reads as NaN, not 0.
    """

    def __init__(
        self,
        tally: str,
        slots: Mapping[Need, tuple[str, Slot]],
        family: Family | None = None,
        counts: Counts | None = None,
        bins: ScoreBins | None = None,
        may_miss: bool = False,
    ) -> None:
        self.tally, self.slots, self.family = tally, slots, family
        self.counts, self.bins, self.may_miss = counts, bins, may_miss

    @property
    def columns(self) -> int:
        """How many label columns the target has."""
        return self.slots[Totals()][1].shape[0]

    @cached_property
    def form(self) -> Hashable:
        """What places have in common that one formula reads at once."""
        shapes = tuple((need, name, slot.shape) for need, (name, slot) in self.slots.items())
        return self.tally, shapes, self.counts, self.bins is None, self.may_miss

    def views(self, tally: Tally) -> dict[Need, Tensor]:
        """Return views of what the states of its tally hold of the target, by need."""
        states = {name: getattr(tally, name).view(-1) for name, _ in self.slots.values()}
        return {need: self.of(states, need) for need in self.slots}

    def kept(self, tally: Tally, need: Need) -> Tensor:
        """Return a copy of what its tally keeps of the target."""
        name, _ = self.slots[need]
        return self.of({name: tally.summed(name).flatten()}, need)

    def of(self, states: States, need: Need) -> Tensor:
        """Return a view of what states with one axis hold of the target."""
        name, (start, shape) = self.slots[need]
        return states[name][start : start + prod(shape)].view(shape)


class BoundReading(NamedTuple):
    """A reading, and the place where it reads."""

    reading: Reading
    place: Place

    def alike(self, number: int) -> Hashable:
        """Return what readings that one formula reads at once have in common: many AUCs, say.

        Args:
            number: of the `Place.form` among all.
        """
        reading, _ = self
        # one place may have several of different thresholds, but one at the decision
        form = reading.column is None, threshold_of(reading) is None, number
        if not is_own(reading):
            return reading, form  # a user's formula may look at any of its fields
        # not by `replace`, which is slow, and wide heads have thousands of readings
        own = [
            getattr(reading, field)
            for field in reading.__dataclass_fields__
            if field not in ("column", "threshold")
        ]
        return type(reading), *own, form


class AlikeColumns:
    """The columns of many targets, or one column of each, that are read by the same formulas.

    Args:
        members: places of one form, with a column of each, or None for all of them.
    """

    def __init__(self, members: Sequence[tuple[Place, int | None]]) -> None:
        self._members = members
        self._place, column = members[0]
        self._one = column is not None
        self._constants: dict[Hashable, Constants] = {}
        self._bins = [place.bins for place, _ in members if place.bins is not None]
        if ClassScoreCounts() in self._place.slots:
            self._bins = [ScoreBins()]
        if self._bins and all(own == self._bins[0] for own in self._bins):
            self._bins = self._bins[:1]

    @property
    def may_miss(self) -> bool:
        """Whether labels may be missing."""
        return self._place.may_miss

    def cuts(self, thresholds: Iterable[float | None]) -> Constants | None:
        """Return the first bin above a threshold of each member; None where none is of scores."""
        if self._place.bins is None or self._place.counts is not Counts.SCORES:
            return None
        each = zip(self._members, thresholds, strict=True)
        return Constants(cut=[(place.bins or ScoreBins()).positions[at] for (place, _), at in each])

    def sums(self, states: States) -> Sums:
        """Return what the states of the tally, flat in their last axis, know of these columns."""
        device = next(iter(states.values())).device
        return Sums(lambda need: self._kept(need, states), partial(self._table, device))

    def _table(self, device: torch.device, name: str) -> Tensor:
        """Return a table of the bins of scores: of all members alike, or one of each."""
        if ("bins", name) not in self._constants:
            made: Any = np.stack([getattr(own, name) for own in self._bins])
            made = made[:, None] if name == "coarse" else made  # for each of the label columns
            table = torch.from_numpy(made if len(self._bins) > 1 else made[0])
            self._constants["bins", name] = Constants(table=table)
        return self._constants["bins", name].on(device)["table"]

    def _kept(self, need: Need, states: States) -> Tensor:
        """Return what is kept for a need, ``[..., K, *shape]``."""
        of_ids = self._place.counts is Counts.CLASSES
        if isinstance(need, ClassCounts):
            return self._class_counts(states)
        if need not in self._place.slots:
            raise TypeError(
                f"{need!r} is not kept of these labels; a reading names it in its needs()."
            )
        name, (_, shape) = self._place.slots[need]
        starts = [place.slots[need][1].start for place, _ in self._members]
        if self._one and not of_ids and shape[0] > 1:
            size, shape = Slot(0, shape[1:]).size, (1, *shape[1:])
            starts = [
                start + (column or 0) * size
                for start, (_, column) in zip(starts, self._members, strict=True)
            ]
        return self._gathered(need, states[name], starts, shape)

    def _gathered(
        self, key: Hashable, state: Tensor, starts: Sequence[int], shape: tuple[int, ...]
    ) -> Tensor:
        first, count, size = starts[0], len(starts), Slot(0, shape).size
        if list(starts) == [*range(first, first + count * size, size)] or size == 0:
            own = state[..., first : first + count * size]
            return own.unflatten(-1, (count, *shape))  # type: ignore[no-any-return,no-untyped-call]
        if key not in self._constants:
            index = torch.tensor(starts, device="cpu")[:, None] + torch.arange(size, device="cpu")
            self._constants[key] = Constants(index=index)
        index = self._constants[key].on(state.device)["index"]
        return state[..., index].unflatten(-1, shape)  # type: ignore[no-any-return,no-untyped-call]

    def _class_counts(self, states: States) -> Tensor:
        """Return right, predicted and given class ids, ``[..., M, 3, K]``; of one class, K is 1."""
        places = list({id(place): place for place, _ in self._members}.values())
        need = ClassCounts() if ClassCounts() in self._place.slots else Confusions()
        name, (_, shape) = self._place.slots[need]
        starts = [place.slots[need][1].start for place in places]
        kept = self._gathered(("classes", need), states[name], starts, shape)
        if isinstance(need, Confusions):
            sums = kept[..., 1:].diagonal(dim1=-2, dim2=-1), kept[..., 1:].sum(-2), kept.sum(-1)
            kept = torch.stack(sums, dim=-2)
        if not self._one:
            return kept
        order = {id(place): i for i, place in enumerate(places)}
        if "member" not in self._constants:
            owners = [order[id(place)] for place, _ in self._members]
            columns = [column or 0 for _, column in self._members]
            self._constants["member"] = Constants(owner=owners, column=columns)
        owner, column = self._constants["member"].on(kept.device).values()
        kept = kept.index_select(-3, owner)
        at = column.view(-1, 1, 1).expand(*kept.shape[:-1], 1)
        return kept.gather(-1, at)


class AlikeReadings:
    """Readings that are `BoundReading.alike`, read by one formula.

    Args:
        readings: at least one.
        columns: theirs.
    """

    def __init__(self, readings: Sequence[Reading], columns: AlikeColumns) -> None:
        self.reading, self._columns = readings[0], columns
        self._cuts = columns.cuts(map(threshold_of, readings))

    def read(self, sums: Sums, strict: bool = False) -> Tensor:
        """Return the metrics ``[..., K]`` from what is known of the columns.

        Args:
            sums: of the columns.
            strict: whether what is undefined is NaN in any case.

        Raises:
            TypeError: if a reading returns something else.
        """
        cuts = self._cuts
        own = sums if cuts is None else sums.at(cuts.on(sums.totals.device)["cut"])
        values: Any = self.reading.read(own)
        shape = sums.totals.shape[:-2]
        if not isinstance(values, Tensor) or values.shape != shape:
            given = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
            who, expected = type(self.reading).__name__, f"to return a tensor of shape {[*shape]}"
            raise TypeError(unexpected(who, "read", expected, given, "It is of many heads alike."))
        defined = self.reading.defined(own) if strict else None
        if defined is not None:
            values = torch.where(defined, values, torch.nan)
        values = values.to(torch.get_default_dtype())
        if not self._columns.may_miss:
            return values  # type: ignore[no-any-return]
        return torch.where(self.reading.present(sums), values, torch.nan)


def read_one(bound: BoundReading, states: States, strict: bool = False) -> Tensor:
    """Return a single metric, a scalar; ``strict`` as for `AlikeReadings.read`."""
    columns = AlikeColumns([(bound.place, bound.reading.column)])
    flat = {name: state.flatten() for name, state in states.items()}
    return AlikeReadings([bound.reading], columns).read(columns.sums(flat), strict)[..., 0]
