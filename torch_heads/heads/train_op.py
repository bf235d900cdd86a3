"""The step of training of an `EstimatorSpec`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.errors import class_of, unexpected


def make_train_op(
    who: str,
    loss: Tensor,
    optimizer: torch.optim.Optimizer | None,
    trainable_variables: Sequence[Tensor] | None,
    train_op_fn: Callable[[Tensor], Any] | None,
    update_ops: Iterable[Callable[[], Any]] | None,
) -> Any:
    """Return the step of an optimizer as a callable, or what ``train_op_fn`` returns.

    The ``update_ops`` run in the step, or after what ``train_op_fn`` returned.

    Raises:
        ValueError: if not exactly one of ``optimizer`` and ``train_op_fn`` is given, or
            ``train_op_fn`` returns None, or an argument is of another type than documented.
        TypeError: if what is to be called cannot be.
    """
    _check_train_op(who, optimizer, trainable_variables, train_op_fn, update_ops)
    if train_op_fn is not None:
        train_op = train_op_fn(loss)
        if train_op is None:
            raise ValueError(unexpected(who, "train_op_fn", "to return a train op", None))
        if update_ops and callable(train_op):
            return functools.partial(_run_with, train_op, update_ops)
        for update in update_ops or ():
            update()
        return train_op
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ValueError(
            unexpected(who, "optimizer", "as a torch.optim.Optimizer", class_of(optimizer))
        )
    if not loss.requires_grad:
        raise ValueError(
            unexpected(who, "logits", "with a gradient to train", "logits that need none")
        )

    done = False

    def step() -> Tensor:
        nonlocal done
        if done:
            raise RuntimeError(f"{who}: this train_op has run; each batch has a spec of its own.")
        done = True
        optimizer.zero_grad()
        if trainable_variables is None:
            torch.autograd.backward(loss)
        elif variables := [one for one in trainable_variables if one.requires_grad]:
            torch.autograd.backward(loss, inputs=variables)
        for update in update_ops or ():
            update()
        optimizer.step()
        return loss

    return step


def _run_with(train_op: Callable[[], Any], update_ops: Iterable[Callable[[], Any]]) -> Any:
    """Run a step of the user's, and then the updates; return what the step returned."""
    result = train_op()
    for update in update_ops:
        update()
    return result


def _check_train_op(
    who: str, optimizer: Any, trainable_variables: Any, train_op_fn: Any, update_ops: Any
) -> None:
    if (optimizer is None) == (train_op_fn is None):
        given = "neither" if optimizer is None else "both"
        raise ValueError(unexpected(who, "one of optimizer and train_op_fn", "to be given", given))
    for argument, value in [
        ("update_ops", update_ops),
        ("trainable_variables", trainable_variables),
    ]:
        if value is not None and not isinstance(value, (list, tuple)):
            given = type(value).__name__
            raise ValueError(unexpected(who, argument, "as a list or tuple", given))
    for update in update_ops or ():
        if not callable(update):
            raise TypeError(unexpected(who, "update_ops", "as callables", repr(update)))
    if train_op_fn is not None:
        if not callable(train_op_fn):
            raise TypeError(unexpected(who, "train_op_fn", "to be callable", repr(train_op_fn)))
        return
    for variable in trainable_variables or ():
        if not isinstance(variable, Tensor):
            given = type(variable).__name__
            raise TypeError(unexpected(who, "trainable_variables", "as tensors", given))
