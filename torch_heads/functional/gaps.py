"""Gaps among values: refused where none may be, in words that name the row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from torch_heads.functional.errors import unexpected

NEEDS_MISSING = "Labels that are missing need a missing_label."


def refuse_gaps(
    who: str,
    argument: str,
    gaps: np.ndarray[Any, Any],
    values: np.ndarray[Any, Any] | None,
    valid: Tensor | None,
) -> None:
    """Refuse the first gap in a row that is no padding.

    Raises:
        ValueError: if there is any.
    """
    while valid is not None and valid.dim() > gaps.ndim:  # a row of the first dimensions alone
        valid = valid.any(-1)
    if valid is not None and gaps.shape[: valid.dim()] == valid.shape:
        rows = valid.cpu().numpy()
        gaps = gaps & rows.reshape(*rows.shape, *[1] * (gaps.ndim - rows.ndim))
    for place in np.argwhere(gaps)[:1]:
        given = "a masked entry" if values is None else repr(values.item(*place))
        raise ValueError(gap(who, argument, given, place.tolist()))


def gap(who: str, argument: str, given: str, place: Sequence[int]) -> str:
    """Return the words that refuse a gap in a row."""
    where = f" in row {place[0]}" if place else ""
    where += f", at {list(place)}" if len(place) > 2 else ""
    hint = NEEDS_MISSING if "labels" in argument else ""
    return unexpected(who, argument, "without gaps", f"{given}{where}", hint)
