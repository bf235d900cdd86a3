"""What estimators leave for servers: versions of a bundle, the best ones, the last one."""

from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from torch import Tensor, nn

import torch_heads as th
from tests.integrations.serving.exporting import _one_registry  # noqa: F401
from tests.integrations.trainers import expected_warnings
from torch_heads.integrations import estimator as est
from torch_heads.integrations.lightning import HeadModule
from torch_heads.integrations.serving import Bundle
from torch_heads.integrations.serving.models import Models

pytestmark = expected_warnings

TOWNS = ["Rom", "Ulm", "Bern"]
FEATURES: dict[str, Any] = {
    "town": np.array(["Rom", "Ulm", "", "Paris"]),
    "size": torch.tensor([2, 0, -1, 7]),
    "price": torch.tensor([1.0, float("nan"), 3.0, 4.0]),
}
LABELS = torch.tensor([0, 1, 1, 0])
CONFIG = est.RunConfig(accelerator="cpu", save_checkpoints_steps=1)


def columns() -> list[Any]:
    town = est.categorical_column_with_vocabulary_list("town", TOWNS, default_value=1)
    size = est.categorical_column_with_identity("size", 3, default_value=0)
    price = est.numeric_column("price", default_value=9.0)
    return [est.embedding_column(town, 4), est.indicator_column(size), price]


def input_fn() -> Any:
    return FEATURES, LABELS


def plain(features: dict[str, Any]) -> dict[str, Any]:
    return {key: value.tolist() for key, value in features.items()}


def assert_serves(bundle: Bundle, estimator: est.BaseEstimator) -> None:
    predicted = list(estimator.predict(lambda: [FEATURES]))
    answer = bundle(plain(FEATURES), "predict")
    for key, value in answer.items():
        expected = np.stack([row[key] for row in predicted])
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(value, expected, 1e-6, 1e-6)
        else:
            np.testing.assert_array_equal(value, expected)


def test_a_canned_estimator_is_served_with_the_names_of_its_categories(tmp_path: Path) -> None:
    head = th.BinaryClassHead(label_vocabulary=["no", "yes"])
    estimator = est.DNNEstimator(head, [4], columns(), tmp_path / "model", config=CONFIG)
    estimator.train(input_fn, steps=2)
    paths = [estimator.export_saved_model(tmp_path / "served", FEATURES) for _ in range(2)]
    assert int(paths[1].name) > int(paths[0].name)
    bundle = Bundle.load(paths[1])
    assert bundle.manifest.inputs["town"].dtype == "string"
    assert_serves(bundle, estimator)
    assert sorted(Models(tmp_path / "served").versions("served")) == [int(p.name) for p in paths]
    first = estimator.latest_checkpoint()
    assert first is not None
    estimator.train(input_fn, steps=1)
    old = Bundle.load(estimator.export_saved_model(tmp_path / "old", FEATURES, first))
    np.testing.assert_array_equal(old(plain(FEATURES))["scores"], bundle(plain(FEATURES))["scores"])


def test_a_linear_estimator_is_served(tmp_path: Path) -> None:
    town = est.categorical_column_with_vocabulary_list("town", TOWNS)
    given = [town, est.numeric_column("price", default_value=0.0)]
    estimator = est.LinearEstimator(th.RegressionHead(), given, tmp_path / "m", config=CONFIG)
    estimator.train(input_fn, steps=1)
    features = {key: FEATURES[key] for key in ("town", "price")}
    bundle = Bundle.load(estimator.export_saved_model(tmp_path / "served", features))
    answer = bundle(plain(features))["outputs"]
    expected = [row["predictions"] for row in estimator.predict(lambda: [features])]
    np.testing.assert_allclose(answer, expected, 1e-6, 1e-6)


def test_what_a_graph_cannot_look_up_is_refused(tmp_path: Path) -> None:
    hashed = est.categorical_column_with_vocabulary_list("town", TOWNS, num_oov_buckets=2)
    given = [est.embedding_column(hashed, 2)]
    estimator = est.DNNEstimator(th.RegressionHead(), [2], given, tmp_path / "m", config=CONFIG)
    estimator.train(input_fn, steps=1)
    with pytest.raises(ValueError, match="'town': expected a vocabulary to be served of strings"):
        estimator.export_saved_model(tmp_path / "served", {"town": FEATURES["town"]})


def of_function(tmp_path: Path, called: th.Head, **options: Any) -> est.Estimator:
    def model_fn(features: Any, labels: Any, mode: str, model: Any, optimizer: Any) -> Any:
        logits = model["layer"](features["x"])
        return called.create_estimator_spec(features, mode, logits, labels, optimizer)

    model = nn.ModuleDict({"layer": nn.Linear(2, called.logits_dimension)})
    return est.Estimator(
        model_fn, model, torch.optim.Adam, tmp_path / "model", config=CONFIG, **options
    )


def numbers() -> tuple[dict[str, Tensor], Tensor]:
    return {"x": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}, torch.tensor([0, 1])


def test_a_model_fn_is_served_with_the_head_that_it_calls(tmp_path: Path) -> None:
    torch.manual_seed(0)  # small scores of other weights differ by more of themselves
    head = th.BinaryClassHead()
    estimator = of_function(tmp_path, head, head=head).train(numbers, steps=1)
    example, _ = numbers()
    bundle = Bundle.load(estimator.export_saved_model(tmp_path / "served", example))
    predicted = list(estimator.predict(lambda: [example]))
    np.testing.assert_allclose(
        bundle(example)["scores"], [row["probabilities"] for row in predicted], 1e-6
    )
    lost = of_function(tmp_path, head)
    with pytest.raises(ValueError, match="with one head, or head="):
        lost.export_saved_model(tmp_path / "served", example)
    other = of_function(tmp_path, head, head=th.BinaryClassHead())
    with pytest.raises(ValueError, match="model_fn to call create_estimator_spec of the head"):
        other.export_saved_model(tmp_path / "served", example)


@pytest.mark.parametrize("options", [{}, {"fit_prior": True}])
def test_a_model_fn_may_call_the_head_of_its_model(tmp_path: Path, options: Any) -> None:
    def model_fn(features: Any, labels: Any, mode: str, model: Any, optimizer: Any) -> Any:
        logits = model["layer"](features["x"])
        return model["head"].create_estimator_spec(features, mode, logits, labels, optimizer)

    head = th.BinaryClassHead()
    model = nn.ModuleDict({"layer": nn.Linear(2, 1), "head": head})
    given = {**options, "head": head} if options else {}
    estimator = est.Estimator(
        model_fn, model, torch.optim.Adam, tmp_path / "model", config=CONFIG, **given
    )
    example, _ = numbers()
    evaluate = est.EvalSpec(numbers, exporters=est.FinalExporter("last", example))
    estimator.train_and_evaluate(est.TrainSpec(numbers, max_steps=1), evaluate)
    [last] = (tmp_path / "model/export/last").iterdir()
    predicted = list(estimator.predict(lambda: [example]))
    for path in (last, estimator.export_saved_model(tmp_path / "served", example)):
        np.testing.assert_allclose(
            Bundle.load(path)(example)["scores"],
            [row["probabilities"] for row in predicted],
            1e-6,
            1e-6,
        )


def test_the_last_and_the_best_are_exported(tmp_path: Path) -> None:
    head = th.BinaryClassHead()
    estimator = of_function(tmp_path, head, head=head)
    example, _ = numbers()
    losses: list[float] = []

    def better(best: Any, result: Any) -> bool:
        losses.append(result["loss"])
        return result["global_step"] in (2, 3)

    exporters = [
        est.FinalExporter("last", example),
        est.BestExporter("best", example, better, exports_to_keep=2),
    ]
    evaluate = est.EvalSpec(numbers, exporters=exporters)
    estimator.train_and_evaluate(est.TrainSpec(numbers, max_steps=4), evaluate)
    [last] = (tmp_path / "model/export/last").iterdir()
    best = tmp_path / "model/export/best"
    versions = sorted(one.name for one in best.iterdir() if one.is_dir())
    assert len(versions) == 2
    assert len(losses) == 4  # the first evaluation is the best; the last one is looked at twice
    x = numbers()[0]
    expected = next(iter(estimator.predict(lambda: [x])))["logistic"]
    found = Bundle.load(last)(x, outputs=["logistic"])["logistic"][0]
    np.testing.assert_allclose(found, expected, 1e-6)
    older = Bundle.load(best / versions[0])(x, outputs=["logistic"])["logistic"][0]
    assert abs(older - expected).max() > 1e-6


def test_the_best_is_remembered(tmp_path: Path) -> None:
    written: list[Path] = []

    def write(folder: Path, example: Any, functions: Any = None, **options: Any) -> Path:
        written.append(folder / str(len(written)))
        written[-1].mkdir(parents=True)
        return written[-1]

    losses = [(nan, True), (nan, False), (1.0, True), (2.0, False), (nan, False), (1.0, False)]
    for loss, is_better in [*losses, (0.5, True)]:
        exporter = est.BestExporter("best", FEATURES)
        path = exporter.export(write, tmp_path, {"loss": loss, "curve": np.zeros(3)}, False)
        assert (path is not None) == is_better
    assert len(written) == 3
    for make in (est.BestExporter, lambda: est.FinalExporter("last", None)):
        with pytest.raises(TypeError, match=r"Exporter: expected example as features by name"):
            make()
    with pytest.raises(ValueError, match="name as the name of a folder, got 'a/b'"):
        est.FinalExporter("a/b", None)
    with pytest.raises(ValueError, match="exports_to_keep >= 1, got 0"):
        est.BestExporter(exports_to_keep=0)
    with pytest.raises(TypeError, match=r"exports_to_keep as an int, got 1\.5"):
        est.BestExporter(exports_to_keep=1.5)
    with pytest.raises(TypeError, match="compare_fn to be callable, got str"):
        est.BestExporter(compare_fn="loss")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"exporters": "last"}, TypeError, "exporters with a name and an export method each, got"),
        ({"exporters": 7}, TypeError, "exporters with a name and an export method each, got int"),
        (
            {"exporters": [est.FinalExporter("same", {}), est.BestExporter("same", {})]},
            ValueError,
            r"Estimator: expected exporters of different names, got \['same', 'same'\]",
        ),
        ({"input_fn": [1]}, TypeError, "input_fn to be callable, got list"),
        ({"steps": 0}, ValueError, "steps > 0"),
    ],
)
def test_what_cannot_be_evaluated_or_exported_is_refused_before_the_training(
    tmp_path: Path, options: Any, error: Any, says: str
) -> None:
    head = th.BinaryClassHead()
    evaluate = est.EvalSpec(**{"input_fn": numbers, **options})
    with pytest.raises(error, match=says):
        of_function(tmp_path, head).train_and_evaluate(est.TrainSpec(numbers, 1), evaluate)
    assert not (tmp_path / "model").exists()


def test_exporters_may_be_none_or_come_from_a_generator(tmp_path: Path) -> None:
    head = th.BinaryClassHead()
    estimator, example = of_function(tmp_path, head, head=head), numbers()[0]
    for exporters in (None, (est.FinalExporter(name, example) for name in "ab")):
        evaluate = est.EvalSpec(numbers, exporters=exporters)
        estimator.train_and_evaluate(est.TrainSpec(numbers, 1), evaluate)
    assert sorted(one.name for one in (tmp_path / "model/export").iterdir()) == ["a", "b"]


def losses_of_one_path() -> tuple[th.MultiHead, dict[str, Any]]:
    functions = {f"huber {d}": nn.HuberLoss(reduction="none", delta=d) for d in (1.0, 2.0)}
    measures = {f"error {i}": torchmetrics.MeanAbsolutePercentageError() for i in range(2)}
    parts = zip("ab", functions.values(), measures.values(), strict=True)
    heads = [th.RegressionHead(name=n, loss_fn=f, metrics=["r2", m]) for n, f, m in parts]
    return th.MultiHead(heads), functions | measures


def test_functions_of_one_path_are_exported_by_names(tmp_path: Path) -> None:
    head, functions = losses_of_one_path()
    estimator = of_function(tmp_path, head, head=head)
    example = {"x": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}
    labels = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([1.0, 2.0])}
    exporters = [
        est.FinalExporter("last", example, functions),
        est.BestExporter("best", example, functions=functions),
    ]
    evaluate = est.EvalSpec(lambda: (example, labels), exporters=exporters)
    estimator.train_and_evaluate(est.TrainSpec(lambda: (example, labels), max_steps=1), evaluate)
    paths = [*(tmp_path / "model/export").glob("*/*/")]
    assert len(paths) == 2
    with pytest.raises(ValueError, match="with different import paths"):
        estimator.export_saved_model(tmp_path / "served", example)
    paths.append(estimator.export_saved_model(tmp_path / "served", example, functions=functions))
    module = HeadModule(nn.Linear(2, 2), head)
    paths.append(module.export(tmp_path / "module", example["x"], functions=functions))
    for path in paths:
        again = Bundle.load(path).head(functions)
        assert again["b"].loss_fn is functions["huber 2.0"]


def test_steps_are_free_and_strings_looked_up_where_an_estimator_exports(tmp_path: Path) -> None:
    inner = th.MultiClassHead(2, label_vocabulary=["noun", "verb"])
    head = th.SequentialHeadWrapper(inner, "mask")
    model = nn.ModuleDict({"words": nn.Embedding(4, 3), "layer": nn.Linear(4, 2), "head": head})

    def model_fn(features: Any, labels: Any, mode: str, model: Any, optimizer: Any) -> Any:
        words = model["words"](features["words"])
        speed = features["speed"].unsqueeze(-1)
        logits = model["layer"](torch.cat([words, speed], -1))
        return model["head"].create_estimator_spec(features, mode, logits, labels, optimizer)

    def data() -> Any:
        words, speed = torch.tensor([[0, 1, 2], [3, 1, 0]]), torch.rand(2, 3)
        mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
        return {"words": words, "speed": speed, "mask": mask}, torch.tensor([[0, 1, 0], [1, 1, 0]])

    example = {
        "words": [["go", "to", "sea"], ["?", "to", "go"]],
        "speed": torch.zeros(2, 3),
        "mask": torch.ones(2, 3),
    }
    options: dict[str, Any] = {
        "inputs": {key: ["batch", "step"] for key in example},
        "lookups": {"words": {"go": 0, "to": 1, "sea": 2, None: 3}},
    }
    estimator = est.Estimator(model_fn, model, torch.optim.Adam, tmp_path / "m", config=CONFIG)
    last, best = (
        est.FinalExporter("last", example, **options),
        est.BestExporter("best", example, **options),
    )
    evaluate = est.EvalSpec(data, exporters=[last, best])
    estimator.train_and_evaluate(est.TrainSpec(data, max_steps=1), evaluate)
    paths = [*(tmp_path / "m/export").glob("*/*/")]
    paths.append(estimator.export_saved_model(tmp_path / "served", example, **options))
    assert len(paths) == 3
    given = {
        "words": [["sea", "ship", "go", "to"]],
        "speed": torch.ones(1, 4),
        "mask": torch.ones(1, 4),
    }
    [row] = estimator.predict(lambda: [{**given, "words": torch.tensor([[2, 3, 0, 1]])}])
    for path in paths:
        found = Bundle.load(path)(given, "predict")
        np.testing.assert_allclose(found["probabilities"][0], row["probabilities"], 1e-5, 1e-6)
        np.testing.assert_array_equal(found["classes"][0], row["classes"])


def test_names_of_a_column_are_not_looked_up_twice(tmp_path: Path) -> None:
    head = th.BinaryClassHead(label_vocabulary=["no", "yes"])
    estimator = est.DNNEstimator(head, [4], columns(), tmp_path / "model", config=CONFIG)
    estimator.train(input_fn, steps=1)
    says = r"lookups for features whose columns have no names, got \['town'\]"
    with pytest.raises(ValueError, match=says):
        estimator.export_saved_model(tmp_path / "served", FEATURES, lookups={"town": TOWNS})
    assert not (tmp_path / "served").exists()


def test_a_head_module_names_its_inputs_and_their_free_axes(tmp_path: Path) -> None:
    head = th.SequentialHeadWrapper(th.RegressionHead(), "mask")
    module, x = HeadModule(nn.Linear(2, 1), head), torch.randn(3, 4, 2)
    inputs = {"words": ["batch", "step", 2]}
    bundle = Bundle.load(module.export(tmp_path / "b", x, inputs=inputs))
    assert bundle.manifest.inputs["words"].shape == ("batch", "step", 2)
    more = torch.randn(2, 7, 2)
    with torch.no_grad():
        expected = module(more)["predictions"]
    found = bundle({"words": more}, outputs=["predictions"])["predictions"]
    np.testing.assert_allclose(found, expected, 1e-6, 1e-6)


def test_a_head_module_exports_itself(tmp_path: Path) -> None:
    head = th.MultiClassHead(3)
    module = HeadModule(nn.Linear(2, 4), head, in_features=4)
    x = torch.randn(3, 2)
    bundle = Bundle.load(module.export(tmp_path / "b", x))
    with torch.no_grad():
        expected = module(x)["probabilities"]
    np.testing.assert_allclose(bundle({"inputs": x})["scores"], expected, 1e-6)
