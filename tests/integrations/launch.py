"""Two processes started by torchrun, which are killed if they hang."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import torch_heads

SECONDS = 150


def torchrun(script: str, folder: Path) -> None:
    """Run a script in two processes that talk by gloo; it gets the folder as its argument."""
    root = str(Path(torch_heads.__file__).parents[1])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    if "lo" in [name for _, name in socket.if_nameindex()]:
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    started = subprocess.Popen(
        [*command, script, str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that a hanging launcher goes with the processes it launched
    )
    try:
        output, _ = started.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        raise AssertionError(f"Two processes hang for {SECONDS} seconds.") from None
    assert started.returncode == 0, output
