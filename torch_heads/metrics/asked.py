"""Metrics that a user asks for: by name, as readings, or as torchmetrics' own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torchmetrics import Metric, MetricCollection

from torch_heads.families.family import Counts
from torch_heads.functional.containers import by_key, listed, nearest
from torch_heads.functional.errors import class_of, preview, unexpected
from torch_heads.metrics.fits import check_column, check_fits
from torch_heads.metrics.keys import check_key
from torch_heads.metrics.meant import hint_for
from torch_heads.metrics.readable import Readable
from torch_heads.metrics.readings.outcomes import ThresholdReading, threshold_of
from torch_heads.metrics.readings.reading import Reading, is_own, suffix
from torch_heads.metrics.torchmetric import Torchmetric

ALL = "all"
PER_CLASS = "_per_class"
EXPECTED = "as names, readings of torch_heads.metrics, or torchmetrics.Metrics"
DECLARED = (Reading, Metric, MetricCollection, Torchmetric)  # by themselves, not in a list

One = str | Reading | Metric | MetricCollection | Torchmetric

#: What a user may ask for: metrics one by one, or by key.
Asked = One | Sequence[One] | Mapping[str, One] | None


def is_asked(given: Any) -> bool:
    """Return whether something asks for metrics: one, or any in a list or a dict.

    >>> is_asked(["f1"]), is_asked([0.5])
    (True, False)
    """
    if isinstance(given, (list, tuple)):
        return any(map(is_asked, given))
    return isinstance(given, (str, Mapping, *DECLARED))


def asked_readings(given: Asked, head: Readable) -> dict[str, Reading | Torchmetric]:
    """Return what was asked for, by key.

    Raises:
        ValueError: if a name is not known, with the nearest one; or if two have one key.
        TypeError: if something is no metric, or none of this kind of head.
    """
    given = by_key(given)
    if given is None:
        return {}
    if isinstance(given, Mapping):
        pairs: list[tuple[str | None, Any]] = [*given.items()]
    elif isinstance(given, (str, type, *DECLARED)):
        pairs = [(None, given)]
    else:
        pairs = [(None, one) for one in listed(head.title, "metrics", EXPECTED, given)]
    pairs = [pair for own in pairs for pair in _opened(*own)]
    found: dict[str, Reading | Torchmetric] = {}
    for key, asked in pairs:
        if key is not None and not (isinstance(key, str) and key):
            expected = "by keys that are strings"
            raise TypeError(unexpected(head.title, "metrics", expected, repr(key)))
        every: list[Any] = [asked]
        if isinstance(asked, str) and asked == ALL and key is None:
            every = [*head.costs_nothing]
        for one in every:
            name, own = _readings_of(one, head)
            for ending, reading in own.items():
                final = f"{key or name}{ending}"
                check_key(head.title, final)
                if isinstance(reading, Reading):
                    check_fits(reading, head, one)
                if final in found and found[final] != reading:
                    expected = "with different keys"
                    raise ValueError(
                        unexpected(head.title, "metrics", expected, f"{final!r} twice")
                    )
                found[final] = reading
    return found


def _opened(key: Any, asked: Any) -> list[tuple[Any, Any]]:
    """Return what was asked for as it is, or each metric of a collection of torchmetrics by key."""
    if not isinstance(asked, MetricCollection):
        return [(key, asked)]
    each = asked.items(copy_state=False)
    return [(name if key is None else f"{key}/{name}", one) for name, one in each]


def _readings_of(asked: Any, head: Readable) -> tuple[str, dict[str, Reading | Torchmetric]]:
    """Return the name of what was asked for, and the readings by what is added to that."""
    if isinstance(asked, (Metric, Torchmetric)):
        own = asked if isinstance(asked, Torchmetric) else Torchmetric(asked)
        return type(own.metric).__name__, {"": own}
    if isinstance(asked, Reading):
        return _name(asked, head), {_ending(asked, head): asked}
    if not isinstance(asked, str):
        given = class_of(asked) if isinstance(asked, type) else repr(asked)
        raise TypeError(unexpected(head.title, "metrics", EXPECTED, given))
    name, slash, wanted = asked.partition("/")
    if slash and name in head.of_a_class:
        ids = {one: i for i, one in enumerate(head.class_names)}
        ids |= {str(i): i for i in ids.values() if str(i) not in ids}
        if wanted not in ids:
            hint = nearest(wanted, ids)
            expected = f"of a class among {preview(head.class_names)}"
            raise ValueError(unexpected(head.title, "metrics", expected, repr(asked), hint))
        return name, _of_classes(name, [ids[wanted]], head)
    if asked.removesuffix(PER_CLASS) != asked and asked.removesuffix(PER_CLASS) in head.of_a_class:
        name = asked.removesuffix(PER_CLASS)
        return name, _of_classes(name, range(len(head.class_names)), head)
    if asked not in head.named:
        raise _unknown(asked, head)
    reading = head.named[asked]
    found: dict[str, Reading | Torchmetric] = {"": reading}
    plain = isinstance(reading, ThresholdReading) and getattr(reading, "average", None) is None
    if plain and head.counts is Counts.SCORES:
        cuts = [replace(reading, threshold=threshold) for threshold in head.thresholds]  # type: ignore
        found |= {_ending(cut, head): cut for cut in cuts}
    return asked, found


def _unknown(asked: str, head: Readable) -> ValueError:
    """Return the error that refuses a name, with what was perhaps meant."""
    every = [*head.named, *(f"{one}{PER_CLASS}" for one in head.of_a_class), ALL]
    hint = hint_for(asked, every)
    name = asked.casefold()
    if name in head.of_a_class and name not in head.named:
        averages = [one for one in head.named if one.startswith(f"{name}_")]
        hint = f"Of several classes there are {preview([*averages, name + PER_CLASS])}."
    if name.removesuffix(PER_CLASS) == "log_loss" and head.own_loss:
        hint = "A loss_fn of one's own is no log loss. Here there is 'average_loss'."
    expected = f"among {preview(every, 80)}"
    return ValueError(unexpected(head.title, "metrics", expected, repr(asked), hint))


def _of_classes(name: str, ids: Iterable[int], head: Readable) -> dict[str, Reading | Torchmetric]:
    reading = head.of_a_class[name]
    each = [replace(reading, column=i) for i in ids]
    return {_ending(one, head): one for one in each}


def _name(reading: Reading, head: Readable) -> str:
    """Return the name of a reading: that in the table, with its arguments where they differ."""
    if not is_own(reading):
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(reading).__name__).lower()
    changed: dict[str, Any] = {"column": None}
    if isinstance(reading, ThresholdReading):
        changed["threshold"] = None
    plain = replace(reading, **changed)
    known = {**head.of_a_class, **head.named}
    for name, one in known.items():
        if one == plain:
            return name
    alike = [name for name, one in known.items() if type(one) is type(reading)]
    if alike:
        return f"{min(alike, key=len)}{suffix(reading)}"
    expected = f"of this kind of head, such as {preview(head.named, 80)}"
    raise TypeError(unexpected(head.title, "metrics", expected, repr(reading)))


def _ending(reading: Reading, head: Readable) -> str:
    """Return what the class and the threshold add to the name of a reading."""
    ending = ""
    if reading.column is not None:
        check_column(reading, head)
        ending = f"/{head.class_names[reading.column] if head.class_names else reading.column}"
    threshold = threshold_of(reading)
    return ending if threshold is None else f"{ending}/positive_threshold_{threshold:g}"
