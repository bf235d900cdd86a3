"""Labels that are names of classes, one for each label, in any form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.containers import opened
from torch_heads.functional.forms import is_empty, is_text
from torch_heads.functional.labels import class_ids
from torch_heads.functional.tables import columns_in_order, is_table


def opened_names(
    who: str, labels: Any, vocabulary: Sequence[str] | None, missing: object, mask: Tensor | None
) -> tuple[Any, Tensor | None]:
    """Return labels, opened, and class ids where they are names.

    Raises:
        ValueError: if a name is not in the vocabulary, or there is none.

    >>> opened_names("a head", [["cat"], ["dog"]], ["dog", "cat"], None, None)[1]
    tensor([[1],
            [0]])
    """
    if not (isinstance(labels, Tensor) or is_text(labels)):
        labels = opened(labels)
        if is_table(labels):
            columns = [*map(opened, columns_in_order(who, "labels", labels))]
            if any(map(is_text, columns)):
                columns = [[*zip(*columns, strict=True)]]
            labels = columns[0] if len(columns) == 1 else labels
    if is_text(labels) or (vocabulary is not None and is_empty(labels)):
        return labels, torch.from_numpy(class_ids(who, labels, vocabulary, missing, mask))
    return labels, None
