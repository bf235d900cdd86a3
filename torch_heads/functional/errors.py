"""The words of every refusal, in one place."""

from collections.abc import Iterable


def unexpected(who: str, argument: str, expected: str, got: object, hint: str = "") -> str:
    """Return the one sentence in which a head refuses its input.

    >>> unexpected("RegressionHead 'ink'", "labels", "of shape [8, 1]", [4])
    "RegressionHead 'ink': expected labels of shape [8, 1], got [4]."
    """
    given = " ".join(str(got).split("\n"))  # of a frame or an array, which has several lines
    sentence = f"{who}: expected {argument} {expected}, got {given}."
    return f"{sentence} {hint}" if hint else sentence


def shape(*sizes: Iterable[int]) -> str:
    """Return one or more allowed shapes as text.

    >>> shape([8], [8, 1])
    '[8] or [8, 1]'
    """
    return " or ".join(str(list(size)) for size in sizes)


def class_of(value: object) -> str:
    """Return the name of a value's class; of a class, that an object of it is due.

    >>> class_of(3), class_of(int)
    ('int', 'the class int in place of an object: int(...)')
    """
    if isinstance(value, type):
        return f"the class {value.__name__} in place of an object: {value.__name__}(...)"
    return type(value).__name__


def preview(values: Iterable[object], limit: int = 8) -> str:
    """Return the first few of many values, as a list in text.

    >>> preview(range(100), limit=3)
    '[0, 1, 2, ... (100 in all)]'
    """
    values = list(values)
    shown = ", ".join(repr(value) for value in values[:limit])
    return f"[{shown}]" if len(values) <= limit else f"[{shown}, ... ({len(values)} in all)]"
