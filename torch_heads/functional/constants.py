"""Constants of a computation: tensors of plain numbers, made once for each device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.errors import unexpected


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
            first = next(iter(self._made.values()))
            with torch.inference_mode(False):
                made = {name: value.to(device) for name, value in first.items()}
            if not torch.compiler.is_compiling():
                self._made[device] = made
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the copies on other devices, which are made again."""
        cpu = torch.device("cpu")
        return {"_made": {cpu: self._made[cpu]}}


class Setting(Constants):
    """One tensor that a user gave as an argument; edited in place, its copies follow.

    It is a setting, and no state: a checkpoint does not hold it, and no checkpoint changes it.

    >>> weights = Setting(torch.tensor([1.0, 2.0]))
    >>> weights.value[0] = 3.0
    >>> weights.on(torch.device("cpu"))["value"]
    tensor([3., 2.])
    """

    def __init__(self, value: Tensor) -> None:
        self._home = torch.device("meta" if value.is_meta else "cpu")
        with torch.inference_mode(False):
            self._made = {self._home: {"value": value.detach().to(self._home, copy=True)}}
        self._version = 0

    @property
    def value(self) -> Tensor:
        """The tensor: on the CPU, or where a model was built on the meta device, there."""
        return self._made[self._home]["value"]

    def on(self, device: torch.device) -> dict[str, Tensor]:
        """Return the value on a device, as it is now."""
        if not torch.compiler.is_compiling() and self.value._version != self._version:
            self._made, self._version = {self._home: self._made[self._home]}, self.value._version
        return super().on(device)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the copies on other devices, which are made again."""
        made = {self._home: self._made[self._home]}
        return {"_made": made, "_home": self._home, "_version": 0}


def value_of(who: str, argument: str, setting: Setting, device: torch.device) -> Tensor:
    """Return the value of a setting on a device.

    Raises:
        ValueError: if it has none, since it was made on the meta device.
    """
    if setting.value.is_meta and device.type != "meta":
        hint = "A tensor that is made on the meta device has none; a list or an array has."
        raise ValueError(unexpected(who, argument, "with values", "a meta tensor", hint))
    return setting.on(device)["value"]


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
