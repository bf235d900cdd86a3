"""TensorFlow Serving's REST protocol: what a body asks, and what stands in the answer.

https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from torch_heads.functional.errors import preview, unexpected
from torch_heads.integrations.serving.bundle import DEFAULT, Bundle
from torch_heads.integrations.serving.feeds import mixes_bools
from torch_heads.integrations.serving.reading import reading
from torch_heads.integrations.serving.signature import Input, Output

Body = Mapping[str, Any]

COLUMNS = 'Ask by {"inputs": ...} instead of instances.'

TYPES = {
    "float16": "DT_HALF",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    "bool": "DT_BOOL",
    "string": "DT_STRING",
}


def answer(bundle: Bundle, verb: str, body: Any) -> dict[str, Any]:
    """Return what a server answers to the body of ``:predict``, ``:classify`` or ``:regress``.

    Raises:
        ValueError: if the body is not what the protocol, or the model, takes.
        KeyError: if there is no such signature.
    """
    if not isinstance(body, Mapping):
        raise ValueError(unexpected(verb, "the body", "as a JSON object", type(body).__name__))
    if verb == "predict":
        return _predict(bundle, body)
    return _classify_or_regress(bundle, verb, body)


def _signature_name(verb: str, body: Body) -> str:
    name = body.get("signature_name", DEFAULT)
    if not isinstance(name, str):
        raise ValueError(unexpected(verb, "signature_name", "as a string", repr(name)))
    return name or DEFAULT


def _predict(bundle: Bundle, body: Body) -> dict[str, Any]:
    name = _signature_name("predict", body)
    if ("instances" in body) == ("inputs" in body):
        came = "both" if "inputs" in body else preview(body)
        raise ValueError(unexpected("predict", "either instances or inputs", "in the body", came))
    if "inputs" in body:
        with reading("predict"):
            given = _plain(body["inputs"])
        found = bundle(given, name)
        outputs = {key: value.tolist() for key, value in found.items()}
        return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}
    rows = body["instances"]
    with reading("predict"):
        columns = _columns(bundle, rows)
    return predict_rows(bundle, columns, len(rows), name)


def predict_rows(
    bundle: Bundle, inputs: Any, count: int, signature: str = DEFAULT
) -> dict[str, Any]:
    """Return what ``:predict`` answers to ``count`` rows of inputs, row by row.

    Raises:
        ValueError: if the model answers by anything else than these rows.
    """
    found = bundle(inputs, signature)
    for key, value in found.items():
        if value.shape[:1] != (count,):
            expected, given = f"with {count} rows of {key!r}", list(value.shape)
            raise ValueError(unexpected("predict", "the answer", expected, given, COLUMNS))
    if len(found) == 1:
        return {"predictions": next(iter(found.values())).tolist()}
    values = [value.tolist() for value in found.values()]
    return {
        "predictions": [dict(zip(found, row, strict=True)) for row in zip(*values, strict=True)]
    }


def _columns(bundle: Bundle, rows: Any) -> Any:
    """Return the inputs of several rows, each a dict by name, or the one input."""
    if not isinstance(rows, list) or not rows:
        expected = "as a list of at least one"
        raise ValueError(unexpected("predict", "instances", expected, repr(rows)[:80]))
    inputs, first = bundle.manifest.inputs, rows[0]
    if not isinstance(first, dict) or _is_bytes(first):
        if len(inputs) > 1:
            expected = f"as objects with {preview(inputs)}"
            raise ValueError(unexpected("predict", "instances", expected, repr(first)[:80]))
        return _plain(rows)
    return _gathered("predict", "instances", inputs, rows)


def _gathered(verb: str, what: str, inputs: Mapping[str, Input], rows: Any) -> dict[str, list[Any]]:
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != inputs.keys():
            expected = f"as an object with {preview(inputs)}"
            given = preview(row) if isinstance(row, dict) else repr(row)[:80]
            raise ValueError(unexpected(verb, f"{what}[{i}]", expected, given))
    return {name: [_plain(row[name]) for row in rows] for name in inputs}


def _classify_or_regress(bundle: Bundle, verb: str, body: Body) -> dict[str, Any]:
    name = _signature_name(verb, body)
    signature = bundle.signatures.get(name)
    if signature is not None and signature.method != verb:
        allowed = [key for key, one in bundle.signatures.items() if one.method == verb]
        expected = f"of the method {verb!r}, among {preview(allowed)}"
        raise ValueError(unexpected(verb, "signature_name", expected, repr(name)))
    examples, context = body.get("examples"), body.get("context", {})
    if not isinstance(examples, list) or not examples:
        raise ValueError(unexpected(verb, "examples", "as a list of at least one", repr(examples)))
    if not isinstance(context, dict):
        raise ValueError(unexpected(verb, "context", "as an object", type(context).__name__))
    rows = [{**context, **one} if isinstance(one, dict) else one for one in examples]
    inputs = bundle.manifest.inputs
    with reading(verb):
        columns = _gathered(verb, "examples", inputs, rows)
        shaped = {key: _shaped(columns[key], one) for key, one in inputs.items()}
    found = bundle(shaped, name)
    if verb == "regress":
        values = found["outputs"]
        if values.shape not in ((len(rows),), (len(rows), 1)):
            expected, given = "with one number per example", list(values.shape)
            hint = "Ask by :predict."
            raise ValueError(unexpected(verb, "a signature", expected, given, hint))
        return {"results": values.reshape(-1).tolist()}
    scores, classes = found.get("scores"), found.get("classes")
    shape = next(iter(found.values())).shape
    if len(shape) != 2 or shape[0] != len(rows):
        hint = "Ask by :predict."
        raise ValueError(
            unexpected(verb, "a signature", "with one row per example", list(shape), hint)
        )
    labels = np.full(shape, "", object) if classes is None else classes
    weights = np.zeros(shape) if scores is None else scores
    pairs = zip(labels.tolist(), weights.tolist(), strict=True)
    return {"results": [[list(pair) for pair in zip(*both, strict=True)] for both in pairs]}


def _shaped(column: list[Any], one: Input) -> Any:
    """Return a feature of examples, each a value or a list, in the shape of the input.

    What does not fit stays as it is, for the input to refuse in its own words.
    """
    lists = [own if isinstance(own, list) else [own] for own in column]
    strings = one.dtype == "string"
    if not strings and mixes_bools(lists):
        return column
    try:
        array = np.array(lists, dtype=object if strings else None)
    except ValueError:  # of rows that differ in length
        return column
    sizes = [len(column), *(size for size in one.shape[1:] if isinstance(size, int))]
    fits = len(sizes) == len(one.shape) and array.size == prod(sizes)
    return array.reshape(sizes) if fits else column


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}


def _plain(value: Any) -> Any:
    """Return a value with strings in place of ``{"b64": ...}``.

    Raises:
        ValueError: if that is not base64 of UTF-8.
    """
    if isinstance(value, list):
        nested = value and isinstance(value[0], (list, dict))
        return [_plain(one) for one in value] if nested else value
    if _is_bytes(value):
        code = value["b64"]
        if not isinstance(code, str):
            raise ValueError(unexpected("predict", "b64", "as a string", repr(code)))
        try:
            return base64.b64decode(code, validate=True).decode()
        except ValueError:
            expected = "as base64 of text in UTF-8"
            raise ValueError(unexpected("predict", "b64", expected, repr(code)[:80])) from None
    return {key: _plain(own) for key, own in value.items()} if isinstance(value, dict) else value


def status(versions: Sequence[int]) -> dict[str, Any]:
    """Return the state of the versions of a model, the latest first."""
    fine = {"error_code": "OK", "error_message": ""}
    return {
        "model_version_status": [
            {"version": str(number), "state": "AVAILABLE", "status": fine}
            for number in sorted(versions, reverse=True)
        ]
    }


def metadata(name: str, version: int, bundle: Bundle) -> dict[str, Any]:
    """Return the signatures of a model, as TensorFlow writes them."""
    inputs = {key: _tensor(key, one) for key, one in bundle.manifest.inputs.items()}
    definitions = {
        key: {
            "inputs": inputs,
            "outputs": {
                public: _tensor(own, bundle.outputs[own]) for public, own in one.outputs.items()
            },
            "method_name": f"tensorflow/serving/{one.method}",
        }
        for key, one in bundle.signatures.items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": definitions}},
    }


def _tensor(name: str, one: Input | Output) -> dict[str, Any]:
    dims = [
        {"size": "-1" if isinstance(size, str) else str(size), "name": ""} for size in one.shape
    ]
    return {
        "dtype": TYPES.get(one.dtype, f"DT_{one.dtype.upper()}"),
        "tensor_shape": {"dim": dims, "unknown_rank": False},
        "name": f"{name}:0",
    }
