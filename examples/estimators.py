"""Estimators on scikit-learn's digits: one that comes with its model, and two of one's own."""

import functools
import tempfile

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import torch_heads as th
from torch_heads.integrations.estimator import DNNEstimator, Estimator, numeric_column

PIXELS, DIGITS = load_digits(return_X_y=True)
KINDS = ["even", "prime", "with a loop"]
KINDS_OF = np.array([[d % 2 == 0, d in (2, 3, 5, 7), d in (0, 6, 8, 9)] for d in DIGITS])
ADAM = functools.partial(torch.optim.Adam, lr=1e-2)


def main():
    torch.manual_seed(0)
    rows = np.split(np.random.default_rng(0).permutation(len(DIGITS)), [1400])
    with tempfile.TemporaryDirectory() as directory:
        canned(*rows, f"{directory}/canned")
        custom(*rows, f"{directory}/custom")


def batches(rows, labels):
    """Return an `input_fn`, which gives batches of features and labels."""
    parts = np.array_split(rows, max(1, len(rows) // 64))
    return lambda: (({"pixels": np.float32(PIXELS[part] / 16)}, labels(part)) for part in parts)


def canned(train, test, model_dir):
    """Train a `DNNEstimator` with a `MultiLabelHead`."""
    head = th.MultiLabelHead(n_classes=3, label_vocabulary=KINDS, thresholds=[0.5])
    estimator = DNNEstimator(head, [64, 32], numeric_column("pixels", 64), model_dir, ADAM)
    print("DNNEstimator with a MultiLabelHead")
    train_fn, test_fn = (batches(rows, KINDS_OF.__getitem__) for rows in (train, test))
    for _ in range(3):  # each goes on where the last one ended
        show(estimator.train(train_fn).evaluate(test_fn), "loss", "auc")
    first = next(estimator.predict(test_fn))
    answers = ", ".join(map("{}: {:.0%}".format, first["classes"], first["probabilities"]))
    print(f"    a {DIGITS[test[0]]} is {answers}")


def custom(train, test, model_dir):
    """Train a `MultiHead` by a `model_fn`, on a dict of logits and on one tensor of all."""
    heads = th.MultiClassHead(n_classes=10, name="digit"), th.RegressionHead(name="ink")
    head = th.MultiHead(heads, head_weights=[1.0, 0.1])

    def model_fn(features, labels, mode, model, optimizer):
        hidden = model["hidden"](features["pixels"]).relu()
        logits = {name: layer(hidden) for name, layer in model.items() if name != "hidden"}
        logits = logits.get("all", logits)
        return head.create_estimator_spec(features, mode, logits, labels, optimizer)

    def labels_of(part):
        return {"digit": DIGITS[part], "ink": PIXELS[part].mean(axis=1)}

    train_fn, test_fn = batches(train, labels_of), batches(test, labels_of)
    for logits, widths in [
        ("a dict of logits", {"hidden": 64, "digit": 10, "ink": 1}),
        ("one tensor of logits", {"hidden": 64, "all": 11}),
    ]:
        print(f"Estimator with a MultiHead, from {logits}")
        model = nn.ModuleDict({name: nn.Linear(64, width) for name, width in widths.items()})
        estimator = Estimator(model_fn, model, ADAM, f"{model_dir}/{logits}")
        for _ in range(3):
            show(estimator.train(train_fn).evaluate(test_fn), "accuracy/digit", "average_loss/ink")


def show(metrics, *keys):
    values = ", ".join(f"{key} {metrics[key]:.3f}" for key in keys)
    print(f"    after {metrics['global_step']} steps: {values}")


if __name__ == "__main__":
    main()
