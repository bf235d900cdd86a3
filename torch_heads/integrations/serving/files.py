"""The files of a bundle: that they are there, whole, and those that were written."""

from __future__ import annotations

import json
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.integrations.serving.signature import Manifest
from torch_heads.integrations.serving.signature_file import FILE, from_json

MOST = 256 * 2**20  # bytes of a signature.json, which is read as a whole
WEIGHTS = "model.safetensors"
REQUIRED = ("model.onnx", WEIGHTS)
ALLOWED = (*REQUIRED, "model.pt2")
HEADER = 100 * 2**20  # bytes of a header of safetensors, its own limit
DTYPES = {
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_files(who: str, folder: Path) -> Manifest:
    """Return the signature of a folder whose files are those that it names.

    Raises:
        FileNotFoundError: if there is no folder.
        ValueError: if a file is missing, changed, or none of a bundle's.
    """
    if not folder.is_dir():
        raise FileNotFoundError(unexpected(who, "path", "to a folder", str(folder)))
    path = folder / FILE
    if not path.is_file() or path.is_symlink():
        raise ValueError(unexpected(who, FILE, "in the folder", preview(_names(folder))))
    if path.stat().st_size > MOST:
        raise ValueError(unexpected(who, FILE, f"of at most {MOST} bytes", path.stat().st_size))
    manifest = from_json(who, path.read_bytes())
    for name in (*manifest.files, *REQUIRED):
        if name not in ALLOWED or name not in manifest.files:
            expected = f"with {preview(REQUIRED)}"
            raise ValueError(unexpected(who, "files", expected, preview(manifest.files)))
    for name in manifest.files:
        check_file(who, folder, name, manifest)
    return manifest


def check_file(who: str, folder: Path, name: str, manifest: Manifest) -> None:
    """Refuse a file that is missing, or another one than was written.

    Raises:
        ValueError: if it is.
    """
    path, (size, digest) = folder / name, manifest.files[name]
    if not path.is_file() or path.is_symlink():
        raise ValueError(unexpected(who, name, "in the folder", preview(_names(folder))))
    if path.stat().st_size != size:
        raise ValueError(unexpected(who, name, f"of {size} bytes", path.stat().st_size))
    with path.open("rb") as file:
        if file_digest(file, "sha256").hexdigest() != digest:
            raise ValueError(unexpected(who, name, "as it was written", "another content"))


def _names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def read_state(who: str, folder: Path, manifest: Manifest) -> dict[str, Tensor]:
    """Return the state of a head from ``model.safetensors``.

    Raises:
        ValueError: if a tensor is not there, or the file is broken, or was replaced.
    """
    check_file(who, folder, WEIGHTS, manifest)
    path, found = folder / WEIGHTS, {}
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > min(HEADER, path.stat().st_size - 8):
            expected = f"with a header of at most {HEADER} bytes"
            raise ValueError(unexpected(who, path.name, expected, size))
        header = _header(who, path.name, file.read(size))
        rest = path.stat().st_size - 8 - size
        for key, name in manifest.state.items():
            match header.get(name):
                case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(a), int(b)]}:
                    pass
                case given:
                    raise ValueError(unexpected(who, path.name, f"with {name!r}", given))
            if dtype not in DTYPES or not 0 <= a <= b <= rest:
                raise ValueError(unexpected(who, name, "within the file", [dtype, a, b]))
            file.seek(8 + size + a)
            data = bytearray(file.read(b - a))
            try:
                flat = torch.frombuffer(data, dtype=DTYPES[dtype]) if data else torch.empty(0)
                found[key] = flat.reshape(shape)
            except (RuntimeError, ValueError, TypeError) as error:
                raise ValueError(unexpected(who, name, "as a tensor", error)) from None
    return found


def _header(who: str, name: str, text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(unexpected(who, name, "with a header of JSON", error)) from None
    if not isinstance(header, dict):
        raise ValueError(unexpected(who, name, "with a header of JSON", type(header).__name__))
    return header
