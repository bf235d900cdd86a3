"""The server: bundles behind the protocols that clients speak, as an ASGI app."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from time import perf_counter
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from torch_heads.functional.errors import unexpected
from torch_heads.integrations.serving import rest, v2
from torch_heads.integrations.serving.bundle import Bundle
from torch_heads.integrations.serving.counters import Counters
from torch_heads.integrations.serving.file_rows import csv_inputs
from torch_heads.integrations.serving.json_text import RepeatedKeyError, read_json
from torch_heads.integrations.serving.models import Models, UnknownModelError

REST = re.compile(r"([^/:]+)(?:/versions/(\d{1,18}))?(?::(predict|classify|regress)|(/metadata))?")
V2 = re.compile(r"([^/]+)(?:/versions/(\d{1,18}))?(?:/(ready|infer))?")
LARGE = 2**16  # bytes of a body that other requests do not wait for
SLOW = 0.01  # seconds of an answer that other requests do not wait for
MOST_WORDS = 2000  # characters of an error, which may hold what the client has sent
ENCODE = json.JSONEncoder(separators=(",", ":")).encode  # to ASCII, whatever it holds

Answer = Callable[[], Response]


class App:
    """Answers requests about some models.

    Args:
        models: the models.
        most: how many bytes a body may have.
    """

    def __init__(self, models: Models, most: int) -> None:
        self._models, self._most = models, most
        self._counters = Counters()
        self._seconds: dict[str, float] = {}  # that the last answer of a model took

    def routes(self) -> list[Route]:
        """Return the routes of all protocols."""
        return [
            Route("/v1/models/{path:path}", self.rest, methods=["GET", "POST"]),
            Route("/v2/models/{path:path}", self.v2, methods=["GET", "POST"]),
            Route("/v2/health/live", _fine),
            Route("/v2/health/ready", _fine),
            Route("/v2", self.server),
            Route("/ping", _fine),
            Route("/invocations", self.invocations, methods=["POST"]),
            Route("/metrics", self.metrics),
        ]

    async def rest(self, request: Request) -> Response:
        """Answer by TensorFlow Serving's REST protocol."""
        found = REST.fullmatch(request.path_params["path"])
        if found is None:
            raise HTTPException(404)
        name, version, verb, about = found.groups()
        _check_method(request, "POST" if verb else "GET")
        number, bundle = self._models.get(name, version)
        if verb:
            body = await self._body(request)
            return await self._timed(
                name,
                verb,
                len(body),
                lambda: _json(rest.answer(bundle, verb, read_json(body.decode()))),
            )
        if about:
            return _json(rest.metadata(name, number, bundle))
        versions = self._models.versions(name)
        return _json(rest.status([number] if version else [*versions]))

    async def v2(self, request: Request) -> Response:
        """Answer by the Open Inference Protocol."""
        found = V2.fullmatch(request.path_params["path"])
        if found is None:
            raise HTTPException(404)
        name, version, verb = found.groups()
        _check_method(request, "POST" if verb == "infer" else "GET")
        number, bundle = self._models.get(name, version)
        if verb == "ready":
            return Response()
        if verb is None:
            return _json(v2.metadata(name, [*self._models.versions(name)], bundle))
        body, length = await self._body(request), request.headers.get(v2.LENGTH)

        def infer() -> Response:
            content, header = v2.infer(name, number, bundle, body, length)
            if header is None:
                return Response(content, media_type="application/json")
            headers = {v2.LENGTH: str(header)}
            return Response(content, headers=headers, media_type="application/octet-stream")

        return await self._timed(name, "infer", len(body), infer)

    async def server(self, request: Request) -> Response:
        """Say what this server is."""
        return _json({"name": "torch_heads", "version": "1", "extensions": ["binary_tensor_data"]})

    async def invocations(self, request: Request) -> Response:
        """Answer as a container of SageMaker does: JSON as for ``:predict``, or rows of CSV."""
        name = self._models.only()
        _, bundle = self._models.get(name)
        body = await self._body(request)
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
        if kind not in ("application/json", "text/csv"):
            raise HTTPException(415, f"Expected application/json or text/csv, got {kind}.")

        def invoke() -> Response:
            if kind == "application/json":
                return _json(rest.answer(bundle, "predict", read_json(body)))
            count, inputs = csv_inputs(
                "invocations", bundle.manifest.inputs, body.decode("utf-8-sig")
            )
            return _json(rest.predict_rows(bundle, inputs, count))

        return await self._timed(name, "invocations", len(body), invoke)

    async def metrics(self, request: Request) -> Response:
        """Return the counters."""
        return PlainTextResponse(self._counters.text())

    async def _timed(self, name: str, method: str, size: int, answer: Answer) -> Response:
        """Answer, where that takes long in a thread, and count it."""
        start, status = perf_counter(), 500
        try:
            if size > LARGE or self._seconds.get(name, 0.0) > SLOW:
                response = await run_in_threadpool(answer)
            else:
                response = answer()
            status = response.status_code
        except (ValueError, KeyError, RecursionError) as error:
            status = 400
            raise HTTPException(400, _words(error)) from None
        finally:
            self._seconds[name] = seconds = perf_counter() - start
            self._counters.add(name, method, status, seconds)
        return response

    async def _body(self, request: Request) -> bytes:
        """Return the body, of which no more is read than is allowed."""
        for key, value in request.scope["headers"]:
            if key == b"content-length" and not (value.isdigit() and int(value) <= self._most):
                given = value.decode("latin-1")
                raise HTTPException(413, unexpected("server", "a body", self._limit, given))
            if key == b"content-encoding" and value != b"identity":
                raise HTTPException(415, unexpected("server", "a body", "as it is", "it encoded"))
        parts, size, more = [], 0, True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
            size, more = size + len(parts[-1]), message.get("more_body", False)
            if size > self._most:
                raise HTTPException(413, unexpected("server", "a body", self._limit, "more"))
        return b"".join(parts)

    @property
    def _limit(self) -> str:
        return f"of at most {self._most} bytes"


def make_app(source: Bundle | Any, most: int) -> Starlette:
    """Return the ASGI app of some models."""
    app = App(Models(source), most)
    handlers: dict[Any, Any] = {
        HTTPException: _refused,
        UnknownModelError: _unknown,
        ClientDisconnect: _gone,
        Exception: _failed,
    }
    return Starlette(routes=app.routes(), exception_handlers=handlers)


async def _fine(request: Request) -> Response:
    return Response()


async def _refused(request: Request, error: HTTPException) -> Response:
    words = error.detail
    if error.status_code == 405 and error.headers:
        words = f"Expected {error.headers['Allow']}, got {request.method}."
    elif words == HTTPStatus.NOT_FOUND.phrase:  # which is all that Starlette says
        words = f"There is nothing at {request.url.path}."
    return _json({"error": words}, error.status_code, error.headers)


async def _unknown(request: Request, error: UnknownModelError) -> Response:
    return _json({"error": _words(error)}, 404)


async def _gone(request: Request, error: ClientDisconnect) -> Response:
    return _json({"error": "The client has gone."}, 400)


async def _failed(request: Request, error: Exception) -> Response:
    return _json({"error": "The server failed; its log says how."}, 500)


def _check_method(request: Request, method: str) -> None:
    if request.method != method and (request.method, method) != ("HEAD", "GET"):
        raise HTTPException(405, headers={"Allow": method})


def _json(content: Any, status: int = 200, headers: Any = None) -> Response:
    return Response(ENCODE(content), status, headers, "application/json")


def _words(error: Exception) -> str:
    if isinstance(error, (json.JSONDecodeError, RepeatedKeyError)):
        return f"Expected a body of JSON, got {error}."
    if isinstance(error, UnicodeDecodeError):
        return "Expected text in UTF-8, got other bytes."
    if isinstance(error, RecursionError):
        return "Expected a body of JSON, got one with too many levels."
    words = str(error.args[0] if isinstance(error, LookupError) and error.args else error)
    return words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]}..."
