"""That the parts of a manifest fit together, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NoReturn

from torch_heads.functional.errors import preview, unexpected
from torch_heads.integrations.serving.signature import (
    OWN,
    Kind,
    Manifest,
    Output,
    Signature,
)

MOST = 2**20  # predictions and signatures, of which those of a kind take few words for many heads
NAMES = 2**22  # that are ids, of one prediction
SIZE = 2**31  # of an axis, and the number of a column


def check_manifest(who: str, manifest: Manifest) -> None:
    """Refuse a manifest whose parts contradict each other.

    Raises:
        ValueError: if a prediction, a signature or an input refers to what is not there.
    """
    _Check(who, manifest).all()


class _Check:
    """Refuses the parts of a manifest that name what it does not have."""

    def __init__(self, who: str, manifest: Manifest) -> None:
        self._who, self._manifest = who, manifest

    def all(self) -> None:
        manifest = self._manifest
        if not manifest.inputs:
            self._refuse("inputs", "with at least one", "none")
        for name, one in manifest.inputs.items():
            if not one.shape or (one.lookup is not None) != (one.dtype == "string"):
                expected = "with an axis, and with a lookup where it is strings"
                self._refuse(f"inputs {name!r}", expected, f"{one.dtype} of {list(one.shape)}")
        heads: list[list[str]] = [[] for _ in manifest.kinds]
        for name, (number, column) in manifest.places.items():
            if not 0 <= number < len(heads) or not 0 <= column < SIZE:
                expected = f"as one of {len(heads)} kinds, and a column from 0 to {SIZE}"
                self._refuse(f"places {name!r}", expected, [number, column])
            heads[number].append(name)
        sizes = [len(one.outputs) + len(one.signatures) for one in manifest.kinds]
        count = len(manifest.outputs) + sum(sizes[number] for number, _ in manifest.places.values())
        if count > MOST:
            self._refuse("outputs", f"at most {MOST}", count)
        self.outputs(manifest.outputs, manifest.vocabularies)
        for name, stacked in manifest.stacked.items():
            if stacked.names is not None or not stacked.shape:
                self._refuse(f"stacked {name!r}", "as a tensor with an axis", stacked.dtype)
        for kind, own in zip(manifest.kinds, heads, strict=True):
            self.kind(kind, own)
        for name, signature in manifest.signatures.items():
            self.signature(f"signatures {name!r}", signature, manifest.has_output)

    def outputs(self, outputs: Mapping[str, Output], vocabularies: Collection[str]) -> None:
        """Refuse predictions of one or more heads; those of one head stand beside each other."""
        tensors = {name.rpartition("/")[0] for name, one in outputs.items() if one.names is None}
        for key, one in outputs.items():
            name = f"outputs {key!r}"
            for vocabulary in (one.columns, one.names):
                if isinstance(vocabulary, str) and vocabulary not in vocabularies:
                    expected = f"with a vocabulary among {preview(vocabularies)}"
                    self._refuse(name, expected, repr(vocabulary))
            if isinstance(one.names, int) and not 0 <= one.names <= NAMES:
                self._refuse(name, f"with at most {NAMES} names", one.names)
            if one.names is None:
                if one.ids is not None:
                    self._refuse(name, "with names, since it has ids", "none")
                continue
            if one.dtype != "string" or not one.shape:
                given = f"{one.dtype} of {list(one.shape)}"
                self._refuse(name, "as strings with an axis, since it has names", given)
            ids = outputs.get(one.ids) if one.ids is not None else None
            if one.ids is not None and (ids is None or "int" not in ids.dtype):
                self._refuse(name, "with ids that are a prediction of whole numbers", repr(one.ids))
            if one.ids is None and key.rpartition("/")[0] not in tensors:
                self._refuse(name, "beside a prediction that is a tensor", "none")

    def kind(self, kind: Kind, heads: Collection[str]) -> None:
        self.outputs(kind.outputs, {OWN})
        lacking = {*heads} - {*self._manifest.vocabularies}
        if lacking and any(one.names == OWN for one in kind.outputs.values()):
            self._refuse("vocabularies", f"with {min(lacking)!r}", "none")
        for key, one in kind.outputs.items():
            name, stacked = f"outputs {key!r}", self._manifest.stacked.get(one.tensor or "")
            if stacked is None or stacked.dtype != one.dtype:
                expected = f"with a tensor of its type among {preview(self._manifest.stacked)}"
                self._refuse(name, expected, repr(one.tensor))
            if len(one.shape) <= one.inner or one.inner not in (0, 1):
                self._refuse(name, "with an axis, and at most one behind it", list(one.shape))
            for number in (one.stride, one.size):
                if number is None or not 0 <= number < SIZE:
                    self._refuse(name, f"with a stride and a size from 0 to {SIZE}", number)
        for ending, signature in kind.signatures.items():
            self.signature(f"signatures {ending!r}", signature, kind.outputs.__contains__)

    def signature(self, name: str, signature: Signature, known: Callable[[str], bool]) -> None:
        outputs, method = signature.outputs, signature.method
        fits = {
            "predict": True,
            "classify": bool(outputs) and outputs.keys() <= {"scores", "classes"},
            "regress": outputs.keys() == {"outputs"},
        }
        if not fits[method]:
            self._refuse(name, f"with the outputs of {method!r}", preview(outputs))
        for one in outputs.values():
            if not known(one):
                self._refuse(name, "with outputs among the predictions", repr(one))

    def _refuse(self, name: str, expected: str, given: object) -> NoReturn:
        raise ValueError(unexpected(self._who, name, expected, given))
