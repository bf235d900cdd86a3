"""What computes a bundle's tensors: onnxruntime, or a program of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from torch_heads.functional.errors import unexpected

Arrays = Mapping[str, np.ndarray[Any, Any]]


class Runtime(Protocol):
    """Computes tensors by their names."""

    #: The names of the tensors that it has.
    names: frozenset[str]

    def run(self, names: Sequence[str], inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        """Return the tensors of these names; no others are computed where that is possible."""


class OnnxRuntime:
    """A graph that onnxruntime computes, which needs no torch.

    Args:
        who: the bundle, as errors say it.
        path: the file of the graph.

    Raises:
        ValueError: if it is no graph, or does not find its weights in its own folder.
    """

    def __init__(self, who: str, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._who = who
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # those of onnxruntime have no other class in common
            reason = str(error).partition("\n")[0]
            given = reason.replace(str(path.parent.resolve()), ".").replace(str(path.parent), ".")
            expected = "as a graph with its weights"
            raise ValueError(unexpected(who, path.name, expected, given)) from None
        self.names = frozenset(one.name for one in self._session.get_outputs())

    def run(self, names: Sequence[str], inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        """Return the tensors of these names.

        Raises:
            ValueError: if the graph refuses the inputs.
        """
        try:
            found: list[np.ndarray[Any, Any]] = self._session.run(names, inputs)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            given = "what it refuses"
            refusal = unexpected(self._who, "inputs", "that the graph takes", given, reason)
            raise ValueError(refusal) from None
        return found
