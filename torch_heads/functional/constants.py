"""Constants of a computation: tensors of plain numbers, made once for each device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Constants:
    """Named tensors that follow the logits to their device, and belong to no module.

    As buffers they would be rounded by ``module.to(torch.bfloat16)``, sent to all processes at
    each step, exported with predictions that do not need them, and empty in a model that is built
    on the meta device.

    >>> Constants(owner=[0, 0, 1]).on(torch.device("cpu"))["owner"]
    tensor([0, 0, 1])
    """

    def __init__(self, **values: Sequence[float] | Tensor) -> None:
        cpu = torch.device("cpu")
        with torch.inference_mode(False):  # or they could not be saved for a backward pass
            made = {name: torch.as_tensor(value, device=cpu) for name, value in values.items()}
        self._made = {cpu: made}

    def on(self, device: torch.device) -> dict[str, Tensor]:
        """Return the constants on a device, by name."""
        made = self._made.get(device)
        if made is None:
            cpu = self._made[torch.device("cpu")]
            with torch.inference_mode(False):
                made = {name: value.to(device) for name, value in cpu.items()}
            if not torch.compiler.is_compiling():
                self._made[device] = made
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the copies on other devices, which are made again."""
        cpu = torch.device("cpu")
        return {"_made": {cpu: self._made[cpu]}}


def move_constants(holder: Any, device: torch.device) -> None:
    """Make all constants on a device that an object holds, or objects of the package in it.

    So that what is computed later waits for no copy.
    """
    seen: set[int] = set()
    rest = [holder]
    while rest:
        one = rest.pop()
        if isinstance(one, Constants):
            one.on(device)
        elif isinstance(one, (list, tuple)):
            rest += [own for own in one if not isinstance(own, (int, float, str))]
        elif isinstance(one, dict):
            rest += one.values()
        elif type(one).__module__.startswith("torch_heads.") and id(one) not in seen:
            seen.add(id(one))
            rest += vars(one).values() if hasattr(one, "__dict__") else []
