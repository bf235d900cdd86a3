"""The check of a head: all promises in turn."""

from __future__ import annotations

from torch_heads.testing.promises import PROMISES
from torch_heads.testing.sample import Sample
from torch_heads.testing.subject import MakeHead, Subject


def check_head(make: MakeHead, sample: Sample | None = None) -> None:
    """Hold a head to what every head promises, as scikit-learn's ``check_estimator`` does.

    Args:
        make: makes the head; takes ``weight_column``, ``loss_reduction``, ``missing_label`` and
            ``name`` as keyword arguments.
        sample: `Sample` of ``ROWS`` rows; by default random numbers that the family takes.

    Raises:
        AssertionError: that names the promise which the head breaks.

    >>> from torch_heads import RegressionHead
    >>> check_head(RegressionHead)
    """
    subject = Subject(make, sample)
    for name, promise in PROMISES.items():
        try:
            promise(subject)
        except Exception as error:
            raise AssertionError(f"{make().title}: {name}. {error}") from error
