"""`check_head` names the promise that a head breaks."""

import ast
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import torch_heads as th
from tests.own_heads import Laplace, LaplaceHead
from torch_heads.families import Normal
from torch_heads.testing import PROMISES, ROWS, Sample, check, check_head


class Broken(th.TensorHead):
    """A head of some family."""

    def __init__(self, family: th.Family, **options: Any) -> None:
        super().__init__(family, **options)


class Coupled(Laplace):
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().loss(logits - logits.mean(0), labels)


class Steep(Normal):
    """A family whose gradient is not that of its loss."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        right = super().loss(logits, labels)
        return 2 * right - right.detach()

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.loss(logits, labels).mean()


class Positioned(Normal):
    """A family that looks at where a label stands among others."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        place = torch.arange(logits.shape[-1], dtype=logits.dtype, device=logits.device)
        return (logits - labels - place) ** 2

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.loss(logits, labels).mean()


class Branching(Normal):
    """A family whose mean asks the values of the logits what to do."""

    def mean(self, logits: Tensor) -> Tensor:
        return logits if logits.sum() > 0 else logits.clone()


class Shifted(Normal):
    """A family that holds a tensor, which has no value where it is made on the meta device."""

    def __init__(self) -> None:
        object.__setattr__(self, "shift", torch.zeros(()))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().loss(logits + self.shift, labels)

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.loss(logits, labels).mean()


@dataclass(frozen=True)
class CountsRows(th.metrics.Reading):
    """A metric that ignores weights."""

    def read(self, sums: th.metrics.Sums) -> Tensor:
        return sums.total(th.metrics.Total.PRESENT)


class Unweighted(LaplaceHead):
    def readings(self) -> Iterator[tuple[str, th.metrics.Reading]]:
        yield "rows", CountsRows()


BROKEN = {
    "a weight of 0 is a row removed, and a label missing": lambda **o: Broken(Coupled(), **o),
    "the gradient is that of the loss": lambda **o: Broken(Steep(), **o),
    "heads computed as one are the heads alone": lambda **o: Broken(Positioned(), **o),
    "it compiles without a break": lambda **o: Broken(Branching(), **o),
    "built on the meta device it is the same": lambda **o: Broken(Shifted(), **o),
}


@pytest.mark.parametrize("promise", BROKEN)
def test_the_promise_that_is_broken_is_named(promise: str) -> None:
    with pytest.raises(AssertionError, match=rf"^Broken: {promise}\. "):
        check_head(BROKEN[promise])


class Rounded(Laplace):
    """A family that computes in float32, whatever it is given."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().loss(logits.float(), labels.float())


class Detached(Normal):
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return labels**2

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.loss(logits, labels).mean()


class OfRows(Detached):
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits - labels).square().mean(-1)


class OfTwo(Laplace):
    def mean(self, logits: Tensor) -> Tensor:
        return logits


class Noisy(Laplace):
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().loss(logits, labels) + torch.rand_like(labels)


class Alone(Laplace):
    """A family that never equals another one."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Centering(LaplaceHead):
    def encode_labels(self, *given: Any) -> Tensor:
        labels = super().encode_labels(*given)
        return labels - labels.mean()


class Ranking(LaplaceHead):
    @property
    def predicted(self) -> Mapping[str, Any]:
        return {**super().predicted, "rank": rank}


def rank(family: th.Family, logits: Tensor) -> Tensor:
    return logits[..., 0].argsort(0).float()


class Summing(LaplaceHead):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "loss_reduction": "sum"})


class Named(LaplaceHead):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "name": "mine"})


class Doubling(LaplaceHead):
    """A head that changes predictions where no other head can see it."""

    def predictions(self, *given: Any, **options: Any) -> dict[Any, Any]:
        found = super().predictions(*given, **options)
        return found | {"predictions": 2 * found["predictions"]}


class Itself(LaplaceHead):
    def __deepcopy__(self, memo: dict[int, Any]) -> "Itself":
        return self


class Shallow(LaplaceHead):
    def __deepcopy__(self, memo: dict[int, Any]) -> "Shallow":
        other = copy.copy(self)
        other._modules = dict(self._modules)
        return other


class Unpickled(LaplaceHead):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.function = lambda logits: logits


FAULTS: dict[str, tuple[Any, str]] = {
    "its float64": (Rounded(), "of float64 logits, all must be computed in float64"),
    "a gradient": (Detached(), "the loss does not depend on the logits"),
    "the shape of losses": (OfRows(), r"the loss of labels \[7, 1\] has the shape \[7\]"),
    "the shape of means": (OfTwo(), r"of labels \[7, 1\] has the shape \[7, 1, 2\]"),
    "one loss": (Noisy(), "the same batch always has the same loss"),
    "equal families": (
        lambda **o: Broken(Alone(), **o),
        "families that are made alike are not equal",
    ),
    "rows apart": (Centering, "a weight of 0 is a row removed"),
    "predictions apart": (Ranking, "batches may be cut anywhere"),
    "its reduction": (Summing, r"loss_reduction='weighted_mean' makes a head of \['sum'\]"),
    "its name": (Named, "name='first' makes a head of the name 'mine'"),
    "the same predictions": (Doubling, "heads computed as one are the heads alone"),
    "a copy": (Itself, "a copy is the head itself"),
    "a copy of its metrics": (Shallow, "a copy has the metric_collection of the head itself"),
    "a pickle": (Unpickled, "it cannot be pickled: .*lambda"),
}


@pytest.mark.parametrize("lacking", FAULTS)
def test_what_a_head_lacks_is_said(lacking: str) -> None:
    made, words = FAULTS[lacking]
    make = (lambda **o: Broken(made, **o)) if isinstance(made, th.Family) else made
    with pytest.raises(AssertionError, match=words):
        check_head(make)


def test_a_head_that_is_made_in_a_function_keeps_its_promises() -> None:
    class Local(Laplace):
        def width(self, logits: Tensor) -> Tensor:
            return 2 * self.scale(logits)

    class LocalHead(th.TensorHead):
        def __init__(self, **options: Any) -> None:
            super().__init__(Local(), **options)

        @property
        def predicted(self) -> Mapping[str, Any]:
            return {**super().predicted, "width": Local.width}

    def double(labels: Tensor, logits: Tensor) -> Tensor:
        return 2 * (labels - logits).square()

    check_head(LocalHead)
    check_head(lambda **options: th.RegressionHead(loss_fn=double, **options))


def test_a_metric_that_ignores_weights_breaks_a_promise() -> None:
    with pytest.raises(AssertionError, match=r"^Unweighted: a weight of 0 is a row removed"):
        check_head(Unweighted)


def test_what_breaks_is_told_as_the_cause() -> None:
    def refusing(**options: Any) -> th.Head:
        if "missing_label" in options:
            raise ValueError("no label may miss")
        return th.RegressionHead(**options)

    with pytest.raises(AssertionError, match="no label may miss") as raised:
        check_head(refusing)
    assert isinstance(raised.value.__cause__, ValueError)


def test_there_are_promises() -> None:
    assert len(PROMISES) >= 12


ZEROS = torch.zeros(ROWS, 1)


@pytest.mark.parametrize(
    ("make", "sample", "error", "says"),
    [
        (th.RegressionHead(), None, TypeError, "make as a class of heads, .* got RegressionHead"),
        (7, None, TypeError, "make as a class of heads, .* got int"),
        (
            lambda **_: torch.nn.Linear(1, 1),
            None,
            TypeError,
            "make as a class .* got one of Linear",
        ),
        (th.RegressionHead, (ZEROS, ZEROS, {}), TypeError, "sample as a Sample, got tuple"),
        (
            th.RegressionHead,
            Sample(ZEROS[:5], ZEROS[:5], {"w": torch.ones(5)}),
            ValueError,
            "sample with 7 rows of logits, got 5 of them",
        ),
        (
            th.RegressionHead,
            Sample(ZEROS, ZEROS, {}),
            TypeError,
            "sample with weights 'w' in its features, a tensor, got NoneType",
        ),
        (
            th.RegressionHead,
            Sample(ZEROS, ZEROS.numpy(), {"w": torch.ones(7)}),
            TypeError,
            "sample with logits, a tensor, got ndarray",
        ),
        (
            th.RegressionHead,
            Sample(range(7), ZEROS, {"w": torch.ones(7)}),
            TypeError,
            "sample with labels in tensors, arrays, lists, or a dict of these, got range",
        ),
    ],
)
def test_what_is_no_head_or_sample_is_refused(
    make: Any, sample: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=f"check_head: expected {says}"):
        check_head(make, sample)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([1, 0, 1, 1, 0, 0, 1]),
        np.array([1, 0, 1, 1, 0, 0, 1], np.uint8),
        np.array([1, 0, 1, 1, 0, 0, 1], np.float32)[:, None],
        np.array([1, 0, 1, 1, 0, 0, 1], bool),
        np.array(["a_longer_name", "no"], object)[[0, 1, 0, 0, 1, 1, 0]],
        np.array(["a_longer_name", "no"])[[0, 1, 0, 0, 1, 1, 0]],
        np.array(["a_longer_name", "no"], np.dtypes.StringDType())[[0, 1, 0, 0, 1, 1, 0]],
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_a_sample_may_have_its_labels_in_an_array(labels: Any) -> None:
    names = ["no", "a_longer_name"] if labels.dtype.kind in "OUT" else None
    random = torch.Generator().manual_seed(0)
    weights = {"w": 0.1 + torch.rand(ROWS, generator=random)}
    sample = Sample(labels, torch.randn(ROWS, 1, generator=random), weights)
    check_head(lambda **options: th.BinaryClassHead(label_vocabulary=names, **options), sample)


def test_promises_hold_where_assertions_are_left_out() -> None:
    folder = Path(check.__file__).parent
    for file in folder.glob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text("utf-8")))
        assert not any(isinstance(node, ast.Assert) for node in nodes), file.name
