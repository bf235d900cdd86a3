"""Labels in the forms that users have them, made into numbers.

Class names become ids by a vocabulary, and every value is checked before it is used.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected

MISSING_NAME = -1  # the id of a name that means "not labelled"


def class_ids(
    who: str,
    names: Any,
    vocabulary: Sequence[str] | None,
    missing: object = None,
    mask: Tensor | None = None,
) -> np.ndarray[Any, Any]:
    """Return the int64 index of each class name in the vocabulary, in the names' shape.

    The name that means "not labelled" becomes -1; where ``mask`` is False (padding), any does.

    Raises:
        ValueError: if there is no vocabulary, or a name is not in it.
    """
    if vocabulary is None:
        hint = "Class names need a label_vocabulary."
        raise ValueError(unexpected(who, "labels", "to be numeric", "strings", hint))
    try:
        array = np.asarray(names)
    except ValueError:
        given = "rows of different lengths"
        raise ValueError(unexpected(who, "labels", "to be rectangular", given)) from None
    index = {name: i for i, name in enumerate(vocabulary)}
    flat = [name.decode() if isinstance(name, bytes) else name for name in array.ravel().tolist()]
    ids = np.array([index.get(name, MISSING_NAME) for name in flat], dtype=np.int64)
    known = ids >= 0
    if missing is not None:
        known |= np.array([name == missing for name in flat], dtype=bool)
    if mask is not None and mask.numel() == known.size:
        known |= ~mask.cpu().numpy().ravel()
    if not known.all():
        unknown = repr(flat[int(np.flatnonzero(~known)[0])])
        expected = f"from label_vocabulary {preview(vocabulary)}"
        raise ValueError(unexpected(who, "labels", expected, unknown))
    return ids.reshape(array.shape)
