"""A reading: a named metric, as a formula over what a tally has summed."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from inspect import get_annotations
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.functional.declaration import Declaration
from torch_heads.functional.errors import preview, unexpected
from torch_heads.metrics.needs import Need
from torch_heads.metrics.sums import Sums, Total


@dataclass(frozen=True)
class Reading(Declaration, ABC):
    """A metric read from the sums of a head's columns, or of one of them (``column``).

    A declaration without state, whose fields are its arguments. The collection binds each reading
    to the columns of a tally. What is undefined is NaN.

    Attributes:
        column: the label column, or the class id, that it reads alone; None for all.
        higher_is_better: whether more is better, None where neither is.
        of_counts: whether it is read from counts alone, which can be drawn again (bootstrap).
        biased: whether chance adds to it, so that it is too large of counts that are drawn again.
        of_fine_scores: whether it tells little of rare events where scores are cut coarsely alone.
    """

    column: int | None = field(default=None, kw_only=True)
    higher_is_better: ClassVar[bool | None] = None
    of_counts: ClassVar[bool] = False
    biased: ClassVar[bool] = False
    of_fine_scores: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Refuse another field that is called as the column is."""
        super().__init_subclass__()
        if "column" in get_annotations(cls):
            expected, given = "as the label column that a reading reads alone", "another field"
            raise TypeError(unexpected(cls.__name__, "column", expected, given))

    def __post_init__(self) -> None:
        if self.column is not None:
            check_number(self, "column", ">= 0", lambda column: column >= 0, whole=True)

    @abstractmethod
    def read(self, sums: Sums) -> Tensor:
        """Return the metric of these columns together, ``[...]`` in float64."""

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return what a tally must keep for it, of a head whose metrics count this."""
        return ()

    def defined(self, sums: Sums) -> Tensor | None:
        """Return where `read` says something, ``[...]``; None where its NaN tells.

        Only tf.estimator's own are 0 or 1 where they are undefined.
        """
        return None

    def present(self, sums: Sums) -> Tensor:
        """Return whether any label was there to read from."""
        return sums.total(Total.PRESENT) > 0


def is_own(reading: Reading) -> bool:
    """Return whether a reading is of this package, and not a user's."""
    return type(reading).__module__.split(".")[0] == __name__.split(".")[0]


def suffix(reading: Reading, but: Iterable[str] = ("column", "threshold")) -> str:
    """Return what tells a reading from that of its class with default arguments, for its key.

    >>> from torch_heads.metrics import FBeta
    >>> suffix(FBeta(beta=2.0))
    '_2'
    """
    own = [one for one in fields(reading) if one.name not in but]
    given = [getattr(reading, one.name) for one in own if getattr(reading, one.name) != one.default]
    return "".join(f"_{value:g}" if isinstance(value, float) else f"_{value}" for value in given)


def check_number(
    reading: Reading,
    name: str,
    expected: str,
    valid: Callable[[float], bool],
    *,
    whole: bool = False,
) -> None:
    """Check an argument of a reading that is a number, and keep it as one of Python's.

    Raises:
        TypeError: if it is none.
        ValueError: if it is not valid.
    """
    value: Any = getattr(reading, name)
    who = type(reading).__name__
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        kind = "an int" if whole else "a number"
        raise TypeError(unexpected(who, name, f"as {kind} {expected}", repr(value)))
    number = float(value)
    if not valid(number):
        raise ValueError(unexpected(who, name, expected, repr(value)))
    if not isinstance(value, (int, float)):  # of NumPy, or a fraction
        object.__setattr__(reading, name, int(number) if whole else number)


def check_level(reading: Reading, name: str = "level") -> None:
    """Check an argument of a reading that is a share of labels.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is not in (0, 1).
    """
    check_number(reading, name, "in (0, 1)", lambda level: 0 < level < 1)


def check_choice(reading: Reading, name: str, choices: Sequence[str]) -> None:
    """Check an argument of a reading that is None or one of some words.

    Raises:
        TypeError: if it is neither None nor a string.
        ValueError: if it is another word.
    """
    value: Any = getattr(reading, name)
    if value is None or (isinstance(value, str) and value in choices):
        return
    error = ValueError if isinstance(value, str) else TypeError
    allowed = preview([None, *choices])
    raise error(unexpected(type(reading).__name__, name, f"among {allowed}", repr(value)))


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient, NaN where the denominator is 0.

    >>> ratio(torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.0]))
    tensor([0.5000,    nan])
    """
    return torch.where(denominator == 0, torch.nan, numerator / denominator)
