"""The answers of many heads in few words: what heads of one kind answer is said once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace

from torch_heads.integrations.serving.answers import Answers, below, dtype_name
from torch_heads.integrations.serving.signature import (
    OWN,
    Dims,
    Kind,
    Manifest,
    Output,
    Signature,
)
from torch_heads.integrations.serving.stacks import Place, Stack
from torch_heads.integrations.serving.string_stacks import StringStack

Stacks = Mapping[str, Stack]
StringStacks = Mapping[str, StringStack]


def stacked_manifest(
    answers: Answers, stacks: Stacks, strings: StringStacks, shapes: Mapping[str, Dims]
) -> Manifest:
    """Return the outputs and signatures of heads whose predictions stand side by side.

    Args:
        answers: those of the heads.
        stacks: the predictions that are tensors, by the name of the tensor.
        strings: likewise those that are strings.
        shapes: those of all these tensors.
    """
    tensors = {name: Output(dtype_name(one.values), shapes[name]) for name, one in stacks.items()}
    tensors |= {name: Output("string", shapes[name]) for name in strings}
    outputs: list[dict[str, Output]] = [{} for _ in answers.paths]
    columns = [0] * len(outputs)
    every: dict[str, Stack | StringStack] = {**stacks, **strings}
    for name, stack in every.items():
        for place in stack.places:
            columns[place.target] = place.column
            outputs[place.target][f"/{stack.key}"] = _output(name, tensors[name], stack, place)
    signatures = _signatures(answers)
    numbers: dict[Hashable, int] = {}
    kinds: list[Kind] = []
    places = {}
    for i, path in enumerate(answers.paths):
        for key in answers.targets[i].string_keys:
            outputs[i][f"/{key}"] = _with_names(answers, i, key, outputs[i][f"/{key}"])
        own = signatures[path]
        words = tuple((key, one.method, *one.outputs.items()) for key, one in own.items())
        number = numbers.setdefault((*outputs[i].items(), words), len(kinds))
        if number == len(kinds):
            kinds.append(Kind(outputs[i], own))
        places[path] = number, columns[i]
    manifest = Manifest({}, {}, {}, answers.vocabularies, tensors, tuple(kinds), places)
    said = manifest.all_signatures()
    rest = {name: one for name, one in answers.signatures.items() if name not in said}
    for name, one in rest.items():
        if one.outputs.keys() == answers.predictions.keys():
            rest[name] = Signature(one.method)
    rest["stacked"] = Signature("predict", {name: name for name in stacks})
    return replace(manifest, signatures=rest)


def _output(name: str, tensor: Output, stack: Stack | StringStack, place: Place) -> Output:
    """Return the prediction of one head."""
    axis = len(tensor.shape) - 1 - stack.inner
    shape = (*tensor.shape[:axis], place.size, *tensor.shape[axis + 1 :])
    return Output(tensor.dtype, shape, None, name, stack.stride, place.size, int(stack.inner))


def _with_names(answers: Answers, target: int, key: str, one: Output) -> Output:
    """Return strings with their names, which may be the head's own vocabulary."""
    path = answers.paths[target]
    strings = answers.strings[below(path, key)]
    names = answers.names_of(path, strings)
    ids = None if strings.ids is None else f"/{strings.ids}"
    return replace(one, names=OWN if names == path else names, ids=ids)


def _signatures(answers: Answers) -> dict[str, dict[str, Signature]]:
    """Return those of one head alone, by its path and what follows that."""
    found: dict[str, dict[str, Signature]] = {path: {} for path in answers.paths}
    for name, one in answers.signatures.items():
        owners = {output.rpartition("/")[0] for output in one.outputs.values()}
        path = min(owners)
        if len(owners) == 1 and (name == path or name.startswith(f"{path}/")):
            outputs = {public: own.removeprefix(path) for public, own in one.outputs.items()}
            found[path][name.removeprefix(path)] = Signature(one.method, outputs)
    return found
