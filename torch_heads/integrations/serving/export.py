"""From a model to a bundle: one folder that answers without the model's code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_heads.functional.arguments import check_flag
from torch_heads.functional.errors import unexpected
from torch_heads.heads.base import Head
from torch_heads.heads.config import Functions, head_config
from torch_heads.heads.saved import METRICS
from torch_heads.integrations.atomic import replacing_folder
from torch_heads.integrations.head_of import head_of
from torch_heads.integrations.serving.answers import Answers
from torch_heads.integrations.serving.example import WHO, Example, Lookups
from torch_heads.integrations.serving.files import GRAPH, PROGRAM
from torch_heads.integrations.serving.kinds import stacked_manifest
from torch_heads.integrations.serving.served_model import ServedModel, for_serving
from torch_heads.integrations.serving.signature import Manifest
from torch_heads.integrations.serving.signature_file import FILE, share_vocabularies, to_json
from torch_heads.integrations.serving.stacks import stacks_of
from torch_heads.integrations.serving.string_stacks import string_stacks
from torch_heads.metrics.saved import MEANING

MANY = 100  # targets beyond which their predictions stay side by side in the graph
TOLERANCE = 1e-4  # between the graph and the model, at the example


def export_bundle(
    model: nn.Module,
    path: str | Path,
    example: Any,
    *,
    head: Head | None = None,
    inputs: Sequence[str] | Mapping[str, Sequence[int | str]] | None = None,
    lookups: Lookups | None = None,
    program: bool = False,
    functions: Functions | None = None,
) -> Path:
    """Write a model with its head as a bundle, and return its folder.

    The folder holds ``signature.json``, ``model.onnx`` with the names of classes in it, and
    ``model.safetensors`` with every weight once; what was there before is replaced when all is
    written. Nothing of the example is in it but the names, types and shapes. The model is exported
    as it is for evaluation, in float32.

    The predictions of more than 100 targets stay side by side in the graph, those that are strings
    too: ``Bundle`` takes them apart, and answers ``signature="stacked"`` with the numbers whole.

    Args:
        model: a model that returns what its head returns, such as ``nn.Sequential(network, head)``;
            or one that returns the logits of ``head``.
        path: the folder.
        example: a tensor that the model takes, several in a tuple, or a dict of features by name.
        head: the head of a model that returns logits, a part of the model or not; None for the one
            in it, which it calls.
        inputs: the names of the inputs; or a dict of names with the axes of each, a size or a name
            where it is free: ``{"words": ["batch", "step", 300]}``. By default the names are those
            of the model's arguments, and the first axis is free.
        lookups: of inputs that are strings, the known ones, which the model takes as 0, 1, ...; or
            a dict of the number of each, with None for all others.
        program: whether to write ``model.pt2``, too, which holds the weights once more.
        functions: names for the functions of the head, as `head_config` takes them.

    Raises:
        TypeError: if the model is no module, ``head`` no head, the example no tensors, or
            ``program`` no truth value; and as `head_config` does.
        ValueError: if the model has no head, or several, or returns anything else; if the inputs do
            not fit; if the graph does not compute what the model does; or if the path leads to
            something else than a bundle.
    """
    folder = Path(path)
    if (
        folder.exists()
        and not (folder / FILE).is_file()
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise ValueError(unexpected(WHO, "path", "to be free, or a bundle", str(folder)))
    program = check_flag(WHO, "program", program)
    own = head_of(WHO, model, head)
    given = Example(model, example, inputs, lookups)
    config = head_config(own, functions)
    both = nn.ModuleDict({"model": model} if head is None else {"model": model, "head": head})
    with for_serving(both) as held:
        behind = None if head is None else head_of(WHO, held["head"])
        stacked = len(own.computation.targets) > MANY
        served = ServedModel(held["model"], behind, given, stacked).eval()
        with replacing_folder(folder) as new:
            manifest = _write(served, given, new, stacked, program)
            manifest = replace(manifest, head=share_vocabularies(config, manifest.vocabularies))
            files = {one.name: _digest(one) for one in sorted(new.iterdir())}
            text = to_json(replace(manifest, files=files))
            (new / FILE).write_text(text, "utf-8")
    return folder


def _write(
    served: ServedModel, example: Example, folder: Path, stacked: bool, program: bool
) -> Manifest:
    """Write all files but the signature, and return that."""
    from torch_heads.integrations.serving.graph import graph_name, make_graph, shapes_of
    from torch_heads.integrations.serving.graph_strings import add_string_stacks, add_strings
    from torch_heads.integrations.serving.weights import move_weights

    head, tensors = served.head, tuple(example.tensors.values())
    logits = served.logits(*tensors)
    answers = Answers(head, logits)
    traced = torch.export.export(
        served, example.blank(), dynamic_shapes=example.dynamic_shapes(), strict=False
    )
    graph = make_graph(traced, example)
    if stacked:
        stacks = stacks_of(head, logits)
        strings = string_stacks(answers, stacks)
        add_string_stacks(graph, strings)
        manifest = stacked_manifest(answers, stacks, strings, shapes_of(graph))
    else:
        manifest = answers.manifest(shapes_of(graph))
        add_strings(graph, answers, example)
        outputs = {
            name: replace(one, tensor=graph_name(name, example)) if name in example.inputs else one
            for name, one in manifest.outputs.items()
        }
        manifest = replace(manifest, outputs=outputs)
    has_prior = any(target.prior() is not None for target in head.computation.targets)
    state = {key: value for key, value in head.state_dict().items() if _learned(key, has_prior)}
    names = move_weights(graph, state, _prefix(served, head), folder)
    (folder / GRAPH).write_bytes(graph.SerializeToString(deterministic=True))
    if program:
        from torch_heads.integrations.serving.program import write_program

        write_program(traced, folder / PROGRAM)
    manifest = replace(manifest, inputs=example.inputs, state=names)
    _compare(served, example, folder, manifest)
    return manifest


def _compare(served: ServedModel, example: Example, folder: Path, manifest: Manifest) -> None:
    """Refuse a graph that does not compute, at the example, what the model does."""
    from torch_heads.integrations.serving.runtime import OnnxRuntime

    tensors: dict[str, Tensor] = served(*example.tensors.values())
    names = list(tensors)
    known = {**manifest.outputs, **manifest.stacked}
    tensors_of = [known[name].tensor or name for name in names]
    found = OnnxRuntime(WHO, folder / GRAPH).run(tensors_of, example.arrays)
    for name, array in zip(names, found, strict=True):
        expected = tensors[name].numpy()
        fits = array.shape == expected.shape and array.dtype == expected.dtype
        if not fits or not np.allclose(array, expected, TOLERANCE, TOLERANCE, equal_nan=True):
            hint = "Is it random, or does it keep a state between calls?"
            expected_words = "that computes in a graph what it computes in Python"
            raise ValueError(unexpected(WHO, "model", expected_words, f"another {name!r}", hint))


def _learned(key: str, has_prior: bool) -> bool:
    # neither what was measured, nor what the configuration says, too
    *path, own = key.split(".")
    return (has_prior or own != MEANING) and METRICS.removesuffix(".") not in path


def _prefix(served: ServedModel, head: Head) -> str:
    """Return what stands before the names of the head's tensors among the model's."""
    for name, one in served.model.named_modules():
        if one is head:
            return f"{name}." if name else ""
    return "head."


def _digest(path: Path) -> tuple[int, str]:
    content = path.read_bytes()
    return len(content), sha256(content).hexdigest()
