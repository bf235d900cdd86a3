"""What a scheduler learns of a process that SIGTERM has ended."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import SIGTERMException


@contextmanager
def with_its_code() -> Iterator[None]:
    """Give an exit by SIGTERM the code that a shell gives it; by itself, Lightning exits with 0."""
    try:
        yield
    except SIGTERMException as exit_by_signal:
        exit_by_signal.code = 128 + signal.SIGTERM
        raise
