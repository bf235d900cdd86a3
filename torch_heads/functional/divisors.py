"""What the losses of parts of a batch are divided by."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.values import safe_divide

#: What a part without labels is divided by: it vanishes beside any number of them.
NO_LABELS = 1e-20


def never_zero(divisors: Tensor) -> Tensor:
    """Return divisors of a part of a batch, of which none is 0.

    >>> never_zero(torch.tensor([0.0, 2.0]))
    tensor([1.0000e-20, 2.0000e+00])
    """
    return divisors.masked_fill(divisors == 0, NO_LABELS)


def part_of(own: Any, whole: Any) -> Tensor:
    """Return the share of a part in a larger batch, from the divisors ``[T]`` of both.

    >>> part_of(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([4.0, 2.0, 0.0]))
    tensor(0.1250)
    """
    whole = torch.as_tensor(whole, device=own.device)
    count = (whole != 0).sum()  # a target without any label, counted by hand, has no part
    return safe_divide(safe_divide(never_zero(own), whole.to(own.dtype)).sum(), count.to(own.dtype))
