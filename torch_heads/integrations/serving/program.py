"""``model.pt2``: the same model as a program of torch, to be loaded from those one trusts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from torch_heads.functional.errors import unexpected
from torch_heads.integrations.serving.runtime import Arrays
from torch_heads.integrations.serving.signature import Input

TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node", "torch_fn")


def write_program(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write a program without what was noted while tracing: source files, their lines, classes."""
    for module in program.graph_module.modules():
        if isinstance(module, fx.GraphModule):
            for node in module.graph.nodes:
                for key in TRACES:
                    node.meta.pop(key, None)
    torch.export.save(program, path)


class ProgramRuntime:
    """A program of torch.

    To load one can run code that is in it: pickled values, expressions, guards.

    Args:
        who: the bundle, as errors say it.
        path: the file of the program.
        inputs: its inputs by name, in order; strings are looked up here, not in the program.

    Raises:
        ValueError: if it is no program.
    """

    def __init__(self, who: str, path: Path, inputs: Mapping[str, Input]) -> None:
        self._who, self._inputs = who, inputs
        self._numbers = {
            name: dict(zip(one.lookup, one.numbers or count(), strict=False))
            for name, one in inputs.items()
            if one.lookup is not None
        }
        try:
            program = torch.export.load(path)
        except Exception as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(unexpected(who, path.name, "as a program", reason)) from None
        self._module = program.module()
        outputs = program.call_spec.out_spec
        names: Any = outputs.unflatten(range(outputs.num_leaves)) if outputs else {}
        # an output that has the name of an input is called as in the graph
        self._outputs = {f"{name}:" if name in inputs else name: name for name in names}
        self.names = frozenset(self._outputs)

    def run(self, names: Sequence[str], inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        """Return the tensors of these names; all of them are computed.

        Raises:
            ValueError: if the program refuses the inputs.
        """
        tensors = [torch.from_numpy(self._looked_up(name, inputs[name])) for name in self._inputs]
        try:
            with torch.inference_mode():
                found = self._module(*tensors)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            given = "what it refuses"
            refusal = unexpected(self._who, "inputs", "that the program takes", given, reason)
            raise ValueError(refusal) from None
        return [found[self._outputs[name]].numpy() for name in names]

    def _looked_up(self, name: str, given: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        numbers, others = self._numbers.get(name), self._inputs[name].others
        if numbers is None:
            return np.array(given)
        found = [numbers.get(one, others) for one in given.flat]  # without others, all are known
        return np.array(found, np.int64).reshape(given.shape)
