"""What all processes must count alike, so that their sums are of the same things."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import zip_longest
from typing import Any

import torch
from torch import distributed

from torch_heads.functional.errors import unexpected


class Agreement:
    """What is counted in this process, which must be the same in all: told to each other once.

    Args:
        title: who counts, as errors say it.
        counted: what is counted, in words.
    """

    def __init__(self, title: str, counted: Sequence[str]) -> None:
        self._title, self._counted, self._reached = title, tuple(counted), False

    def reach(self, device: torch.device, group: Any = None) -> None:
        """Compare with all processes, the first time.

        Raises:
            ValueError: in each of them, if they differ.
        """
        if self._reached:
            return
        digest = sha256("\n".join(self._counted).encode()).digest()
        own = torch.tensor([int.from_bytes(digest[:7])], device=device)
        size = distributed.get_world_size(group)
        digests = [torch.empty_like(own) for _ in range(size)]
        distributed.all_gather(digests, own, group=group)
        if len({int(one) for one in digests}) > 1:
            each: list[Any] = [None] * size
            distributed.all_gather_object(each, self._counted, group=group)
            other = next(i for i, one in enumerate(each) if one != each[0])
            pairs = zip_longest(each[0], each[other], fillvalue="nothing")
            first, second = next(pair for pair in pairs if pair[0] != pair[1])
            given = f"{first} in process 0 and {second} in process {other}"
            expected = "of the same heads in the same order in all processes"
            raise ValueError(unexpected(self._title, "metrics", expected, given))
        self._reached = True
