"""What every test may ask for: the device under test."""

import gc
import signal

import pytest
import torch
from hypothesis import settings

collect_ignore = ["golden"]  # its generator needs TensorFlow


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="the torch device to run the tests on")
    parser.addoption("--full", action="store_true", help="the soak in full, not in miniature")
    parser.addoption("--examples", type=int, default=150, help="how many mixtures meet the oracle")


def pytest_configure() -> None:
    # the tensors of tests are small: threads would only wait for each other
    torch.set_num_threads(1)
    # how long an example takes tells only how busy the machine is
    settings.register_profile("tests", deadline=None)
    settings.load_profile("tests")
    # a shell has what it starts in the background ignore it, and so would what tests interrupt
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """Return the device that the factories of a test are bound to."""
    return torch.device(request.config.getoption("--device"))


def pytest_collection_finish() -> None:
    # what is collected lives to the end: no collection of garbage has to walk over it
    gc.collect()
    gc.freeze()
