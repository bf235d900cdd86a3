"""Whether metrics are those of a head, and not of another one whose metrics have the same keys."""

from torch_heads.functional.errors import unexpected
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.metrics.bound import Bound
from torch_heads.metrics.collection import ReadingCollection
from torch_heads.metrics.tally import ClassTally


def check_owner(head: TensorHead, bound: Bound, metrics: ReadingCollection) -> None:
    """Refuse metrics that keep columns of another kind, or of another number, than the head has.

    Args:
        head: a head of a single target.
        bound: where the metrics keep what they have by the keys of this head.
        metrics: the metrics.

    Raises:
        ValueError: if they are of another head.
    """
    wanted = _columns(type(head.family).__name__.lower(), head.logits_dimension)
    tally = metrics.tallies[bound.tally]
    count = bound.columns.stop - bound.columns.start
    if isinstance(tally, ClassTally):
        count = tally.classes[bound.columns.start]
    # a tally goes by the family of its heads, and a number
    given = _columns(bound.tally.partition("_")[0], count)
    if given != wanted:
        raise ValueError(unexpected(head.title, "metrics", f"of {wanted}", given))


def _columns(family: str, count: int) -> str:
    what = "classes" if family == "categorical" else "label columns"
    return f"{count} {family} {what.removesuffix('s') if count == 1 else what}"
