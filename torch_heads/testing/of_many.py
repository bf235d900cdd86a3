"""Promises about what a head is made with, and about a head among others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.heads.base import Head
from torch_heads.heads.multi import MultiHead
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.testing.sample import Sample, is_dense
from torch_heads.testing.subject import (
    REDUCTIONS,
    Subject,
    assert_same,
    evaluate,
    loss_and_gradient,
    require,
)


def it_follows_its_arguments(subject: Subject) -> None:
    """Make it with each reduction, and with a name."""
    for reduction in REDUCTIONS:
        head = subject.head(loss_reduction=reduction)
        own = sorted({str(target.reduction) for target in head.computation.targets})
        require(own == [reduction], f"loss_reduction={reduction!r} makes a head of {own}")
    head = subject.head()
    if not isinstance(head, TensorHead):
        return  # whose name is made of others'
    try:
        named = subject.head(name="first")
    except TypeError:
        if head.name is None:
            raise
    else:  # what makes it gives it no name of its own
        require(named.name == "first", f"name='first' makes a head of the name {named.name!r}")


def fused_is_alone(subject: Subject) -> None:
    """Compare heads under a `MultiHead` with the same heads one by one, gradients too."""
    sample = subject.sample
    alone, again = (subject.head(weight_column="w") for _ in range(2))
    _check_kernels(alone, again)
    heads = [alone]
    if alone.name is None:
        heads = [subject.head(weight_column="w", name=name) for name in ("first", "second")]
    both = MultiHead(heads).to(sample.logits.device)
    shifted = [sample.logits + i for i, _ in enumerate(heads)]
    joined = torch.cat(shifted, -1)
    expected = [loss_and_gradient(alone, sample._replace(logits=own)) for own in shifted]
    loss = torch.stack([own for own, _ in expected]).sum()
    gradient = torch.cat([own for _, own in expected], -1)
    for labels in _forms(sample.labels):
        given = Sample({head.name: labels for head in heads}, joined, sample.features)
        assert_same(loss_and_gradient(both, given), (loss, gradient))
        metrics = evaluate(both, given)
        for head, own in zip(heads, shifted, strict=True):
            mine = sample._replace(logits=own, labels=labels)
            assert_same(loss_and_gradient(head, mine), loss_and_gradient(alone, mine))
            every = evaluate(head, mine)
            assert_same({key: metrics[key] for key in every}, every)
    flat, nested = both(joined), both.predictions(joined)
    for head, own in zip(heads, shifted, strict=True):
        for key, value in head(own).items():
            assert_same(flat[f"{head.name}/{key}"], value)
        for key, value in head.predictions(own).items():
            other = nested[head.name, key]
            if isinstance(value, np.ndarray):  # of names
                require((other == value).all(), f"the predictions {key!r} are others")
            else:
                assert_same(other, value)


def _check_kernels(head: Head, again: Head) -> None:
    """Hold families that are made alike to being computed as one."""
    pairs = zip(head.computation.targets, again.computation.targets, strict=True)
    for one, other in pairs:
        by_itself = not one.fuses or one.family.linked  # it has a user's function
        require(
            by_itself or one.family.kernel == other.family.kernel,
            f"families that are made alike are not equal, and so never computed as one: "
            f"{one.family!r}, {other.family!r}",
        )


def _forms(labels: Any) -> list[Any]:
    """Return labels as they are and, of dense tensors, as lists."""
    return [labels, _listed(labels)] if is_dense(labels) else [labels]


def _listed(labels: Any) -> Any:
    if isinstance(labels, Mapping):
        return {name: _listed(own) for name, own in labels.items()}
    return labels.tolist() if isinstance(labels, Tensor) else labels
