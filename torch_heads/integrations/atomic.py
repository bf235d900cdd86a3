"""Files that are written whole or not at all: beside their place, and put there at the end."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import IO

from torch_heads.integrations.lock import lock

SUFFIX = ".unfinished"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file, which takes the place of what is at the path when the block ends.

    Until then, and after an error or a kill, the path leads to what it led to before. A pipe or a
    device has nothing to take the place of, and is written to as it is.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "text")
    ...     with replacing(path) as file:
    ...         _ = file.write(b"new")
    ...         before = path.exists()
    ...     before, path.read_text()
    (False, 'new')
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as pipe:
            yield pipe
        return
    remove_unfinished(path.parent)
    file = _beside(path)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":
                file.close()  # where an open file cannot be moved
            os.replace(file.name, path)
    except BaseException as error:
        Path(file.name).unlink(missing_ok=True)
        error.add_note(f"{path} is as it was before.")
        raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Make a new folder, which takes the place of what is at the path when the block ends.

    After an error the path leads to what it led to before. Of a folder that was there, a kill
    between two renames may leave its place empty, and the folder beside it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as base:
    ...     path = Path(base, "folder")
    ...     with replacing_folder(path) as new:
    ...         _ = (new / "text").write_text("new")
    ...     (path / "text").read_text()
    'new'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new, old = (path.with_name(f".{path.name[:40]}-{secrets.token_hex(4)}{SUFFIX}") for _ in "ab")
    new.mkdir()
    try:
        yield new
        if path.exists():
            path.rename(old)
        new.rename(path)
    except BaseException as error:
        rmtree(new, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)
        error.add_note(f"{path} is as it was before.")
        raise
    rmtree(old, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove the files that killed processes did not finish, where the system has locks."""
    for path in folder.glob(f".*{SUFFIX}"):
        with suppress(OSError), path.open("ab") as file:  # it may be locked, or just gone
            if lock(file):
                path.unlink()


def _beside(path: Path) -> IO[bytes]:
    """Return a new file in the same folder, with a lock that says that it is being written."""
    while True:
        name = f".{path.name[:40]}-{secrets.token_hex(4)}{SUFFIX}"
        file = path.with_name(name).open("xb")
        with suppress(BlockingIOError):
            lock(file)
            if Path(file.name).exists():
                return file
        file.close()  # another process took it for a leftover before it was locked
