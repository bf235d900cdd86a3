"""What a head answers: its predictions, strings too, and its signatures by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_heads.computation.target import Target
from torch_heads.functional.errors import unexpected
from torch_heads.heads.base import Head
from torch_heads.heads.spec import ClassificationOutput, ExportOutput, RegressionOutput
from torch_heads.integrations.serving.example import WHO
from torch_heads.integrations.serving.signature import Dims, Manifest, Output, Signature

Array = np.ndarray[Any, Any]

IDS = "class_ids"  # the prediction that strings may be told by
MOST = 2**24  # strings at a time


class Strings(NamedTuple):
    """The strings of one prediction: all ``names`` in each row, or the one of the id in ``ids``."""

    names: tuple[str, ...]
    ids: str | None


class Answers:
    """What a head makes of the logits of an example.

    Raises:
        ValueError: if the strings of a head are not told by its class ids, or its export outputs
            are none of its predictions.
    """

    def __init__(self, head: Head, logits: Any) -> None:
        computation = head.computation
        self.targets = computation.targets
        #: The path of each target: its names with slashes between them.
        self.paths = ["/".join(path) for path in computation.paths]
        every = head.predictions(logits, head.all_prediction_keys())
        keys = computation.nested_keys.own
        flat = [below(path, key) for path, own in zip(self.paths, keys, strict=True) for key in own]
        #: All predictions by name, strings too.
        self.predictions: dict[str, Any] = dict(zip(flat, every.values(), strict=True))
        #: The strings by name.
        self.strings = {
            below(path, key): strings
            for path, target in zip(self.paths, self.targets, strict=True)
            for key, strings in self._strings(path, target).items()
        }
        names = {id(value): name for name, value in self.predictions.items()}
        exports = head.export_outputs(every)
        #: The signatures by name.
        self.signatures = {key: _signature(key, one, names) for key, one in exports.items()}
        vocabularies = zip(self.paths, (one.label_vocabulary for one in self.targets), strict=True)
        #: The names of classes by the head that has them.
        self.vocabularies = {path: names for path, names in vocabularies if names}

    def manifest(self, shapes: Mapping[str, Dims]) -> Manifest:
        """Return outputs and signatures, each for itself; the shapes are those of the tensors."""
        outputs = {}
        for name, value in self.predictions.items():
            path, strings = name.rpartition("/")[0], self.strings.get(name)
            known = self.vocabularies.get(path, ())
            if strings is None:
                shape = shapes[name]
                columns = path if known and shape[-1] == len(known) else None
                outputs[name] = Output(dtype_name(value), shape, columns)
                continue
            ids = None if strings.ids is None else below(path, strings.ids)
            outputs[name] = Output(
                "string",
                (*leading(shapes, path), 1 if ids else len(strings.names)),
                columns=None if ids or strings.names != known else path,
                names=self.names_of(path, strings),
                ids=ids,
            )
        return Manifest({}, outputs, self.signatures, self.vocabularies)

    def names_of(self, path: str, strings: Strings) -> str | int | tuple[str, ...]:
        """Return the names of strings, or the vocabulary that has them, or the number of ids."""
        if strings.names == self.vocabularies.get(path):
            return path
        return len(strings.names) if are_ids(strings.names) else strings.names

    def _strings(self, path: str, target: Target) -> dict[str, Strings]:
        if not target.string_keys:
            return {}
        found = {key: self.predictions[below(path, key)] for key in target.predicted}
        dims = min(one.dim() for one in found.values()) - 1
        wide = [found[key] for key in ("all_class_ids", "probabilities") if key in found]
        classes = max([one.shape[-1] for one in wide], default=1)
        first: dict[str, Array] = {}
        columns: dict[str, list[str]] = {key: [] for key in target.string_keys}
        constant = dict.fromkeys(target.string_keys, True)
        for rows in _by_class(target, found, dims, classes):
            for key, own in rows.items():
                first.setdefault(key, own[:1])
                # rows that are one in memory are the same
                some = own[:1] if own.strides[0] == 0 else own
                constant[key] &= bool((some == first[key]).all())
                columns[key] += map(str, own.reshape(len(own), -1)[:, 0])
        strings = {}
        for key, head in first.items():
            names = map(str, head.reshape(-1)) if constant[key] else columns[key]
            one = Strings(tuple(names), None if constant[key] else IDS)
            expected, given = written(one, found), self.predictions[below(path, key)]
            if head.ndim != 2 or not np.array_equal(expected, np.asarray(given)):
                wanted = f"with {key!r} told by {IDS!r}, or the same in each row"
                given = "others"
                raise ValueError(unexpected(target.title, "string_predictions", wanted, given))
            strings[key] = one
        return strings


def _by_class(
    target: Target, found: Mapping[str, Tensor], dims: int, classes: int
) -> Iterator[dict[str, Array]]:
    """Yield the strings of rows of each class, a few at a time: each may have all names."""
    blank = {key: one.new_zeros(1, *one.shape[dims:]) for key, one in found.items()}
    few = max(1, MOST // classes)
    for first in range(0, classes, few):
        ids = torch.arange(first, min(first + few, classes)).reshape(-1, 1)
        rows = {key: one.expand(len(ids), *one.shape[1:]) for key, one in blank.items()}
        if IDS in rows:
            rows[IDS] = ids.expand_as(rows[IDS])
        strings = target.predict_strings(rows)
        yield {key: np.asarray(strings[key]) for key in target.string_keys}


def written(strings: Strings, found: Mapping[str, Any]) -> Array:
    """Return the strings that stand beside the tensors of one head, by key."""
    names = np.array(strings.names, dtype=object)
    if strings.ids is not None:
        return np.asarray(names[np.asarray(found[strings.ids])])
    rows = min((np.asarray(one) for one in found.values()), key=np.ndim)
    return np.broadcast_to(names, (*rows.shape[:-1], len(names)))


def are_ids(names: Sequence[str]) -> bool:
    """Return whether names are "0", "1", ....

    >>> are_ids(("0", "1")), are_ids(("1", "2"))
    (True, False)
    """
    return all(name == str(i) for i, name in enumerate(names))


def below(path: str, key: str) -> str:
    """Return the name of a prediction of the head at a path, which is empty for a head alone."""
    return f"{path}/{key}" if path else key


def leading(shapes: Mapping[str, Dims], path: str) -> Dims:
    """Return the batch's part of the shape of what a head predicts."""
    own = [shape for name, shape in shapes.items() if name.rpartition("/")[0] == path]
    return min(own, key=len)[:-1]


def dtype_name(value: Tensor) -> str:
    """Return NumPy's name for the type of a tensor."""
    return str(value.dtype).removeprefix("torch.")


def _signature(key: str, one: ExportOutput, names: Mapping[int, str]) -> Signature:
    given: dict[str, Any]
    if isinstance(one, ClassificationOutput):
        method, given = "classify", {"scores": one.scores, "classes": one.classes}
    elif isinstance(one, RegressionOutput):
        method, given = "regress", {"outputs": one.value}
    else:
        method, given = "predict", dict(one.outputs)
    outputs = {}
    for public, value in given.items():
        if value is None:
            continue
        if id(value) not in names:
            expected, other = f"with {public!r} as one of the predictions", "another value"
            raise ValueError(unexpected(WHO, f"export_outputs[{key!r}]", expected, other))
        outputs[public] = names[id(value)]
    return Signature(method, outputs)
