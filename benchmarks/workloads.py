"""What is timed: heads, and a random batch for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

import torch_heads as th

WIDTHS = [3, 5, 10, 20]  # of the multi-class heads in a mixture


@dataclass(frozen=True)
class Workload:
    """Named heads, and a batch of logits ``[B, C]`` and of each head's labels ``[B, U]``."""

    name: str
    heads: Sequence[th.Head]
    logits: Tensor
    labels: Sequence[Tensor]

    @cached_property
    def head(self) -> th.Head:
        """The heads as one."""
        head = th.MultiHead(self.heads) if len(self.heads) > 1 else self.heads[0]
        return head.to(self.logits.device)

    @cached_property
    def forms(self) -> dict[str, dict[str, Tensor] | Tensor]:
        """The labels in every form that the head takes, by the form's name."""
        if len(self.heads) == 1:
            return {"": self.labels[0]}
        by_name = {head.name or "": own for head, own in zip(self.heads, self.labels, strict=True)}
        stacked = torch.cat([own.float() for own in self.labels], dim=-1)
        return {"dict of labels": by_name, "stacked labels": stacked}

    @property
    def best_form(self) -> str:
        """The form of labels that is least work."""
        return list(self.forms)[-1]


def workload(
    name: str, heads: Sequence[th.Head], device: torch.device, batch: int = 1024
) -> Workload:
    """Return a workload with random logits and labels, the same ones each time."""
    random = torch.Generator().manual_seed(len(heads))
    logits = torch.randn(batch, sum(head.logits_dimension for head in heads), generator=random)
    labels = [random_labels(head, batch, random).to(device) for head in heads]
    return Workload(name, heads, logits.to(device).requires_grad_(), labels)


def random_labels(head: th.Head, batch: int, random: torch.Generator) -> Tensor:
    shape = batch, head.labels_dimension
    match head:
        case th.MultiClassHead():
            return torch.randint(head.logits_dimension, shape, generator=random)
        case th.RegressionHead():
            return torch.randn(shape, generator=random)
        case th.PoissonRegressionHead():
            return torch.poisson(torch.ones(shape), generator=random)
    return torch.randint(2, shape, generator=random).float()


def binary(count: int, fine: bool = True) -> list[th.Head]:
    return [th.BinaryClassHead(name=f"task_{i}", fine=fine) for i in range(count)]


def mixture(count: int, fine: bool = True) -> list[th.Head]:
    """Return heads of all kinds in turns, so that no family's columns stand side by side."""
    kinds = [
        lambda i, name: th.BinaryClassHead(name=name, fine=fine),
        lambda i, name: th.MultiClassHead(WIDTHS[i // 6 % 4], name=name),
        lambda i, name: th.MultiLabelHead(5, name=name, fine=fine),
        lambda i, name: th.RegressionHead(name=name),
        lambda i, name: th.PoissonRegressionHead(name=name),
        lambda i, name: th.LogisticRegressionHead(name=name),
    ]
    return [kinds[i % len(kinds)](i, f"task_{i}") for i in range(count)]


def workloads(device: torch.device) -> list[Workload]:
    """Return all that is timed."""
    return [
        workload("1 binary head", binary(1), device),
        *(workload(f"{count:,} binary heads", binary(count), device) for count in (10, 100, 1000)),
        workload("100 heads of all kinds", mixture(100), device),
        workload("1 head of 10,000 classes", [th.MultiClassHead(10_000)], device),
        workload("1 head of 1,000 labels", [th.MultiLabelHead(1000)], device),
    ]
