"""Figures of bundles and their server, beside what is the least that could be done.

``python -m benchmarks.serving`` prints them, and writes them into their section of RESULTS.md.
"""

import json
import re
import selectors
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import torch_heads as th
from benchmarks.report import duration, times, verdict
from benchmarks.results import SERVING, bullets, write
from benchmarks.timing import Spread, ratio, take_turns
from benchmarks.workloads import binary
from torch_heads.integrations.serving import Bundle, export_bundle
from torch_heads.integrations.serving.cli import main as run

CPU = torch.device("cpu")
PAGE = Path(__file__).parents[1] / "docs" / "serving.md"
ROUNDS = 3
HEADS, WIDTH, ROWS = 1000, 64, 32
SECONDS = 1.0  # of each turn of load
LINES = 200_000  # of a file
END = b"}"  # of an answer, whose head and body may come one after the other
OUTPUTS = ["kind/classes", "kind/probabilities", "kilos/predictions"]


def serving() -> Iterator[str]:
    """Yield each figure, and whether it is within its limit."""
    with tempfile.TemporaryDirectory() as folder:
        yield from many_heads(Path(folder, "many"))
        path = small(Path(folder, "pets"))
        yield from loader(path, Path(folder))
        yield from server(path)
        yield from rows_of_a_file(path, Path(folder))


def many_heads(path: Path) -> Iterator[str]:
    """Yield what a thousand heads take on disk, to export, to load and to run."""
    head = th.MultiHead(binary(HEADS))
    layer, x = nn.Linear(WIDTH, HEADS), torch.randn(ROWS, WIDTH)
    model = nn.Sequential(layer, head)
    of = f"{HEADS:,} binary heads"
    start = perf_counter()
    export_bundle(model, path, x)
    seconds = perf_counter() - start
    yield f"{verdict(seconds <= 10)} export, {of}: {seconds:.1f} s, at most 10 s"
    size = sum(file.stat().st_size for file in path.iterdir())
    yield f"{verdict(size <= 2**20)} files, {of}: {size / 2**20:.2f} MiB, at most 1 MiB"
    loads = Spread.of([timed(lambda: Bundle.load(path)) for _ in range(ROUNDS)])
    yield f"{verdict(loads.median <= 0.5)} load, {of}: {duration(loads)}, at most 500 ms"
    bundle, given = Bundle.load(path), x.numpy()
    [logistic] = [name for name in bundle.manifest.stacked if name.endswith("/logistic")]
    bare = bare_graph(layer)
    calls = {
        "ours": lambda: bundle(given, outputs=[logistic]),
        "bare": lambda: bare.run(None, {"x": given}),
    }
    turns = [take_turns(calls, CPU) for _ in range(ROUNDS)]
    found = ratio(turns, "ours", "bare")
    line = (
        f"run of {ROWS} rows, stacked, {of}: {times(found)} the time of a bare MatMul and Sigmoid"
    )
    yield f"{verdict(found.median <= 1.5)} {line}, at most 1.5×"


def bare_graph(layer: nn.Linear) -> onnxruntime.InferenceSession:
    """Return a session of the layer and a sigmoid, and nothing else."""
    weights = {"w": layer.weight.detach().T.numpy(), "b": layer.bias.detach().numpy()}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["y"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])]
        for name, size in (("x", WIDTH), ("y", HEADS))
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "bare", *ends, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(model.SerializeToString())


def small(path: Path) -> Path:
    """Write a small network with two heads."""
    head = th.MultiHead(
        [
            th.MultiClassHead(3, label_vocabulary=["cat", "dog", "owl"], name="kind"),
            th.RegressionHead(name="kilos"),
        ]
    )
    layers = nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, head.logits_dimension)
    return export_bundle(nn.Sequential(*layers, head), path, torch.zeros(2, 8))


def loader(path: Path, folder: Path) -> Iterator[str]:
    """Yield what the first answer takes in a process without torch."""
    [code] = re.findall(r"```python\n# loader.py\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (folder / "loader.py").write_text(code)
    script = f"""
import time; start = time.perf_counter()
import numpy
from loader import load
load({str(path)!r})({{"input": numpy.zeros((1, 8), "float32")}})
seconds = time.perf_counter() - start
status = open("/proc/self/status").read()
print(seconds, status.split("VmHWM:")[1].split()[0])
"""
    found = []
    for _ in range(ROUNDS):
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        found.append([float(one) for one in done.stdout.split()])
    seconds = Spread.of([one for one, _ in found])
    memory = max(kib for _, kib in found) * 1024 / 1e6
    line = f"first answer without torch, imports included: {duration(seconds)}, at most 500 ms"
    yield f"{verdict(seconds.median <= 0.5)} {line}"
    yield f"{verdict(memory <= 150)} its memory: {memory:.0f} MB, at most 150 MB"


def server(path: Path) -> Iterator[str]:
    """Yield what a request takes beside a bare handler with the same graph."""
    ours = [sys.executable, "-m", "torch_heads", "serve", str(path), "--port", "0"]
    bare = [sys.executable, "-m", "benchmarks.bare_server", str(path / "model.onnx")]
    body = json.dumps({"instances": [[0.5] * 8]}).encode()
    with running(ours) as first, running(bare) as second:
        targets = {"ours": (first, "/v1/models/pets:predict"), "bare": (second, "/predict")}
        calls = {name: one_request(*target, body) for name, target in targets.items()}
        turns = [take_turns(calls, CPU, SECONDS) for _ in range(ROUNDS)]
        found = ratio(turns, "ours", "bare")
        mine = Spread.of([one for samples in turns for one in samples["ours"]])
        line = f"one row over HTTP: {duration(mine)}, {times(found)} the time of a bare Starlette"
        yield f"{verdict(found.median <= 1.3)} {line} handler, at most 1.3×"
        rates = [
            {name: throughput(*target, body) for name, target in targets.items()}
            for _ in range(ROUNDS + 2)
        ]
    share = Spread.of([rate["ours"] / rate["bare"] for rate in rates])
    rate = Spread.of([rate["ours"] for rate in rates])
    line = (
        f"8 connections: {rate.median:,.0f} requests per second, {times(share)} of that handler's"
    )
    yield f"{verdict(share.median >= 0.75)} {line}, at least 0.75×"


@contextmanager
def running(command: list[str]) -> Iterator[int]:
    """Start a server, and give its port."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.terminate()


def request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def one_request(port: int, path: str, body: bytes) -> Callable[[], object]:
    """Return a call of one request, on a connection that stays."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    text = request(path, body)

    def call() -> None:
        connection.sendall(text)
        answer = connection.recv(65536)
        while not answer.endswith(END):
            answer += connection.recv(65536)
        check(answer)

    return call


def throughput(port: int, path: str, body: bytes, connections: int = 8) -> float:
    """Return how many requests per second are answered on several connections."""
    text, selector, count = request(path, body), selectors.DefaultSelector(), 0
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, bytearray())
        connection.sendall(text)
    start = perf_counter()
    while (seconds := perf_counter() - start) < SECONDS:
        for key, _ in selector.select(1.0):
            one: socket.socket = key.fileobj  # type: ignore[assignment]
            key.data.extend(one.recv(65536))
            if key.data.endswith(END):
                check(key.data)
                key.data.clear()
                one.sendall(text)
                count += 1
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    return count / seconds


def check(answer: bytes | bytearray) -> None:
    """Refuse to time answers that are none."""
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert b"owl" in answer, answer


def rows_of_a_file(path: Path, folder: Path) -> Iterator[str]:
    """Yield how many rows of a file are predicted in a second."""
    rows = np.random.default_rng(0).normal(size=(LINES, 8)).round(4).tolist()
    head = ",".join(f"x{i}" for i in range(8))
    files = {
        "jsonl": "\n".join(map(json.dumps, rows)),
        "csv": "\n".join([head, *(",".join(map(str, row)) for row in rows)]),
    }
    for suffix, text in files.items():
        source, target = folder / f"rows.{suffix}", folder / f"answers.{suffix}"
        source.write_text(text)

        def predict(source: Path = source, target: Path = target) -> None:
            files = ["--input", str(source), "--output", str(target)]
            run(["run", str(path), *files, "--outputs", ",".join(OUTPUTS)])

        # by the processor's time, which what else runs on the machine changes least
        rate = LINES / min(timed(predict, process_time) for _ in range(ROUNDS))
        line = (
            f"run of a file of .{suffix}, three outputs: {rate:,.0f} rows per second of processor"
        )
        yield f"{verdict(rate >= 1e5)} {line} time, at least 100,000"


def timed(call: Callable[[], object], clock: Callable[[], float] = perf_counter) -> float:
    start = clock()
    call()
    return clock() - start


def section(lines: Iterable[str]) -> str:
    """Return the section of RESULTS.md."""
    return f"{SERVING}\n\n{bullets(lines)}"


def main() -> None:
    lines = list(serving())
    print(*lines, sep="\n")
    write({SERVING: section(lines)})


if __name__ == "__main__":
    main()
