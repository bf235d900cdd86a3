"""What stands in ``signature.json``: all that a bundle takes and answers, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")
METHODS = ("predict", "classify", "regress")
OWN = "*"  # in place of the name of a vocabulary, that of each head itself
EVERY = {"*": "*"}  # the outputs of a signature that has all of them by their names

Dims = tuple[int | str, ...]


@dataclass(frozen=True)
class Input:
    """A tensor that a bundle takes.

    Attributes:
        dtype: NumPy's name, or ``"string"``.
        shape: of each axis its size, or a name where it is free.
        lookup: of strings, those that are known, in place of which the graph puts numbers.
        numbers: the number of each; None for 0, 1, ....
        others: the number of all other strings; None where they are refused.
    """

    dtype: str
    shape: Dims
    lookup: tuple[str, ...] | None = None
    numbers: tuple[int, ...] | None = None
    others: int | None = None


@dataclass(frozen=True)
class Output:
    """A prediction.

    Attributes:
        dtype: NumPy's name, or ``"string"``.
        shape: of each axis its size, or a name where it is free.
        columns: the vocabulary that names the last axis.
        tensor: what the graph calls it, if that is not its name.
        start: where it stands in that tensor, if several heads share it: the first column.
        stop: the column after the last one.
        width: how many numbers each column has; None where it has no axis of them.
        flat: whether columns and numbers are one axis.
        names: of strings, all of them in order, or the vocabulary that has them, or how many they
            are where they are "0", "1", ....
        ids: of strings, the prediction that says which; None where all stand in each row.
    """

    dtype: str
    shape: Dims
    columns: str | None = None
    tensor: str | None = None
    start: int | None = None
    stop: int | None = None
    width: int | None = None
    flat: bool = False
    names: str | int | tuple[str, ...] | None = None
    ids: str | None = None


@dataclass(frozen=True)
class Signature:
    """A question that a bundle answers.

    Attributes:
        method: ``predict``, ``classify`` (outputs ``scores`` and ``classes``) or ``regress``
            (``outputs``), as tf.estimator's export outputs.
        outputs: the prediction of each name of the answer.
    """

    method: str
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Alike:
    """Heads whose predictions stand side by side: what one has, all have.

    Attributes:
        heads: the name of each with its first column, the one after its last, and its width.
        outputs: the prediction of each key; ``width`` is that of the head where it is negative, and
            ``names`` are its own vocabulary where they are `OWN`.
        signatures: by the ending of their names, with keys in place of predictions.
    """

    heads: tuple[tuple[str, int, int, int | None], ...]
    outputs: Mapping[str, Output]
    signatures: Mapping[str, Signature]

    def all_outputs(self) -> Iterator[tuple[str, Output]]:
        """Yield the predictions of each head by name."""
        for name, start, stop, width in self.heads:
            for key, one in self.outputs.items():
                yield f"{name}/{key}", _of_head(one, name, start, stop, width)

    def all_signatures(self) -> Iterator[tuple[str, Signature]]:
        """Yield the signatures of each head by name."""
        for name, *_ in self.heads:
            for ending, one in self.signatures.items():
                outputs = {public: f"{name}/{key}" for public, key in one.outputs.items()}
                yield (f"{name}/{ending}" if ending else name), Signature(one.method, outputs)


def _of_head(one: Output, name: str, start: int, stop: int, width: int | None) -> Output:
    ids = None if one.ids is None else f"{name}/{one.ids}"
    if one.names is not None:
        names = name if one.names == OWN else one.names
        return Output(one.dtype, one.shape, one.columns, names=names, ids=ids)
    own = width if one.width is not None and one.width < 0 else one.width
    last = (stop - start) if own is None else (stop - start) * own if one.flat else own
    shape = one.shape if one.shape[-1] == last else (*one.shape[:-1], last)
    return Output(one.dtype, shape, one.columns, one.tensor, start, stop, own, one.flat)


@dataclass(frozen=True)
class Manifest:
    """The content of ``signature.json``.

    Attributes:
        inputs: by name, in the order of the model's.
        outputs: all predictions by name.
        signatures: by name.
        vocabularies: the names of classes, by the head that has them; "" for one without a name.
        stacked: the tensors of several heads, which may be asked for by name, too.
        alike: heads whose predictions are parts of these.
        head: what `build_head` makes the head of.
        state: the tensors of the head's ``state_dict``, by what ``model.safetensors`` calls them.
        files: the size and the sha256 of each file.
    """

    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    signatures: Mapping[str, Signature]
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stacked: Mapping[str, Output] = field(default_factory=dict)
    alike: tuple[Alike, ...] = ()
    head: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def all_outputs(self) -> dict[str, Output]:
        """Return every prediction by name, those of heads that are alike too."""
        found = dict(self.outputs)
        for alike in self.alike:
            found.update(alike.all_outputs())
        return found

    def all_signatures(self) -> dict[str, Signature]:
        """Return every signature by name, those of heads that are alike too."""
        found = dict(self.signatures)
        for alike in self.alike:
            found.update(alike.all_signatures())
        return found
