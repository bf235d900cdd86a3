"""What computes a bundle's tensors: onnxruntime, or a program of torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from torch_heads.functional.errors import unexpected

Arrays = Mapping[str, np.ndarray[Any, Any]]

MOST_PARTS = 16  # of a graph that have sessions of their own
MEMORY = 128 * 2**20  # bytes of the weights in all of these


class Runtime(Protocol):
    """Computes tensors by their names."""

    #: The names of the tensors that it has.
    names: frozenset[str]

    def run(self, names: Sequence[str], inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        """Return the tensors of these names; no others are computed where that is possible."""


class OnnxRuntime:
    """A graph that onnxruntime computes, which needs no torch.

    onnxruntime computes all of a graph, whatever is asked. So where the weights are small, and the
    time is not in them, each set of outputs has a session of its own, with the part of the graph
    that it needs. Where they are large, there are two at most: without what is seldom asked for,
    and, once it is, the whole graph.

    Args:
        who: the bundle, as errors say it.
        path: the file of the graph.
        spinning: whether threads that have done their part of a run wait awake for the next one.
        seldom: the names of tensors that are not computed unless they are asked for.

    Raises:
        ValueError: if it is no graph, or does not find its weights in its own folder.
    """

    def __init__(
        self, who: str, path: Path, spinning: bool = True, seldom: Collection[str] = ()
    ) -> None:
        path = path.resolve()  # of a folder that is a link, which may lead to another one later
        self._who, self._path, self._spinning = who, path, spinning
        try:
            whole = _session(path, path.parent, spinning)
            self.names = frozenset(one.name for one in whole.get_outputs())
            self._files = _stamps(path)
            self._most_parts = min(MOST_PARTS, MEMORY // sum(size for size, *_ in self._files))
            self._usual = self.names if self._most_parts else self.names.difference(seldom)
            #: By the outputs that each has.
            self._sessions = {self.names: whole}
            if self._usual != self.names:
                self._sessions = {self._usual: self._part(self._usual)}
        except Exception as error:  # those of onnxruntime have no other class in common
            reason = str(error).partition("\n")[0]
            given = reason.replace(str(path.parent), ".")
            expected = "as a graph with its weights"
            raise ValueError(unexpected(who, path.name, expected, given)) from None

    def run(self, names: Sequence[str], inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        """Return the tensors of these names.

        Raises:
            ValueError: if the graph refuses the inputs.
        """
        try:
            found: list[np.ndarray[Any, Any]] = self._session_of(frozenset(names)).run(
                names, inputs
            )
        except Exception as error:
            reason = str(error).partition("\n")[0]
            given = "what it refuses"
            refusal = unexpected(self._who, "inputs", "that the graph takes", given, reason)
            raise ValueError(refusal) from None
        return found

    def _session_of(self, names: frozenset[str]) -> Any:
        found = self._sessions.get(names)
        if found is not None:
            return found
        usual = self._usual if names <= self._usual else self.names
        # a bundle may have been replaced since, of which this one knows nothing
        if len(self._sessions) <= self._most_parts and self._is_there():
            usual = names
        if usual not in self._sessions:
            if not self._is_there():
                raise ValueError("another bundle has taken its place")
            self._sessions[usual] = self._part(usual)
        return self._sessions[usual]

    def _is_there(self) -> bool:
        return _stamps(self._path) == self._files

    def _part(self, names: frozenset[str]) -> Any:
        """Return a session of the part of the graph that these outputs need."""
        from torch_heads.integrations.serving.pruning import pruned

        # its weights are some of those that the whole graph has found in its folder
        return _session(pruned(self._path, names), self._path.parent, self._spinning)


def _stamps(path: Path) -> list[tuple[int, int, int]]:
    """Return size, time and inode of a graph and its weights."""
    files = sorted(path.parent.glob("model.[os]*"))
    stats = [one.stat() for one in files]
    return [(one.st_size, one.st_mtime_ns, one.st_ino) for one in stats]


def _session(graph: Path | bytes, folder: Path, spinning: bool) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    if isinstance(graph, bytes):
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, str(folder))
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
