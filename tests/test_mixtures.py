"""A `MultiHead` equals its heads one by one, whichever they are and however they are fed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import torch_heads as th
from tests.cases import huber, weights_of
from tests.own_heads import LaplaceHead, QuartilesHead
from torch_heads.testing import move_to

REDUCTIONS = ["sum_over_batch_size", "auto", "sum", "weighted_mean"]

KINDS = [
    "BinaryClassHead",
    "BinaryClassHead",
    "LaplaceHead",
    "QuartilesHead",
    "LogisticRegressionHead",
    "MultiClassHead",
    "MultiLabelHead",
    "PoissonRegressionHead",
    "RegressionHead",
    "QuantileRegressionHead",
    "GaussianRegressionHead",
    "NegativeBinomialRegressionHead",
    "ZeroInflatedLogNormalHead",
    "OrdinalClassHead",
    "SurvivalHead",
]

Draw = Callable[[st.SearchStrategy[Any]], Any]
Labels = Callable[[torch.Generator, tuple[int, ...]], Any]


@dataclass
class Mixture:
    """A head of several, and one batch for it."""

    head: th.MultiHead
    logits: Tensor
    labels: dict[str, Any]
    features: dict[str, Tensor]
    weights: dict[str, Any] | None

    def to(self, device: torch.device) -> "Mixture":
        """Return the mixture on the device."""
        parts = [self.logits, self.labels, self.features, self.weights]
        return Mixture(self.head.to(device), *(move_to(part, device) for part in parts))

    def given_labels(self, stacked: bool) -> Any:
        """Return the labels as a dict, or as one tensor where that is possible."""
        return stack(self.head, self.labels, self.logits) if stacked else self.labels

    def given_logits(self, stacked: bool) -> Any:
        """Return the logits as one tensor, or as a dict."""
        return self.logits if stacked else self.head.as_logits(self.logits)


def stack(head: th.Head, labels: Any, logits: Tensor) -> Tensor:
    """Return the label columns of a head, or of the heads inside of it, side by side."""
    if isinstance(head, th.MultiHead):
        return torch.cat([stack(head[name], labels[name], logits) for name in head], dim=-1)
    return labels.reshape(*logits.shape[:-1], head.labels_dimension).to(logits.dtype)


def heads(draw: Draw, name: str) -> tuple[th.Head, Labels]:
    """Draw a head of that name, and what makes random labels for it."""
    options: dict[str, Any] = {
        "name": name,
        "loss_reduction": draw(st.sampled_from(REDUCTIONS)),
        "weight_column": draw(st.sampled_from([None, None, "w", "v", weights_of])),
    }
    thresholds = draw(st.lists(st.sampled_from([0.2, 0.5, 0.75]), max_size=2, unique=True))
    width = draw(st.integers(1, 3))
    trailing = (1,) if draw(st.booleans()) else ()

    def integers(below: int, *last: int) -> Labels:
        return lambda random, shape: torch.randint(below, (*shape, *last), generator=random)

    def normal(*last: int) -> Labels:
        return lambda random, shape: torch.randn(*shape, *last, generator=random)

    def times(random: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        event = torch.randint(2, shape, generator=random)
        return torch.stack([4 * torch.rand(shape, generator=random), event], dim=-1)

    def named(vocabulary: list[str], ids: Labels) -> Labels:
        return lambda random, shape: np.array(vocabulary)[ids(random, shape).numpy()]

    match draw(st.sampled_from(KINDS)):
        case "MultiClassHead":
            ids = integers(width + 2, *trailing)
            if draw(st.booleans()):
                vocabulary = [f"class {i}" for i in range(width + 2)]
                options["label_vocabulary"], ids = vocabulary, named(vocabulary, ids)
            return th.MultiClassHead(width + 2, **options), ids
        case "MultiLabelHead":
            chosen = draw(st.sampled_from([None, [0], [1, 0]]))
            options |= {"thresholds": thresholds, "classes_for_class_based_metrics": chosen}
            return th.MultiLabelHead(width + 1, **options), integers(2, width + 1)
        case "OrdinalClassHead":
            ids = integers(width + 2, *trailing)
            if draw(st.booleans()):
                vocabulary = [f"grade {i}" for i in range(width + 2)]
                options["label_vocabulary"], ids = vocabulary, named(vocabulary, ids)
            return th.OrdinalClassHead(width + 2, **options), ids
        case "SurvivalHead":
            return th.SurvivalHead([0.5, 1.0, 2.5, 3.0][: width + 1], **options), times
        case "QuantileRegressionHead":
            levels = draw(st.sampled_from([(0.5,), (0.1, 0.9), (0.1, 0.5, 0.9)]))
            return th.QuantileRegressionHead(levels, width, **options), normal(width)
        case "GaussianRegressionHead":
            beta = draw(st.sampled_from([0.0, 0.5]))
            return th.GaussianRegressionHead(width, beta, **options), normal(width)
        case "NegativeBinomialRegressionHead":
            return th.NegativeBinomialRegressionHead(width, **options), integers(5, width)
        case "ZeroInflatedLogNormalHead":
            return th.ZeroInflatedLogNormalHead(width, **options), integers(5, width)
        case "LaplaceHead":
            return LaplaceHead(width, **options), normal(width)
        case "QuartilesHead":
            return QuartilesHead(width, **options), normal(width)
        case "RegressionHead":
            options["inverse_link_fn"] = draw(st.sampled_from([None, None, torch.exp]))
            options["loss_fn"] = draw(st.sampled_from([None, None, huber]))
            return th.RegressionHead(width, **options), normal(width)
        case "PoissonRegressionHead":
            full = draw(st.booleans())
            head = th.PoissonRegressionHead(width, compute_full_loss=full, **options)
            return head, integers(5, width)
        case "LogisticRegressionHead":
            return th.LogisticRegressionHead(**options), integers(2, *trailing)
    ids = integers(2, *trailing)
    if draw(st.booleans()):
        vocabulary = ["no", "yes"]
        options["label_vocabulary"], ids = vocabulary, named(vocabulary, ids)
    return th.BinaryClassHead(thresholds=thresholds, **options), ids


def direct_weights(draw: Draw, head: th.Head, w: Tensor) -> Any:
    """Draw weights for some of the heads that have no ``weight_column``."""
    if isinstance(head, th.MultiHead):
        each = {name: direct_weights(draw, head[name], w) for name in head}
        return {name: weights for name, weights in each.items() if weights is not None} or None
    return w if head.weight_column is None and draw(st.booleans()) else None


@st.composite
def mixtures(draw: Draw, stackable: bool = False) -> Mixture:
    """Draw up to seven heads, the last ones of which may be nested in another `MultiHead`."""
    drawn = [heads(draw, f"h{i}") for i in range(draw(st.integers(1, 7)))]
    if stackable:
        drawn = [pair for pair in drawn if not pair[0].label_vocabulary] or [
            (th.BinaryClassHead(name="h"), lambda random, shape: torch.zeros(shape))
        ]
    shape = draw(st.sampled_from([(5,), (4, 2), (1,), (0,)]))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    children = [head for head, _ in drawn]
    labels = {head.name: make(random, shape) for head, make in drawn}
    if len(drawn) > 3 and draw(st.booleans()):
        inner = th.MultiHead(children[-2:], head_weights=[3.0, 0.5])
        labels[inner.name] = {head.name: labels.pop(head.name) for head in children[-2:]}
        children[-2:] = [inner]
    factors = st.lists(
        st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=len(children), max_size=len(children)
    )
    head = th.MultiHead(children, head_weights=draw(st.none() | factors))
    logits = 2 * torch.randn(*shape, head.logits_dimension, generator=random)
    features = {
        "w": torch.rand(*shape, generator=random),
        "v": torch.randint(3, (*shape, 1), generator=random),
    }
    weights = direct_weights(draw, head, features["w"]) if draw(st.booleans()) else None
    return Mixture(head, logits, labels, features, weights)


def one_by_one(mixture: Mixture) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
    """Return each head's loss, the gradient of their weighted sum, and all their metrics."""
    head, features = mixture.head, mixture.features
    factors = [1.0] * len(head) if head.head_weights is None else head.head_weights.tolist()
    losses, gradients, values = {}, [], {}
    for factor, (name, logits) in zip(factors, head.as_logits(mixture.logits).items(), strict=True):
        leaf = logits.detach().requires_grad_()
        weights = (mixture.weights or {}).get(name)
        loss = head[name].loss(mixture.labels[name], leaf, features, weights=weights)
        losses[name] = loss.detach()
        gradients.append(factor * torch.autograd.grad(loss, leaf)[0])
        metrics = head[name].metrics()
        head[name].update_metrics(metrics, features, leaf, mixture.labels[name], weights=weights)
        values |= {f"loss/{name}": losses[name]} | metrics.compute()
    return losses, torch.cat(gradients, dim=-1), values


def together(
    mixture: Mixture, labels: Any, logits: Any
) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
    """Return the same of the heads as one."""
    head, features, weights = mixture.head, mixture.features, mixture.weights
    leaf = mixture.logits.detach().requires_grad_()
    again = leaf if isinstance(logits, Tensor) else head.as_logits(leaf)
    loss = head.loss(labels, again, features, weights=weights)
    gradient = torch.autograd.grad(loss, leaf)[0]
    losses = head.losses(labels, logits, features, weights=weights)
    metrics = head.update_metrics(head.metrics(), features, logits, labels, weights=weights)
    factors = [1.0] * len(head) if head.head_weights is None else head.head_weights.tolist()
    total = sum(factor * loss for factor, loss in zip(factors, losses.values(), strict=True))
    torch.testing.assert_close(loss.detach(), total, rtol=1e-5, atol=1e-5)
    return losses, gradient, metrics.compute()


def assert_equals_its_heads(mixture: Mixture, labels: Any, logits: Any) -> None:
    expected = one_by_one(mixture)
    actual = together(mixture, labels, logits)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


@given(mixture=mixtures(), stacked_logits=st.booleans())
@settings(max_examples=150)
def test_a_multi_head_equals_its_heads_one_by_one(
    mixture: Mixture, stacked_logits: bool, device: torch.device
) -> None:
    mixture = mixture.to(device)
    logits = mixture.given_logits(stacked_logits)
    assert_equals_its_heads(mixture, mixture.labels, logits)


@pytest.mark.parametrize("stacked_logits", [True, False])
@given(mixture=mixtures(stackable=True))
@settings(max_examples=50)
def test_stacked_labels_are_the_columns_of_a_dict(
    mixture: Mixture, stacked_logits: bool, device: torch.device
) -> None:
    mixture = mixture.to(device)
    labels, logits = mixture.given_labels(stacked=True), mixture.given_logits(stacked_logits)
    assert_equals_its_heads(mixture, labels, logits)


@given(mixture=mixtures())
@settings(max_examples=30)
def test_predictions_are_those_of_the_heads(mixture: Mixture, device: torch.device) -> None:
    mixture = mixture.to(device)
    parts = mixture.head.as_logits(mixture.logits)
    everything = mixture.head.predictions(mixture.logits, mixture.head.all_prediction_keys())
    assert len(everything) == len(mixture.head.all_prediction_keys())
    for (name, key), actual in everything.items():
        expected = mixture.head[name].predictions(parts[name], keys=[key])[key]
        if isinstance(expected, Tensor):  # computed side by side, vectors may round otherwise
            torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)
        else:
            np.testing.assert_array_equal(actual, expected)
