"""The files of a bundle: that they are there, whole, and those that were written."""

from __future__ import annotations

from hashlib import file_digest
from os import SEEK_END
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.integrations.serving.json_text import read_json
from torch_heads.integrations.serving.signature import Manifest
from torch_heads.integrations.serving.signature_file import FILE, from_json

MOST = 256 * 2**20  # bytes of a signature.json, which is read as a whole
GRAPH, WEIGHTS, PROGRAM = "model.onnx", "model.safetensors", "model.pt2"
REQUIRED = (GRAPH, WEIGHTS)
ALLOWED = (*REQUIRED, PROGRAM)
Place = tuple[str, list[Any], int, int]  # of a tensor: its type, its shape, its first and last byte
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
    for name in {*manifest.files, *REQUIRED}:
        check_file(who, folder, name, manifest)
    with (folder / WEIGHTS).open("rb") as file:
        _read_header(who, file)
    return manifest


def check_file(who: str, folder: Path, name: str, manifest: Manifest) -> None:
    """Refuse a file that is missing, or another one than was written.

    Raises:
        ValueError: if it is.
    """
    if name not in ALLOWED or name not in manifest.files:
        expected = f"with {preview(REQUIRED)}"
        raise ValueError(unexpected(who, "files", expected, preview(manifest.files)))
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
    found = {}
    with (folder / WEIGHTS).open("rb") as file:
        start, tensors = _read_header(who, file)
        for key, name in manifest.state.items():
            if name not in tensors:
                raise ValueError(unexpected(who, WEIGHTS, f"with {name!r}", None))
            dtype, shape, first, last = tensors[name]
            if dtype not in DTYPES:
                raise ValueError(unexpected(who, name, f"of a type among {[*DTYPES]}", dtype))
            file.seek(start + first)
            data = bytearray(file.read(last - first))
            try:
                flat = torch.frombuffer(data, dtype=DTYPES[dtype]) if data else torch.empty(0)
                found[key] = flat.reshape(shape)
            except (RuntimeError, ValueError, TypeError) as error:
                raise ValueError(unexpected(who, name, "as a tensor", error)) from None
    return found


def _read_header(who: str, file: IO[bytes]) -> tuple[int, dict[str, Place]]:
    """Return where the data of a file of safetensors begin, and its tensors by name."""
    total = file.seek(0, SEEK_END)
    file.seek(0)
    size = int.from_bytes(file.read(8), "little")
    most = min(HEADER, max(total - 8, 0))
    if total < 8 or size > most:
        expected = f"with a header of at most {most} bytes"
        raise ValueError(unexpected(who, WEIGHTS, expected, size))
    try:
        header = read_json(file.read(size))
    except (ValueError, RecursionError) as error:
        raise ValueError(unexpected(who, WEIGHTS, "with a header of JSON", error)) from None
    if not isinstance(header, dict):
        given = type(header).__name__
        raise ValueError(unexpected(who, WEIGHTS, "with a header of JSON", given))
    tensors = {}
    for name, own in header.items():
        if name == "__metadata__":
            continue
        match own:
            case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(a), int(b)]}:
                tensors[name] = dtype, shape, a, b
            case given:
                expected = "with a type, a shape and offsets"
                raise ValueError(unexpected(who, name, expected, repr(given)[:80]))
        if not 0 <= a <= b <= total - 8 - size:
            raise ValueError(unexpected(who, name, "within the file", [a, b]))
    return 8 + size, tensors
