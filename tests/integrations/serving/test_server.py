"""The server over a real socket: what clients of other servers send, and what nobody should."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tritonclient.http
from torch import Tensor, nn

import torch_heads as th
from tests.integrations.serving.exporting import (  # noqa: F401
    NAMES,
    _one_registry,
    mixture,
    network,
)
from torch_heads.integrations.serving import Bundle, export_bundle, rest, serving_app, v2
from torch_heads.integrations.serving.cli import main
from torch_heads.integrations.serving.models import Models

ROOT = Path(__file__).parents[3]
ROW = [0.5, -1.0, 2.0, 0.0, 1.5, 1.0, -0.5, 3.0]
LIMIT = 100_000


class Half(nn.Module):
    """Half of x plus a number, as in TensorFlow's examples."""

    def __init__(self, plus: float) -> None:
        super().__init__()
        self.plus = nn.Parameter(torch.tensor(plus))
        self.head = th.RegressionHead()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.head((0.5 * x + self.plus).unsqueeze(-1))


class Tagged(nn.Module):
    """The inputs of the body in TensorFlow's documentation."""

    def __init__(self) -> None:
        super().__init__()
        self.tags = nn.Embedding(2, 1)
        self.head = th.BinaryClassHead()

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        sums = features["signal"].sum(-1, keepdim=True) + features["sensor"].sum((1, 2))[:, None]
        return self.head(self.tags(features["tag"]) + sums / 100)


TAGGED = {
    "tag": np.array(["foo", "bar"], object),
    "signal": torch.zeros(2, 5),
    "sensor": torch.zeros(2, 2, 2),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three models, one of them in two versions."""
    folder = tmp_path_factory.mktemp("models")
    export_bundle(network(mixture()), folder / "pets", torch.zeros(2, 8))
    export_bundle(Half(2.0), folder / "half_plus" / "2", torch.zeros(2))
    export_bundle(Half(3.0), folder / "half_plus" / "10", torch.zeros(2))
    export_bundle(Tagged(), folder / "tagged", TAGGED, lookups={"tag": ["foo", "bar"]})
    return folder


def start(*arguments: str) -> tuple[subprocess.Popen[str], int]:
    """Start a server as a user does, and return it with its port."""
    command = [sys.executable, "-m", "torch_heads", "serve", *arguments, "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert " at http://127.0.0.1:" in line, line + process.stdout.read()
    return process, int(line.rpartition(":")[2])


@pytest.fixture(scope="module")
def port(models: Path) -> Iterator[int]:
    """Start a server, stop it at the end, and look whether it complained."""
    process, number = start(str(models), "--max-body", str(LIMIT))
    yield number
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=20)
    assert said == ""
    assert process.returncode in (0, -signal.SIGTERM)


def ask(
    port: int, path: str, body: Any = None, headers: Any = None, method: str | None = None
) -> tuple[int, Any]:
    """Return the status and the JSON of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    plain = body is None or isinstance(body, (bytes, str)) or hasattr(body, "__next__")
    data = body if plain else json.dumps(body)
    connection.request(method or ("GET" if body is None else "POST"), path, data, headers or {})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    is_json = answer.getheader("content-type") == "application/json"
    return answer.status, json.loads(text) if is_json else text.decode()


@pytest.fixture(scope="module")
def pets(models: Path) -> Bundle:
    return Bundle.load(models / "pets")


# ---- TensorFlow Serving's REST protocol ----


def test_rows_are_answered_row_by_row(port: int, pets: Bundle) -> None:
    for instances in ([ROW, ROW], [{"input": ROW}, {"input": ROW}]):
        status, answer = ask(port, "/v1/models/pets:predict", {"instances": instances})
        assert status == 200
        expected = pets([ROW, ROW])
        assert [row["classes"] for row in answer["predictions"]] == [NAMES, NAMES]
        scores = [row["scores"] for row in answer["predictions"]]
        np.testing.assert_allclose(scores, expected["scores"], 1e-6)


def test_columns_are_answered_column_by_column(port: int, pets: Bundle) -> None:
    for inputs in ([ROW], {"input": [ROW]}):
        body = {"signature_name": "kind/predict", "inputs": inputs}
        status, answer = ask(port, "/v1/models/pets:predict", body)
        assert status == 200
        assert answer["outputs"] == {
            key: value.tolist() for key, value in pets([ROW], "kind/predict").items()
        }


def test_a_single_output_loses_its_name(port: int) -> None:
    url = "/v1/models/half_plus/versions/2:predict"
    assert ask(port, url, {"instances": [1.0, 2.0, 5.0]}) == (
        200,
        {"predictions": [[2.5], [3.0], [4.5]]},
    )
    assert ask(port, url, {"inputs": [1.0]}) == (200, {"outputs": [[2.5]]})


def test_the_bodies_of_the_documentation_are_understood(port: int, models: Path) -> None:
    rows = [
        {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
        {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
    ]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    url = "/v1/models/tagged:predict"
    first = ask(port, url, {"instances": rows})[1]["predictions"]
    second = ask(port, url, {"inputs": columns})[1]["outputs"]
    assert [row["scores"] for row in first] == second["scores"]
    expected = Bundle.load(models / "tagged")(columns)
    np.testing.assert_allclose(second["scores"], expected["scores"], 1e-6)
    encoded = [
        {**row, "tag": {"b64": code}} for row, code in zip(rows, ["Zm9v", "YmFy"], strict=True)
    ]
    assert ask(port, url, {"instances": encoded})[1]["predictions"] == first


def test_examples_are_classified_and_regressed(port: int, pets: Bundle) -> None:
    examples = [{"input": ROW}, {"input": ROW[::-1]}]
    scores = pets([ROW, ROW[::-1]])["scores"].tolist()
    body = {"signature_name": "kind", "examples": examples}
    status, answer = ask(port, "/v1/models/pets:classify", body)
    assert status == 200
    assert answer["results"] == [
        [list(pair) for pair in zip(NAMES, row, strict=True)] for row in scores
    ]
    halves = {"signature_name": "regression", "examples": [{"x": 1.0}, {"x": [2.0]}]}
    assert ask(port, "/v1/models/half_plus:regress", halves) == (200, {"results": [3.5, 4.0]})
    shared = {
        "context": {"tag": ["bar"]},
        "examples": [{"signal": [0] * 5, "sensor": [1, 2, 3, 4]}],
    }
    assert ask(port, "/v1/models/tagged:classify", shared)[0] == 200


def test_versions_are_told_and_may_be_asked_for(port: int) -> None:
    fine = {"error_code": "OK", "error_message": ""}
    both = [{"version": v, "state": "AVAILABLE", "status": fine} for v in ("10", "2")]
    assert ask(port, "/v1/models/half_plus") == (200, {"model_version_status": both})
    assert ask(port, "/v1/models/half_plus/versions/2")[1] == {"model_version_status": both[1:]}
    answers = [
        ask(port, f"/v1/models/half_plus{version}:predict", {"instances": [0.0]})[1]
        for version in ("", "/versions/2", "/versions/10")
    ]
    assert answers == [{"predictions": [[n]]} for n in (3.0, 2.0, 3.0)]


def test_metadata_are_the_signatures(port: int) -> None:
    status, answer = ask(port, "/v1/models/pets/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "pets", "signature_name": "", "version": "1"}
    one = answer["metadata"]["signature_def"]["signature_def"]["kind/classification"]
    assert one["method_name"] == "tensorflow/serving/classify"
    assert one["outputs"]["classes"]["dtype"] == "DT_STRING"
    assert one["inputs"]["input"]["tensor_shape"]["dim"] == [
        {"size": "-1", "name": ""},
        {"size": "8", "name": ""},
    ]


# ---- the Open Inference Protocol ----


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client_is_answered(port: int, pets: Bundle, binary: bool) -> None:
    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("pets")
    assert not client.is_model_ready("cats")
    about = client.get_model_metadata("pets")
    assert about["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 8]}]
    array = np.array([ROW, ROW], np.float32)
    given = tritonclient.http.InferInput("input", [2, 8], "FP32")
    given.set_data_from_numpy(array, binary_data=binary)
    wanted = ["kind/classes", "kind/probabilities", "indoors/class_ids"]
    outputs = [tritonclient.http.InferRequestedOutput(one, binary_data=binary) for one in wanted]
    expected = pets(array, outputs=wanted)
    for asked in (outputs, None):
        answer = client.infer("pets", [given], outputs=asked, request_id="7")
        assert answer.get_response()["id"] == "7"
        for name in wanted:
            found = answer.as_numpy(name)
            if found.dtype.kind == "O":
                found = np.vectorize(lambda one: one.decode() if isinstance(one, bytes) else one)(
                    found
                )
            np.testing.assert_array_equal(found, expected[name])
    client.close()


def test_tritons_client_may_send_strings(port: int) -> None:
    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{port}")
    found = []
    for binary in (True, False):
        inputs = []
        for name, kind, value in [
            ("tag", "BYTES", np.array(["bar", "foo"], object)),
            ("signal", "FP32", np.ones((2, 5), np.float32)),
            ("sensor", "FP32", np.ones((2, 2, 2), np.float32)),
        ]:
            inputs.append(tritonclient.http.InferInput(name, list(value.shape), kind))
            inputs[-1].set_data_from_numpy(value, binary_data=binary)
        found.append(client.infer("tagged", inputs, model_version="1").as_numpy("logistic"))
    client.close()
    np.testing.assert_array_equal(*found)


def test_nested_data_are_read_flat(port: int, pets: Bundle) -> None:
    given = {"name": "input", "shape": [1, 8], "datatype": "FP32", "data": [ROW]}
    body = {"inputs": [given], "outputs": [{"name": "kind/class_ids"}]}
    status, answer = ask(port, "/v2/models/pets/infer", body)
    assert status == 200
    assert answer["outputs"][0]["data"] == pets([ROW], "predict")["kind/class_ids"].ravel().tolist()
    assert ask(port, "/v2")[1]["extensions"] == ["binary_tensor_data"]
    assert ask(port, "/v2/health/live")[0] == 200


@pytest.mark.parametrize("kind", ["FP16", "FP32", "FP64"])
def test_numbers_that_are_too_large_are_infinite_without_a_word(port: int, kind: str) -> None:
    given = {"name": "x", "shape": [1], "datatype": kind, "data": [-1e300]}
    status, answer = ask(port, "/v2/models/half_plus/infer", {"inputs": [given]})
    assert (status, answer["outputs"][0]["data"]) == (200, [-np.inf])


def test_of_many_heads_the_stacked_outputs_are_answered(tmp_path: Path) -> None:
    head = th.MultiHead([th.BinaryClassHead(name=f"h{i}") for i in range(101)])
    model = nn.Sequential(nn.Linear(8, 101), head)
    path = export_bundle(model, tmp_path / "b", torch.zeros(2, 8), program=True)
    bundle, program = Bundle.load(path), Bundle.load(path, "program", trusted=True)
    for one in (bundle, program):  # of which a program has no strings of its own
        listed = [each["name"] for each in v2.metadata("b", [1], one)["outputs"]]
        numbers = list(one.signatures["stacked"].outputs)
        strings = [f"stacked_{len(numbers)}/classes", f"stacked_{len(numbers) + 1}/all_classes"]
        assert listed == (numbers if one is program else numbers + strings)
        answer, _ = v2.infer("b", 1, one, json.dumps(tensor()).encode(), None)
        outputs = {each["name"]: each["data"] for each in json.loads(answer)["outputs"]}
        assert list(outputs) == listed
    answer, _ = v2.infer("b", 1, bundle, json.dumps(tensor()).encode(), None)
    ids = next(
        each for each in json.loads(answer)["outputs"] if each["name"].endswith("/class_ids")
    )
    classes = next(each for each in json.loads(answer)["outputs"] if each["name"] == strings[0])
    assert classes["data"] == [str(one) for one in ids["data"]]
    asked = {**tensor(), "outputs": [{"name": "h7/classes"}, {"name": "h100/logistic"}]}
    answer, _ = v2.infer("b", 1, bundle, json.dumps(asked).encode(), None)
    names = [one["data"] for one in json.loads(answer)["outputs"]]
    assert names[0] in (["0"], ["1"])
    np.testing.assert_allclose(names[1], bundle([ROW], "h100")["scores"][0, 1:], 1e-6)


# ---- counters ----


def test_requests_are_counted(port: int) -> None:
    def count() -> int:
        text = ask(port, "/metrics")[1]
        named = 'torch_heads_requests_total{model="half_plus",method="predict",status="400"} '
        return sum(int(line.removeprefix(named)) for line in text.splitlines() if named in line)

    before = count()
    ask(port, "/v1/models/half_plus:predict", {"instances": []})
    assert count() == before + 1


# ---- what is refused ----

PETS, INFER = "/v1/models/pets:predict", "/v2/models/pets/infer"


def tensor(**changes: Any) -> dict[str, Any]:
    given = {"name": "input", "shape": [1, 8], "datatype": "FP32", "data": ROW, **changes}
    return {"inputs": [{key: value for key, value in given.items() if value is not None}]}


SENSOR = {"sensor": [[0, 0], [0, 0]]}

BAD: list[tuple[str, Any, int]] = [
    ("/v1/models/cats:predict", {"instances": [ROW]}, 404),
    ("/v1/models/pets/versions/7:predict", {"instances": [ROW]}, 404),
    ("/v1/models/pets/versions/99999999999999999999:predict", {"instances": [ROW]}, 404),
    ("/v1/models/pets/versions/x:predict", {"instances": [ROW]}, 404),
    ("/v1/models/pets:explain", {"instances": [ROW]}, 404),
    ("/v1/models/", None, 404),
    ("/v1/models/cats", None, 404),
    ("/v1/models/cats/metadata", None, 404),
    ("/v1/models/pets/labels/stable", None, 404),
    ("/v1/models/..%2f..%2fetc%2fpasswd", None, 404),
    ("/v1", None, 404),
    ("/", None, 404),
    ("/v2/models/cats", None, 404),
    ("/v2/models/cats/ready", None, 404),
    ("/v2/models/cats/infer", tensor(), 404),
    ("/v2/models/pets/versions/3/infer", tensor(), 404),
    (PETS, None, 405),
    ("/v1/models/pets", {}, 405),
    ("/v1/models/pets/metadata", {}, 405),
    (INFER, None, 405),
    ("/metrics", {}, 405),
    ("/ping", {}, 405),
    ("/invocations", None, 405),
    ("/invocations", {"instances": [ROW]}, 404),
    *(
        (PETS, body, 400)
        for body in [
            b"",
            b"{",
            b"nonsense",
            b"[1, 2]",
            b"null",
            b"7",
            b'"text"',
            b"\xff\xfe",
            b"[" * 50_000,
            b'{"instances": ' + b"[" * 50_000,
            b'{"instances": [[1e999, 2]]}',
            {},
            {"rows": [ROW]},
            {"instances": [ROW], "inputs": [ROW]},
            {"instances": []},
            {"instances": {}},
            {"instances": None},
            {"instances": 7},
            {"instances": "abc"},
            {"instances": ROW},
            {"instances": [ROW[:3]]},
            {"instances": [ROW, ROW[:3]]},
            {"instances": [[ROW]]},
            {"instances": [["a"] * 8]},
            {"instances": [[None] * 8]},
            {"instances": [[True, "x"] * 4]},
            {"instances": [[{}] * 8]},
            {"instances": [{"other": ROW}]},
            {"instances": [{"input": ROW, "more": 1}]},
            {"instances": [{"input": ROW}, ROW]},
            {"instances": [{"input": ROW}, {}]},
            {"instances": [{"b64": "!!!"}]},
            {"instances": [{"b64": 7}]},
            {"instances": [{"b64": "/w=="}]},
            {"instances": [10**400]},
            {"inputs": {}},
            {"inputs": None},
            {"inputs": {"other": [ROW]}},
            {"inputs": ROW},
            {"inputs": [[ROW]]},
            {"instances": [ROW], "signature_name": "no"},
            {"instances": [ROW], "signature_name": 7},
            {"instances": [ROW], "signature_name": ["kind"]},
            {"instances": [ROW], "signature_name": "\ud800"},
        ]
    ),
    *(
        ("/v1/models/pets:classify", body, 400)
        for body in [
            {},
            {"examples": []},
            {"examples": {}},
            {"examples": [7]},
            {"examples": [{}]},
            {"examples": [{"input": [1, 2]}]},
            {"examples": [{"input": ROW}], "context": 7},
            {"examples": [{"input": ROW}], "signature_name": "size"},
            {"examples": [{"input": ROW}], "signature_name": "no"},
            {"examples": [{"input": "abc"}]},
        ]
    ),
    ("/v1/models/pets:regress", {"examples": [{"input": ROW}]}, 400),
    ("/v1/models/pets:regress", {"examples": [{"input": ROW}], "signature_name": "size"}, 400),
    ("/v1/models/tagged:predict", {"instances": [1.0]}, 400),
    (
        "/v1/models/tagged:predict",
        {"inputs": {"tag": ["new"], "signal": [[0] * 5], "sensor": [[[0, 0], [0, 0]]]}},
        400,
    ),
    *(
        (
            f"/v1/models/tagged:{verb}",
            {**named, key: [{"tag": tag, "signal": signal, **SENSOR}]},
            400,
        )
        for verb, key, named in [
            ("predict", "instances", {}),
            ("classify", "examples", {"signature_name": "classification"}),
        ]
        for tag, signal in [
            (3, [0.0] * 5),
            (["foo", 3], [0.0] * 5),
            (["foo"], [0.0, 1.0, True, 0.0, 0.0]),
        ]
    ),
    (PETS, {"instances": [[1, 2, 3, True, 5, 6, 7, 8]]}, 400),
    (
        "/v1/models/tagged:predict",
        {"inputs": {"tag": ["\ud800"], "signal": [[0] * 5], "sensor": [[[0, 0], [0, 0]]]}},
        400,
    ),
    (
        "/v1/models/tagged:predict",
        {"inputs": {"tag": ["foo", "bar"], "signal": [[0] * 5], "sensor": [[[0, 0], [0, 0]]]}},
        400,
    ),
    *(
        (INFER, body, 400)
        for body in [
            b"",
            b"[]",
            {},
            {"inputs": 7},
            {"inputs": []},
            {"inputs": [7]},
            tensor(name=None),
            tensor(name="other"),
            tensor(datatype="FP8"),
            tensor(data=[1, 2, 3, True, 5, 6, 7, 8]),
            tensor(data=[[1, 2, 3, 4], [True, 6, 7, 8]]),
            tensor(datatype="BYTES"),
            tensor(datatype=[]),
            tensor(datatype={}),
            tensor(datatype=[["FP32"]]),
            tensor(shape=None),
            tensor(shape=[8]),
            tensor(shape=[-1, 8]),
            tensor(shape=[2, 8]),
            tensor(shape=[2**39] * 40),
            tensor(shape=[1, 8.0]),
            tensor(data=None),
            tensor(data=7),
            tensor(data=["x"] * 8),
            tensor(data=[ROW, 1]),
            tensor(data=None, parameters={"binary_data_size": 32}),
            tensor(data=None, parameters={"binary_data_size": -1}),
            tensor(parameters=7),
            {"inputs": tensor()["inputs"] * 2},
            {**tensor(), "outputs": [{"name": "no"}]},
            {**tensor(), "outputs": [{}]},
            {**tensor(), "outputs": "all"},
        ]
    ),
]


def test_bad_requests_are_refused_in_words_and_the_server_goes_on(port: int) -> None:
    assert len(BAD) >= 100
    for path, body, expected in BAD:
        status, answer = ask(port, path, body)
        assert (status, list(answer)) == (expected, ["error"]), (path, body, status, answer)
        assert answer["error"]
        assert "Traceback" not in answer["error"]
    assert ask(port, PETS, {"instances": [ROW]})[0] == 200


def test_what_is_asked_for_by_get_may_be_asked_for_by_head(port: int) -> None:
    for path, status in [
        ("/v1/models/pets", 200),
        ("/v2/models/pets/ready", 200),
        ("/ping", 200),
        ("/v1/models/cats", 404),
        ("/v1/models/pets:predict", 405),
    ]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("HEAD", path)
        response = connection.getresponse()
        assert (response.status, response.read()) == (status, b"")
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("GET", "/", None, "There is nothing at /."),
        ("POST", "/v1/models/pets:explain", {}, "There is nothing at /v1/models/pets:explain."),
        ("PUT", "/v1/models/pets:predict", {}, ", got PUT."),
        ("GET", "/v1/models/pets:predict", None, "Expected POST, got GET."),
        ("POST", "/v1/models/pets:predict", {"instances": ["a"]}, "of type float32, got strings."),
        ("POST", "/v1/models/half_plus:predict", {"instances": [[7]]}, "Bundle 'half_plus/10': ex"),
        (
            "POST",
            "/v1/models/pets:predict",
            {"instances": [{"b64": "!!!"}]},
            "predict: expected b64 as base64 of text in UTF-8, got '!!!'.",
        ),
        *(
            (
                "POST",
                "/v2/models/half_plus/infer",
                {"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": data}]},
                f"x: expected data {says}.",
            )
            for data, says in [
                ([[1.0, 2.0], [3.0]], "as numbers, or lists of one length, got lists of others"),
                (["1", "2", "3"], "of type float32, got strings"),
                ([None, 1.0, 2.0], "of type float32, got values of another kind"),
            ]
        ),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_request(
    port: int, method: str, path: str, body: Any, says: str
) -> None:
    assert says in ask(port, path, body, method=method)[1]["error"]


@pytest.mark.parametrize("path", ["/v1/models/pets:predict", "/v2/models/half_plus/infer"])
def test_a_key_that_stands_twice_is_refused(port: int, path: str) -> None:
    status, answer = ask(port, path, b'{"instances": [], "inputs": [], "inputs": []}')
    assert status == 400
    assert answer["error"] == "Expected a body of JSON, got an object with the key 'inputs' twice."


@pytest.mark.parametrize("name", ["x" * 90_000, "kind/" * 18_000])
def test_an_error_does_not_send_back_all_that_came(port: int, name: str) -> None:
    for body in (
        {"signature_name": name, "instances": [ROW]},
        {"signature_name": [name], "instances": [ROW]},
    ):
        status, answer = ask(port, "/v1/models/pets:predict", body)
        assert status == 400
        assert "signature" in answer["error"]
        assert len(answer["error"]) < 2100


JUNK: list[Any] = [None, True, 7, 10**400, 1.5, "x", "\ud800", [], [[]], [None], {}, {"x": []}]
JUNK += [[1, [2]], {"b64": []}, {"b64": "/w=="}, [{}], [[[[]]]], ["x", 7]]


def with_junk(body: Any) -> Iterator[Any]:
    """Yield a body with each of its parts replaced by what nobody expects there."""
    yield from JUNK
    for key in body if isinstance(body, dict) else range(len(body)):
        for one in with_junk(body[key]) if isinstance(body[key], (dict, list)) else JUNK:
            yield {**body, key: one} if isinstance(body, dict) else [one]


def test_no_part_of_a_request_can_fail_the_server(models: Path) -> None:
    bundle = Bundle.load(models / "tagged")
    features = {"tag": ["foo"], "signal": [[0.0] * 5], "sensor": [[[0.0, 0.0], [0.0, 0.0]]]}
    row = {name: value[0] for name, value in features.items()}
    default = {"signature_name": "predict"}
    bodies = {
        "predict": [{**default, "instances": [row]}, {**default, "inputs": features}],
        "classify": [{"signature_name": "classification", "examples": [row], "context": {}}],
    }
    refused = 0
    for verb, given in bodies.items():
        for one in given:
            assert rest.answer(bundle, verb, one)
            for bad in with_junk(one):
                try:
                    rest.answer(bundle, verb, bad)
                except (ValueError, KeyError):
                    refused += 1
    tensors = [
        {"name": "tag", "shape": [1], "datatype": "BYTES", "data": ["foo"], "parameters": {}},
        {"name": "signal", "shape": [1, 5], "datatype": "FP32", "data": [0.0] * 5},
        {"name": "sensor", "shape": [1, 2, 2], "datatype": "FP32", "data": [0.0] * 4},
    ]
    outputs = [{"name": "logistic", "parameters": {"binary_data": True}}]
    for i in range(3):
        for bad in with_junk({**tensors[i], "parameters": {"binary_data_size": 8}}):
            body = {"inputs": [*tensors[:i], bad, *tensors[i + 1 :]], "outputs": outputs}
            try:
                v2.infer("tagged", 1, bundle, json.dumps(body).encode(), None)
            except (ValueError, KeyError):
                refused += 1
    for bad in with_junk({"inputs": tensors, "outputs": outputs, "parameters": {}}):
        try:
            v2.infer("tagged", 1, bundle, json.dumps(bad).encode(), None)
        except (ValueError, KeyError):
            refused += 1
    assert refused > 500


def test_bad_binary_tensors_are_refused(port: int) -> None:
    header = json.dumps(tensor(data=None, parameters={"binary_data_size": 32})).encode()
    for length, body in [
        ("x", header + bytes(32)),
        ("-1", header + bytes(32)),
        (str(10**9), header + bytes(32)),
        (str(len(header)), header + bytes(31)),
        (str(len(header)), header + bytes(33)),
        (str(len(header) - 1), header + bytes(32)),
    ]:
        headers = {"Inference-Header-Content-Length": length}
        status, answer = ask(port, INFER, body, headers)
        assert (status, list(answer)) == (400, ["error"]), (length, answer)
    text = {"name": "tag", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 7}}
    header = json.dumps({"inputs": [text]}).encode()
    for data in [b"\xff\xff\xff\xffabc", b"\x03\0\0\0\xff\xfe\xfd", b"\x01\0\0\0abc"]:
        headers = {"Inference-Header-Content-Length": str(len(header))}
        assert ask(port, "/v2/models/tagged/infer", header + data, headers)[0] == 400


def test_a_large_body_is_refused_before_it_is_sent(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("POST", PETS)
    connection.putheader("content-length", str(10**12))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert "at most 100000 bytes" in json.loads(answer.read())["error"]
    connection.close()
    status, refused = ask(port, PETS, iter([b"x" * 60_000] * 5), method="POST")
    assert (status, list(refused)) == (413, ["error"])
    assert ask(port, PETS, b"{}", {"content-encoding": "gzip"})[0] == 415


def test_a_client_that_goes_away_is_no_error_of_the_server(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"POST {PETS} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
        connection.sendall(head.encode() + b"{")
    assert ask(port, PETS, {"instances": [[1e300] * 8]})[0] == 200


# ---- load, and the end ----


def test_clients_at_once_lose_nothing(port: int, request: pytest.FixtureRequest) -> None:
    seconds = 60 if request.config.getoption("--full") else 1.5
    end, done, wrong = time.monotonic() + seconds, [0] * 8, []

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while time.monotonic() < end:
            value = float(done[number])
            body = json.dumps({"instances": [value]})
            connection.request("POST", "/v1/models/half_plus:predict", body)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            if found != {"predictions": [[value / 2 + 3]]}:
                wrong.append(found)
            done[number] += 1
        connection.close()

    threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []
    assert min(done) > 10


def test_a_server_of_one_model_ends_when_it_has_answered(models: Path) -> None:
    process, number = start(str(models / "half_plus"))
    # as a container of SageMaker
    assert ask(number, "/ping") == (200, "")
    by_json = ask(number, "/invocations", {"instances": [2.0, 5.0]})
    assert by_json == (200, {"predictions": [[4.0], [5.5]]})
    assert ask(number, "/invocations", "2.0\n5\n", {"content-type": "text/csv"}) == by_json
    assert ask(number, "/invocations", "a\n", {"content-type": "text/csv"})[0] == 400
    assert ask(number, "/invocations", b"x", {"content-type": "image/png"})[0] == 415
    connection = http.client.HTTPConnection("127.0.0.1", number, timeout=20)
    body = json.dumps({"instances": [2.0]}).encode()
    connection.putrequest("POST", "/v1/models/half_plus:predict")
    connection.putheader("content-length", str(len(body)))
    connection.endheaders(body[:5])
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    connection.send(body[5:])
    assert json.loads(connection.getresponse().read()) == {"predictions": [[4.0]]}
    connection.close()
    said, _ = process.communicate(timeout=20)
    assert said == ""


def speaks_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not speaks_ipv6(), reason="there is no IPv6 here")
def test_a_server_may_listen_at_an_address_of_ipv6(models: Path) -> None:
    command = [sys.executable, "-m", "torch_heads", "serve", str(models / "pets")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    arguments = ["--host", "::1", "--port", "0"]
    with subprocess.Popen(
        command + arguments, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert url.startswith("http://[::1]:")
        connection = http.client.HTTPConnection("::1", int(url.rpartition(":")[2]), timeout=20)
        connection.request("GET", "/ping")
        assert connection.getresponse().status == 200
        connection.close()
        process.terminate()


def test_ctrl_c_ends_the_server_in_silence(models: Path) -> None:
    process, number = start(str(models / "half_plus"))
    assert ask(number, "/ping") == (200, "")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert said == ""
    assert process.returncode == 130


def test_models_and_versions_are_called_as_the_links_to_them(tmp_path: Path) -> None:
    store, served = tmp_path / "store", tmp_path / "served"
    for plus in (2.0, 3.0):
        export_bundle(Half(plus), store / f"run_{plus:.0f}", torch.zeros(2))
    (served / "half").mkdir(parents=True)
    for link, target in {"half/1": "run_2", "half/2": "run_3", "live": "run_3"}.items():
        (served / link).symlink_to(store / target)
    models = Models(served)
    assert {name: [*models.versions(name)] for name in models} == {"half": [1, 2], "live": [1]}
    _, bundle = models.get("half", 1)
    assert bundle.title == "Bundle 'half/1'"
    assert bundle([1.0])["outputs"].tolist() == [[2.5]]
    assert [*Models(served / "live")] == ["live"]


def test_two_folders_of_one_version_are_refused(tmp_path: Path) -> None:
    for version in ("1", "01"):
        export_bundle(Half(2.0), tmp_path / "half" / version, torch.zeros(2))
    with pytest.raises(ValueError, match="different versions, got version 1 of 'half' twice"):
        Models(tmp_path)


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"path to a bundle, or a folder of some, got \['notes"):
        serving_app(tmp_path)
    with pytest.raises(FileNotFoundError, match="path to a folder"):
        serving_app(tmp_path / "no")
    with pytest.raises(TypeError, match="as a bundle or a folder, got int"):
        serving_app(7)
    with pytest.raises(SystemExit, match="serving_app: expected path to a bundle"):
        main(["serve", str(tmp_path)])
