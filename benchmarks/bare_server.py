"""The least that a server could do with a graph: parse, run, write. ``python -m ... GRAPH``."""

import json
import socket
import sys

import numpy as np
import onnxruntime
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

OUTPUTS = ["kind/probabilities", "kind/all_classes"]


def main(path: str) -> None:
    session = onnxruntime.InferenceSession(path)

    async def predict(request: Request) -> JSONResponse:
        body = json.loads(await request.body())
        given = np.array(body["instances"], np.float32)
        scores, classes = session.run(OUTPUTS, {"input": given})
        return JSONResponse({"scores": scores.tolist(), "classes": classes.tolist()})

    app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"Serving at http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main(sys.argv[1])
