"""Many readings, read at once from the states of their tallies."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from torch import Tensor

from torch_heads.metrics.bound import AlikeColumns, AlikeReadings, BoundReading, States

AlikeGroup = tuple[str, AlikeColumns, list[tuple[list[str], AlikeReadings]]]


class Reader:
    """Readings by key, in groups that one formula reads.

    Args:
        readings: by key.
    """

    def __init__(self, readings: Mapping[str, BoundReading]) -> None:
        self._keys = [*readings]
        forms: dict[Hashable, int] = {}  # by number, since to compare two takes a while
        numbers = {
            place: forms.setdefault(place.form, len(forms))
            for place in {bound.place for bound in readings.values()}
        }
        alike: dict[Hashable, list[str]] = {}
        for key, bound in readings.items():
            alike.setdefault(bound.alike(numbers[bound.place]), []).append(key)
        groups: dict[Hashable, AlikeGroup] = {}
        for keys in alike.values():
            each = [readings[key] for key in keys]
            members = [(one.place, one.reading.column) for one in each]
            same = tuple((id(place), column) for place, column in members)
            if same not in groups:  # what is found of these columns serves all formulas
                groups[same] = members[0][0].tally, AlikeColumns(members), []
            _, columns, own = groups[same]
            own.append((keys, AlikeReadings([one.reading for one in each], columns)))
        self._groups = [*groups.values()]

    def read(self, states: Mapping[str, States], strict: bool) -> dict[str, Tensor]:
        """Return every reading by its key.

        Args:
            states: of each tally, each with one axis.
            strict: as for `AlikeReadings.read`.
        """
        values: dict[str, Tensor] = {}
        for tally, columns, groups in self._groups:
            sums = columns.sums(states[tally])
            for keys, readings in groups:
                values |= zip(keys, readings.read(sums, strict).unbind(), strict=True)
        return {key: values[key] for key in self._keys}
