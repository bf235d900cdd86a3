"""What the originals' documentation prints, and the worked numbers of their behaviour.

The examples stand as they do there, with ``import torch_heads`` in place of ``tf.estimator`` and
``.compute()`` in place of ``.result().numpy()``.
"""

import doctest
from collections.abc import Callable, Iterator
from math import log
from typing import Any, NamedTuple

import pytest
import torch

import torch_heads as th

EXAMPLES = {
    "BinaryClassHead": """
        >>> import numpy as np
        >>> import torch_heads
        >>> head = torch_heads.BinaryClassHead()
        >>> logits = np.array(((45,), (-41,),), dtype=np.float32)
        >>> labels = np.array(((1,), (1,),), dtype=np.int32)
        >>> features = {'x': np.array(((42,),), dtype=np.float32)}
        >>> loss = head.loss(labels, logits, features=features)
        >>> print('{:.2f}'.format(loss.numpy()))
        20.50
        >>> eval_metrics = head.metrics()
        >>> updated_metrics = head.update_metrics(
        ...   eval_metrics, features, logits, labels)
        >>> for k in sorted(updated_metrics):
        ...   print('{} : {:.2f}'.format(k, updated_metrics[k].compute()))
        accuracy : 0.50
        accuracy_baseline : 1.00
        auc : 0.00
        auc_precision_recall : 1.00
        average_loss : 20.50
        average_precision : nan
        label/mean : 1.00
        precision : 1.00
        prediction/mean : 0.50
        recall : 0.50
        roc_auc : nan
        >>> preds = head.predictions(logits)
        >>> print(preds['logits'])
        tensor([[ 45.],
                [-41.]])
        """,
    "MultiClassHead": """
        >>> import numpy as np
        >>> import torch_heads
        >>> n_classes = 3
        >>> head = torch_heads.MultiClassHead(n_classes)
        >>> logits = np.array(((10, 0, 0), (0, 10, 0),), dtype=np.float32)
        >>> labels = np.array(((1,), (1,)), dtype=np.int64)
        >>> features = {'x': np.array(((42,),), dtype=np.int32)}
        >>> loss = head.loss(labels, logits, features=features)
        >>> print('{:.2f}'.format(loss.numpy()))
        5.00
        >>> eval_metrics = head.metrics()
        >>> updated_metrics = head.update_metrics(
        ...   eval_metrics, features, logits, labels)
        >>> for k in sorted(updated_metrics):
        ...   print('{} : {:.2f}'.format(k, updated_metrics[k].compute()))
        accuracy : 0.50
        average_loss : 5.00
        >>> preds = head.predictions(logits)
        >>> print(preds['logits'])
        tensor([[10.,  0.,  0.],
                [ 0., 10.,  0.]])
        """,
    "MultiLabelHead": """
        >>> import numpy as np
        >>> import torch_heads
        >>> n_classes = 2
        >>> head = torch_heads.MultiLabelHead(n_classes)
        >>> logits = np.array([[-1., 1.], [-1.5, 1.5]], dtype=np.float32)
        >>> labels = np.array([[1, 0], [1, 1]], dtype=np.int64)
        >>> features = {'x': np.array([[41], [42]], dtype=np.int32)}
        >>> loss = head.loss(labels, logits, features=features)
        >>> print('{:.2f}'.format(loss.numpy()))
        1.13
        >>> eval_metrics = head.metrics()
        >>> updated_metrics = head.update_metrics(
        ...   eval_metrics, features, logits, labels)
        >>> for k in sorted(updated_metrics):
        ...   print('{} : {:.2f}'.format(k, updated_metrics[k].compute()))
        auc : 0.33
        auc_precision_recall : 0.77
        average_loss : 1.13
        average_precision : 0.81
        roc_auc : 0.33
        >>> preds = head.predictions(logits)
        >>> print(preds['logits'])
        tensor([[-1.0000,  1.0000],
                [-1.5000,  1.5000]])
        """,
    "RegressionHead": """
        >>> import numpy as np
        >>> import torch_heads
        >>> head = torch_heads.RegressionHead()
        >>> logits = np.array(((45,), (41,),), dtype=np.float32)
        >>> labels = np.array(((43,), (44,),), dtype=np.int32)
        >>> features = {'x': np.array(((42,),), dtype=np.float32)}
        >>> loss = head.loss(labels, logits, features=features)
        >>> print('{:.2f}'.format(loss.numpy()))
        6.50
        >>> eval_metrics = head.metrics()
        >>> updated_metrics = head.update_metrics(
        ...   eval_metrics, features, logits, labels)
        >>> for k in sorted(updated_metrics):
        ...   print('{} : {:.2f}'.format(k, updated_metrics[k].compute()))
        average_loss : 6.50
        label/mean : 43.50
        prediction/mean : 43.00
        >>> preds = head.predictions(logits)
        >>> print(preds['predictions'])
        tensor([[45.],
                [41.]])
        """,
    "MultiHead": """
        >>> import numpy as np
        >>> import torch_heads
        >>> head1 = torch_heads.MultiLabelHead(n_classes=2, name='head1')
        >>> head2 = torch_heads.MultiLabelHead(n_classes=3, name='head2')
        >>> multi_head = torch_heads.MultiHead([head1, head2])
        >>> logits = {
        ...   'head1': np.array([[-10., 10.], [-15., 10.]], dtype=np.float32),
        ...   'head2': np.array([[20., -20., 20.], [-30., 20., -20.]],
        ...   dtype=np.float32),}
        >>> labels = {
        ...   'head1': np.array([[1, 0], [1, 1]], dtype=np.int64),
        ...   'head2': np.array([[0, 1, 0], [1, 1, 0]], dtype=np.int64),}
        >>> features = {'x': np.array(((42,),), dtype=np.float32)}
        >>> loss = multi_head.loss(labels, logits, features=features)
        >>> print('{:.2f}'.format(loss.numpy()))
        23.75
        >>> eval_metrics = multi_head.metrics()
        >>> updated_metrics = multi_head.update_metrics(
        ...   eval_metrics, features, logits, labels)
        >>> for k in sorted(updated_metrics):
        ...   print('{} : {:.2f}'.format(k, updated_metrics[k].compute()))
        auc/head1 : 0.17
        auc/head2 : 0.33
        auc_precision_recall/head1 : 0.60
        auc_precision_recall/head2 : 0.40
        average_loss/head1 : 8.75
        average_loss/head2 : 15.00
        average_precision/head1 : 0.64
        average_precision/head2 : 0.41
        loss/head1 : 8.75
        loss/head2 : 15.00
        roc_auc/head1 : 0.17
        roc_auc/head2 : 0.28
        >>> preds = multi_head.predictions(logits)
        >>> print(preds[('head1', 'logits')])
        tensor([[-10.,  10.],
                [-15.,  10.]])
        """,
    "a model function": """
        >>> import numpy as np
        >>> import torch
        >>> import torch_heads
        >>> model = torch.nn.Linear(1, 1)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> def my_model_fn(features, labels, mode):
        ...   my_head = torch_heads.BinaryClassHead()
        ...   logits = model(torch.from_numpy(features['x']))
        ...   return my_head.create_estimator_spec(
        ...       features=features,
        ...       mode=mode,
        ...       labels=labels,
        ...       optimizer=torch.optim.Adagrad(model.parameters(), lr=0.1),
        ...       logits=logits)
        >>> features = {'x': np.array(((42,), (-42,)), dtype=np.float32)}
        >>> labels = np.array(((1,), (0,)), dtype=np.int32)
        >>> spec = my_model_fn(features, labels, mode=torch_heads.ModeKeys.TRAIN)
        >>> loss = spec.train_op()
        >>> spec = my_model_fn(features, labels, mode=torch_heads.ModeKeys.EVAL)
        >>> print(bool(spec.loss < loss), sorted(spec.eval_metric_ops)[:2])
        True ['accuracy', 'accuracy_baseline']
        >>> spec = my_model_fn(features, None, mode=torch_heads.ModeKeys.PREDICT)
        >>> print(sorted(spec.export_outputs))
        ['classification', 'predict', 'regression', 'serving_default']
        """,
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_in_the_documentation_prints_what_it_did(name: str) -> None:
    example = doctest.DocTestParser().get_doctest(EXAMPLES[name], {}, name, __file__, 0)
    report: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert not results.failed, "".join(report)


class Worked(NamedTuple):
    """A head, one batch, and the six decimals that the originals compute from these."""

    about: str
    head: Callable[[], th.Head]
    logits: Any
    labels: Any
    expected: dict[str, float]
    features: dict[str, Any] | None = None
    regularization_losses: list[float] | None = None


def logit(*scores: float) -> list[list[float]]:
    """Return the logits ``[B, 1]`` of some scores; 0 and 1 are as close as a float32 comes."""
    return [[200.0 * (2 * p - 1) if p in (0, 1) else log(p / (1 - p))] for p in scores]


def binary() -> Iterator[Worked]:
    logits, labels = [[2.0], [-1.0], [0.5], [0.0]], [1, 0, 0, 1]
    yield Worked(
        "binary",
        lambda: th.BinaryClassHead(thresholds=[0.25, 0.5, 0.75]),
        logits,
        labels,
        {
            "loss": 0.526853,
            "average_loss": 0.526853,
            "accuracy": 0.5,
            "precision": 0.5,
            "recall": 0.5,
            "prediction/mean": 0.568049,
            "label/mean": 0.5,
            "accuracy_baseline": 0.5,
            "auc": 0.75,
            "auc_precision_recall": 0.797267,
            "accuracy/positive_threshold_0.25": 0.5,
            "precision/positive_threshold_0.25": 0.5,
            "recall/positive_threshold_0.25": 1.0,
            "accuracy/positive_threshold_0.75": 0.75,
            "precision/positive_threshold_0.75": 1.0,
            "recall/positive_threshold_0.75": 0.5,
        },
    )
    yield Worked(
        "binary, weighted",
        lambda: th.BinaryClassHead(weight_column="w", thresholds=[0.25]),
        logits,
        labels,
        {
            "average_loss": 0.644827,
            "accuracy": 0.3,
            "precision": 0.25,
            "recall": 0.2,
            "prediction/mean": 0.528606,
            "label/mean": 0.5,
            "accuracy_baseline": 0.5,
            "auc": 0.52,
            "auc_precision_recall": 0.584112,
            "accuracy/positive_threshold_0.25": 0.5,
            "precision/positive_threshold_0.25": 0.5,
            "recall/positive_threshold_0.25": 1.0,
        },
        features={"w": [1.0, 2.0, 3.0, 4.0]},
    )
    yield Worked(
        "binary, all labels positive",
        th.BinaryClassHead,
        logits,
        [1, 1, 1, 1],
        {
            "auc": 0,
            "auc_precision_recall": 1,
            "precision": 1,
            "recall": 0.5,
            "accuracy_baseline": 1,
        },
    )
    yield Worked(
        "binary, all labels negative",
        th.BinaryClassHead,
        logits,
        [0, 0, 0, 0],
        {"auc": 0, "auc_precision_recall": 0, "precision": 0, "recall": 0, "accuracy_baseline": 1},
    )
    yield Worked(
        "binary, all weights 0",
        lambda: th.BinaryClassHead(weight_column="w"),
        logits,
        labels,
        dict.fromkeys(
            [
                "average_loss",
                "accuracy",
                "precision",
                "recall",
                "prediction/mean",
                "label/mean",
                "accuracy_baseline",
                "auc",
                "auc_precision_recall",
            ],
            0.0,
        ),
        features={"w": [0.0, 0.0, 0.0, 0.0]},
    )
    yield Worked(
        "binary, documented",
        th.BinaryClassHead,
        [[45.0], [-41.0]],
        [[1], [1]],
        {"loss": 20.5, "prediction/mean": 0.5},
    )


def multi_class() -> Iterator[Worked]:
    logits, labels = [[10.0, 0.0, 0.0], [0.0, 10.0, 0.0]], [1, 1]
    weighted = {"average_loss": 3.333424, "accuracy": 0.666667}
    yield Worked(
        "multi-class",
        lambda: th.MultiClassHead(3),
        logits,
        labels,
        {"loss": 5.000091, "average_loss": 5.000091, "accuracy": 0.5},
    )
    for reduction, loss in ("sum_over_batch_size", 10.000272), ("sum", 20.000544):
        yield Worked(
            f"multi-class, weighted, {reduction}",
            lambda r=reduction: th.MultiClassHead(3, weight_column="w", loss_reduction=r),
            logits,
            labels,
            {"loss": loss, **weighted},
            features={"w": [2.0, 4.0]},
        )
    logits = [[[10.0, 0.0, 0.0], [0.0, 10.0, 0.0]], [[0.0, 0.0, 10.0], [0.0, 1.0, 2.0]]]
    labels = [[0, 1], [1, 2]]
    yield Worked(
        "multi-class, two batch dimensions",
        lambda: th.MultiClassHead(3),
        logits,
        labels,
        {"loss": 2.601969},
    )
    yield Worked(
        "multi-class, two batch dimensions, weighted",
        lambda: th.MultiClassHead(3, weight_column="w"),
        logits,
        labels,
        {"average_loss": 4.081594, "accuracy": 0.6},
        features={"w": [[1.0, 1.0], [2.0, 1.0]]},
    )
    yield Worked(
        "multi-class, two batch dimensions, a weight of 0",
        lambda: th.MultiClassHead(3, weight_column="w"),
        logits,
        labels,
        {"loss": 5.000091},
        features={"w": [[1.0, 1.0], [2.0, 0.0]]},
    )


def multi_label() -> Iterator[Worked]:
    logits, labels = [[-1.0, 1.0], [-1.5, 1.5]], [[1, 0], [1, 1]]
    arguments: dict[str, Any] = {
        "thresholds": [0.25, 0.5, 0.75],
        "classes_for_class_based_metrics": [0, 1],
    }
    yield Worked(
        "multi-label",
        lambda: th.MultiLabelHead(2, **arguments),
        logits,
        labels,
        {
            "loss": 1.132338,
            "average_loss": 1.132338,
            "auc": 0.333333,
            "auc_precision_recall": 0.768951,
            "accuracy/positive_threshold_0.25": 0.5,
            "precision/positive_threshold_0.25": 0.666667,
            "recall/positive_threshold_0.25": 0.666667,
            "accuracy/positive_threshold_0.5": 0.25,
            "precision/positive_threshold_0.5": 0.5,
            "recall/positive_threshold_0.5": 0.333333,
            "accuracy/positive_threshold_0.75": 0.5,
            "precision/positive_threshold_0.75": 1.0,
            "recall/positive_threshold_0.75": 0.333333,
            "probability_mean/class0": 0.225683,
            "probability_mean/class1": 0.774317,
            "auc/class0": 0.0,
            "auc/class1": 1.0,
            "auc_precision_recall/class0": 1.0,
            "auc_precision_recall/class1": 1.0,
        },
    )
    yield Worked(
        "multi-label, weighted",
        lambda: th.MultiLabelHead(2, weight_column="w", **arguments),
        logits,
        labels,
        {
            "loss": 1.608044,
            "average_loss": 1.072029,
            "auc": 0.4,
            "auc_precision_recall": 0.861371,
            "accuracy/positive_threshold_0.25": 0.5,
            "precision/positive_threshold_0.25": 0.75,
            "recall/positive_threshold_0.25": 0.6,
            "accuracy/positive_threshold_0.5": 0.333333,
            "precision/positive_threshold_0.5": 0.666667,
            "recall/positive_threshold_0.5": 0.4,
            "accuracy/positive_threshold_0.75": 0.5,
            "precision/positive_threshold_0.75": 1.0,
            "recall/positive_threshold_0.75": 0.4,
            "probability_mean/class0": 0.211264,
            "probability_mean/class1": 0.788736,
            "auc/class0": 0.0,
            "auc/class1": 1.0,
            "auc_precision_recall/class0": 1.0,
            "auc_precision_recall/class1": 1.0,
        },
        features={"w": [1.0, 2.0]},
    )
    yield Worked(
        "multi-label, weighted, sum",
        lambda: th.MultiLabelHead(2, weight_column="w", loss_reduction="sum"),
        logits,
        labels,
        {"loss": 3.216088},
        features={"w": [1.0, 2.0]},
    )
    yield Worked(
        "multi-label, a weight counts once for each class",
        lambda: th.MultiLabelHead(2, weight_column="w", thresholds=[0.5]),
        [[log(1.5), 0.0], [-log(1.5), log(9.0)]],
        [[1, 0], [1, 1]],
        {"accuracy/positive_threshold_0.5": 0.625},
        features={"w": [[1.0], [3.0]]},
    )


def regression() -> Iterator[Worked]:
    logits, labels = [[1.0, 2.0], [3.0, 5.0]], [[0.0, 2.0], [1.0, 1.0]]
    for weights, mean, total, average, prediction, label in (
        (None, 5.25, 21.0, 5.25, 2.75, 1.0),
        ([1.0, 2.0], 10.25, 41.0, 6.833333, 3.166667, 1.0),
        ([[1.0], [2.0]], 10.25, 41.0, 6.833333, 3.166667, 1.0),
        ([[1.0, 2.0], [3.0, 4.0]], 19.25, 77.0, 7.7, 3.4, 1.1),
    ):
        for reduction, loss in ("sum_over_batch_size", mean), ("sum", total):
            yield Worked(
                f"regression, weights {weights}, {reduction}",
                lambda column=weights and "w", r=reduction: th.RegressionHead(
                    2, weight_column=column, loss_reduction=r
                ),
                logits,
                labels,
                {
                    "loss": loss,
                    "average_loss": average,
                    "prediction/mean": prediction,
                    "label/mean": label,
                },
                features={"w": weights} if weights else None,
            )
    yield Worked(
        "regression, flat labels and weights",
        lambda: th.RegressionHead(weight_column="w"),
        [[45.0], [41.0]],
        [43.0, 44.0],
        {"average_loss": 7.75, "prediction/mean": 42.0, "label/mean": 43.75},
        features={"w": [1.0, 3.0]},
    )


def poisson() -> Iterator[Worked]:
    logits, labels = [0.0, -1.0, 1.0, 0.5], [0.0, 1.0, 2.0, 5.0]
    means = {"prediction/mean": 1.433721, "label/mean": 2.0}
    for full, loss, elements in (
        (True, 1.914384, [1.0, 1.367879, 1.370088, 3.919569]),
        (False, 0.558721, [1.0, 1.367879, 0.718282, -0.851279]),
    ):
        head = lambda full=full: th.PoissonRegressionHead(compute_full_loss=full)  # noqa: E731
        column = [[z] for z in logits]
        expected = {"loss": loss, "average_loss": loss, **means}
        yield Worked(f"Poisson, {full=}", head, column, labels, expected)
        for z, label, element in zip(logits, labels, elements, strict=True):
            about = f"Poisson, {full=}, the count {label:g}"
            yield Worked(about, head, [[z]], [label], {"loss": element})
    yield Worked("Poisson, 1.5", th.PoissonRegressionHead, [[0.0]], [1.5], {"loss": 1.229869})


def logistic() -> Iterator[Worked]:
    logits = [[2.0], [-1.0], [0.0]]
    expected = {"loss": 0.377779, "prediction/mean": 0.549913, "label/mean": 0.666667}
    yield Worked("logistic", th.LogisticRegressionHead, logits, [1.0, 0.0, 1.0], expected)
    soft = {"loss": 0.777779}
    yield Worked("logistic, soft", th.LogisticRegressionHead, logits, [0.4, 0.0, 1.0], soft)


def areas_under_the_curve() -> Iterator[Worked]:
    inverted = 1 - log(2)
    for about, scores, labels, roc, pr in (
        ("all positive", [0.1, 0.7], [1, 1], 0, 1),
        ("all negative", [0.1, 0.7], [0, 0], 0, 0),
        ("one bucket", [0.9999, 0.99995], [0, 1], 0.5, 0.5),
        ("perfect", [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 1, 1),
        ("inverted", [0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], 0, inverted),
        ("scores of 0 and 1", [0, 1], [0, 1], 1, 1),
        ("scores of 0 and 1, inverted", [0, 1], [1, 0], 0, inverted),
        ("scores of a half", [0.5, 0.5, 0.5], [0, 1, 1], 0.5, 0.666667),
    ):
        expected = {"auc": roc, "auc_precision_recall": pr}
        yield Worked(f"AUC, {about}", th.BinaryClassHead, logit(*scores), labels, expected)
    yield Worked(
        "AUC, all weights 0",
        lambda: th.BinaryClassHead(weight_column="w"),
        logit(0.2, 0.8),
        [0, 1],
        {"auc": 0, "auc_precision_recall": 0},
        features={"w": [0.0, 0.0]},
    )


def multi_head() -> Iterator[Worked]:
    first, second = [[-10.0, 10.0], [-15.0, 10.0]], [[20.0, -20.0, 20.0], [-30.0, 20.0, -20.0]]
    labels = {"head1": [[1, 0], [1, 1]], "head2": [[0, 1, 0], [1, 1, 0]]}
    metrics = {
        "auc/head1": 0.166667,
        "auc/head2": 0.333333,
        "auc_precision_recall/head1": 0.602284,
        "auc_precision_recall/head2": 0.401523,
        "average_loss/head1": 8.750034,
        "average_loss/head2": 15.0,
        "loss/head1": 8.750034,
        "loss/head2": 15.0,
    }
    stacked = [a + b for a, b in zip(first, second, strict=True)]
    for form, logits in ("dict", {"head1": first, "head2": second}), ("stacked", stacked):
        for head_weights, losses, loss in (
            (None, None, 23.750034),
            ([1.0, 2.0], None, 38.750034),
            ([1.0, 2.0], [1.5, 0.5], 40.750034),
        ):
            yield Worked(
                f"multi-head, {form}, {head_weights=}, {losses=}",
                lambda w=head_weights: th.MultiHead(
                    [th.MultiLabelHead(2, name="head1"), th.MultiLabelHead(3, name="head2")],
                    head_weights=w,
                ),
                logits,
                labels,
                {"loss": loss, **metrics},
                regularization_losses=losses,
            )


def sequential() -> Iterator[Worked]:
    logits, labels = [[[2.0], [-1.0]], [[0.5], [9.0]]], [[1, 0], [0, 1]]
    mask = {"sequence_length_mask": [[1, 1], [1, 0]]}
    yield Worked(
        "sequential",
        lambda: th.SequentialHeadWrapper(th.BinaryClassHead()),
        logits,
        labels,
        {"loss": 0.471422},
        features=mask,
    )
    yield Worked(
        "sequential, unpadded",
        th.BinaryClassHead,
        [[2.0], [-1.0], [0.5]],
        [1, 0, 0],
        {"loss": 0.471422},
    )
    yield Worked(
        "sequential, weighted",
        lambda: th.SequentialHeadWrapper(
            th.BinaryClassHead(weight_column="w"), feature_columns="w"
        ),
        logits,
        labels,
        {
            "loss": 1.225227,
            "average_loss": 0.612614,
            "accuracy": 0.5,
            "precision": 0.25,
            "recall": 1.0,
            "label/mean": 0.166667,
            "accuracy_baseline": 0.833333,
            "prediction/mean": 0.547676,
            "auc": 1.0,
            "auc_precision_recall": 1.0,
        },
        features={**mask, "w": [[1.0, 2.0], [3.0, 100.0]]},
    )


GROUPS = (
    binary,
    multi_class,
    multi_label,
    regression,
    poisson,
    logistic,
    areas_under_the_curve,
    multi_head,
    sequential,
)
WORKED = [pytest.param(worked, id=worked.about) for group in GROUPS for worked in group()]


@pytest.mark.parametrize("worked", WORKED)
def test_the_worked_numbers_come_out_to_six_decimals(worked: Worked, device: torch.device) -> None:
    def tensors(values: Any) -> Any:
        if isinstance(values, dict):
            return {key: tensors(value) for key, value in values.items()}
        return torch.tensor(values, device=device)

    head = worked.head().to(device)
    logits, labels = tensors(worked.logits), tensors(worked.labels)
    features = worked.features and tensors(worked.features)
    losses = worked.regularization_losses
    loss = head.loss(labels, logits, features, regularization_losses=losses)
    metrics = head.metrics(regularization_losses=losses).to(device)
    for _ in range(2):  # the same batch twice changes no mean and no ratio
        head.update_metrics(metrics, features, logits, labels, regularization_losses=losses)
    actual = {"loss": loss, **metrics.compute()}
    for key, value in worked.expected.items():
        assert actual[key].item() == pytest.approx(value, rel=1e-6, abs=1e-6), key
