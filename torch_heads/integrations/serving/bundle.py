"""A bundle that is loaded: inputs in, named answers out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from torch_heads.functional.arguments import check_flag
from torch_heads.functional.containers import nearest
from torch_heads.functional.errors import preview, unexpected
from torch_heads.heads.base import Head
from torch_heads.heads.build import build_head
from torch_heads.heads.config import Functions
from torch_heads.integrations.serving.feeds import Feeds
from torch_heads.integrations.serving.files import GRAPH, PROGRAM, read_files, read_state
from torch_heads.integrations.serving.runtime import OnnxRuntime, Runtime
from torch_heads.integrations.serving.signature import Manifest, Output, Signature
from torch_heads.integrations.serving.signature_file import with_vocabularies

Array = np.ndarray[Any, Any]
Read = Callable[[Sequence[Array]], Array]
Tensors = dict[str, np.dtype[Any]]  # of the graph, with the types that they are said to have

DEFAULT = "serving_default"
LONGEST = 100  # characters of a name for which the nearest one is searched
MOST_PLANS = 1000  # kept, of a caller who asks for ever other predictions


class Bundle:
    """A model with its head, as `export_bundle` wrote it; `Bundle.load` makes one.

    Attributes:
        path: its folder.
        manifest: all of its ``signature.json``.
        signatures: what it answers, by name.
        outputs: all predictions, by name.
        tensors: those of them that are no part of another one: of many heads the stacked ones.
    """

    def __init__(self, path: Path, manifest: Manifest, runtime: Runtime) -> None:
        self.path, self.manifest = path, manifest
        self.title = _title(path)
        predictions = manifest.all_outputs()
        # a program of torch has no strings
        stacked = {
            name: one
            for name, one in manifest.stacked.items()
            if one.dtype != "string" or name in runtime.names
        }
        self.outputs: dict[str, Output] = {**predictions, **stacked}
        self.tensors: dict[str, Output] = {**manifest.outputs, **stacked}
        every = {name: name for name in predictions}
        self.signatures: dict[str, Signature] = {
            name: one if one.outputs else Signature(one.method, every)
            for name, one in manifest.all_signatures().items()
        }
        self._feeds = Feeds(self.title, manifest.inputs)
        self._runtime = runtime
        self._plans: dict[Any, tuple[Tensors, list[tuple[str, Read]]]] = {}

    @classmethod
    def load(
        cls,
        path: str | Path,
        runtime: Literal["onnx", "program"] = "onnx",
        trusted: bool = False,
        vocabularies: Mapping[str, Sequence[str]] | None = None,
        *,
        spinning: bool = True,
    ) -> Bundle:
        """Return the bundle in a folder.

        A folder from anyone may be loaded by ``runtime="onnx"``: no code in it is run. A program of
        torch can run code when it is loaded.

        Args:
            path: the folder.
            runtime: ``"onnx"``, or ``"program"`` for the ``model.pt2`` in it.
            trusted: whether a program may be loaded.
            vocabularies: the names of classes that the caller expects, by head.
            spinning: whether onnxruntime's threads wait awake between runs: run after run is
                faster, at the cost of what else needs the processor.

        Raises:
            FileNotFoundError: if there is no folder.
            ValueError: if a file is missing, changed or broken, or leads out of the folder; if a
                vocabulary is another one; or if a program is not trusted.
            TypeError: if ``trusted`` is no truth value.
        """
        folder = Path(path)
        title = _title(folder)
        if runtime not in ("onnx", "program"):
            expected = "as 'onnx' or 'program'"
            raise ValueError(unexpected(title, "runtime", expected, repr(runtime)))
        if not check_flag(title, "trusted", trusted) and runtime == "program":
            hint = "A program can run code as it is loaded. If you know who wrote it: trusted=True."
            raise ValueError(unexpected(title, "runtime", "as 'onnx'", "'program'", hint))
        manifest = read_files(title, folder)
        for key, names in (vocabularies or {}).items():
            own = manifest.vocabularies.get(key)
            if own is None or list(own) != list(names):
                given = None if own is None else preview(own)
                expected = f"to be {preview(names)}"
                raise ValueError(unexpected(title, f"the vocabulary {key!r}", expected, given))
        made: Runtime
        if runtime == "onnx":
            strings = [name for name, one in manifest.stacked.items() if one.dtype == "string"]
            made = OnnxRuntime(title, folder / GRAPH, spinning, strings)
        else:
            from torch_heads.integrations.serving.program import ProgramRuntime

            if PROGRAM not in manifest.files:
                hint = "Export it with program=True."
                raise ValueError(unexpected(title, PROGRAM, "in the folder", "none", hint))
            made = ProgramRuntime(title, folder / PROGRAM, manifest.inputs)
        bundle = cls(folder, manifest, made)
        for name, one in bundle.outputs.items():
            if one.names is None and (one.tensor or name) not in made.names:
                expected = f"with a tensor {one.tensor or name!r}"
                raise ValueError(unexpected(title, runtime, expected, preview(made.names)))
        return bundle

    @property
    def vocabularies(self) -> Mapping[str, tuple[str, ...]]:
        """The names of classes by the head that has them."""
        return self.manifest.vocabularies

    def __call__(
        self,
        inputs: Any,
        signature: str = DEFAULT,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Array]:
        """Return what a signature answers, or the predictions of these names.

        Args:
            inputs: a dict by name, or of a model with one input that alone: arrays, tensors, lists.
            signature: the question, among `signatures`.
            outputs: instead, the names of predictions, among `outputs`.

        Raises:
            KeyError: if there is no such signature or prediction.
            ValueError: if the inputs are not what the model takes, the outputs no list of names, or
                the graph answers otherwise than ``signature.json`` says.
        """
        tensors, reads = self._plan(signature, outputs)
        found = self._runtime.run([*tensors], self._feeds(inputs))
        try:
            types = [one.dtype for one in found]
            if types != [*tensors.values()]:
                raise TypeError(f"types {[*map(str, types)]}")
            return {name: read(found) for name, read in reads}
        except (IndexError, TypeError, ValueError) as error:
            expected = "to answer as its signature.json says"
            raise ValueError(unexpected(self.title, "the graph", expected, error)) from None

    def answers(
        self, signature: str = DEFAULT, outputs: Sequence[str] | None = None
    ) -> Mapping[str, str]:
        """Return the names of what a call returns, each with that of the prediction it is.

        Raises:
            KeyError: if there is no such signature.
            ValueError: if ``outputs`` is no list of names.
        """
        if outputs is not None:
            return {name: name for name in self._listed(outputs)}
        if not isinstance(signature, str) or signature not in self.signatures:
            expected = f"among {preview(self.signatures, 20)}"
            hint = nearest(str(signature)[:LONGEST], self.signatures)
            raise KeyError(unexpected(self.title, "signature", expected, repr(signature), hint))
        return self.signatures[signature].outputs

    def head(self, functions: Functions | None = None, classes: Iterable[type] = ()) -> Head:
        """Return the head, with what it has learned.

        Args:
            functions: those that its configuration names, as `build_head` takes them.
            classes: the user's own heads, families and readings.

        Raises:
            ValueError: as `build_head` does, or if the configuration makes no head, or the state in
                the files is not the head's.
        """
        try:
            config = with_vocabularies(self.manifest.head, self.manifest.vocabularies)
            head = build_head(config, functions, classes)
        except KeyError as error:
            expected = f"among {preview(self.vocabularies)}"
            raise ValueError(unexpected(self.title, "vocabulary", expected, error)) from None
        except (TypeError, AttributeError, OverflowError) as error:
            raise ValueError(unexpected(self.title, "head", "as of a head", error)) from None
        except RecursionError:
            raise ValueError(unexpected(self.title, "head", "with few levels", "many")) from None
        state = read_state(self.title, self.path, self.manifest)
        try:
            head.load_state_dict(state)
        except (RuntimeError, RecursionError) as error:
            expected, given = "with the state of its head", "another"
            raise ValueError(unexpected(self.title, "state", expected, given, str(error))) from None
        return head

    def _plan(
        self, signature: str, outputs: Sequence[str] | None
    ) -> tuple[Tensors, list[tuple[str, Read]]]:
        """Return which tensors to compute, and how to read each answer from them."""
        names = None if outputs is None else self._listed(outputs)
        key = repr(signature) if names is None else names  # of what is no name, too
        plan = self._plans.get(key)
        if plan is None:
            tensors: Tensors = {}
            answers = self.answers(signature, names)
            reads = [(public, self._read(name, tensors)) for public, name in answers.items()]
            if len(self._plans) > MOST_PLANS:
                self._plans.clear()
            plan = self._plans[key] = tensors, reads
        return plan

    def _listed(self, outputs: Any) -> tuple[str, ...]:
        listed = isinstance(outputs, Iterable) and not isinstance(outputs, str)
        names = tuple(outputs) if listed else ()
        if not names or not all(isinstance(name, str) for name in names):
            expected = "as a list of at least one name"
            raise ValueError(unexpected(self.title, "outputs", expected, repr(outputs)))
        return names

    def _read(self, name: str, tensors: Tensors) -> Read:
        if name not in self.outputs:
            expected = f"among {preview(self.outputs, 20)}"
            raise KeyError(unexpected(self.title, "outputs", expected, repr(name)))
        one = self.outputs[name]
        tensor = one.tensor or name
        # of many heads the graph has the strings side by side: to read those of one from it would
        # be to make those of all
        looked_up = one.start is not None or tensor not in self._runtime.names
        if one.names is not None and looked_up:
            return self._strings(one, name, tensors)
        tensors.setdefault(tensor, np.dtype(object if one.dtype == "string" else one.dtype))
        index, part = [*tensors].index(tensor), one.part
        return lambda found: found[index][part]

    def _strings(self, one: Output, name: str, tensors: Tensors) -> Read:
        known = self.vocabularies[one.names] if isinstance(one.names, str) else one.names
        every = map(str, range(known)) if isinstance(known, int) else known or ()
        names = np.array([*every], dtype=object)
        if one.ids is not None:
            ids = self._read(one.ids, tensors)
            return lambda found: np.asarray(names[ids(found)])
        like = next(
            key for key in self.outputs if _beside(key, name) and self.outputs[key].names is None
        )
        rows, dims = self._read(like, tensors), len(one.shape) - 1
        return lambda found: np.broadcast_to(names, (*rows(found).shape[:dims], len(names)))


def model_of(path: Path) -> tuple[str, int | None]:
    """Return the name of the model in a folder, and its version, if the folder is called by one.

    Links count by what they are called, whatever they lead to.

    >>> model_of(Path("models/pets")), model_of(Path("models/pets/3"))
    (('pets', None), ('pets', 3))
    """
    absolute = Path(os.path.abspath(path))
    if absolute.name.isdecimal():
        return absolute.parent.name, int(absolute.name)
    return absolute.name, None


def _title(path: Path) -> str:
    name, version = model_of(path)
    return f"Bundle {name if version is None else f'{name}/{version}'!r}"


def _beside(key: str, name: str) -> bool:
    return key.rpartition("/")[0] == name.rpartition("/")[0]
