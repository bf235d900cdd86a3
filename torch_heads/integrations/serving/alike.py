"""The answers of many heads in few words: those of heads that are alike are said once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch_heads.computation.predictor import Part, Stacked
from torch_heads.integrations.serving.answers import Answers, Strings, below, dtype_name
from torch_heads.integrations.serving.served_model import stacked_name
from torch_heads.integrations.serving.signature import (
    EVERY,
    OWN,
    Alike,
    Dims,
    Manifest,
    Output,
    Signature,
)

Places = dict[str, tuple[str, Part]]  # of one target: the tensor and the part, by key


def stacked_manifest(
    answers: Answers, found: Sequence[Stacked], shapes: Mapping[str, Dims]
) -> Manifest:
    """Return the outputs and signatures of heads whose predictions stand side by side."""
    names = [stacked_name(i, one.key) for i, one in enumerate(found)]
    tensors = {
        name: Output(dtype_name(one.values), shapes[name])
        for name, one in zip(names, found, strict=True)
    }
    places: list[Places] = [{} for _ in answers.paths]
    for name, one in zip(names, found, strict=True):
        for part in one.parts:
            places[part.target][one.key] = name, part
    signatures = _by_path(answers)
    kinds: dict[Any, list[int]] = {}
    for i, path in enumerate(answers.paths):
        kinds.setdefault(_kind(answers, i, places[i], signatures[path]), []).append(i)
    alike = tuple(
        _alike(answers, members, places, tensors, signatures[answers.paths[members[0]]])
        for members in kinds.values()
    )
    said = {name for one in alike for name, _ in one.all_signatures()}
    rest = {name: one for name, one in answers.signatures.items() if name not in said}
    for name, signature in rest.items():
        if signature.outputs.keys() == answers.predictions.keys():
            rest[name] = Signature(signature.method, EVERY)
    rest["stacked"] = Signature("predict", {name: name for name in tensors})
    return Manifest({}, {}, rest, answers.vocabularies, tensors, alike)


def _by_path(answers: Answers) -> dict[str, dict[str, Signature]]:
    """Return the signatures of one head alone, by path and ending, with its keys as outputs."""
    found: dict[str, dict[str, Signature]] = {path: {} for path in answers.paths}
    for name, one in answers.signatures.items():
        owners = {output.rpartition("/")[0] for output in one.outputs.values()}
        path = min(owners)
        if len(owners) == 1 and (name == path or name.startswith(f"{path}/")):
            outputs = {public: own.rpartition("/")[2] for public, own in one.outputs.items()}
            found[path][name[len(path) + 1 :]] = Signature(one.method, outputs)
    return found


def _strings(answers: Answers, target: int) -> Iterator[tuple[str, Strings]]:
    for key in answers.targets[target].string_keys:
        yield key, answers.strings[below(answers.paths[target], key)]


def _kind(answers: Answers, target: int, places: Places, own: Mapping[str, Signature]) -> Any:
    """Return what heads have in common that are said once."""
    tensors = tuple((key, name) for key, (name, _) in places.items())
    signatures = tuple((key, one.method, *one.outputs.items()) for key, one in own.items())
    path = answers.paths[target]
    strings = [
        (key, _names(answers, path, one), len(one.names), one.ids)
        for key, one in _strings(answers, target)
    ]
    return tensors, signatures, tuple(strings)


def _names(answers: Answers, path: str, strings: Strings) -> str | int | tuple[str, ...]:
    """Return the names of strings, or that they are the head's own vocabulary."""
    names = answers.names_of(path, strings)
    return OWN if names == path else names


def _alike(
    answers: Answers,
    members: Sequence[int],
    places: Sequence[Places],
    tensors: Mapping[str, Output],
    signatures: Mapping[str, Signature],
) -> Alike:
    first = members[0]
    outputs, widths = {}, dict.fromkeys(members)
    for key, (tensor, part) in places[first].items():
        own = {i: places[i][key][1].width for i in members}
        varies = len({*own.values()}) > 1
        widths = own if varies else widths
        shape = tensors[tensor].shape
        outputs[key] = Output(
            tensors[tensor].dtype,
            shape[:-1] if part.flat and part.width is not None else shape,
            tensor=tensor,
            width=-1 if varies else part.width,
            flat=part.flat,
        )
    batch = min((tensors[tensor].shape for tensor, _ in places[first].values()), key=len)[:-1]
    for key, strings in _strings(answers, first):
        names = _names(answers, answers.paths[first], strings)
        shape = (*batch, 1 if strings.ids else len(strings.names))
        outputs[key] = Output("string", shape, names=names, ids=strings.ids)
    heads = []
    for i in members:
        _, part = next(iter(places[i].values()))
        heads.append((answers.paths[i], part.start, part.stop, widths[i]))
    return Alike(tuple(heads), outputs, dict(signatures))
