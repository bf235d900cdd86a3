"""The numbers of the originals: every case of ``tests/golden``, see its README for the schema."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torch_heads as th

CASES: dict[str, dict[str, Any]] = {
    case["id"]: case
    for file in sorted(Path(__file__).with_name("golden").glob("*.json"))
    for case in json.loads(file.read_text(encoding="utf-8"))
}
STRINGS = {"classes", "all_classes"}
CONSTANT_ROWS = {"all_class_ids", "all_classes", "classes"}
LIFTED = ["MultiClassHead-073-error_n_classes", "SequentialHeadWrapper-037-error_multi_head"]
VALUES_OF_LABELS = {"error_labels", "error_labels_negative", "error_sparse_range"}

# What the message of a refusal must say: the argument, what was given, what is allowed.
MESSAGES = {
    "error_class_metrics": r"classes_for_class_based_metrics.*\b[24]\b",
    "error_class_names_no_vocab": r"classes_for_class_based_metrics.*label_vocabulary|"
    r"label_vocabulary.*classes_for_class_based_metrics",
    "error_empty": r"heads.*\[\]",
    "error_float_labels": r"labels.*integer.*float32|labels.*float32.*integer",
    "error_keys": r"keys?\b.*(logits.*no_such_key|no_such_key.*logits)",
    "error_label_batch": r"labels.*\[4.*\[5",
    "error_label_dimension": r"label_dimension.*\b0\b",
    "error_label_width": r"labels.*\[4, [23]\].*\[4, [23]\]",
    "error_labels": r"labels.*\b[2345]\b",
    "error_labels_negative": r"labels.*-1",
    "error_labels_not_dict": r"labels",
    "error_logits_dim": r"logits.*\[4, \d\]",
    "error_mask_name": r"sequence_length_mask.*(\b3\b|int)",
    "error_mask_rank": r"sequence_length_mask.*\[3, 4, 1\]",
    "error_missing_column": r"'w'.*sequence_length_mask",
    "error_missing_label": r"labels for the heads \['(head1|a|kind|xy)'",
    "error_missing_logits": r"logits for the heads \['(head1|a|kind|xy)'",
    "error_missing_weight": r"'w'.*other",
    "error_multi_head": r"static_head.*MultiHead",
    "error_n_classes": r"n_classes.*\b[12]\b",
    "error_no_labels": r"labels.*None",
    "error_no_mask": r"'sequence_length_mask'.*'x'",
    "error_out_of_vocab": r"labels.*'zz?'|'zz?'.*labels",
    "error_reduction": r"loss_reduction.*(sum_over_batch_size.*no_such|no_such.*sum)",
    "error_reduction_none": r"loss_reduction.*(sum_over_batch_size.*none|none.*sum)",
    "error_sparse_range": r"labels.*\b[24]\b",
    "error_string_no_vocab": r"labels.*label_vocabulary",
    "error_threshold": r"thresholds.*(1\.0|0\.0|-0\.1)",
    "error_unnamed": r"name.*BinaryClassHead|BinaryClassHead.*name",
    "error_vocab_size": r"label_vocabulary.*\b[1-5]\b",
    "error_vocab_type": r"label_vocabulary.*('ab'|str)",
    "error_weight_shape": r"('w'|weights).*\[4.*\[4, 2\]",
    "error_weights_len": r"head_weights.*\b[345]\b",
    "error_width": r"logits.*\[5, \d\]",
}


def build(
    name: str, kwargs: dict[str, Any], device: torch.device, lists: str | None = None
) -> th.Head:
    """Return the head of a case; inside another head, a head is ``[class, kwargs]``.

    ``lists`` are the `label_lists` of those of several labels.
    """
    kwargs = dict(kwargs)
    if "heads" in kwargs:
        kwargs["heads"] = [build(*head, device, lists) for head in kwargs["heads"]]
    if "static_head" in kwargs:
        kwargs["static_head"] = build(*kwargs["static_head"], device, lists)
    if name == "MultiLabelHead" and lists is not None:
        kwargs["label_lists"] = lists
    return getattr(th, name)(**kwargs).to(device)


# ---- from the files to tensors, in each form in which a head takes them ----


def is_dense(encoded: dict[str, Any]) -> bool:
    return encoded.keys() == {"dtype", "shape", "data"}


def has_sparse(encoded: dict[str, Any]) -> bool:
    return "sparse" in encoded or (not is_dense(encoded) and any(map(has_sparse, encoded.values())))


def array(encoded: dict[str, Any]) -> np.ndarray:
    dtype = str if encoded["dtype"] == "string" else encoded["dtype"]
    return np.array(encoded["data"], dtype).reshape(encoded["shape"])


def as_tensors(encoded: dict[str, Any], device: torch.device) -> Any:
    dense = array(encoded)
    return dense if dense.dtype.kind == "U" else torch.from_numpy(dense).to(device)


def as_arrays(encoded: dict[str, Any], device: torch.device) -> Any:
    return array(encoded)


def as_lists(encoded: dict[str, Any], device: torch.device) -> Any:
    return array(encoded).tolist()


def rows(sparse: dict[str, Any]) -> list[list[Any]]:
    """Return one list of class ids, or of class names, for each example."""
    ids: list[list[Any]] = [[] for _ in range(sparse["dense_shape"][0])]
    for (row, _), value in zip(sparse["indices"], sparse["values"], strict=True):
        ids[row].append(value)
    return ids


def as_rows(sparse: dict[str, Any], device: torch.device) -> Any:
    return rows(sparse)


def as_coo(sparse: dict[str, Any], device: torch.device) -> Any:
    indices, values = torch.tensor(sparse["indices"]).T, torch.tensor(sparse["values"])
    shape = sparse["dense_shape"]
    return torch.sparse_coo_tensor(indices, values, shape, device=device, check_invariants=True)


def as_jagged(sparse: dict[str, Any], device: torch.device) -> Any:
    ids = [torch.tensor(row, dtype=torch.int64) for row in rows(sparse)]
    return torch.nested.nested_tensor(ids, layout=torch.jagged, device=device)


Form = Callable[[dict[str, Any], torch.device], Any]


def decode(encoded: Any, device: torch.device, dense: Form = as_tensors, ragged: Form = as_rows):
    """Return a tensor, or a dict of them, from what a file holds."""
    if encoded is None:
        return None
    if "sparse" in encoded:
        return ragged(encoded["sparse"], device)
    if is_dense(encoded):
        return dense(encoded, device)
    return {key: decode(value, device, dense, ragged) for key, value in encoded.items()}


def batches(case: dict[str, Any], device: torch.device, **forms: Form) -> list[dict[str, Any]]:
    """Return the batches of a case as the keyword arguments of ``loss``."""
    keys = ("features", "logits", "labels")
    return [{k: decode(b.get(k), device, **forms) for k in keys} for b in case["batches"]]


def regularization(case: dict[str, Any], device: torch.device) -> list[torch.Tensor] | None:
    losses = case["regularization_losses"]
    return None if losses is None else [torch.tensor(loss, device=device) for loss in losses]


# ---- comparing ----


def assert_equals(actual: Any, encoded: dict[str, Any], key: str) -> None:
    """Compare one output with the original's: floats to 1e-5, all else exactly."""
    expected = array(encoded)
    actual = actual.numpy(force=True) if isinstance(actual, torch.Tensor) else np.asarray(actual)
    if key.rpartition("/")[2] in CONSTANT_ROWS and actual.ndim > expected.ndim:
        # The original gives these the first batch dimension only.
        assert actual.shape[:1] + actual.shape[-1:] == expected.shape
        expected = np.broadcast_to(expected[0], actual.shape)
    assert actual.shape == expected.shape
    assert actual.dtype.kind == expected.dtype.kind
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(actual, expected)


def every_head(case: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the head of a case and those inside of it, as pairs of class and arguments."""
    kwargs = case["kwargs"]
    inner = [kwargs["static_head"]] if "static_head" in kwargs else kwargs.get("heads", [])
    return [(case["head"], kwargs), *map(tuple, inner)]


def on_the_grid(case: dict[str, Any]) -> bool:
    """Say whether a score lies within 1e-6 of a threshold of the AUC.

    There the rounding of a float32 decides in which bin the score falls.
    """
    for batch in case["batches"]:
        logits = batch["logits"]
        for part in [logits] if is_dense(logits) else logits.values():
            bins = 199 / (1 + np.exp(-array(part).astype(np.float64)))
            inside = (bins > 0.5) & (bins < 198.5)
            if (inside & (abs(bins - bins.round()) < 199e-6)).any():
                return True
    return False


def having(*keys: str) -> list[str]:
    """Return the ids of the cases whose expectations have all of ``keys``."""
    return [id_ for id_, case in CASES.items() if case.get("expected", {}).keys() >= set(keys)]


def labels_in_every_form(ids: list[str]) -> list[Any]:
    """Return each case, and those with sparse class ids once for each way to give these."""
    forms = []
    for id_ in ids:
        forms.append(pytest.param(id_, as_rows, id=id_))
        labels = CASES[id_]["batches"][0].get("labels", {})
        if labels.get("sparse", {}).get("dtype") == "int64":
            forms.append(pytest.param(id_, as_coo, id=f"{id_}-coo"))
            forms.append(pytest.param(id_, as_jagged, id=f"{id_}-jagged"))
    return forms


# ---- the tests ----


def test_no_case_is_missing() -> None:
    assert len(CASES) == 480
    assert sum("error" in case for case in CASES.values()) + len(having("loss")) == 480


@pytest.mark.parametrize("id_", having("name"))
def test_the_head_has_the_name_and_the_width_of_the_original(
    id_: str, device: torch.device
) -> None:
    case = CASES[id_]
    head = build(case["head"], case["kwargs"], device)
    assert head.name == case["expected"]["name"]
    assert head.logits_dimension == case["expected"]["logits_dimension"]


@pytest.mark.parametrize(("id_", "ragged"), labels_in_every_form(having("loss", "grad")))
def test_the_loss_and_its_gradient_are_those_of_the_original(
    id_: str, ragged: Form, device: torch.device
) -> None:
    case = CASES[id_]
    head = build(case["head"], case["kwargs"], device)
    expected = case["expected"]
    for batch, loss, gradient in zip(
        batches(case, device, ragged=ragged), expected["loss"], expected["grad"], strict=True
    ):
        logits = batch["logits"]
        leaf = logits if isinstance(logits, dict) else {"": logits}
        for tensor in leaf.values():
            tensor.requires_grad_()
        actual = head.loss(**batch, regularization_losses=regularization(case, device))
        assert actual.shape == ()
        assert actual.item() == pytest.approx(loss, rel=1e-5, abs=1e-6)
        for (key, value), grad in zip(
            leaf.items(), torch.autograd.grad(actual, list(leaf.values())), strict=True
        ):
            assert grad.shape == value.shape
            assert_equals(grad, gradient[key] if key else gradient, "grad")


@pytest.mark.parametrize(("id_", "ragged"), labels_in_every_form(having("metrics")))
def test_the_metrics_after_all_batches_are_those_of_the_original(
    id_: str, ragged: Form, device: torch.device
) -> None:
    case = CASES[id_]
    head = build(case["head"], case["kwargs"], device)
    losses = regularization(case, device)
    metrics = head.metrics(regularization_losses=losses).to(device)
    for batch in batches(case, device, ragged=ragged):
        assert head.update_metrics(metrics, **batch, regularization_losses=losses) is metrics
    actual = {key: value.item() for key, value in metrics.compute().items()}
    expected = case["expected"]["metrics"]
    # those from the fine cut stand behind, by head
    ours = {key for key in actual if key.startswith(("roc_auc", "average_precision"))}
    assert actual.keys() - ours == expected.keys()
    assert len(ours) == sum(2 for key in expected if key.startswith(("auc/", "auc"))) / 2
    for key, value in expected.items():
        loose = key.startswith("auc") and on_the_grid(case)
        tolerance = {"abs": 1e-4} if loose else {"rel": 1e-5, "abs": 1e-6}
        assert actual[key] == pytest.approx(value, **tolerance), key


@pytest.mark.parametrize("id_", having("predictions"))
def test_the_predictions_are_those_of_the_original(id_: str, device: torch.device) -> None:
    case = CASES[id_]
    head = build(case["head"], case["kwargs"], device)
    logits = batches(case, device)[0]["logits"]
    multi = case["head"] == "MultiHead"
    expected = {
        tuple(key.split("|")) if multi else key: value
        for key, value in case["expected"]["predictions"].items()
    }
    actual = head.predictions(logits, keys=case.get("prediction_keys") or list(expected))
    assert list(actual) == list(expected)
    for key, value in expected.items():
        assert_equals(actual[key], value, key[1] if multi else key)


@pytest.mark.parametrize(
    "id_", [i for i in having("predictions") if "prediction_keys" not in CASES[i]]
)
def test_names_of_classes_come_by_default_only_with_a_vocabulary(
    id_: str, device: torch.device
) -> None:
    case = CASES[id_]
    head = build(case["head"], case["kwargs"], device)
    logits = batches(case, device)[0]["logits"]
    with_names = {kw.get("name") for _, kw in every_head(case) if "label_vocabulary" in kw}
    expected = set()
    for key in case["expected"]["predictions"]:
        head_name, _, base = key.rpartition("|")
        if base not in STRINGS or (head_name or case["kwargs"].get("name")) in with_names:
            expected.add((head_name, base) if head_name else base)
    actual = head.predictions(logits)
    assert set(actual) == expected
    forward = {("/".join(k) if isinstance(k, tuple) else k): v for k, v in actual.items()}
    tensors = {k: v for k, v in forward.items() if isinstance(v, torch.Tensor)}
    torch.testing.assert_close(head(logits), tensors, rtol=0, atol=0)


@pytest.mark.parametrize("id_", having("export_outputs"))
def test_a_server_answers_as_with_the_original(id_: str, device: torch.device) -> None:
    case = CASES[id_]
    head = build(case["head"], case["kwargs"], device)
    batch = batches(case, device)[0]
    spec = head.create_estimator_spec(batch["features"], "infer", batch["logits"])
    assert spec.export_outputs is not None
    expected = case["expected"]["export_outputs"]
    assert spec.export_outputs.keys() == expected.keys()
    for signature, output in expected.items():
        actual = spec.export_outputs[signature]
        assert type(actual).__name__ == output["type"]
        if output["type"] == "PredictOutput":
            assert actual.outputs.keys() == output["outputs"].keys()
            for key, value in output["outputs"].items():
                assert_equals(actual.outputs[key], value, key)
        elif output["type"] == "ClassificationOutput":
            assert_equals(actual.scores, output["scores"], "scores")
            assert_equals(actual.classes, output["classes"], "all_classes")
        else:
            assert_equals(actual.value, output["value"], "value")


@pytest.mark.parametrize("dense", [as_arrays, as_lists])
@pytest.mark.parametrize("id_", [i for i in having("loss") if CASES[i]["kind"] != "large_logits"])
def test_arrays_and_nested_lists_do_as_well_as_tensors(
    id_: str, dense: Form, device: torch.device
) -> None:
    case = CASES[id_]
    # where there are two classes, a list does not tell one of them from the ids of both
    hot = dense is as_lists and not has_sparse(case["batches"][0]["labels"])
    lists = "multi_hot" if hot else None
    head = build(case["head"], case["kwargs"], device, lists)
    losses = case["regularization_losses"]
    for given, batch, loss in zip(
        batches(case, device, dense=dense),
        batches(case, device),
        case["expected"]["loss"],
        strict=True,
    ):
        if device.type != "cpu":  # the logits say where the others go
            given["logits"] = batch["logits"]
        actual = head.loss(**given, regularization_losses=losses)
        assert actual.item() == pytest.approx(loss, rel=1e-5, abs=1e-6)


def test_two_refusals_of_the_originals_are_lifted(device: torch.device) -> None:
    """Two classes, and heads of several targets over sequences: see docs/migration.md."""
    for id_ in LIFTED:
        case = CASES[id_]
        head = build(case["head"], case["kwargs"], device)
        mask = {"sequence_length_mask": torch.ones(2, 3, device=device)}
        logits = torch.zeros(2, 3, head.logits_dimension, device=device)
        labels = torch.zeros(2, 3, head.labels_dimension, dtype=torch.int64, device=device)
        assert head.loss(labels, logits, mask).item() == pytest.approx(math.log(2))


def use(case: dict[str, Any], ragged: Form, device: torch.device) -> str:
    """Do all that the original may refuse, and return the last stage that was passed."""
    head = build(case["head"], case["kwargs"], device)
    if case["error"]["stage"] == "init":
        return "init"
    batch = batches(case, device, ragged=ragged)[0]
    head.loss(**batch)
    if case["error"]["stage"] == "loss":
        return "loss"
    head.predictions(batch["logits"], keys=["no_such_key"])
    return "predictions"


@pytest.mark.parametrize(
    ("id_", "ragged"),
    labels_in_every_form([i for i, case in CASES.items() if "error" in case and i not in LIFTED]),
)
def test_what_the_original_refuses_is_refused_no_later_and_in_words(
    id_: str, ragged: Form, device: torch.device
) -> None:
    case = CASES[id_]
    if device.type != "cpu" and case["kind"] in VALUES_OF_LABELS:
        pytest.skip("a device assertion would end the process")
    with pytest.raises((ValueError, TypeError, KeyError)) as refusal:
        use(case, ragged, device)
    message = refusal.value.args[0]
    assert message.startswith(tuple(head for head, _ in every_head(case)))
    assert re.search(MESSAGES[case["kind"]], message), message
