"""Very many values for callbacks and loggers, at the cost of a few."""

from __future__ import annotations

import warnings
from collections import UserDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

MOST_LOGGED = 256  # metrics of an epoch in the table of Lightning


class CallbackMetrics(UserDict[str, Tensor]):
    """What callbacks see, of which a stack of values is taken apart when something is read.

    A thousand losses that nobody asks for then cost a step nothing. Made from values, as Lightning
    does to move them, it is a plain dict of them.
    """

    _stack: tuple[Sequence[str], Tensor] | None

    def __new__(cls, values: Mapping[str, Tensor] | None = None) -> Any:
        """Return an empty one, or a dict of values."""
        return super().__new__(cls) if values is None else dict(values)

    def stack(self, names: Sequence[str], values: Tensor) -> None:
        """Set the values ``[K]`` of some keys."""
        if self._stack is not None and self._stack[0] is not names:
            self.data  # noqa: B018  other keys, which stay
        self._stack = names, values

    @property
    def data(self) -> dict[str, Tensor]:
        """All values by key."""
        held: dict[str, Tensor] = self.__dict__["data"]
        if self._stack is not None:
            (names, values), self._stack = self._stack, None
            held.update(zip(names, values.unbind(), strict=True))
        return held

    @data.setter
    def data(self, values: dict[str, Tensor]) -> None:
        self.__dict__["data"] = values
        self._stack = None

    def __setitem__(self, key: str, value: Tensor) -> None:
        """Set one value, whatever else is in the stack."""
        self.__dict__["data"][key] = value


def log_step(
    module: LightningModule, loss: Tensor, names: Sequence[str], losses: Tensor | None
) -> None:
    """Log the loss of a step, and those of the heads ``[H]`` by name if there are several."""
    trainer = module.trainer
    if trainer.world_size > 1:
        # or each process would keep the checkpoint, and take the rate, that is its own best
        values = loss.reshape(1) if losses is None else torch.cat([loss.reshape(1), losses])
        values = trainer.strategy.reduce(values, reduce_op="mean")
        loss, losses = values[0], None if losses is None else values[1:]
    module.log("train/loss", loss, prog_bar=True, logger=None if losses is None else False)
    if losses is None:
        return
    callback_metrics(trainer).stack(names, losses)
    n: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    due = n > 0 and (trainer.global_step + 1) % n == 0
    if due and not trainer.fit_loop._should_accumulate():
        # loggers get the sum with its parts
        to_loggers(trainer, ["train/loss", *names], torch.cat([loss.reshape(1), losses]))


def log_epoch(
    module: LightningModule,
    stage: str,
    values: Mapping[str, Tensor],
    by_loader: Sequence[Mapping[str, Tensor]],
) -> None:
    """Log the loss and the metrics of an epoch.

    Args:
        module: the module.
        stage: what all names begin with.
        values: the metrics by key, the loss first.
        by_loader: those of each data loader, where there are several.
    """
    trainer = module.trainer
    names = [f"{stage}/{key}" for key in values]
    # by Lightning's convention, each of several data loaders has keys of its own
    own = [[f"{stage}/{key}/dataloader_idx_{i}" for key in one] for i, one in enumerate(by_loader)]
    every = [*names, *(name for one in own for name in one)]
    stacked = [torch.stack([*one.values()]) for one in (values, *by_loader)]
    callback_metrics(trainer).stack(every, torch.cat(stacked))
    if len(every) <= MOST_LOGGED:
        parts = own or [names]
        tables = trainer._evaluation_loop._logged_outputs  # which Lightning logs
        for table, part, their in zip(tables, parts, stacked[-len(parts) :], strict=False):
            table.update(on_cpu(part, their))
    if own or len(every) > MOST_LOGGED:
        beside = every if len(every) > MOST_LOGGED else names
        if not trainer.sanity_checking:  # the first one is logged below
            to_loggers(trainer, beside[1:], torch.cat(stacked)[1 : len(beside)])
    with warnings.catch_warnings():
        # that these should be synced, which they are: each tally once, not each value
        warnings.filterwarnings("ignore", "It is recommended to use", PossibleUserWarning)
        module.log(f"{stage}/loss", values["loss"], prog_bar=True)
        trainer.callback_metrics  # noqa: B018  looked up here, it warns here


def callback_metrics(trainer: Trainer) -> CallbackMetrics:
    """Return what the callbacks of a trainer see, made such that it takes stacks."""
    connector = trainer._logger_connector
    seen: Any = connector._callback_metrics
    if not isinstance(seen, CallbackMetrics):
        connector._callback_metrics = CallbackMetrics()
        connector._callback_metrics.update(seen)
    return connector._callback_metrics  # type: ignore[return-value]


def to_loggers(trainer: Trainer, names: Sequence[str], values: Tensor) -> None:
    """Hand values ``[K]`` to the loggers: fast, however many they are."""
    if trainer.loggers:
        trainer._logger_connector.log_metrics(on_cpu(names, values))


def on_cpu(names: Sequence[str], values: Tensor) -> dict[str, Tensor]:
    """Return values ``[K]`` by name, for which the device is waited for once."""
    return dict(zip(names, values.cpu().unbind(), strict=True))
