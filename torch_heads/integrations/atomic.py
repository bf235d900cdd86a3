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

    A link goes on to lead where it does. After an error the path leads to what it led to before,
    and after a kill, but for one between two renames where there was a folder: then its place is
    empty until the next writer beside it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as base:
    ...     path = Path(base, "folder")
    ...     with replacing_folder(path) as new:
    ...         _ = (new / "text").write_text("new")
    ...     (path / "text").read_text()
    'new'
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(path.parent)
    with _beside(path) as mark:  # whose lock says that the folders beside it are being written
        mark.write(path.name.encode())
        mark.flush()
        new, old = _folders(Path(mark.name))
        try:
            new.mkdir()
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
        finally:
            rmtree(old, ignore_errors=True)
            Path(mark.name).unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes did not finish, where the system has locks."""
    for path in folder.glob(f".*{SUFFIX}"):
        with suppress(OSError), path.open("ab") as file:  # it may be locked, or just gone
            if lock(file):
                _finish(path)


def _finish(mark: Path) -> None:
    """Remove a file that nobody writes any more, and the folders beside it.

    Where a kill came between two renames, the new folder gets its place first.
    """
    new, old = _folders(mark)
    if new.exists() and old.exists():
        place = mark.with_name(Path(mark.read_text("utf-8", "replace")).name)
        if not place.exists():
            new.rename(place)
    for left in (new, old):
        rmtree(left, ignore_errors=True)
    mark.unlink()


def _folders(mark: Path) -> tuple[Path, Path]:
    """Return where a new folder, and the one whose place it takes, stand beside a file."""
    return mark.with_name(f"{mark.name}-new"), mark.with_name(f"{mark.name}-old")


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
