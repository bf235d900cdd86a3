"""The values of labels and logits: of which shape, which are allowed, which count, and their sums.

Every check names who refuses, which argument, what came and what is allowed. Shapes are never
broadcast.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.containers import has_mask
from torch_heads.functional.errors import shape, unexpected
from torch_heads.functional.forms import FLOAT8
from torch_heads.functional.gaps import gap
from torch_heads.functional.hints import logits_hint, shape_hint
from torch_heads.functional.tensors import to_tensor

PARALLEL = 2**15  # elements from which PyTorch takes several threads on a CPU
PARTS = 16  # of the rows: no fewer than most machines have threads; 2 to 32 take the same time

UNSIGNED = {torch.uint16, torch.uint32, torch.uint64}  # which PyTorch holds, but does not compare

SWAPPED = "Labels come first in loss, logits in update_metrics: the two may be swapped."

Blame = str | Callable[[Tensor], str]  # who refuses, or who does given the mask of bad values


def zero_where_false(values: Tensor, keep: Tensor | None) -> Tensor:
    """Return 0 where ``keep`` is False, whatever stands there; all values where it is None."""
    return values if keep is None else torch.where(keep, values, 0)


def active_labels(weights: Tensor | None, present: Tensor | None) -> Tensor | None:
    """Return where a label counts, ``[D*, U]`` or ``[D*, 1]``; None for everywhere.

    Weights must be 0 where no label is present.
    """
    # a weight that is learned needs the loss where it is 0, for its gradient
    if weights is None or (weights.requires_grad and torch.is_grad_enabled()):
        return present
    if present is None and are_positive(weights):
        return None
    return weights != 0


def both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Return where both masks are True, of which None is True everywhere."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def rows_of(values: Tensor) -> Tensor:
    """Return values ``[D*, U]`` as ``[N, U]``."""
    return values if values.dim() == 2 else values.flatten(0, -2)


def sum_rows(values: Tensor) -> Tensor:
    """Return the sum over the rows of ``[N, U]`` values.

    >>> sum_rows(torch.ones(3, 2))
    tensor([3., 3.])
    """
    rows, columns = values.shape
    if values.is_cuda or torch.compiler.is_compiling() or rows % PARTS or values.numel() < PARALLEL:
        return values.sum(0)
    # threads share out the results: the parts let each sum rows that it has just made itself
    return values.view(PARTS, rows // PARTS, columns).sum(1).sum(0)


def safe_divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient, and 0 where the denominator is 0, without a NaN in the gradient.

    >>> safe_divide(torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.0]))
    tensor([0.5000, 0.0000])
    """
    empty = denominator == 0
    quotient = numerator / torch.where(empty, torch.ones_like(denominator), denominator)
    return torch.where(empty, torch.zeros_like(quotient), quotient)


def needs_cast(values: Tensor) -> bool:
    """Return whether numbers are of a dtype in which PyTorch does not compute."""
    return values.is_quantized or values.dtype in FLOAT8


def stack_alike(
    given: Sequence[Any], sizes: Sequence[int], leading: torch.Size, device: torch.device
) -> Tensor | None:
    """Return dense tensors of one size and dtype side by side, ``[D*, K]``; None for others.

    Those of size 1 may lack the last dimension.

    >>> stack_alike([torch.ones(3), torch.zeros(3)], [1, 1], torch.Size([3]), torch.device("cpu"))
    tensor([[1., 0.],
            [1., 0.],
            [1., 0.]])
    """
    first, size = given[0], sizes[0]
    if not isinstance(first, Tensor) or first.layout != torch.strided or first.device != device:
        return None
    if first.is_nested or first.is_complex() or needs_cast(first):
        return None
    if type(first) is not Tensor and has_mask(first):
        return None
    shape, dtype, full = first.shape, first.dtype, (*leading, size)
    allowed = (full, leading) if size == 1 else (full,)
    if shape not in allowed:
        return None
    if len(given) == 1:
        return first if shape == full else first.unsqueeze(-1)
    others = []
    for one, own in zip(given, sizes, strict=True):
        if not isinstance(one, Tensor) or one.dtype != dtype or own != size:
            return None
        if one.device != device or one.layout != torch.strided or one.is_nested:
            return None
        if one.shape != shape:
            if one.shape not in allowed:
                return None
            others.append(one)
        if type(one) is not Tensor and has_mask(one):
            return None
    if size > 1:
        return torch.cat(list(given), dim=-1)
    if others:  # one view of all of them takes less time than a view of each
        views = iter(torch.stack(others).view(len(others), *shape).unbind())
        given = [one if one.shape == shape else next(views) for one in given]
    return torch.stack([*given]).view(len(given), *leading).movedim(0, -1).contiguous()


def are_finite(values: Tensor) -> bool:
    """Return whether all values are known to be finite; False where to know would be to wait."""
    if torch.compiler.is_compiling() or not values.is_cpu:
        return False
    return bool(unwrapped(values.detach()).sum().isfinite())


def are_positive(values: Tensor) -> bool:
    """Return whether all values are known to be above 0; False where to know would be to wait."""
    if torch.compiler.is_compiling() or not values.is_cpu or values.numel() == 0:
        return False
    return bool(unwrapped(values.detach()).amin() > 0)


def is_nan(values: Tensor) -> bool:
    """Return whether any value is known to be NaN; False where to know would be to wait."""
    if torch.compiler.is_compiling() or not values.is_cpu:
        return False
    if torch._C._functorch.is_functorch_wrapped_tensor(values):
        return False
    total: float = values.item() if values.numel() == 1 else values.detach().sum().item()
    return total != total


def unwrapped(values: Tensor) -> Tensor:
    """Return what a transform such as `torch.func.vmap` sees one slice of, the slices first."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(values):
        batched = functorch.is_batchedtensor(values)
        place = functorch.maybe_get_bdim(values) if batched else 0
        values = functorch.get_unwrapped(values)
        values = values.movedim(place, 0) if batched else values
    return values


def is_sliced(values: Tensor) -> bool:
    """Return whether these are one slice in `torch.func.vmap`, of which no value can be seen."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(values):
        if functorch.is_batchedtensor(values):
            return True
        values = functorch.get_unwrapped(values)
    return False


def check_logits(who: str, given: Any, width: int) -> Tensor:
    """Return logits ``[D*, width]`` in at least float32.

    Raises:
        ValueError: if they are not floating, of rank below 2, or of another last size.
    """
    plain = isinstance(given, Tensor) and given.layout == torch.strided
    plain = plain and not (given.is_nested or given.is_complex())
    plain = plain and (type(given) is Tensor or not has_mask(given))
    logits = given if plain else to_tensor(who, "logits", given)
    if not logits.is_floating_point():
        raise ValueError(unexpected(who, "logits", "to be floating", logits.dtype, SWAPPED))
    if logits.dim() < 2 or logits.shape[-1] != width:
        raise ValueError(
            unexpected(
                who,
                "logits",
                f"of shape [D0, ..., DN, {width}]",
                list(logits.shape),
                logits_hint(logits.shape, width),
            )
        )
    return logits.float() if logits.dtype.itemsize < 4 else logits


def check_columns(
    who: str, argument: str, values: Tensor, leading: Sequence[int], width: int
) -> Tensor:
    """Return values of shape ``[D*, width]``; ``[D*]`` is allowed where the width is 1.

    Raises:
        ValueError: if the shape is another one.
    """
    full = (*leading, width)
    if values.shape == full:
        return values
    if values.shape == (0,) and 0 in leading:  # an empty list says nothing of its shape
        return values.view(full)
    if width == 1 and values.shape == tuple(leading):
        return values.unsqueeze(-1)
    allowed = [leading, full] if width == 1 else [full]
    hint = shape_hint(argument, values.shape, *allowed)
    expected = f"of shape {shape(*allowed)}"
    raise ValueError(unexpected(who, argument, expected, list(values.shape), hint))


def check_values(
    who: Blame,
    argument: str,
    values: Tensor,
    low: float,
    high: float | Tensor,
    hint: str = "",
) -> None:
    """Refuse values outside of ``[low, high]``, and NaN.

    On a CPU this raises at once. On CUDA, and while compiling, an assertion on the device reports
    it, so that nothing waits. ``high`` may be a tensor that broadcasts to the values; ``who`` may
    be a function that tells from the mask of bad values whose they are.

    Raises:
        ValueError: if a value is out of range.
    """
    if isinstance(high, float) and low == -high == -inf:
        return
    if values.dtype in UNSIGNED:
        values = values.double()
    if not torch.compiler.is_compiling():
        values = unwrapped(values)
    if values.numel() == 0 or values.is_meta:
        return
    compiling = torch.compiler.is_compiling()
    if compiling or values.is_cuda:
        inside = ((values >= low) & (values <= high)).all()
        most = "n_classes - 1" if isinstance(high, Tensor) else high
        # compiled code may take numbers for symbols, which have no text
        allowed = "their range" if compiling else f"[{low}, {most}]"
        torch._assert_async(inside, f"{argument} must lie in {allowed}")
        return
    if not isinstance(high, Tensor):
        least, greatest = values.aminmax()
        if low <= least.item() and greatest.item() <= high:  # false for NaN
            return
    bad = ~((values >= low) & (values <= high))
    if bad.any():
        refuse_nan(who, argument, values)
        owner = who if isinstance(who, str) else who(bad)
        limit = high.expand_as(values)[bad][0].item() if isinstance(high, Tensor) else high
        allowed = f"in [{low:g}, {limit:g}]" if np.isfinite(limit) else f">= {low:g}"
        raise ValueError(unexpected(owner, argument, allowed, values[bad][0].item(), hint))


def check_finite(who: str, argument: str, values: Tensor, hint: str = "") -> None:
    """Refuse what is infinite or NaN: on a CPU at once, else as `check_values` does.

    Raises:
        ValueError: if a value is.
    """
    if torch.compiler.is_compiling() or values.is_cuda:
        torch._assert_async(values.isfinite().all(), f"{argument} must be finite")
        return
    values = unwrapped(values)
    if not values.is_meta and not values.isfinite().all():
        refuse_nan(who, argument, values)
        infinite = values[values.isinf()][0].item()
        raise ValueError(unexpected(who, argument, "to be finite", infinite, hint))


def refuse_nan(who: Blame, argument: str, values: Tensor) -> None:
    """Refuse NaN, by its row; this waits for the device.

    Raises:
        ValueError: if there is any.
    """
    bad = values.isnan()
    for place in bad.nonzero()[:1].tolist():
        owner = who if isinstance(who, str) else who(bad)
        raise ValueError(gap(owner, argument, "nan", place[:-1] or place))


def whole_numbers(
    who: Blame, argument: str, values: Tensor, expected: str = "as class ids"
) -> Tensor:
    """Return floats that are whole numbers, and unsigned ones, as int64; others as they are.

    Raises:
        ValueError: if a value has a fraction.
    """
    if not values.is_floating_point():
        return values.to(torch.int64) if values.dtype in UNSIGNED else values
    ids = values.to(torch.int64)
    compiling = torch.compiler.is_compiling()
    seen = (ids, values) if compiling else (unwrapped(ids), unwrapped(values))
    whole = torch.eq(*seen)  # false for NaN
    if compiling or values.is_cuda:
        torch._assert_async(whole.all(), f"{argument} must be whole numbers")
    elif not values.is_meta and not whole.all():
        refuse_nan(who, argument, seen[1])
        owner = who if isinstance(who, str) else who(~whole)
        raise ValueError(unexpected(owner, argument, expected, seen[1][~whole][0].item()))
    return ids


def check_returned(who: str, argument: str, what: str, values: Any, shape: Sequence[int]) -> Tensor:
    """Return what a user's function returned.

    Raises:
        ValueError: if it is not a floating tensor of that shape.
    """
    tensor = isinstance(values, Tensor)
    if tensor and not values.is_floating_point():
        raise ValueError(unexpected(who, argument, f"to return floating {what}", values.dtype))
    if not tensor or [*values.shape] != [*shape]:
        given = list(values.shape) if tensor else type(values).__name__
        expected = f"to return a tensor of shape {list(shape)}"
        raise ValueError(unexpected(who, argument, expected, given))
    returned: Tensor = values
    return returned
