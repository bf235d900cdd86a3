"""Example weights: given directly, or found in the features."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from torch_heads.functional.errors import preview, shape, unexpected
from torch_heads.functional.tensors import to_tensor

WeightColumn = str | Callable[[Mapping[str, Any]], Any] | None


def find_weights(
    who: str,
    column: WeightColumn,
    features: Mapping[str, Any] | None,
    weights: Any,
    logits: Tensor,
    per_logit: bool = False,
) -> Tensor | None:
    """Return the weights given, or those of the column, checked; None for none.

    Raises:
        ValueError: if both are given, the column is not among the features, or the shape is not
            what `check_weights` allows.
    """
    if weights is not None:
        if column is not None:
            expected = f"or the weight_column {column!r} alone"
            raise ValueError(unexpected(who, "weights", expected, "both"))
        return check_weights(who, "weights", weights, logits, per_logit)
    if column is None:
        return None
    if callable(column):
        found = column({} if features is None else features)
        return check_weights(who, "weight_column(features)", found, logits, per_logit)
    if not isinstance(features, Mapping) or column not in features:
        given = preview(features, 20) if isinstance(features, Mapping) else repr(features)
        expected = f"with the weight_column {column!r}"
        raise ValueError(unexpected(who, "features", expected, given))
    found = features[column]
    found = to_tensor(who, f"features[{column!r}]", found, logits.device)
    if found.ndim == 1:
        found = found[:, None]  # the originals' rule; it matters only for logits of rank 3 and more
    return check_weights(who, f"features[{column!r}]", found, logits, per_logit)


def check_weights(who: str, argument: str, values: Any, logits: Tensor, per_logit: bool) -> Tensor:
    """Return weights ``[D*, 1]``, or ``[D*, L]`` where a weight per logit is allowed.

    Raises:
        ValueError: if they are not real numbers or of another shape.
    """
    weights = to_tensor(who, argument, values, logits.device)
    leading, full = logits.shape[:-1], logits.shape
    if weights.shape == leading:
        weights = weights.unsqueeze(-1)
    elif weights.shape != (*leading, 1) and not (per_logit and weights.shape == full):
        allowed = [leading, (*leading, 1), *([full] if per_logit and full[-1] > 1 else [])]
        raise ValueError(
            unexpected(who, argument, f"of shape {shape(*allowed)}", list(weights.shape))
        )
    return weights.to(logits.dtype)
