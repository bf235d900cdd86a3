"""Columns of categories: ids, and names that a vocabulary makes ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

import torch
from torch import Tensor

from torch_heads.functional.arguments import check_count
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.forms import is_text
from torch_heads.functional.tensors import to_tensor
from torch_heads.functional.values import check_values
from torch_heads.integrations.estimator.category_values import category_array, plain_name
from torch_heads.integrations.estimator.feature_column import (
    FeatureColumn,
    Features,
    check_key,
    find_feature,
)

NO_ID = -1  # of a value that is missing, or not in the vocabulary


class CategoryIds(NamedTuple):
    """A feature whose names have been looked up, as in a graph, before which that is done."""

    ids: Tensor


@dataclass(frozen=True)
class CategoricalColumn(FeatureColumn):
    """Categories by id, as the functions ``categorical_column_with_...`` make it."""

    key: str
    num_buckets: int
    default_value: int | None
    vocabulary: tuple[Any, ...] | None = None
    num_oov_buckets: int = 0

    @property
    def name(self) -> str:
        """The feature's key."""
        return self.key

    @property
    def width(self) -> int:
        """The number of categories."""
        return self.num_buckets

    def ids(self, features: Features) -> Tensor:
        """Return the ids of each example, ``[B, n]``, -1 where there is none.

        Raises:
            ValueError: if the feature is missing, of another type or shape, or out of range.
        """
        who = f"categorical column {self.key!r}"
        values = find_feature(who, features, self.key)
        if isinstance(values, CategoryIds):
            ids = self._known(values.ids)
        elif self.vocabulary is None:
            ids = self._numbers(who, values)
        else:
            ids = self._look_up(who, values)
        if ids.dim() not in (1, 2):
            expected, given = "of shape [B] or [B, n]", list(ids.shape)
            raise ValueError(unexpected(who, "the feature", expected, given))
        return ids if ids.dim() == 2 else ids.unsqueeze(-1)

    def _numbers(self, who: str, values: Any) -> Tensor:
        if is_text(values):
            hint = "Strings need categorical_column_with_vocabulary_list."
            raise ValueError(unexpected(who, "the feature", "as ids", "strings", hint))
        if not isinstance(values, Tensor):
            array = category_array(who, values, NO_ID)
            values = array.tolist() if array.dtype == object else array
        ids = to_tensor(who, "the feature", values)
        if ids.is_floating_point() or ids.dtype == torch.bool:
            raise ValueError(unexpected(who, "the feature", "as integer ids", ids.dtype))
        ids = ids.to(torch.int64)
        if self.default_value is None:
            check_values(who, "ids", ids, NO_ID, self.num_buckets - 1)
            return ids
        return self._known(ids)

    def _known(self, ids: Tensor) -> Tensor:
        """Return ids with the default, if there is one, in place of those out of range."""
        if self.default_value is None:
            return ids
        known = (ids >= NO_ID) & (ids < self.num_buckets)
        return torch.where(known, ids, self.default_value)

    def table(self) -> dict[str | None, int]:
        """Return the id of each name, and of all others under None, for a graph to look up.

        Raises:
            ValueError: if names are numbers, or others are told apart by a hash.
        """
        who = f"categorical column {self.key!r}"
        names = [name for name in self.vocabulary or () if isinstance(name, str)]
        if self.num_oov_buckets or len(names) < len(self.vocabulary or ()):
            expected = "of strings, without num_oov_buckets"
            raise ValueError(unexpected(who, "a vocabulary to be served", expected, "another"))
        others = NO_ID if self.default_value is None else self.default_value
        return {"": NO_ID, **{name: i for i, name in enumerate(names)}, None: others}

    def _look_up(self, who: str, values: Any) -> Tensor:
        device = values.device if isinstance(values, Tensor) else None
        array = category_array(who, values, None)
        index = {value: i for i, value in enumerate(self.vocabulary or ())}
        ids = [self._id(index, value) for value in array.ravel().tolist()]
        return torch.tensor(ids, dtype=torch.int64, device=device).reshape(array.shape)

    def _id(self, index: Mapping[Any, int], value: Any) -> int:
        value = plain_name(value)
        found = index.get(value)
        if found is not None:
            return found
        missing = value in (None, "", NO_ID) or value != value
        if self.num_oov_buckets and not missing:
            # crc32 is the same in every process, which hash() is not
            return len(index) + crc32(str(value).encode()) % self.num_oov_buckets
        return NO_ID if missing or self.default_value is None else self.default_value


def categorical_column_with_identity(
    key: str, num_buckets: int, default_value: int | None = None
) -> CategoricalColumn:
    """Return a column of categories that come as ids from 0 on.

    Args:
        key: the feature's name. The feature is ``[B]``, or with several ids per example
            ``[B, n]`` or lists of any length; -1 and None are none.
        num_buckets: how many categories there are.
        default_value: the id that stands for ids out of range; by default they are refused.

    Raises:
        TypeError: if the key is not a string, or a number no whole one.
        ValueError: if there is no category, or the default is none of them.

    >>> categorical_column_with_identity("size", 3).ids({"size": [2, -1, 0]})
    tensor([[ 2],
            [-1],
            [ 0]])
    """
    key = check_key(key)
    who = f"categorical_column_with_identity {key!r}"
    num_buckets = check_count(who, "num_buckets", num_buckets, 1)
    if default_value is not None:
        default_value = check_count(who, "default_value", default_value, 0)
        if default_value >= num_buckets:
            expected = f"in [0, {num_buckets - 1}]"
            raise ValueError(unexpected(who, "default_value", expected, default_value))
    return CategoricalColumn(key, num_buckets, default_value)


def categorical_column_with_vocabulary_list(
    key: str,
    vocabulary_list: Sequence[Any],
    *,
    default_value: int = NO_ID,
    num_oov_buckets: int = 0,
) -> CategoricalColumn:
    """Return a column of categories that come by name, strings or whole numbers.

    Args:
        key: the feature's name. The feature is ``[B]``, or with several names per example
            ``[B, n]`` or lists of any length; ``""``, -1, NaN and None are none.
        vocabulary_list: the names, in a list, an array or a tensor; the place of a name is its
            id. Bytes are read as strings.
        default_value: the id that stands for other names; -1, the default, for none.
        num_oov_buckets: how many further ids the other names share instead, by a hash.

    Raises:
        TypeError: if the key is not a string, a name neither a string nor a whole number, or the
            default no whole number.
        ValueError: if there is no name or one is there twice, or the default is none of the ids,
            or both ways to treat other names are given.

    >>> colour = categorical_column_with_vocabulary_list("colour", ["red", "blue"])
    >>> colour.ids({"colour": ["blue", "green"]})
    tensor([[ 1],
            [-1]])
    """
    key = check_key(key)
    who = f"categorical_column_with_vocabulary_list {key!r}"
    if isinstance(vocabulary_list, (str, bytes, set, frozenset)):
        given = type(vocabulary_list).__name__  # a set has another order in every process
        raise TypeError(unexpected(who, "vocabulary_list", "as a list of names", given))
    names = tuple(map(plain_name, vocabulary_list))
    for name in names:
        if not isinstance(name, (str, int)):
            expected, given = "of strings or whole numbers", f"{name!r} in it"
            raise TypeError(unexpected(who, "vocabulary_list", expected, given))
    if not names or len(set(names)) < len(names):
        expected = "with at least one name, and each once"
        raise ValueError(unexpected(who, "vocabulary_list", expected, preview(names)))
    default_value = check_count(who, "default_value", default_value, NO_ID)
    if default_value >= len(names):
        expected = f"as -1 or in [0, {len(names) - 1}]"
        raise ValueError(unexpected(who, "default_value", expected, default_value))
    num_oov_buckets = check_count(who, "num_oov_buckets", num_oov_buckets, 0)
    if num_oov_buckets and default_value != NO_ID:
        expected = "as 0, beside a default_value"
        raise ValueError(unexpected(who, "num_oov_buckets", expected, num_oov_buckets))
    size = len(names) + num_oov_buckets
    return CategoricalColumn(key, size, default_value, names, num_oov_buckets)
