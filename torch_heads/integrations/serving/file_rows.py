"""Rows of text as inputs of a bundle: some at a time; what is wrong is told by its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any

import numpy as np

from torch_heads.functional.errors import preview, unexpected
from torch_heads.integrations.serving.json_text import unique_keys
from torch_heads.integrations.serving.signature import Input

Array = np.ndarray[Any, Any]
Batch = tuple[int, dict[str, Any]]  # how many rows, and the inputs by name

WHO = "run"
OTHER_CELLS = ValueError, OverflowError, KeyError  # what cells of another type raise
BOOLS = {"true": True, "false": False, "1": True, "0": False}


def json_batches(inputs: Mapping[str, Input], file: IO[bytes], size: int) -> Iterator[Batch]:
    """Yield the rows of a file with a value of JSON in each line.

    Raises:
        ValueError: if a line has none, or more than one, or not all inputs.
    """
    names = list(inputs)
    known, only = frozenset(names), names[0] if len(names) == 1 else None
    decode = json.JSONDecoder(object_pairs_hook=unique_keys).raw_decode
    numbered = enumerate(_lines(file), 1)
    while some := list(islice(numbered, size)):
        columns: dict[str, list[Any]] = {name: [] for name in names}
        for number, line in some:
            text = line.strip()
            if not text:
                continue
            # line by line: a value may not end in another line, nor may one line have two
            try:
                row, end = decode(text)
            except (ValueError, RecursionError) as error:
                raise ValueError(unexpected(WHO, f"line {number:,}", "of JSON", error)) from None
            if end != len(text):
                given = repr(text[end : end + 40])
                expected = "with one value of JSON"
                raise ValueError(unexpected(WHO, f"line {number:,}", expected, f"{given} after it"))
            if isinstance(row, dict):
                if row.keys() != known:
                    given = preview(row)
                    raise ValueError(unexpected(WHO, f"line {number:,}", f"with {names}", given))
                for name in names:
                    columns[name].append(row[name])
            elif only is not None:
                columns[only].append(row)
            else:
                given = repr(row)[:80]
                raise ValueError(unexpected(WHO, f"line {number:,}", f"with {names}", given))
        if count := len(columns[names[0]]):
            yield count, columns


def _lines(file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a text in UTF-8, without the mark that some programs begin one with."""
    # decoded line by line, so that the file can tell how far it has been read
    for number, line in enumerate(iter(file.readline, b""), 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(unexpected(WHO, f"line {number:,}", "in UTF-8", error)) from None


def csv_batches(inputs: Mapping[str, Input], file: IO[bytes], size: int) -> Iterator[Batch]:
    """Yield the rows of a file of CSV with a head line.

    Raises:
        ValueError: if the file is none, or a row or the head line is of another length.
    """
    lines = _csv_rows(WHO, _lines(file))
    _, head = next(lines, (0, []))
    by_name = sorted(head) == sorted(inputs)
    widths = [one.shape[-1] for one in inputs.values()]
    if not by_name and (len(inputs) > 1 or widths != [len(head)]):
        expected = f"with the columns {list(inputs)}, or as many as the one input has"
        raise ValueError(unexpected(WHO, "a head line", expected, preview(head)))
    while some := list(islice(lines, size)):
        for number, row in some:
            if len(row) != len(head):
                where = f"line {number:,}"
                raise ValueError(unexpected(WHO, where, f"of {len(head)} columns", row))
        numbers, rows = zip(*some, strict=True)
        if not by_name:
            name, one = next(iter(inputs.items()))
            yield len(rows), {name: _cells(WHO, name, one.dtype, numbers, rows)}
            continue
        columns = dict(zip(head, zip(*rows, strict=True), strict=True))
        read = {
            name: _cells(WHO, name, one.dtype, numbers, columns[name])
            for name, one in inputs.items()
        }
        shapes = {name: (-1, *[1] * (len(one.shape) - 1)) for name, one in inputs.items()}
        yield len(rows), {name: own.reshape(shapes[name]) for name, own in read.items()}


def csv_inputs(who: str, inputs: Mapping[str, Input], text: str) -> Batch:
    """Return the rows of CSV without a head line, which are those of the one input.

    Raises:
        ValueError: if there are several inputs, or no rows, or rows of different lengths.
    """
    if len(inputs) > 1:
        given = f"those of {preview(inputs)}"
        raise ValueError(unexpected(who, "rows of CSV", "of one input", given, "Send JSON."))
    [(name, one)] = inputs.items()
    numbered = dict(_csv_rows(who, text.splitlines(keepends=True)))
    rows = list(numbered.values())
    lengths = sorted({*map(len, rows)})
    if len(lengths) != 1:
        raise ValueError(unexpected(who, "rows of CSV", "of one length", lengths or "none"))
    array = _cells(who, name, one.dtype, numbered, rows)
    return len(rows), {name: array[:, 0] if len(one.shape) == array.shape[1] == 1 else array}


def _csv_rows(who: str, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty, each with the number of its last line."""
    rows = csv.reader(lines, strict=True)
    try:
        for row in rows:
            if row:
                yield rows.line_num, row
    except csv.Error as error:
        raise ValueError(unexpected(who, f"line {rows.line_num:,}", "of CSV", error)) from None


def _cells(who: str, name: str, dtype: str, numbers: Iterable[int], rows: Sequence[Any]) -> Array:
    """Return the cells of an input, by the numbers of the lines in which they stand."""
    try:
        return _as_array(rows, dtype)
    except OTHER_CELLS:
        for number, row in zip(numbers, rows, strict=True):
            try:
                _as_array([row], dtype)
            except OTHER_CELLS as error:
                where = f"{name} in line {number:,}"
                raise ValueError(unexpected(who, where, f"of type {dtype}", error)) from None
        raise


def _as_array(cells: Any, dtype: str) -> Array:
    if dtype == "bool":  # any other string is true to NumPy
        flags = [BOOLS[cell.strip().lower()] for cell in np.array(cells, object).flat]
        return np.array(flags, bool).reshape(np.shape(cells))
    return np.array(cells, dtype=object if dtype == "string" else dtype)
