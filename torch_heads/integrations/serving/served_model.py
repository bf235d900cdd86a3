"""A model with its head, as one function from input tensors to a flat dict of predictions."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from torch_heads.functional.errors import unexpected
from torch_heads.heads.base import Head
from torch_heads.integrations.head_of import head_of
from torch_heads.integrations.serving.example import HALF, WHO, Example
from torch_heads.integrations.serving.stacks import stacks_of


class ServedModel(nn.Module):
    """A model whose predictions are made by a head, in it or behind it.

    Args:
        model: returns what its head returns, or the logits of ``head``.
        head: that of the model, in it or behind it; None for the one in it, which it calls.
        example: how the model is called.
        stacked: whether the predictions of heads that are computed as one stay side by side.

    Raises:
        TypeError: if ``head`` is no head.
        ValueError: if there is no head, or more than one.
    """

    def __init__(
        self, model: nn.Module, head: Head | None, example: Example, stacked: bool
    ) -> None:
        super().__init__()
        self.model = model
        self.head = head_of(WHO, model, head)
        self._given = head is not None
        self._inside = any(one is self.head for one in model.modules())
        self._example, self._stacked = example, stacked

    def logits(self, *inputs: Tensor) -> Any:
        """Return what the head is given.

        Raises:
            ValueError: if the model returns anything else than what its head returns.
        """
        return self._called(inputs)[0]

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return the predictions by name, or those of many heads side by side."""
        logits, predictions = self._called(inputs)
        if not self._stacked:
            return predictions
        return {name: one.values for name, one in stacks_of(self.head, logits).items()}

    def _called(self, inputs: Sequence[Tensor]) -> tuple[Any, dict[str, Tensor]]:
        """Return what the head is given, and what it returns; nothing, if these are stacked."""
        if not self._inside:
            return self._behind(self._example.call(self.model, inputs))
        with _noted(self.head, self._stacked) as notes:
            returned = self._example.call(self.model, inputs)
        if notes and returned is notes[-1][1]:
            return notes[-1]
        # a model that has called its head may return another thing that looks like logits
        if self._given and (not notes or returned is notes[-1][0]):
            return self._behind(returned)
        expected, given = "to return what its head returns", type(returned).__name__
        hint = "Or give export_bundle a model that returns logits, and head=model.head."
        raise ValueError(unexpected(WHO, "model", expected, given, hint))

    def _behind(self, logits: Any) -> tuple[Any, dict[str, Tensor]]:
        return logits, {} if self._stacked else self.head(logits)


@contextmanager
def for_serving(model: nn.ModuleDict) -> Iterator[nn.ModuleDict]:
    """Give a model on the CPU, in float32 and for evaluation: itself, or a copy.

    Its own modes are as before when the block ends.
    """
    tensors = [*model.parameters(), *model.buffers()]
    if any(one.is_meta for one in tensors):
        raise ValueError(unexpected(WHO, "model", "with weights", "tensors on the meta device"))
    if any(one.dtype in HALF or one.device.type != "cpu" for one in tensors):
        model = copy.deepcopy(model).cpu()
        model = model.float() if any(one.dtype in HALF for one in tensors) else model
    modes = {one: one.training for one in model.modules()}
    try:
        with torch.no_grad():
            yield model.eval()
    finally:
        for one, training in modes.items():
            one.training = training


@contextmanager
def _noted(head: Head, stacked: bool) -> Iterator[list[tuple[Any, dict[str, Tensor]]]]:
    """Note what a head is given, and what it returns, which is empty where it is not needed."""
    notes: list[tuple[Any, dict[str, Tensor]]] = []
    forward = head.forward

    def noting(logits: Any, keys: Any = None) -> dict[str, Tensor]:
        notes.append((logits, {} if stacked else forward(logits, keys)))
        return notes[-1][1]

    attributes = vars(head)
    attributes["forward"] = noting
    try:
        yield notes
    finally:
        del attributes["forward"]  # made again when it is looked up
