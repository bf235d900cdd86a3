"""How an estimator runs: where and how often it saves, what it trains and evaluates on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from lightning.pytorch import Callback

from torch_heads.functional.arguments import check_count
from torch_heads.functional.errors import unexpected
from torch_heads.integrations.estimator.exporters import Exporter

InputFn = Callable[[], Any]

SAVE_SECONDS = 600.0  # the original's


@dataclass(frozen=True)
class RunConfig:
    """How an estimator runs.

    Attributes:
        save_checkpoints_steps: save after every so many steps.
        save_checkpoints_secs: save after so many seconds; 600 where neither is given.
        keep_checkpoint_max: how many checkpoints to keep; None or 0 for all.
        log_step_count_steps: after how many steps to log the loss.
        accelerator: where to run: ``"cpu"``, ``"cuda"``, ... or ``"auto"``, as Lightning names it.
        callbacks: further callbacks of Lightning's Trainer.

    Raises:
        TypeError: if a number is none, or no whole one where it counts.
        ValueError: if a number is not positive, or both ways of saving are given.
    """

    save_checkpoints_steps: int | None = None
    save_checkpoints_secs: float | None = None
    keep_checkpoint_max: int | None = 5
    log_step_count_steps: int | None = 100
    accelerator: str = "auto"
    callbacks: Sequence[Callback] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        own = type(self).__name__
        for name in ["save_checkpoints_steps", "save_checkpoints_secs", "log_step_count_steps"]:
            whole = name != "save_checkpoints_secs"
            check_positive(own, name, getattr(self, name), whole)
        if self.keep_checkpoint_max is not None:
            check_count(own, "keep_checkpoint_max", self.keep_checkpoint_max, 0)
        if None not in (self.save_checkpoints_steps, self.save_checkpoints_secs):
            expected = "or save_checkpoints_secs"
            raise ValueError(unexpected(own, "save_checkpoints_steps", expected, "both"))

    def is_due(self, steps: int, seconds: float) -> bool:
        """Return whether to save, so many steps and seconds after the last time."""
        if self.save_checkpoints_steps is not None:
            return steps >= self.save_checkpoints_steps
        return seconds >= (self.save_checkpoints_secs or SAVE_SECONDS)


@dataclass(frozen=True)
class TrainSpec:
    """What to train on, and to which global step; None for as long as the input lasts."""

    input_fn: InputFn
    max_steps: int | None = None


@dataclass(frozen=True)
class EvalSpec:
    """What to evaluate on, how many batches of it (None for all), and what to export then."""

    input_fn: InputFn
    steps: int | None = 100
    exporters: Exporter | Iterable[Exporter] | None = ()


def check_positive(who: str, argument: str, value: float | None, whole: bool = True) -> None:
    """Refuse numbers that are not positive; None passes.

    Raises:
        TypeError: if it is no number, or no whole one where one is asked for.
        ValueError: if the number is 0 or less.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        expected = "as a whole number" if whole else "as a number"
        raise TypeError(unexpected(who, argument, expected, repr(value)))
    if not value > 0:  # nor NaN
        raise ValueError(unexpected(who, argument, "> 0", value))
