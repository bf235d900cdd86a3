"""The Open Inference Protocol, version 2, with its extension of binary tensors.

https://github.com/kserve/open-inference-protocol, and the extension_binary_data of Triton.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from torch_heads.functional.errors import preview, unexpected
from torch_heads.integrations.serving.bundle import Bundle
from torch_heads.integrations.serving.feeds import KINDS, mixes_bools
from torch_heads.integrations.serving.json_text import read_json
from torch_heads.integrations.serving.reading import reading
from torch_heads.integrations.serving.signature import Dims

Array = np.ndarray[Any, Any]

LENGTH = "inference-header-content-length"
TYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
DTYPES = {name: dtype for dtype, name in TYPES.items()}


def infer(
    name: str, version: int, bundle: Bundle, body: bytes, length: str | None
) -> tuple[bytes, int | None]:
    """Return the body of an answer, and how long its JSON is, if binary tensors follow.

    Args:
        name: of the model.
        version: of the model.
        bundle: the model.
        body: of the request: JSON, and binary tensors after it.
        length: of the JSON in it, if binary tensors follow.

    Raises:
        ValueError: if the body is not what the protocol, or the model, takes.
        KeyError: if there is no such output.
    """
    with reading("infer"):
        text, binary = _parts(body, length)
        request = read_json(text)
        inputs = _inputs(request, binary)
        asked = _asked(request, bundle)
    found = bundle(inputs, outputs=list(asked))
    described, buffers = [], []
    for key, is_binary in asked.items():
        one: dict[str, Any] = {
            "name": key,
            "datatype": TYPES[bundle.outputs[key].dtype],
            "shape": list(found[key].shape),
        }
        if is_binary:
            buffers.append(_to_bytes(found[key]))
            one["parameters"] = {"binary_data_size": len(buffers[-1])}
        else:
            one["data"] = found[key].reshape(-1).tolist()
        described.append(one)
    answer = {"model_name": name, "model_version": str(version), "outputs": described}
    if "id" in request:
        answer["id"] = request["id"]
    header = json.dumps(answer).encode()
    return b"".join([header, *buffers]), len(header) if buffers else None


def _inputs(request: Any, binary: memoryview) -> dict[str, Array]:
    if not isinstance(request, dict):
        given = type(request).__name__
        raise ValueError(unexpected("infer", "the body", "as a JSON object", given))
    inputs: dict[str, Array] = {}
    for one in _objects("inputs", request.get("inputs")):
        key, array, binary = _input(one, binary)
        if key in inputs:
            given = f"{key!r} twice"
            raise ValueError(unexpected("infer", "inputs", "with different names", given))
        inputs[key] = array
    if len(binary):
        raise ValueError(unexpected("infer", "the body", "to end", f"{len(binary)} bytes more"))
    return inputs


def _asked(request: Mapping[str, Any], bundle: Bundle) -> dict[str, bool]:
    """Return the names of the predictions that are asked for, and whether as binary tensors."""
    default = _parameters(request).get("binary_data_output") is True
    return {
        _string("outputs", one.get("name")): _parameters(one).get("binary_data", default) is True
        for one in _objects("outputs", request.get("outputs") or [])
    } or dict.fromkeys(bundle.tensors, default)


def _parts(body: bytes, length: str | None) -> tuple[bytes, memoryview]:
    if length is None:
        return body, memoryview(b"")
    if not length.isdecimal() or int(length) > len(body):
        expected = f"of at most {len(body)} bytes"
        raise ValueError(unexpected("infer", LENGTH, expected, repr(length)))
    return body[: int(length)], memoryview(body)[int(length) :]


def _input(given: Mapping[str, Any], binary: memoryview) -> tuple[str, Array, memoryview]:
    name = _string("inputs", given.get("name"))
    kind, shape = given.get("datatype"), given.get("shape")
    if not isinstance(kind, str) or kind not in DTYPES:
        raise ValueError(unexpected(name, "datatype", f"among {preview(DTYPES, 20)}", repr(kind)))
    whole = isinstance(shape, list) and all(
        type(size) is int and 0 <= size < 2**40 for size in shape
    )
    if not isinstance(shape, list) or not whole:
        raise ValueError(unexpected(name, "shape", "as a list of sizes", repr(shape)))
    dtype = np.dtype(object if kind == "BYTES" else DTYPES[kind])
    size = _parameters(given).get("binary_data_size")
    if size is not None:
        if type(size) is not int or not 0 <= size <= len(binary):
            expected = f"of at most {len(binary)} bytes"
            raise ValueError(unexpected(name, "binary_data_size", expected, repr(size)))
        flat, binary = _from_bytes(name, binary[:size], dtype), binary[size:]
    else:
        if not isinstance(given.get("data"), list):
            raise ValueError(
                unexpected(name, "data", "as a list", type(given.get("data")).__name__)
            )
        flat = _from_list(name, given["data"], dtype)
    count = 1
    for one in shape:
        count *= one
    if flat.size != count:
        raise ValueError(unexpected(name, "data", f"of {count} numbers", flat.size))
    return name, flat.reshape(shape), binary


def _from_list(name: str, data: list[Any], dtype: np.dtype[Any]) -> Array:
    """Return nested or flat lists as one axis, without a change of any number."""
    if dtype.kind != "O" and mixes_bools(data):
        raise ValueError(unexpected(name, "data", f"of type {dtype}", "bools among numbers"))
    try:
        array = np.array(data, dtype=object if dtype.kind == "O" else None)
    except ValueError:  # of lists that differ in length
        expected = "as numbers, or lists of one length"
        raise ValueError(unexpected(name, "data", expected, "lists of others")) from None
    kinds = {"f": "fiu", "i": "iu", "u": "iu", "b": "b", "O": "O"}[dtype.kind]
    fits = array.size == 0 or array.dtype.kind in kinds
    if not fits or (array.size and dtype.kind in "iu" and (array.astype(dtype) != array).any()):
        given = KINDS.get(array.dtype.kind, array.dtype)
        raise ValueError(unexpected(name, "data", f"of type {dtype}", given))
    with np.errstate(over="ignore"):  # what is too large is infinite
        return array.astype(dtype).reshape(-1)


def _from_bytes(name: str, data: memoryview, dtype: np.dtype[Any]) -> Array:
    if dtype.kind != "O":
        if len(data) % dtype.itemsize:
            expected = f"in units of {dtype.itemsize} bytes"
            raise ValueError(unexpected(name, "binary_data_size", expected, len(data)))
        return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype)
    strings, place = [], 0
    while place < len(data):
        end = place + 4 + int.from_bytes(data[place : place + 4], "little")
        if end > len(data) or place + 4 > len(data):
            raise ValueError(unexpected(name, "a string", "within its data", f"{end} bytes"))
        strings.append(bytes(data[place + 4 : end]).decode())
        place = end
    array = np.empty(len(strings), object)
    array[:] = strings
    return array


def _to_bytes(array: Array) -> bytes:
    if array.dtype.kind != "O":
        return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    strings = [one.encode() for one in array.flat]
    return b"".join(len(one).to_bytes(4, "little") + one for one in strings)


def _objects(what: str, given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise ValueError(unexpected("infer", what, "as a list of objects", repr(given)[:80]))
    return given


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    parameters = given.get("parameters", {})
    if not isinstance(parameters, dict):
        raise ValueError(unexpected("infer", "parameters", "as an object", repr(parameters)[:80]))
    return parameters


def _string(what: str, given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError(unexpected("infer", what, "with a name each", repr(given)[:80]))
    return given


def metadata(name: str, versions: Sequence[int], bundle: Bundle) -> dict[str, Any]:
    """Return the inputs and outputs of a model."""
    return {
        "name": name,
        "versions": [str(number) for number in sorted(versions)],
        "platform": "onnxruntime_onnx",
        "inputs": [
            _tensor(key, one.dtype, one.shape) for key, one in bundle.manifest.inputs.items()
        ],
        "outputs": [_tensor(key, one.dtype, one.shape) for key, one in bundle.tensors.items()],
    }


def _tensor(name: str, dtype: str, shape: Dims) -> dict[str, Any]:
    sizes = [-1 if isinstance(size, str) else size for size in shape]
    return {"name": name, "datatype": TYPES[dtype], "shape": sizes}
