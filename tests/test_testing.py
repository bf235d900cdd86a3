"""`check_head` names the promise that a head breaks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import torch_heads as th
from tests.own_heads import Laplace, LaplaceHead
from torch_heads.families import Normal
from torch_heads.testing import PROMISES, check_head


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
