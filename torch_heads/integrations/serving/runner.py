"""Predictions of a file of any length, a batch at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from rich.progress import Progress

from torch_heads.functional.errors import unexpected
from torch_heads.integrations.atomic import replacing
from torch_heads.integrations.serving.bundle import Bundle
from torch_heads.integrations.serving.file_rows import WHO, csv_batches, json_batches

Array = np.ndarray[Any, Any]

BATCH = 4096  # rows
MARK = "\x01"  # after each comma between values, while rows are taken apart


def predict_file(
    bundle: Bundle,
    source: str | Path,
    target: str | Path,
    signature: str = "predict",
    outputs: Sequence[str] | None = None,
    batch_size: int = BATCH,
) -> int:
    """Predict the rows of a file, and return how many there are.

    A line of ``.jsonl`` is an object with all inputs by name, or the value of the one input. A
    ``.csv`` has a head line, with the names of inputs of one number each, or with as many columns
    as the one input has. Empty lines are left out. The other file is as long, in the same forms; it
    takes the place of an earlier one when it is whole.

    Raises:
        ValueError: if a file is of another form, or a row is not what the model takes.
        FileNotFoundError: if there is no file.
        KeyError: if there is no such signature or prediction.
    """
    source, target = Path(source), Path(target)
    if batch_size < 1:
        raise ValueError(unexpected(WHO, "batch_size", ">= 1", batch_size))
    readers = {".jsonl": json_batches, ".csv": csv_batches}
    for path in (source, target):
        if path.suffix not in readers:
            raise ValueError(unexpected(WHO, "a file", "of .jsonl or .csv", path.name))
    answered = bundle.answers(signature, outputs)
    rows = 0
    with source.open("rb") as read, replacing(target) as written, Progress() as progress:
        task = progress.add_task(source.name, total=source.stat().st_size)
        write = _JsonWriter(written) if target.suffix == ".jsonl" else _CsvWriter(written)
        for count, inputs in readers[source.suffix](bundle.manifest.inputs, read, batch_size):
            try:
                answers = bundle(inputs, signature, outputs)
            except ValueError as error:
                where = f"{source.name}, rows {rows + 1:,} to {rows + count:,}"
                raise ValueError(f"{where}: {error}") from None
            for name, value in answers.items():
                if value.shape[:1] != (count,):
                    given = list(value.shape)
                    raise ValueError(unexpected(WHO, name, f"with {count} rows", given))
            write(answers)
            rows += count
            progress.update(task, completed=read.tell())
        if not rows and target.suffix == ".csv":  # which has a head line in any case
            shapes = {name: bundle.outputs[own].shape[1:] for name, own in answered.items()}
            write({name: np.empty((0, *map(_size, own))) for name, own in shapes.items()})
    return rows


def _size(axis: int | str) -> int:
    """Return the size of an axis; 1 of one that rows would have told."""
    return axis if isinstance(axis, int) else 1


class _JsonWriter:
    """Writes a line of JSON for each row."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __call__(self, answers: dict[str, Array]) -> None:
        keys = [json.dumps(name).replace("%", "%%") for name in answers]
        levels = [value.ndim - 1 for value in answers.values()]
        pairs = zip(keys, levels, strict=True)
        parts = (f"{key}:{'[' * deep}%s{']' * deep}" for key, deep in pairs)
        template = "{" + ",".join(parts) + "}\n"
        cells = [_cells_of(value) for value in answers.values()]
        text = "".join(template % row for row in zip(*cells, strict=True))
        self._file.write(text.replace(MARK, "").encode())


class _CsvWriter:
    """Writes a line of CSV for each row, with a column for each number."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._first = file, True

    def __call__(self, answers: dict[str, Array]) -> None:
        head: list[str] = []
        flat = []
        for name, value in answers.items():
            wide = value.reshape(len(value), prod(value.shape[1:]))
            many = wide.shape[1] > 1
            head += [f"{name}[{i}]" for i in range(wide.shape[1])] if many else [name]
            flat += wide.T.tolist()
        rows = zip(*flat, strict=True)
        text = _Text()
        writer = csv.writer(text, lineterminator="\n")
        if self._first:
            writer.writerow(head)
            self._first = False
        writer.writerows(rows)
        self._file.write("".join(text.parts).encode())


class _Text:
    """Keeps what is written into it."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def write(self, part: str) -> None:
        self.parts.append(part)


def _cells_of(value: Array) -> list[str]:
    """Return the JSON of each row, without its outer brackets, from one call of the encoder.

    NaN and infinite numbers, which JSON lacks, are null.
    """
    wide = value.ndim == 2 and value.shape[1] > 0
    lists: Any = value.reshape(-1).tolist() if wide else value.tolist()
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        numbers = np.array(lists, dtype=object)
        numbers[~np.isfinite(numbers.astype(float))] = None
        lists = numbers.tolist()
    # no string has the mark, since JSON escapes it in them
    text = json.dumps(lists, separators=(f",{MARK}", ":"))
    deep = 0 if wide else value.ndim - 1
    cells = text[1 + deep : -1 - deep].split(f"{']' * deep},{MARK}{'[' * deep}")
    width = value.shape[1] if wide else 1
    if width == 1:
        return cells
    return [",".join(cells[i : i + width]) for i in range(0, len(cells), width)]
