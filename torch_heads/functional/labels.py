"""Labels in the forms that users have them, made into numbers.

Class names become ids by a vocabulary, and every value is checked before it is used.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.containers import is_gap, opened
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.missing import each_missing
from torch_heads.functional.tensors import gap

MISSING_NAME = -(2**53)  # the id of a name that means "not labelled", exact in a float
UNKNOWN = MISSING_NAME - 1

BITS = 63  # of a whole number that is not negative, in int64
FEW_NAMES = 4  # up to which comparisons are faster than a search

Ids = np.ndarray[Any, np.dtype[np.int64]]


def class_ids(
    who: str,
    names: Any,
    vocabulary: Sequence[str] | None,
    missing: object = None,
    mask: Tensor | None = None,
) -> Ids:
    """Return the int64 index of each class name in the vocabulary, in the names' shape.

    The names that mean "not labelled" become `MISSING_NAME`, and so do None, NaN and NA if any may
    be ``missing``; where ``mask`` is False (padding), any name does.

    Raises:
        ValueError: if there is no vocabulary, or a name is not in it.
    """
    if vocabulary is None:
        hint = "Class names need a label_vocabulary."
        raise ValueError(unexpected(who, "labels", "to be numeric", "strings", hint))
    index = {name: i for i, name in enumerate(vocabulary)}
    values = each_missing(missing)
    index |= {value: MISSING_NAME for value in values if isinstance(value, str)}
    ids = _ids_of_list(names, index) if isinstance(names, (list, tuple)) else None
    if ids is not None:
        return ids
    names = opened(names)
    try:  # of objects, since beside strings NumPy spells out None and numbers
        array = np.asarray(names, dtype=None if isinstance(names, np.ndarray) else object)
    except ValueError:
        array = None
    if array is None or (array.dtype.kind == "O" and any(map(_holds_names, array.flat))):
        given = "rows of different lengths, or sets"
        raise ValueError(unexpected(who, "labels", "to be rectangular", given))
    if array.dtype.kind in "SU" and array.size:
        ids = _ids_of_codes(array.ravel(), index)
    else:
        flat = array.ravel().tolist()
        ids = _ids_of_list(flat, index)
        if ids is None:
            found = [_id(_text(name), index) for name in flat]
            if values:
                pairs = zip(flat, found, strict=True)
                found = [
                    MISSING_NAME if i == UNKNOWN and _is_missing(name, values) else i
                    for name, i in pairs
                ]
            ids = np.array(found, dtype=np.int64)
    if ids.size and ids.min() == UNKNOWN:
        unknown = ids == UNKNOWN
        ids[unknown] = MISSING_NAME
        if mask is not None and mask.numel() == ids.size:
            unknown &= mask.cpu().numpy().ravel()
        for place in np.flatnonzero(unknown)[:1]:
            name = _text(array.ravel().tolist()[place])
            if is_gap(name):
                where = [int(i) for i in np.unravel_index(place, array.shape)]
                raise ValueError(gap(who, "labels", repr(name), where))
            expected = f"from label_vocabulary {preview(vocabulary)}"
            given = repr(name)
            raise ValueError(unexpected(who, "labels", expected, given))
    return ids.reshape(array.shape)


def _id(name: Any, index: Mapping[str, int]) -> int:
    return index.get(name, UNKNOWN) if isinstance(name, str) else UNKNOWN


def _is_missing(entry: Any, values: Sequence[Any]) -> bool:
    return is_gap(entry) or (not isinstance(entry, (str, bytes)) and entry in values)


def _holds_names(entry: Any) -> bool:
    return isinstance(entry, (list, tuple, set, frozenset, np.ndarray))


def _text(name: Any) -> Any:
    return name.decode(errors="replace") if isinstance(name, bytes) else name


def _ids_of_list(names: Sequence[Any], index: Mapping[str, int]) -> Ids | None:
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


def _ids_of_codes(names: np.ndarray[Any, Any], index: Mapping[str, int]) -> Ids:
    """Return the ids of names ``[N]`` in an array, by the codes of their characters.

    As many characters as fit make one number, together with the rank of those before them.
    """
    text = names.dtype.kind == "U"
    dtype, unit = names.dtype.newbyteorder("="), np.uint32 if text else np.uint8
    spelled = {
        name if text else name.encode(errors="surrogatepass"): i for name, i in index.items()
    }
    # an array cuts what is longer, and zeros at the end
    cut = np.array([*spelled], dtype).tolist()
    known = [name for name, own in zip(spelled, cut, strict=True) if name == own]
    if not known:
        return np.full(len(names), UNKNOWN)
    codes, own = (
        np.asarray(each, dtype).view(unit).reshape(len(each), -1) for each in (names, known)
    )
    bits = int(max(codes.max(), own.max())).bit_length() or 1
    step = (BITS - len(known).bit_length()) // bits
    found: Any = True
    ranks: Any = np.int64(0)
    own_ranks: Any = np.int64(0)
    for start in range(0, codes.shape[1], step):
        keys, own_keys = ranks, own_ranks
        for place in range(start, min(start + step, codes.shape[1])):
            keys, own_keys = (keys << bits) | codes[:, place], (own_keys << bits) | own[:, place]
        ordered, own_ranks = np.unique(own_keys, return_inverse=True)
        ranks = _ranks(keys, ordered)
        found = (ordered.take(ranks) == keys) & found
    ids_by_rank = np.empty(len(known), np.int64)
    ids_by_rank[own_ranks] = [spelled[name] for name in known]
    ids: Ids = ids_by_rank.take(ranks)
    if not found.all():
        ids[~found] = UNKNOWN
    return ids


def _ranks(keys: Any, ordered: Any) -> Any:
    """Return the place of each key among ordered ones, and any place of another key."""
    if len(ordered) <= FEW_NAMES:
        return sum(((keys >= key) for key in ordered[1:]), np.zeros(len(keys), np.int64))
    others = torch.from_numpy(ordered[1:])  # faster than NumPy, and by several threads
    return torch.bucketize(torch.from_numpy(keys), others, right=True).numpy()
