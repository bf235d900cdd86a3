"""One small example of each head, in each form in which it takes labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import torch_heads as th
from tests.own_heads import LaplaceHead, QuartilesHead
from torch_heads.testing import ROWS, STEPS, Sample

DIGITS = ["zero", "one", "two"]


@dataclass(frozen=True)
class Case:
    """What makes a head, and a batch for it."""

    about: str
    make: Callable[..., th.Head] = field(repr=False)
    batch: Sample = field(repr=False)

    def head(self, device: torch.device | str = "cpu", **kwargs: Any) -> th.Head:
        """Return a new head, made with more arguments if wanted."""
        return self.make(**kwargs).to(device)

    @property
    def dense(self) -> bool:
        """Whether all labels are dense tensors, as compiled code needs them."""
        labels = self.batch.labels
        parts = labels.values() if isinstance(labels, dict) else [labels]
        return all(isinstance(part, Tensor) and not part.is_sparse for part in parts)

    def has(self, kind: Any) -> bool:
        """Say whether the head is of this kind, or one inside of it is."""
        return any(isinstance(module, kind) for module in self.head().modules())


# Picklable functions, for the heads that take one.


def hinge(labels: Tensor, logits: Tensor) -> Tensor:
    """Return the hinge loss of labels 0 and 1."""
    return F.relu(1 - (2 * labels - 1) * logits)


def huber(labels: Tensor, logits: Tensor) -> Tensor:
    """Return the Huber loss."""
    return F.huber_loss(logits, labels, reduction="none")


def weights_of(features: Mapping[str, Any]) -> Any:
    """Return the weights, as a callable ``weight_column``."""
    return features["w"]


# The examples.

RANDOM = torch.Generator().manual_seed(20240117)


def normal(*shape: int) -> Tensor:
    return 2 * torch.randn(shape, generator=RANDOM)


def integers(below: int, *shape: int) -> Tensor:
    return torch.randint(below, shape, generator=RANDOM)


def names(*shape: int) -> np.ndarray:
    return np.array(DIGITS)[integers(3, *shape).numpy()]


def times(*shape: int) -> dict[str, Tensor]:
    """Return times, some beyond the last cut point of `survival`, and whether events came."""
    event = (integers(4, *shape) > 0).long()
    return {"time": 5 * torch.rand(shape, generator=RANDOM), "event": event}


def sets(classes: Sequence[Any]) -> list[list[Any]]:
    """Return a random set of classes for each row; the first one is empty."""
    picked = integers(2, ROWS, len(classes)).tolist()
    picked[0] = [0] * len(classes)
    return [[c for c, i in zip(classes, row, strict=True) if i] for row in picked]


def coo(rows: Sequence[Sequence[int]]) -> Tensor:
    """Return sets of ids as the sparse tensor that holds each row's ids side by side."""
    places = [(row, i) for row, ids in enumerate(rows) for i in range(len(ids))]
    values = torch.tensor([i for ids in rows for i in ids])
    shape = (len(rows), max(map(len, rows)))
    return torch.sparse_coo_tensor(
        torch.tensor(places).T, values, shape, is_coalesced=True, check_invariants=True
    )


def case(about: str, make: Callable[..., th.Head], labels: Any, width: int, *steps: int) -> Case:
    """Return a case with random logits and weights; ``steps`` are further batch dimensions."""
    weights = 0.25 + torch.rand(ROWS, *steps, generator=RANDOM)
    return Case(about, make, Sample(labels, normal(ROWS, *steps, width), {"w": weights}))


def sequential(about: str, make: Callable[..., th.Head], labels: Any, width: int) -> Case:
    """Return a case of the wrapped head, in which some steps are padding."""

    def wrapped(**kwargs: Any) -> th.Head:
        return th.SequentialHeadWrapper(make(**kwargs), feature_columns=["w"])

    one = case(about, wrapped, labels, width, STEPS)
    lengths = torch.tensor([3, 1, 2, 0, 3, 2, 1])
    mask = torch.arange(STEPS) < lengths[:, None]
    return Case(
        about,
        wrapped,
        one.batch._replace(features={**one.batch.features, "sequence_length_mask": mask}),
    )


def mixture(**kwargs: Any) -> th.MultiHead:
    return th.MultiHead(
        [
            th.BinaryClassHead(name="even", thresholds=[0.3, 0.5], **kwargs),
            th.RegressionHead(name="ink", label_dimension=2, **kwargs),
            th.MultiLabelHead(name="bars", n_classes=3, thresholds=[0.7], **kwargs),
            th.MultiClassHead(name="digit", n_classes=3, **kwargs),
            th.PoissonRegressionHead(name="dark", **kwargs),
            th.LogisticRegressionHead(name="round", **kwargs),
            th.MultiClassHead(name="size", n_classes=4, **kwargs),
        ],
        head_weights=[1.0, 0.5, 2.0, 1.0, 0.1, 1.0, 3.0],
    )


def nested(**kwargs: Any) -> th.MultiHead:
    inner = [
        th.BinaryClassHead(name="left", **kwargs),
        th.RegressionHead(name="near", inverse_link_fn=torch.exp, **kwargs),
        th.BinaryClassHead(name="right", loss_fn=hinge, **kwargs),
    ]
    return th.MultiHead(
        [th.MultiHead(inner, head_weights=[1.0, 2.0, 3.0]), th.BinaryClassHead(name="up", **kwargs)]
    )


def over_sequences(**kwargs: Any) -> th.MultiHead:
    def wrapped(head: th.Head) -> th.SequentialHeadWrapper:
        return th.SequentialHeadWrapper(head, "mask", feature_columns="w")

    return th.MultiHead(
        [
            wrapped(th.BinaryClassHead(name="yes", **kwargs)),
            wrapped(th.MultiClassHead(name="which", n_classes=3, **kwargs)),
        ]
    )


def survival(**kwargs: Any) -> th.SurvivalHead:
    return th.SurvivalHead([1.0, 2.5, 4.0], **kwargs)


CASES = [
    case(
        "binary",
        lambda **kwargs: th.BinaryClassHead(thresholds=[0.25, 0.5, 0.75], name="even", **kwargs),
        integers(2, ROWS),
        1,
    ),
    case("binary, soft labels", th.BinaryClassHead, integers(3, ROWS, 1) / 2, 1),
    case(
        "binary, names",
        lambda **kwargs: th.BinaryClassHead(label_vocabulary=["no", "yes"], **kwargs),
        np.array(["no", "yes"])[integers(2, ROWS).numpy()],
        1,
    ),
    case("binary, 3-D", th.BinaryClassHead, integers(2, ROWS, STEPS).bool(), 1, STEPS),
    case(
        "binary, hinge loss",
        lambda **kwargs: th.BinaryClassHead(loss_fn=hinge, **kwargs),
        integers(2, ROWS, 1),
        1,
    ),
    case(
        "multi-class",
        lambda **kwargs: th.MultiClassHead(3, name="digit", **kwargs),
        integers(3, ROWS),
        3,
    ),
    case(
        "multi-class, names",
        lambda **kwargs: th.MultiClassHead(3, label_vocabulary=DIGITS, **kwargs),
        names(ROWS).tolist(),
        3,
    ),
    case(
        "multi-class, 3-D",
        lambda **kwargs: th.MultiClassHead(4, **kwargs),
        integers(4, ROWS, STEPS, 1),
        4,
        STEPS,
    ),
    case(
        "multi-label",
        lambda **kwargs: th.MultiLabelHead(
            3, thresholds=[0.6], classes_for_class_based_metrics=[2, 0], name="bars", **kwargs
        ),
        integers(2, ROWS, 3),
        3,
    ),
    case(
        "multi-label, names",
        lambda **kwargs: th.MultiLabelHead(
            3, label_vocabulary=DIGITS, classes_for_class_based_metrics=["one"], **kwargs
        ),
        sets(DIGITS),
        3,
    ),
    case(
        "multi-label, sparse",
        lambda **kwargs: th.MultiLabelHead(4, **kwargs),
        coo(sets(range(4))),
        4,
    ),
    case(
        "multi-label, 3-D",
        lambda **kwargs: th.MultiLabelHead(2, **kwargs),
        torch.rand(ROWS, STEPS, 2, generator=RANDOM).round(decimals=1),
        2,
        STEPS,
    ),
    case("regression", lambda **kwargs: th.RegressionHead(name="ink", **kwargs), normal(ROWS), 1),
    case(
        "regression, 2 columns of 3-D",
        lambda **kwargs: th.RegressionHead(2, **kwargs),
        normal(ROWS, STEPS, 2),
        2,
        STEPS,
    ),
    case(
        "regression, Huber loss, inverse link",
        lambda **kwargs: th.RegressionHead(
            2, loss_fn=huber, inverse_link_fn=torch.sigmoid, **kwargs
        ),
        normal(ROWS, 2),
        2,
    ),
    case(
        "Poisson",
        lambda **kwargs: th.PoissonRegressionHead(2, name="dark", **kwargs),
        integers(6, ROWS, 2),
        2,
    ),
    case(
        "Poisson, short loss",
        lambda **kwargs: th.PoissonRegressionHead(compute_full_loss=False, **kwargs),
        integers(6, ROWS),
        1,
    ),
    case(
        "logistic",
        lambda **kwargs: th.LogisticRegressionHead(name="share", **kwargs),
        torch.rand(ROWS, 1, generator=RANDOM),
        1,
    ),
    case("own, 2 logits", lambda **kwargs: LaplaceHead(2, **kwargs), normal(ROWS, 2), 4),
    case(
        "own, 3 logits, 3-D",
        lambda **kwargs: QuartilesHead(name="price", **kwargs),
        normal(ROWS, STEPS),
        3,
        STEPS,
    ),
    case(
        "own among others",
        lambda **kwargs: th.MultiHead(
            [
                LaplaceHead(name="a", **kwargs),
                QuartilesHead(2, name="b", **kwargs),
                th.RegressionHead(name="c", **kwargs),
                LaplaceHead(2, name="d", **kwargs),
            ]
        ),
        {
            name: normal(ROWS, *own)
            for name, own in [("a", ()), ("b", (2,)), ("c", (1,)), ("d", (2,))]
        },
        13,
    ),
    case(
        "multi",
        mixture,
        {
            "even": integers(2, ROWS),
            "ink": normal(ROWS, 2),
            "bars": integers(2, ROWS, 3),
            "digit": integers(3, ROWS, 1),
            "dark": integers(9, ROWS, 1),
            "round": torch.rand(ROWS, generator=RANDOM),
            "size": integers(4, ROWS),
        },
        15,
    ),
    case(
        "multi, nested, stacked",
        nested,
        torch.stack([integers(2, ROWS), normal(ROWS), *integers(2, 2, ROWS)], dim=-1),
        4,
    ),
    case(
        "multi, two of a family, 3-D",
        lambda **kwargs: th.MultiHead(
            [
                th.MultiClassHead(3, name="first", **kwargs),
                th.MultiClassHead(4, name="second", **kwargs),
            ]
        ),
        {"first": integers(3, ROWS, STEPS), "second": integers(4, ROWS, STEPS)},
        7,
        STEPS,
    ),
    sequential("sequential binary", th.BinaryClassHead, integers(2, ROWS, STEPS), 1),
    sequential(
        "sequential multi-class, names",
        lambda **kwargs: th.MultiClassHead(3, label_vocabulary=DIGITS, name="digit", **kwargs),
        names(ROWS, STEPS),
        3,
    ),
    sequential(
        "sequential multi-label",
        lambda **kwargs: th.MultiLabelHead(2, thresholds=[0.5], **kwargs),
        integers(2, ROWS, STEPS, 2),
        2,
    ),
    sequential(
        "sequential regression",
        lambda **kwargs: th.RegressionHead(2, **kwargs),
        normal(ROWS, STEPS, 2),
        2,
    ),
]
CASES.append(
    sequential(
        "sequential multi",
        lambda **kwargs: th.MultiHead(
            [
                th.BinaryClassHead(name="yes", **kwargs),
                LaplaceHead(name="far", **kwargs),
                th.BinaryClassHead(name="no", **kwargs),
            ]
        ),
        {
            "yes": integers(2, ROWS, STEPS),
            "far": normal(ROWS, STEPS),
            "no": integers(2, ROWS, STEPS),
        },
        4,
    )
)
CASES.append(
    Case(
        "multi over sequences",
        over_sequences,
        Sample(
            {
                "yes_sequential": integers(2, ROWS, STEPS),
                "which_sequential": integers(3, ROWS, STEPS),
            },
            normal(ROWS, STEPS, 4),
            {
                "w": torch.rand(ROWS, STEPS, generator=RANDOM),
                "mask": integers(2, ROWS, STEPS).bool(),
            },
        ),
    )
)
CASES += [
    case(
        "quantiles",
        lambda **kwargs: th.QuantileRegressionHead((0.1, 0.5, 0.9), 2, name="price", **kwargs),
        normal(ROWS, 2),
        6,
    ),
    case(
        "Gaussian",
        # of another beta, the gradient is not that of the loss
        lambda **kwargs: th.GaussianRegressionHead(2, beta=0, name="height", **kwargs),
        normal(ROWS, 2),
        4,
    ),
    case(
        "negative binomial",
        lambda **kwargs: th.NegativeBinomialRegressionHead(name="visits", **kwargs),
        integers(9, ROWS),
        2,
    ),
    case(
        "zero-inflated log-normal, 3-D",
        lambda **kwargs: th.ZeroInflatedLogNormalHead(name="spent", **kwargs),
        normal(ROWS, STEPS).clamp(min=0),
        3,
        STEPS,
    ),
    case(
        "ordinal",
        lambda **kwargs: th.OrdinalClassHead(4, name="grade", **kwargs),
        integers(4, ROWS),
        3,
    ),
    case(
        "ordinal, names",
        lambda **kwargs: th.OrdinalClassHead(3, label_vocabulary=DIGITS, **kwargs),
        names(ROWS).tolist(),
        2,
    ),
    case("survival", survival, times(ROWS), 3),
    case(
        "survival, stacked, 3-D",
        survival,
        torch.stack([*times(ROWS, STEPS).values()], -1),
        3,
        STEPS,
    ),
    case(
        "new among others",
        lambda **kwargs: th.MultiHead(
            [
                survival(name="a", **kwargs),
                th.OrdinalClassHead(3, name="b", **kwargs),
                th.QuantileRegressionHead((0.25, 0.75), name="c", **kwargs),
                survival(name="d", **kwargs),
                th.NegativeBinomialRegressionHead(name="e", **kwargs),
                th.RegressionHead(name="f", **kwargs),
            ]
        ),
        {
            "a": times(ROWS),
            "b": integers(3, ROWS),
            "c": normal(ROWS),
            "d": torch.stack([*times(ROWS).values()], -1),
            "e": integers(9, ROWS),
            "f": normal(ROWS),
        },
        13,
    ),
    sequential("sequential survival", survival, times(ROWS, STEPS), 3),
]

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
