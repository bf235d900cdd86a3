"""Whether metrics are those of a head, and not of another one whose metrics have the same keys."""

from torch_heads.computation.target import Target
from torch_heads.families.family import Family
from torch_heads.functional.errors import unexpected
from torch_heads.metrics.collection import ReadingCollection


def check_owner(target: Target, metrics: ReadingCollection) -> None:
    """Refuse metrics that keep columns of another kind, or of another number, than a target has.

    Raises:
        ValueError: if they are of another head.
    """
    place = metrics.places[target.name or ""]
    count = place.columns
    if (place.family, count) != (target.family, target.columns) and place.family is not None:
        wanted, given = _columns(target.family, target.columns), _columns(place.family, count)
        raise ValueError(unexpected(target.title, "metrics", f"of {wanted}", given))


def _columns(family: Family, count: int) -> str:
    name = type(family).__name__.lower()
    if family.takes_ids:
        return f"{int(family.highest) + 1} {name} classes"
    return f"{count} {name} label column{'' if count == 1 else 's'}"
