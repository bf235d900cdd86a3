"""Locks on files, which end with the process that holds them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl


def lock(file: IO[bytes]) -> bool:
    """Lock an open file until it is closed, and return whether the system has such locks.

    Raises:
        BlockingIOError: if it is locked already, by this process or another one.
    """
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # of a file system without locks
        return False
    return True


@contextmanager
def alone(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock of a file, which is made and stays, while the block runs.

    Raises:
        ValueError: with the refusal, if another block has the lock, in any process.
    """
    with path.open("ab") as file:
        try:
            lock(file)
        except BlockingIOError:
            raise ValueError(refusal) from None
        if sys.platform != "win32":
            # or the workers of a data loader would hold the lock on, after a kill
            os.register_at_fork(after_in_child=file.close)
        yield
