"""The way out of a shape that is not the one expected, where it shows."""

from collections.abc import Sequence
from itertools import permutations

SAME_BATCH = "Labels and logits must come from the same batch."
FEW = 5  # dimensions up to which their orders are tried


def shape_hint(argument: str, given: Sequence[int], *allowed: Sequence[int]) -> str:
    """Return what to do with values that have the dimensions in another order, or one too many.

    >>> shape_hint("labels", [8, 3, 32, 32], [8, 32, 32, 3])
    'The dimensions are in another order: labels.movedim(1, -1).'
    """
    for wanted in allowed:
        if len(wanted) == len(given) > 1:
            for name, order in _orders(len(given)):
                if [given[place] for place in order] == [*wanted]:
                    return f"The dimensions are in another order: {argument}.{name}."
        for place in range(1, len(given)):
            if given[place] == 1 and [*given[:place], *given[place + 1 :]] == [*wanted]:
                return f"One dimension is too many: {argument}.squeeze({place})."
    return SAME_BATCH if argument == "labels" else ""


def _orders(count: int) -> list[tuple[str, tuple[int, ...]]]:
    """Return orders of dimensions other than their own, the usual ones first, as calls."""
    rest = tuple(range(2, count))
    known = [("movedim(1, -1)", (0, *rest, 1)), ("transpose(0, 1)", (1, 0, *rest))]
    if count > FEW:
        return known
    others = [(f"permute{order}", order) for order in permutations(range(count))][1:]
    return [*known[count == 2 :], *others]


def logits_hint(given: Sequence[int], width: int) -> str:
    """Return what to do with logits of another shape than ``[D0, ..., DN, width]``.

    >>> logits_hint([8, 3, 32, 32], 3)
    'The logits of a place are the last dimension: logits.movedim(1, -1).'
    """
    if len(given) > 2 and given[1] == width:
        return "The logits of a place are the last dimension: logits.movedim(1, -1)."
    if len(given) == 1 and width == 1:
        return "One logit for each row: logits.unsqueeze(-1)."
    if width == 1 and given and given[-1] == 2:
        return "Two logits, one for each class, are those of MultiClassHead(n_classes=2)."
    if width == 2 and given and given[-1] == 1:
        return "One logit for two classes is that of a BinaryClassHead."
    return f"logits_dimension is {width}."
