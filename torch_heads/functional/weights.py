"""Example weights: given directly, or found in the features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from torch_heads.functional.errors import shape, unexpected
from torch_heads.functional.features import find_feature
from torch_heads.functional.hints import shape_hint
from torch_heads.functional.tensors import to_tensor
from torch_heads.functional.transposed import refuse_transposed

WeightColumn = str | Callable[[Mapping[str, Any]], Any] | None


def find_weights(
    who: str,
    column: WeightColumn,
    features: Mapping[str, Any] | None,
    logits: Tensor,
    columns: int,
    valid: Tensor | None = None,
) -> Tensor:
    """Return the weights that a ``weight_column`` finds in the features, checked.

    Raises:
        ValueError: if the column is not among the features, or the shape is not what
            `check_weights` allows.
    """
    if column is None or callable(column):
        found = None if column is None else column({} if features is None else features)
        return check_weights(who, "weight_column(features)", found, logits, columns, valid)
    argument = f"features[{column!r}]"
    given = find_feature(who, features, column, f"with the weight_column {column!r}")
    refuse_transposed(who, given, logits.shape[:-1], argument)
    found = to_tensor(who, argument, given, logits.device, may_miss=False, valid=valid)
    if found.ndim == 1 and logits.dim() > 2:  # there, tf.estimator makes a column of it
        leading = logits.shape[:-1]
        if (len(found), 1) != tuple(leading):
            expected = f"of shape {shape(leading, (*leading, 1))}"
            hint = "Weights of the first dimensions alone are given as weights=..."
            raise ValueError(unexpected(who, argument, expected, list(found.shape), hint))
        found = found[:, None]
    return check_weights(who, argument, found, logits, columns)


def check_weights(
    who: str,
    argument: str,
    values: Any,
    logits: Tensor,
    columns: int,
    valid: Tensor | None = None,
) -> Tensor:
    """Return weights ``[D*, 1]``, or ``[D*, columns]`` where there are several.

    Weights of the first dimensions ``[D0, ..., DK]`` alone hold for all that is in these.

    Args:
        who: whose weights.
        argument: what they are called.
        values: the weights.
        logits: ``[D*, C]``, for the batch shape, the device and the dtype.
        columns: how many label columns may have weights of their own; 1 for none.
        valid: ``[D*]``, False where a row is padding, and a gap may stand; None for nowhere.

    Raises:
        ValueError: if they are not real numbers or of another shape.
    """
    leading = logits.shape[:-1]
    refuse_transposed(who, values, leading, argument)
    weights = to_tensor(who, argument, values, logits.device, may_miss=False, valid=valid)
    per_column = (*leading, columns)
    if weights.shape == leading:
        weights = weights.unsqueeze(-1)
    elif 0 < weights.dim() < len(leading) and weights.shape == leading[: weights.dim()]:
        # of an image or a sequence, and so of all that is in it
        inner = [1] * (len(leading) - weights.dim())
        weights = weights.view(*weights.shape, *inner).expand(leading).unsqueeze(-1)
    elif weights.shape != (*leading, 1) and weights.shape != per_column:
        allowed = [leading, (*leading, 1), *([per_column] if columns > 1 else [])]
        hint = shape_hint("weights", weights.shape, *allowed)
        expected = f"of shape {shape(*allowed)}"
        raise ValueError(unexpected(who, argument, expected, list(weights.shape), hint))
    return weights.to(logits.dtype)
