"""What stands in ``signature.json``: all that a bundle takes and answers, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")
METHODS = ("predict", "classify", "regress")
OWN = "*"  # in place of the name of a vocabulary, that of each head itself

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
        stride: if several heads share that tensor, how many places in it each column has.
        size: how many places are those of one head.
        inner: how many axes are behind that of the places.
        start: the first of its places, that is ``stride`` times the head's column; it is in no
            file.
        names: of strings, all of them in order, or the vocabulary that has them, or how many they
            are where they are "0", "1", ....
        ids: of strings, the prediction that says which; None where all stand in each row.
    """

    dtype: str
    shape: Dims
    columns: str | None = None
    tensor: str | None = None
    stride: int | None = None
    size: int | None = None
    inner: int = 0
    start: int | None = None
    names: str | int | tuple[str, ...] | None = None
    ids: str | None = None

    @property
    def part(self) -> tuple[Any, ...]:
        """The index of it in its tensor."""
        if self.start is None or self.size is None:
            return (...,)
        return ..., slice(self.start, self.start + self.size), *[slice(None)] * self.inner


@dataclass(frozen=True)
class Signature:
    """A question that a bundle answers.

    Attributes:
        method: ``predict``, ``classify`` (outputs ``scores`` and ``classes``) or ``regress``
            (``outputs``), as tf.estimator's export outputs.
        outputs: the prediction of each name of the answer; none for all predictions by their names.
    """

    method: str
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """What heads of one kind answer, each a part of the same tensors.

    Attributes:
        outputs: the predictions, by what follows the name of a head in theirs, such as ``/logits``;
            ``names`` are the head's own vocabulary where they are `OWN`.
        signatures: likewise, also of what they answer with: ``""``, ``/predict``.
    """

    outputs: Mapping[str, Output]
    signatures: Mapping[str, Signature]

    def outputs_of(self, head: str, column: int) -> Iterator[tuple[str, Output]]:
        """Yield the predictions of a head by name, whose columns begin with this one."""
        for key, one in self.outputs.items():
            yield (
                f"{head}{key}",
                Output(
                    one.dtype,
                    one.shape,
                    one.columns,
                    one.tensor,
                    one.stride,
                    one.size,
                    one.inner,
                    start=None if one.stride is None else column * one.stride,
                    names=head if one.names == OWN else one.names,
                    ids=None if one.ids is None else f"{head}{one.ids}",
                ),
            )

    def signatures_of(self, head: str) -> Iterator[tuple[str, Signature]]:
        """Yield the signatures of a head by name."""
        for ending, one in self.signatures.items():
            outputs = {public: f"{head}{key}" for public, key in one.outputs.items()}
            yield f"{head}{ending}", Signature(one.method, outputs)


@dataclass(frozen=True)
class Manifest:
    """The content of ``signature.json``.

    Attributes:
        inputs: by name, in the order of the model's.
        outputs: predictions by name, each a tensor for itself.
        signatures: by name.
        vocabularies: the names of classes, by the head that has them; "" for one without a name.
        stacked: the tensors that several heads share, which may be asked for by name, too.
        kinds: of heads that share tensors, what those of one kind answer.
        places: of each such head, the number of its kind, and its first column.
        head: what `build_head` makes the head of.
        state: the tensors of the head's ``state_dict``, by what ``model.safetensors`` calls them.
        files: the size and the sha256 of each file.
    """

    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    signatures: Mapping[str, Signature]
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stacked: Mapping[str, Output] = field(default_factory=dict)
    kinds: tuple[Kind, ...] = ()
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    head: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def has_output(self, name: str) -> bool:
        """Return whether there is a prediction of this name, without a list of them all."""
        head, slash, key = name.rpartition("/")
        place = self.places.get(head)
        shared = place is not None and f"{slash}{key}" in self.kinds[place[0]].outputs
        return shared or name in self.outputs or name in self.stacked

    def all_outputs(self) -> dict[str, Output]:
        """Return every prediction by name, those of heads that share tensors too."""
        found = dict(self.outputs)
        for head, (kind, column) in self.places.items():
            found.update(self.kinds[kind].outputs_of(head, column))
        return found

    def all_signatures(self) -> dict[str, Signature]:
        """Return every signature by name, those of heads that share tensors too."""
        found = dict(self.signatures)
        for head, (kind, _) in self.places.items():
            found.update(self.kinds[kind].signatures_of(head))
        return found
