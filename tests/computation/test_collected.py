"""The tallies of a collection have names that nothing else has, whatever a family is called."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import torch_heads as th
from tests.mixture import mixture


def head_of(family: str, power: float = 1.0, **options: Any) -> th.Head:
    """Return a head of a new family of that name, by a power of the absolute error."""

    @dataclass(frozen=True)
    class Power(th.Family):
        power: float = 1.0
        logits_shape: ClassVar[tuple[int, ...]] = (1,)

        def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
            return (logits[..., 0] - labels).abs() ** self.power

        def mean(self, logits: Tensor) -> Tensor:
            return logits[..., 0]

    Power.__name__ = family

    class PowerHead(th.TensorHead):
        def __init__(self, **options: Any) -> None:
            super().__init__(Power(power), **options)

    return PowerHead(**options)


ATTRIBUTES = dir(th.RegressionHead().metrics())
NAMES = ["Survival", "Interval", "Fed", "Lock", "Values", "Calls", "Regularization", "Normal"]


@pytest.mark.parametrize("family", [*NAMES, "Student_T", "calls", "Calls_1", "tallies"])
def test_a_family_may_have_any_name(family: str, device: torch.device) -> None:
    heads = [head_of(family, 1.0, name="a"), th.RegressionHead(name="b")]
    heads += [head_of(family, 2.0, name="c"), head_of(family, 3.0, name="d")]
    head = th.MultiHead(heads).to(device)
    labels, logits = torch.zeros(2, 4, device=device), torch.tensor([[2.0] * 4, [4.0] * 4])

    metrics = head.metrics(regularization_losses=[0.5])
    head.update_metrics(metrics, None, logits.to(device), labels, [torch.tensor(0.5)])

    losses = [metrics[f"average_loss/{name}"].compute().item() for name in "abcd"]
    assert losses == pytest.approx([3, 10, 10, 36])
    assert metrics.compute()["regularization_loss/a_b_c_d"].item() == 0.5
    assert metrics.compute()["loss/d"].item() == pytest.approx(36)
    for name, tally in metrics.tallies.items():
        assert getattr(metrics, name) is tally  # as tools find it that walk by the key of a state
    metrics.persistent()
    again = head.metrics(regularization_losses=[0.5])
    again.load_state_dict(metrics.state_dict())
    torch.testing.assert_close(again.compute(), metrics.compute())


def test_a_family_may_have_the_name_of_any_attribute() -> None:
    assert {"survival", "interval", "training", "_modules", "__class__"} <= {*ATTRIBUTES}
    for name in ATTRIBUTES:
        metrics = head_of(name).metrics()
        assert [getattr(metrics, own) for own in metrics.tallies] == [*metrics.tallies.values()]


def test_families_of_the_package_keep_the_names_that_checkpoints_have() -> None:
    names = [*mixture().metrics().tallies]
    assert names == ["bernoulli", "normal", "categorical", "poisson", "calls"]
    heads = [th.QuantileRegressionHead(levels, name=f"h{levels}") for levels in [(0.1,), (0.2,)]]
    heads.append(th.QuantileRegressionHead((0.3,), name="last"))
    names = [*th.MultiHead(heads).metrics().tallies]
    assert names == ["quantiles", "quantiles_1", "quantiles_2", "calls"]
