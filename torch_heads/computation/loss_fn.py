"""A user's own loss: what it may take, and what it has to return."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from torch_heads.computation.inputs import EncodedBatch, flat_logits
from torch_heads.computation.rows import PresentRows, connected_zeros
from torch_heads.functional.arguments import check_function
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.values import both, check_returned, is_sliced, zero_where_false

# of a tensor; that is not said, or jsonargparse would take neither modules nor functions without it
LossFn = Callable[..., Any]

REQUIRED, OPTIONAL = ("labels", "logits"), ("features", "loss_reduction")
TORCH = (("input", "target"), ("inputs", "targets"))  # what losses of PyTorch call the two
NONE = 'Make it with reduction="none": weights and missing labels count for each example.'


class CustomLoss:
    """A ``loss_fn``, called with what it takes.

    It takes ``labels`` and ``logits``, and if wanted ``features`` and ``loss_reduction``; or it has
    the arguments of PyTorch's own losses, ``input`` and ``target``.

    Args:
        who: the head's title.
        loss_fn: the function or module.
        reduction: the head's, for a function that asks for it.
        columns: how many label columns the head has.
        loss_columns: how many losses an example has.
        takes_ids: whether labels are class ids.
        may_miss: whether labels may be missing.

    Raises:
        TypeError: if it is not callable.
        ValueError: if it takes other arguments, or reduces.
    """

    def __init__(
        self,
        who: str,
        loss_fn: LossFn,
        reduction: Reduction,
        *,
        columns: int,
        loss_columns: int,
        takes_ids: bool,
        may_miss: bool,
    ) -> None:
        check_function(who, "loss_fn", loss_fn)
        self._who, self._loss_fn, self._reduction = who, loss_fn, reduction
        self._columns, self._loss_columns = columns, loss_columns
        self._takes_ids, self._may_miss = takes_ids, may_miss
        parameters = _parameters(who, loss_fn)
        names = tuple(parameters)
        self._torch = next((pair for pair in TORCH if set(pair) <= set(names)), None)
        if self._torch is None:
            if not set(REQUIRED) <= set(names) <= {*REQUIRED, *OPTIONAL}:
                expected = (
                    f"with the arguments {preview(REQUIRED)}, and optionally {preview(OPTIONAL)}"
                )
                raise ValueError(unexpected(who, "loss_fn", expected, preview(names)))
            self._extra = tuple(name for name in OPTIONAL if name in names)
            return
        empty = inspect.Parameter.empty
        others = [n for n, p in parameters.items() if p.default is empty and n not in self._torch]
        if others:
            expected = f"with the arguments {preview(self._torch)}, and others with a default"
            raise ValueError(unexpected(who, "loss_fn", expected, preview(names)))
        reduces = _reduction_of(loss_fn)
        if reduces not in (None, "none"):
            expected = 'with reduction="none"'
            raise ValueError(unexpected(who, "loss_fn", expected, repr(reduces), NONE))
        self._extra = ("reduction",) if "reduction" in names else ()

    @property
    def name(self) -> str:
        """The name of the function, or of the module's class."""
        name: str = getattr(self._loss_fn, "__qualname__", type(self._loss_fn).__name__)
        return name

    def __call__(self, batch: EncodedBatch) -> Tensor:
        """Return the losses ``[D*, loss_columns]``, or ``[D*, columns]``.

        Where labels may be missing or steps padded, the function gets the rows that are there, in
        one dimension; rows of weight 0 are there.

        Raises:
            ValueError: if the function returns anything else.
        """
        there = both(batch.present, batch.valid)
        if there is None or batch.labels.is_meta:
            return self._losses(batch)
        compiling = torch.compiler.is_compiling()
        if not compiling and is_sliced(there):
            return self._of_one_row(batch, there.any(-1, keepdim=True))
        rows = PresentRows(batch)
        if not compiling and not len(rows):  # compiled code has one path, for no rows too
            return connected_zeros(batch, self._loss_columns)
        return rows.restore(self._losses(rows.batch))

    def _of_one_row(self, batch: EncodedBatch, there: Tensor) -> Tensor:
        """Return the losses of the one row of a slice, 0 where it is missing, ``[D*, 1]`` tells."""
        if there.numel() != 1:
            expected = "of one row under torch.func.vmap, where none can be left out for a loss_fn"
            given = f"{there.numel()} rows"
            raise ValueError(unexpected(self._who, "logits", expected, given))
        (block,) = batch.logits
        mask = there.view(*there.shape, *[1] * (block.dim() - there.dim()))
        stand_in = batch._replace(logits=[zero_where_false(block, mask)])
        return zero_where_false(self._losses(stand_in), there)

    def _losses(self, batch: EncodedBatch) -> Tensor:
        """Return the losses of a batch of which all rows are there."""
        if self._torch is not None:
            return self._like_torch(batch)
        if batch.probabilities is not None:
            expected, given = "to have PyTorch's arguments, to take class probabilities", "labels"
            raise ValueError(unexpected(self._who, "loss_fn", expected, given))
        values = {"features": batch.features, "loss_reduction": self._reduction}
        labels = batch.labels
        if batch.present is not None and self._loss_columns < self._columns:
            # one loss of several labels: only the function can tell what it is without some
            gap = ~batch.present & batch.present.any(-1, keepdim=True)
            labels = labels.masked_fill(gap, nan)
        extra = {key: values[key] for key in self._extra}
        losses = self._loss_fn(labels=labels, logits=flat_logits(batch), **extra)
        shape = [*batch.labels.shape[:-1], self._loss_columns]
        return check_returned(self._who, "loss_fn", "losses", losses, shape)

    def _like_torch(self, batch: EncodedBatch) -> Tensor:
        """Call a loss as PyTorch's are: class ids without a last dimension, rows in one."""
        logits, labels = flat_logits(batch), batch.labels
        if self._takes_ids:
            logits = logits.flatten(0, -2)
            soft = batch.probabilities
            labels = labels.flatten() if soft is None else soft[0].flatten(0, -2)
        assert self._torch is not None
        extra = dict.fromkeys(self._extra, "none")
        losses = self._loss_fn(**dict(zip(self._torch, (logits, labels), strict=True)), **extra)
        shape = [*batch.labels.shape[:-1], self._columns]
        tensor = isinstance(losses, Tensor)
        if tensor and losses.dim() == 0 and batch.labels.numel() != 1:
            given = "one number for the whole batch"
            expected = "to return a loss for each example"
            raise ValueError(unexpected(self._who, "loss_fn", expected, given, NONE))
        if tensor and self._columns == 1 and losses.numel() == batch.labels.numel():
            losses = losses.reshape(shape)
        elif tensor and self._loss_columns == 1 and [*losses.shape] == shape[:-1]:
            if self._may_miss:
                expected = "to return a loss for each label, some of which may be missing"
                given = f"one of shape {list(losses.shape)} for each example"
                raise ValueError(unexpected(self._who, "loss_fn", expected, given))
            each: Tensor = losses.unsqueeze(-1)
            return each
        return check_returned(self._who, "loss_fn", "losses", losses, shape)


def _parameters(who: str, loss_fn: LossFn) -> dict[str, inspect.Parameter]:
    """Return the parameters that can be passed by name, without those that a partial has bound."""
    bound = loss_fn.keywords if isinstance(loss_fn, functools.partial) else {}
    inspected: Any = loss_fn
    if isinstance(loss_fn, functools.partial) and isinstance(loss_fn.func, nn.Module):
        inspected = loss_fn.func
    inspected = getattr(inspected, "_orig_mod", inspected)  # of a module that is compiled
    inspected = inspected.forward if isinstance(inspected, nn.Module) else inspected
    try:
        signature = inspect.signature(inspected)
    except (TypeError, ValueError):
        given = f"{loss_fn!r}, whose arguments Python cannot tell"
        raise TypeError(unexpected(who, "loss_fn", "as a Python function", given)) from None
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        parameter.name: parameter
        for parameter in signature.parameters.values()
        if parameter.kind in kinds and parameter.name not in bound
    }


def _reduction_of(loss_fn: Any) -> Any:
    """Return the reduction that a module, or a partial, has been made with; None for none."""
    if isinstance(loss_fn, functools.partial):
        if "reduction" in loss_fn.keywords:
            return loss_fn.keywords["reduction"]
        loss_fn = loss_fn.func
    loss_fn = getattr(loss_fn, "_orig_mod", loss_fn)
    return getattr(loss_fn, "reduction", None) if isinstance(loss_fn, nn.Module) else None
