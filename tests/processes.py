"""Two processes on this machine that talk by gloo, and what each of their scenarios returned."""

import os
import socket
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

import torch_heads as th

SECONDS = 120

Scenario = Callable[[int], dict[str, Any]]

needs_gloo = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()), reason="needs gloo"
)


def run(scenarios: Sequence[Scenario], folder: Path) -> None:
    """Run all scenarios in two processes, each with its rank; kill the processes if they hang.

    They work in the folder, where `results` finds what they returned.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "lo" in [name for _, name in socket.if_nameindex()]:
            patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        started = torch.multiprocessing.start_processes(
            _work, (scenarios, str(folder)), nprocs=2, join=False
        )
    end = time.monotonic() + SECONDS
    try:
        while not started.join(timeout=max(0.0, end - time.monotonic())):
            assert time.monotonic() < end, f"Two processes hang for {SECONDS} seconds."
    finally:
        for process in started.processes:
            process.kill()


def end_process() -> None:
    """End this process without Python's finalization, in which gloo's threads may abort it."""
    distributed.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)


def results(folder: Path, scenario: Scenario) -> list[dict[str, Any]]:
    """Return what a scenario gave in each process."""
    return [torch.load(_file(folder, scenario, rank)) for rank in range(2)]


def _work(rank: int, scenarios: Sequence[Scenario], folder: str) -> None:
    os.chdir(folder)
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", th.metrics.CoarseAreaWarning)  # as in pyproject.toml
    store = distributed.FileStore("store", 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    for scenario in scenarios:
        torch.save(scenario(rank), _file(Path(), scenario, rank))
    end_process()


def _file(folder: Path, scenario: Scenario, rank: int) -> Path:
    return folder / f"{scenario.__name__}-{rank}.pt"
