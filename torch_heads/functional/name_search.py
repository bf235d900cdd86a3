"""The ids of many class names at once: from a list by one lookup, from an array by its codes."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_, eq, iadd, itemgetter, or_
from typing import Any

import numpy as np
import torch

UNKNOWN = -(2**53) - 1  # the id of a name that is none of them

BITS = 63  # of a whole number that is not negative, in int64
FEW_NAMES = 4  # up to which comparisons are faster than a search

Ids = np.ndarray[Any, np.dtype[np.int64]]


def ids_of_list(names: Sequence[Any], index: Mapping[str, int]) -> Ids | None:
    """Return the ids of a list of names, by one lookup for all; None where there are others."""
    if len(names) < 2:
        return None
    encoded = isinstance(names[0], bytes)  # a dict is fastest where all keys are strings
    # ids as bytes: NumPy takes a while for a list of numbers
    ids: dict[Any, bytes] = {
        name.encode(errors="surrogatepass") if encoded else name: np.int64(i).tobytes()
        for name, i in index.items()
    }
    try:
        found = itemgetter(*names)(ids)
    except (KeyError, TypeError):
        return None
    return np.frombuffer(bytearray().join(found), np.int64)


def ids_of_array(names: np.ndarray[Any, Any], index: Mapping[str, int]) -> Ids:
    """Return the ids of names ``[N]`` in an array, by the codes of their characters.

    As many characters as fit make one number, together with the rank of those before them. Where
    there are few names, each is compared with all.
    """
    text = names.dtype.kind == "U"
    dtype, unit = names.dtype.newbyteorder("="), np.int32 if text else np.uint8
    spelled = {
        name if text else name.encode(errors="surrogatepass"): i for name, i in index.items()
    }
    # an array cuts what is longer, and zeros at the end
    cut = np.array([*spelled], dtype).tolist()
    known = [name for name, own in zip(spelled, cut, strict=True) if name == own]
    if not known:
        return np.full(len(names), UNKNOWN)
    if len(known) <= FEW_NAMES:
        each = np.asarray(names, dtype), np.asarray(known, dtype)
        return _ids_of_few(*each, [spelled[name] for name in known])
    codes, own = (
        np.asarray(each, dtype).view(unit).reshape(len(each), -1) for each in (names, known)
    )
    width = codes.shape[1]
    bits = int(max(codes.max(), own.max())).bit_length() or 1
    step = (BITS - len(known).bit_length()) // bits
    number = np.int32 if bits * width < 32 else np.int64  # the smaller, the faster
    found = np.ones(len(codes), bool)
    ranks, own_ranks = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for start in range(0, width, step):
        places = range(start, min(start + step, width))
        keys, own_keys = (
            _joined(before.astype(number), each[:, places.start : places.stop], bits)
            for before, each in ((ranks, codes), (own_ranks, own))
        )
        ordered, own_ranks = np.unique(own_keys, return_inverse=True)
        values = np.arange(len(ordered))
        if places.stop == width:
            values[own_ranks] = [spelled[name] for name in known]
        ranks = _looked_up(keys, ordered, values, found)
    if not found.all():
        ranks[~found] = UNKNOWN
    return ranks


def _joined(keys: Any, codes: Any, bits: int) -> Any:
    """Return the codes ``[N, C]`` of each name as one number, below a key that it has already."""
    keys = (keys << bits) | codes[:, 0]
    for column in codes.T[1:]:
        keys <<= bits
        keys |= column
    return keys


def _looked_up(keys: Any, ordered: Any, values: Ids, found: Any) -> Ids:
    """Return the value of each key, one for each of the ordered; no others remain ``found``."""
    others = torch.from_numpy(ordered[1:])  # faster than NumPy, and by several threads
    places = torch.bucketize(torch.from_numpy(keys), others, right=True).numpy()
    found &= ordered.take(places) == keys
    return values.take(places)


def _ids_of_few(names: Any, known: Any, ids: Sequence[int]) -> Ids:
    """Return the id of each name ``[N]`` that is one of the known; both are of one dtype."""
    # side by side in memory, numbers are compared several times as fast
    words, own = (np.ascontiguousarray(_words(each).T) for each in (names, known))
    hits = [reduce(and_, map(eq, words, one)) for one in own.T]
    number = np.int8 if max(map(abs, ids)) < 128 else np.int64  # the smaller, the faster
    found: Ids = reduce(iadd, [hit * number(i) for hit, i in zip(hits, ids, strict=True)])
    found = found.astype(np.int64, copy=False)
    every = reduce(or_, hits)
    if not every.all():
        found[~every] = UNKNOWN
    return found


def _words(names: Any) -> Any:
    """Return names ``[N]`` as whole numbers ``[N, W]``, of several characters each."""
    size = names.dtype.itemsize
    kind = next(one for one in (np.int64, np.int32, np.int16, np.int8) if size % one().nbytes == 0)
    return names.view(kind).reshape(len(names), -1)
