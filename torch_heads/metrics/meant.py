"""What a name that is none of a head's metrics was perhaps meant to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from torch_heads.metrics.readings.names import (
    BINARY,
    CLASSES,
    MULTI_LABEL,
    NUMBERS,
    OTHER_NAMES,
    PROBABILITIES,
    QUANTILES,
    TIMES,
)

#: The names of the metrics of each kind of head, the kind as a hint says it.
KINDS: Mapping[str, Collection[str]] = {
    "of two classes": BINARY,
    "of several labels": MULTI_LABEL,
    "of several classes": CLASSES,
    "of classes in an order": ["mean_absolute_error"],
    "of numbers": NUMBERS,
    "of probabilities": PROBABILITIES.keys() - NUMBERS.keys(),
    "that tell quantiles, such as QuantileRegressionHead": QUANTILES.keys() - NUMBERS.keys(),
    "that predict a distribution, such as GaussianRegressionHead": ["crps"],
    "of times": TIMES,
}


def hint_for(asked: str, own: Collection[str]) -> str:
    """Return a hint at the metric that was meant, of this head or of others; empty for none.

    Args:
        asked: the name that is not known.
        own: the names that the head has.

    >>> hint_for("f1_scor", ["f1", "brier_score"])
    "The nearest is 'f1'."
    >>> hint_for("R2", ["f1", "brier_score"])
    "'r2' is a metric of heads of numbers."
    """
    elsewhere = [name for names in KINDS.values() for name in names]
    folded = asked.casefold()
    names = [*own, *elsewhere, *OTHER_NAMES]
    close = get_close_matches(folded, names, 1, 0.6) or get_close_matches(folded, own, 1, 0.4)
    if not close:
        return ""
    meant = OTHER_NAMES.get(close[0], close[0])
    if meant in own:
        return f"The nearest is {meant!r}."
    kinds = [kind for kind, names_of in KINDS.items() if meant in names_of]
    hint = f"{meant!r} is a metric of heads {' or '.join(kinds)}."
    first = meant.partition("_")[0]
    return f"{hint} Here there is {first!r}." if first in own else hint
