"""The recipes of the page, as far as they need no other server."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import onnxruntime
import pytest
import torch

from tests.integrations.serving.exporting import _one_registry, mixture, network  # noqa: F401
from torch_heads.integrations.serving import Bundle, export_bundle

ROOT = Path(__file__).parents[3]
RECIPES = (ROOT / "docs" / "serving.md").read_text("utf-8").partition("## Recipes")[2]
X = np.ones((2, 8), np.float32)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes") / "bundles"
    export_bundle(network(mixture()), folder / "pets", torch.zeros(2, 8))
    return folder


def test_the_command_of_the_container_serves(bundles: Path) -> None:
    [container] = re.findall(r"```\n(FROM .*?)```", RECIPES, re.DOTALL)
    [extra] = re.findall(r"pip install .* 'torch-heads\[(\w+)\]'", container)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert extra in project["optional-dependencies"]
    [source, place] = re.findall(r"^COPY (\S+) (\S+)$", container, re.MULTILINE)[0]
    assert source == bundles.name
    python, *arguments = json.loads(container.partition("CMD ")[2])
    assert python == "python"
    command = [str(bundles) if one == place else one for one in arguments]
    process = subprocess.Popen(
        [sys.executable, *command, "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert " at http://0.0.0.0:" in line
        url = f"http://127.0.0.1:{line.rpartition(':')[2].strip()}/v1/models/pets:predict"
        body = json.dumps({"instances": X.tolist()}).encode()
        with urlopen(Request(url, body), timeout=20) as answer:
            found = json.load(answer)["predictions"]
    finally:
        process.kill()
        process.communicate()
    classes = Bundle.load(bundles / "pets")(X)["classes"]
    assert [one["classes"] for one in found] == classes.tolist()


def test_triton_finds_a_graph_with_its_weights_beside_it(bundles: Path, tmp_path: Path) -> None:
    [files] = re.findall(r"`models/pets/1/(\S+)` and `models/pets/1/(\S+)`", RECIPES)
    version = tmp_path / "models" / "pets" / "1"
    version.mkdir(parents=True)
    for name in files:
        shutil.copy(bundles / "pets" / name, version)
    session = onnxruntime.InferenceSession(version / "model.onnx")
    bundle = Bundle.load(bundles / "pets")
    names = [one.name for one in session.get_outputs()]
    assert {*names} == {*bundle.outputs}
    expected = bundle(X, outputs=names)
    for name, found in zip(names, session.run(names, {"input": X}), strict=True):
        np.testing.assert_array_equal(found, expected[name])
