"""The keys that a user may give to metrics."""

from __future__ import annotations

from torch_heads.functional.errors import preview, unexpected

#: What stands beside the metrics in the result of an evaluation, and would hide them.
TAKEN = ("loss", "regularization_loss", "skill", "global_step")


def check_key(who: str, key: str) -> None:
    """Refuse a metric key that is taken, or would be with the name of a head behind it.

    Args:
        who: the title of the head.
        key: of the metric, without the head's name.

    Raises:
        ValueError: if it is.
    """
    if key.partition("/")[0] in TAKEN:
        expected = f"with keys other than {preview(TAKEN)}, which say something else"
        raise ValueError(unexpected(who, "metrics", expected, repr(key)))
