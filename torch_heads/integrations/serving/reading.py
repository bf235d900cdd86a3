"""What is read of a request: all that goes wrong in it is the client's, and told in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch_heads.functional.errors import unexpected

#: Errors of code that takes one kind of value for another, or a number for a smaller one.
MISTAKEN = (TypeError, AttributeError, IndexError, OverflowError)


@contextmanager
def reading(verb: str) -> Iterator[None]:
    """Refuse a request of another form, also where no check has foreseen it.

    >>> with reading("predict"):
    ...     {}[[]]
    Traceback (most recent call last):
    ValueError: predict: expected the body as the protocol has it, got a value of another kind.
    """
    try:
        yield
    except MISTAKEN:
        given = "a value of another kind"
        raise ValueError(unexpected(verb, "the body", "as the protocol has it", given)) from None
