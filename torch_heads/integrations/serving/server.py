"""The server as users start it: an ASGI app, or a process that ends when it has answered."""

from __future__ import annotations

import gc
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from torch_heads.functional.arguments import check_count
from torch_heads.functional.errors import unexpected
from torch_heads.integrations.serving.bundle import Bundle

MOST = 64 * 2**20  # bytes of a body
GRACE = 30  # seconds for the requests that are being answered when the server is to end

App = Callable[[Any, Any, Any], Awaitable[None]]


def serving_app(bundle_or_folder: Bundle | str | Path, max_body: int = MOST) -> App:
    """Return an ASGI app that answers by several protocols.

    TensorFlow Serving's REST protocol is below ``/v1/models``, the Open Inference Protocol below
    ``/v2``, SageMaker's are ``/ping`` and ``/invocations``, and Prometheus' ``/metrics``.

    Args:
        bundle_or_folder: a bundle; or the folder of one, of its versions (``digits/1``,
            ``digits/2``), or of several models (``models/digits``, ``models/pets/3``).
        max_body: how many bytes a request may have; more are refused unread.

    Raises:
        FileNotFoundError: if there is no folder.
        ValueError: if there is no bundle in it, or one is refused; or if ``max_body`` is below 1.
        TypeError: if it is neither a bundle nor a folder, or ``max_body`` no whole number.
    """
    from torch_heads.integrations.serving.app import make_app

    return make_app(bundle_or_folder, check_count("serving_app", "max_body", max_body, 1))


def serve(path: str, host: str, port: int, max_body: int) -> None:
    """Serve until the process is to end, by Ctrl-C or SIGTERM; what is being answered, is.

    Raises:
        OSError: if the port is taken.
        ValueError: if there is no such port, or no body could be so small.
    """
    import uvicorn

    if not 0 <= port < 2**16:
        raise ValueError(unexpected("serve", "port", f"in [0, {2**16 - 1}]", port))
    app = serving_app(path, max_body)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE,
    )
    family, shown = (socket.AF_INET6, f"[{host}]") if ":" in host else (socket.AF_INET, host)
    with socket.create_server((host, port), family=family, backlog=config.backlog) as listening:
        number = listening.getsockname()[1]
        gc.freeze()  # or all that is imported is looked through, as requests come and go
        print(f"Serving {path} at http://{shown}:{number}", flush=True)
        uvicorn.Server(config).run([listening])
