"""A user's own loss and inverse link: what they may take, and what they have to return."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from math import nan
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from torch_heads.functional.errors import preview, unexpected

if TYPE_CHECKING:
    from torch_heads.heads.batch import Batch
    from torch_heads.heads.tensor_head import TensorHead

LossFn = Callable[..., Tensor]

REQUIRED, OPTIONAL = ("labels", "logits"), ("features", "loss_reduction")


def check_loss_fn(who: str, loss_fn: Any) -> tuple[str, ...]:
    """Return the arguments that a ``loss_fn`` takes.

    Raises:
        TypeError: if it is not callable.
        ValueError: if it does not take ``labels`` and ``logits``, or takes unknown arguments.
    """
    if loss_fn is None:
        return ()
    if not callable(loss_fn):
        raise TypeError(unexpected(who, "loss_fn", "to be callable", type(loss_fn).__name__))
    partly = isinstance(loss_fn, functools.partial)
    bound = loss_fn.keywords if partly else {}
    inspected = loss_fn.func if partly and isinstance(loss_fn.func, nn.Module) else loss_fn
    inspected = getattr(inspected, "_orig_mod", inspected)  # of a module that is compiled
    inspected = inspected.forward if isinstance(inspected, nn.Module) else inspected
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    try:
        signature = inspect.signature(inspected)
    except ValueError:
        given = f"{loss_fn!r}, whose arguments Python cannot tell"
        raise TypeError(unexpected(who, "loss_fn", "as a Python function", given)) from None
    names = tuple(
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind in kinds and parameter.name not in bound
    )
    if not set(REQUIRED) <= set(names) <= {*REQUIRED, *OPTIONAL}:
        expected = f"with the arguments {preview(REQUIRED)}, and optionally {preview(OPTIONAL)}"
        raise ValueError(unexpected(who, "loss_fn", expected, preview(names)))
    return names


def custom_losses(head: TensorHead, batch: Batch) -> Tensor:
    """Return what the ``loss_fn`` gives, ``[D*, loss_dimension]``.

    Raises:
        ValueError: if it returns anything else.
    """
    if head.loss_fn is None:
        raise TypeError(unexpected(head.title, "loss_fn", "to be given", None))
    given = {"features": batch.features, "loss_reduction": head.loss_reduction}
    extra = {key: given[key] for key in head.loss_fn_arguments if key in given}
    labels = batch.labels
    if batch.labelled is not None and head.loss_dimension < head.labels_dimension:
        # one loss of several labels: only the function can tell what it is without some
        gap = ~batch.labelled & batch.labelled.any(-1, keepdim=True)
        labels = labels.masked_fill(gap, nan)
    losses = head.loss_fn(labels=labels, logits=batch.logits, **extra)
    shape = [*batch.logits.shape[:-1], head.loss_dimension]
    return _returned(head.title, "loss_fn", "losses", losses, shape)


def custom_predictions(head: TensorHead, logits: Tensor) -> Tensor:
    """Return what the ``inverse_link_fn`` gives, of the logits' shape.

    Raises:
        ValueError: if it returns anything else.
    """
    argument = "inverse_link_fn"
    if head.inverse_link_fn is None:
        raise TypeError(unexpected(head.title, argument, "to be given", None))
    predictions = head.inverse_link_fn(logits)
    return _returned(head.title, argument, "predictions", predictions, list(logits.shape))


def _returned(who: str, argument: str, what: str, values: Any, shape: Sequence[int]) -> Tensor:
    tensor = isinstance(values, Tensor)
    if tensor and not values.is_floating_point():
        raise ValueError(unexpected(who, argument, f"to return floating {what}", values.dtype))
    if not tensor or [*values.shape] != [*shape]:
        given = list(values.shape) if tensor else type(values).__name__
        expected = f"to return a tensor of shape {list(shape)}"
        raise ValueError(unexpected(who, argument, expected, given))
    returned: Tensor = values
    return returned
