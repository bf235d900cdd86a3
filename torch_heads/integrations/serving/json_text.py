"""JSON in which no key of an object stands twice, of which Python's reader keeps the last value."""

from __future__ import annotations

import json
from typing import Any


class RepeatedKeyError(ValueError):
    """A key stands twice in an object of JSON."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON as a dict: the ``object_pairs_hook`` of a decoder.

    Raises:
        RepeatedKeyError: if a key stands there twice.

    >>> unique_keys([("a", 1), ("a", 2)])
    Traceback (most recent call last):
    torch_heads.integrations.serving.json_text.RepeatedKeyError: an object with the key 'a' twice
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise RepeatedKeyError(f"an object with the key {twice[:80]!r} twice")
    return found


def read_json(text: str | bytes) -> Any:
    """Return what a text says.

    Raises:
        ValueError: if it is no JSON, or a key of an object stands in it twice.
        RecursionError: if it has too many levels.
    """
    return json.loads(text, object_pairs_hook=unique_keys)
