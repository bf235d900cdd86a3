"""Constants of a module: buffers that follow it to its device, but never change their dtype."""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn


class Constants(nn.Module):
    """A module whose non-persistent buffers are constants.

    ``module.to(torch.bfloat16)`` would round them, and ``module.type(torch.bfloat16)`` would leave
    an index pointing elsewhere.
    """

    def constant(self, name: str, values: Sequence[float] | Tensor | None) -> None:
        """Register a constant; None where there is none."""
        tensor = None if values is None else torch.as_tensor(values)
        self.register_buffer(name, tensor, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = {name: self._buffers[name] for name in self._non_persistent_buffers_set}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, tensor in before.items():
            after = self._buffers[name]
            if tensor is not None and after is not None and after.dtype != tensor.dtype:
                self._buffers[name] = tensor.to(after.device)
        return self
