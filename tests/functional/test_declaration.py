"""Declarations are equal if they were made alike, whatever their class has been decorated with."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pytest
import torch

from torch_heads.functional.declaration import Declaration


@dataclass(frozen=True)
class Decorated(Declaration):
    rate: float = 1.0
    note: str = field(default="", compare=False)

    @cached_property
    def double(self) -> float:
        return 2 * self.rate


class Bare(Declaration):
    def __init__(self, rate: object) -> None:
        self.rate = rate


class Extended(Decorated):
    def __init__(self, rate: float, other: float) -> None:
        super().__init__(rate)
        object.__setattr__(self, "other", other)


@dataclass(frozen=True, slots=True)
class Slotted(Declaration):
    rate: float


class ByIdentity(Bare):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


ALIKE = [
    (Decorated(1.0), Decorated(1)),
    (Decorated(1.0, "a"), Decorated(1.0, "b")),
    (Bare(1.0), Bare(1.0)),
    (Bare([1]), Bare([1])),
    (Bare(torch.ones(2)), Bare(torch.ones(2))),
    (Bare(np.ones(2)), Bare(np.ones(2))),
    (Bare([torch.ones(2), 1]), Bare([torch.ones(2), 1])),
    (Bare((np.ones(2),)), Bare((np.ones(2),))),
    (Bare({"a": [torch.ones(2)]}), Bare({"a": [torch.ones(2)]})),
    (Extended(1.0, 2.0), Extended(1.0, 2.0)),
    (Slotted(1.0), Slotted(1.0)),
]
DIFFERENT = [
    (Decorated(1.0), Decorated(2.0)),
    (Bare(1.0), Bare(2.0)),
    (Bare(torch.ones(2)), Bare(torch.zeros(2))),
    (Bare(torch.ones(2)), Bare(torch.ones(2).double())),
    (Bare(torch.ones(2, device="meta")), Bare(torch.ones(2, device="meta"))),
    (Bare(np.ones(2)), Bare(np.zeros(2))),
    (Bare([torch.ones(2), 1]), Bare([torch.ones(2), 2])),
    (Bare([torch.ones(2)]), Bare([torch.ones(2)] * 2)),
    (Bare([1]), Bare((1,))),
    (Bare({"a": torch.ones(2)}), Bare({"b": torch.ones(2)})),
    (Extended(1.0, 2.0), Extended(1.0, 3.0)),
    (Extended(1.0, 2.0), Decorated(1.0)),
    (Slotted(1.0), Slotted(2.0)),
    (ByIdentity(1.0), ByIdentity(1.0)),
]


@pytest.mark.parametrize(("first", "second"), ALIKE)
def test_what_was_made_alike_is_equal(first: Declaration, second: Declaration) -> None:
    assert first == second
    assert len({first, second}) == 1


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_what_was_made_otherwise_is_not(first: Declaration, second: Declaration) -> None:
    assert first != second
    assert len({first, second}) == 2


def test_what_is_kept_for_later_changes_nothing() -> None:
    first, second = Decorated(1.0), Decorated(1.0)
    assert first.double == 2
    assert (first, hash(first)) == (second, hash(second))
