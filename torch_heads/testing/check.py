"""The check of a head: all promises in turn."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from torch_heads.functional.errors import class_of, unexpected
from torch_heads.heads.base import Head
from torch_heads.testing.promises import PROMISES
from torch_heads.testing.sample import ROWS, Sample, has_rows
from torch_heads.testing.subject import MakeHead, Subject

WHO = "check_head"


def check_head(make: MakeHead, sample: Sample | None = None) -> None:
    """Hold a head to what every head promises, as scikit-learn's ``check_estimator`` does.

    Args:
        make: makes the head; takes ``weight_column``, ``loss_reduction``, ``missing_label`` and
            ``name`` as keyword arguments.
        sample: `Sample` of ``ROWS`` rows, with weights ``w`` among the features; by default random
            numbers that the family takes.

    Raises:
        AssertionError: that names the promise which the head breaks.
        TypeError: if ``make`` makes no head, ``sample`` is no `Sample`, or its parts are of other
            types than a check can take apart.
        ValueError: if the sample has another number of rows.

    >>> from torch_heads import RegressionHead
    >>> check_head(RegressionHead)
    """
    title = _made(make).title
    if sample is not None:
        _check_sample(sample)
    subject = Subject(make, sample)
    for name, promise in PROMISES.items():
        try:
            promise(subject)
        except Exception as error:
            raise AssertionError(f"{title}: {name}. {error}") from error


def _made(make: Any) -> Head:
    expected = "as a class of heads, or a function that makes one of keyword arguments"
    if isinstance(make, nn.Module) or not callable(make):
        raise TypeError(unexpected(WHO, "make", expected, type(make).__name__))
    made = make()
    if not isinstance(made, Head):
        raise TypeError(unexpected(WHO, "make", expected, f"one of {type(made).__name__}"))
    return made


def _check_sample(sample: Any) -> None:
    if not isinstance(sample, Sample):
        raise TypeError(unexpected(WHO, "sample", "as a Sample", class_of(sample)))
    labels, logits, weights = sample.labels, sample.logits, sample.features.get("w")
    for name, one in {"logits": logits, "weights 'w' in its features": weights}.items():
        if not isinstance(one, Tensor):
            expected, given = f"with {name}, a tensor", type(one).__name__
            raise TypeError(unexpected(WHO, "sample", expected, given))
    if not has_rows(labels):
        expected = "with labels in tensors, arrays, lists, or a dict of these"
        raise TypeError(unexpected(WHO, "sample", expected, type(labels).__name__))
    if len(logits) != ROWS:
        given = f"{len(logits)} of them"
        raise ValueError(unexpected(WHO, "sample", f"with {ROWS} rows of logits", given))
