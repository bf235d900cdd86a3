"""What tests of bundles share: exports that are quick, and answers next to those of Python."""

import functools
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.onnx._internal.exporter import _registration

import torch_heads as th
from torch_heads.integrations.serving import Bundle, export_bundle
from torch_heads.integrations.serving.feeds import Feeds

NAMES = ["cat", "dog", "öwl\n"]
LOADER = re.compile(r"```python\n# loader.py\n(.*?)```", re.DOTALL)
PUBLIC = {"scores": "scores", "classes": "classes", "value": "outputs"}


@pytest.fixture(autouse=True, scope="session")
def _one_registry() -> Iterator[None]:
    """Read the exporter's table of operators once, and not for each export."""
    kind = _registration.ONNXRegistry
    usual = kind.__dict__["from_torchlib"]
    kind.from_torchlib = staticmethod(functools.cache(kind.from_torchlib))
    yield
    kind.from_torchlib = usual


def mixture() -> th.MultiHead:
    return th.MultiHead(
        [
            th.MultiClassHead(3, label_vocabulary=NAMES, name="kind", class_weight=[1.0, 2.0, 3.0]),
            th.BinaryClassHead(name="indoors"),
            th.RegressionHead(2, name="size"),
        ]
    )


def network(head: th.Head, width: int = 8) -> nn.Sequential:
    """Return a small network of that head, with all that evaluation changes."""
    torch.manual_seed(0)
    layers = nn.Linear(width, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5)
    return nn.Sequential(*layers, nn.Linear(16, head.logits_dimension), head)


def loader(folder: Path) -> Path:
    """Write the loader of the page into a folder."""
    page = Path(__file__).parents[3] / "docs" / "serving.md"
    [code] = LOADER.findall(page.read_text("utf-8"))
    assert len(code.splitlines()) <= 30
    path = folder / "loader.py"
    path.write_text(code)
    return path


def plain(value: Any) -> np.ndarray:
    return value.numpy() if isinstance(value, Tensor) else np.asarray(value)


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, Any]) -> None:
    """Hold answers to those of Python: numbers to 1e-6, all else exactly."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        value = plain(value)
        assert actual[name].shape == value.shape, name
        if value.dtype.kind == "f":
            np.testing.assert_allclose(actual[name], value, 1e-6, 1e-6, err_msg=name)
        else:
            assert value.dtype.kind in "UO" or actual[name].dtype == value.dtype, name
            np.testing.assert_array_equal(actual[name], value, err_msg=name)


def assert_answers(bundle: Bundle, inputs: Any, head: th.Head, logits: Any) -> None:
    """Hold all signatures of a bundle to the export outputs of its head.

    Those of the graph by itself, as the loader of the page reads it, are held to them as well.
    """
    with torch.no_grad():
        spec = head.create_estimator_spec(None, "infer", logits) if not has_mask(head) else None
        every = head.predictions(logits, head.all_prediction_keys())
        outputs = spec.export_outputs if spec else head.export_outputs(every)
    kinds = {
        "classify": th.ClassificationOutput,
        "regress": th.RegressionOutput,
        "predict": th.PredictOutput,
    }
    assert bundle.signatures.keys() - {"stacked"} == outputs.keys()
    load = runpy.run_path(str(loader(bundle.path.parent)))["load"]
    alone, feeds = load(bundle.path), Feeds("loader", bundle.manifest.inputs)(inputs)
    few = max(1, len(outputs) // 40)  # signatures of a thousand heads
    for i, (name, expected) in enumerate(outputs.items()):
        assert isinstance(expected, kinds[bundle.signatures[name].method])
        given = dict(vars(expected))
        named = (
            dict(given["outputs"])
            if "outputs" in given
            else {PUBLIC[key]: value for key, value in given.items() if value is not None}
        )
        assert_same(bundle(inputs, name), named)
        if i % few == 0:
            assert_same(alone(feeds, name), named)


def has_mask(head: th.Head) -> bool:
    return any(isinstance(one, th.SequentialHeadWrapper) for one in head.modules())


def exported(folder: Path, model: nn.Module, example: Any, **options: Any) -> Bundle:
    """Return a bundle that was written and read."""
    return Bundle.load(export_bundle(model, folder / "bundle", example, **options))
