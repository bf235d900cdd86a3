"""What a bundle takes and answers, as tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from torch_heads.integrations.serving.bundle import Bundle
from torch_heads.integrations.serving.signature import Dims

MOST = 60  # rows of a table
NAMES = 12  # of a vocabulary, and of the outputs of a signature
WIDTH = 160  # where there is no terminal


def show(bundle: Bundle, console: Console | None = None) -> None:
    """Print the inputs, signatures, outputs and vocabularies of a bundle."""
    console = console or Console()
    if not console.is_terminal:
        console.width = WIDTH
    manifest = bundle.manifest
    inputs = (
        [name, one.dtype, _shape(one.shape), "" if one.lookup is None else _names(one.lookup)]
        for name, one in manifest.inputs.items()
    )
    _print(console, "Inputs", ["name", "type", "shape", "known strings"], inputs)
    signatures = (
        [name, one.method, _names(_renamed(*pair) for pair in one.outputs.items())]
        for name, one in bundle.signatures.items()
    )
    _print(console, "Signatures", ["name", "method", "outputs"], signatures)
    outputs = (
        [name, one.dtype, _shape(one.shape), one.columns or ""]
        for name, one in {**bundle.tensors, **bundle.outputs}.items()
    )
    _print(console, "Outputs", ["name", "type", "shape", "columns"], outputs)
    if manifest.vocabularies:
        vocabularies = ([key, _names(own)] for key, own in manifest.vocabularies.items())
        _print(console, "Vocabularies", ["head", "names"], vocabularies)
    files = ([name, f"{size:,}", digest] for name, (size, digest) in manifest.files.items())
    _print(console, "Files", ["name", "bytes", "sha256"], files)


def _print(
    console: Console, title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]
) -> None:
    table = Table(*columns, title=title, title_justify="left")
    every = list(rows)
    for row in every[:MOST]:
        table.add_row(*(escape(_printable(cell)) for cell in row))
    if len(every) > MOST:
        table.add_row(f"... {len(every):,} in all")
    console.print(table)


def _printable(text: str) -> str:
    """Return text in which nothing steers a terminal: whoever wrote the bundle chose its names."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _shape(shape: Dims) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _names(names: Iterable[str]) -> str:
    every = list(names)
    shown = ", ".join(every[:NAMES])
    return shown if len(every) <= NAMES else f"{shown}, ... ({len(every):,} in all)"


def _renamed(public: str, name: str) -> str:
    return name if public == name.rpartition("/")[2] or public == name else f"{public} = {name}"
