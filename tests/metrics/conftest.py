"""What the tests of metrics share."""

import gc
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import torch


@pytest.fixture
def interrupted() -> Iterator[None]:
    """Raise where a test sets a timer: at random moments."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # or the signal may come in the middle of a collection, where nobody hears it
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    gc.enable()
    torch.set_grad_enabled(True)  # a signal within PyTorch's no_grad may leave it there
