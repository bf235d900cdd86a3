"""With global normalization, processes and micro-batches give the gradient of one big batch."""

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.data import DataLoader

import torch_heads as th
from tests.integrations.launch import torchrun
from tests.integrations.trainers import expected_warnings, quiet_trainer
from tests.mixture import Batch, mixture, random_batch
from tests.processes import end_process
from torch_heads.integrations.lightning import HeadModule

FEATURES = 20
SIZES = [[3, 5, 1, 4, 2, 6, 3], [2, 1, 7, 3, 3, 1, 5]]  # of the micro-batches of each process
LACKING = ["even", "digit"]  # heads without any label in the second process
REDUCTIONS = ["sum_over_batch_size", "weighted_mean", "sum"] * 2 + ["weighted_mean"] * 2

pytestmark = expected_warnings


class Gradients(Callback):
    """Keeps the gradient of every optimizer step, after clipping."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_before_zero_grad(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        """Take what the last step left; it is there until it is zeroed."""
        self.keep(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Take what the last step of all left."""
        self.keep(pl_module)

    def keep(self, module: nn.Module) -> None:
        kept = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
        if kept:
            self.steps.append(kept)


def big_batch() -> Batch:
    """Return the same rows in every process, of which those of the second lack some labels."""
    batch = random_batch(sum(map(sum, SIZES)), torch.Generator().manual_seed(5))
    second = slice(sum(SIZES[0]), None)
    batch.labels["even"][second] = torch.nan
    batch.labels["digit"][second] = -1
    return batch


def double(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: double(value) for key, value in values.items()}
    return values.double() if values.is_floating_point() else values


def micro_batches(rank: int) -> list[range]:
    """Return the rows of each micro-batch of a process."""
    starts = [sum(SIZES[0]) * rank]
    for size in SIZES[rank]:
        starts.append(starts[-1] + size)
    return [range(*pair) for pair in pairwise(starts)]


def make_module(**kwargs: Any) -> HeadModule:
    torch.manual_seed(0)
    return HeadModule(
        nn.Linear(FEATURES, 20), mixture(REDUCTIONS), lambda p: torch.optim.SGD(p, lr=0.0), **kwargs
    )


def gradients(
    ranks: Sequence[int],
    accumulate: int,
    precision: Any = "64-true",
    module: HeadModule | None = None,
    logged: dict[str, Tensor] | None = None,
    callbacks: Sequence[Callback] = (),
    **kwargs: Any,
) -> list[dict[str, Tensor]]:
    """Return the gradient of each step of one epoch in this process, over its micro-batches."""
    everything = big_batch()
    batches = []
    for rank in ranks:
        for rows in micro_batches(rank):
            part = everything.take(rows)
            part = part.without(LACKING) if rank else part
            inputs = {"inputs": part.logits, "labels": part.labels, "weights": part.weights}
            batches.append(inputs)
    kept = Gradients()
    trainer = quiet_trainer(
        precision=precision,
        accumulate_grad_batches=accumulate,
        use_distributed_sampler=False,
        callbacks=[kept, *callbacks],
        **kwargs,
    )
    module = module or make_module(global_normalization=True)
    trainer.fit(module, DataLoader(batches, batch_size=None))
    if logged is not None:
        logged |= trainer.callback_metrics
    return kept.steps


def of_one_batch(rows: Sequence[int]) -> dict[str, Tensor]:
    """Return the gradient of all these rows as one batch, by plain PyTorch."""
    module, batch = make_module().double(), Batch(*map(double, big_batch().take(rows)))
    loss = module.head.loss(batch.labels, module.backbone(batch.logits), weights=batch.weights)
    loss.backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def expected(ranks: Sequence[int], accumulate: int) -> list[dict[str, Tensor]]:
    """Return the gradient of each step, in which each of the processes takes its micro-batches."""
    parts = [micro_batches(rank) for rank in ranks]
    return [
        of_one_batch([row for own in parts for rows in own[at : at + accumulate] for row in rows])
        for at in range(0, len(parts[0]), accumulate)
    ]


def assert_same(actual: Any, wanted: Any) -> None:
    assert_close(actual, wanted, rtol=1e-9, atol=1e-12)


# 7 micro-batches: steps of 2 and of 3 leave a short one of 1, steps of 4 a short one of 3
@pytest.mark.parametrize("accumulate", [1, 2, 3, 4, 7])
def test_micro_batches_give_the_gradient_of_one_batch(accumulate: int) -> None:
    assert_same(gradients([0], accumulate), expected([0], accumulate))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_processes_give_the_gradient_of_one_batch(folder: Path, accumulate: int) -> None:
    wanted = expected([0, 1], accumulate)
    weights = torch.stack([step["backbone.weight"] for step in wanted])
    assert weights.any(0).any(1).all()  # all heads took part
    for result in two_processes(folder):
        assert_same(result[f"gradients {accumulate}"], wanted)


def test_the_mean_of_each_batch_is_another_gradient() -> None:
    with_means = gradients([0], 3, module=make_module())
    difference = with_means[0]["backbone.weight"] - expected([0], 3)[0]["backbone.weight"]
    assert difference.abs().max() > 0.01


def test_gradients_are_clipped_as_those_of_one_batch() -> None:
    for step, whole in zip(gradients([0], 3, gradient_clip_val=0.1), expected([0], 3), strict=True):
        norm = torch.stack([value.norm() for value in whole.values()]).norm()
        assert norm > 0.2
        clipped = {name: value * 0.1 / norm for name, value in whole.items()}
        assert_close(step, clipped, rtol=1e-4, atol=1e-6)


def test_half_precision_accumulates_the_gradient_of_one_batch() -> None:
    for step, whole in zip(gradients([0], 3, "bf16-mixed"), expected([0], 3), strict=True):
        wanted = {name: value.float() for name, value in whole.items()}
        assert_close(step, wanted, rtol=0.05, atol=0.05)


def test_the_logged_losses_are_those_of_one_batch(folder: Path) -> None:
    module, batch = make_module().double(), Batch(*map(double, big_batch()))
    losses = module.head.losses(batch.labels, module.backbone(batch.logits), weights=batch.weights)
    loss = module.head.loss(batch.labels, module.backbone(batch.logits), weights=batch.weights)
    wanted = {f"train/loss/{name}": value.detach() for name, value in losses.items()}
    for result in two_processes(folder):
        assert_same(result["logged"], {"train/loss": loss.detach(), **wanted})


def test_a_step_costs_an_all_reduce_of_a_number_per_head_and_that_of_the_logged_losses(
    folder: Path,
) -> None:
    for result in two_processes(folder):
        assert [size for size in result["all-reduced"] if size > 1] == [8, 9] * 3  # of 3 steps


class Stop(Callback):
    """Stops a training after two batches."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        trainer.should_stop = batch_idx == 1


def test_a_step_that_was_cut_leaves_nothing_to_the_next_training() -> None:
    module = make_module(global_normalization=True)
    assert gradients([0], 3, module=module, callbacks=[Stop()]) == []
    assert_same(gradients([0], 3, module=module), expected([0], 3))


def fit(labels: Any, normalization: bool, accumulate: int) -> None:
    head = th.MultiHead([th.BinaryClassHead(name="even"), th.MultiClassHead(3, name="kind")])
    module = HeadModule(nn.Linear(2, 4), head, global_normalization=normalization)
    batches = DataLoader([(torch.zeros(3, 2), labels)] * 2, batch_size=None)  # type: ignore[arg-type]
    quiet_trainer(accumulate_grad_batches=accumulate).fit(module, batches)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    "even",
    [torch.tensor([0, 7, 1]), torch.tensor([0, 1]), torch.zeros(3, 2), ["no", "yes", "no"], None],
    ids=["a value", "fewer", "a shape", "names", "none"],
)
def test_bad_labels_are_refused_in_the_words_of_the_head(even: Any, accumulate: int) -> None:
    labels = {"even": even, "kind": torch.tensor([0, 1, 2])}
    messages = []
    for normalization in (False, True):
        with pytest.raises(ValueError, match="BinaryClassHead 'even'") as error:
            fit(labels, normalization, accumulate)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


class Hidden:
    """Labels that tell their number to NumPy alone."""

    def __init__(self, labels: Any) -> None:
        self.labels = labels

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.labels


def test_labels_without_a_number_of_examples_can_wait_for_no_other_batch() -> None:
    labels = {"even": Hidden(np.zeros(3)), "kind": Hidden(np.zeros(3, dtype=int))}
    fit(labels, True, 1)
    with pytest.raises(ValueError, match="of which the number of examples shows before"):
        fit(labels, True, 2)


# ---- what torchrun runs in each of two processes ----


def work(rank: int) -> dict[str, Any]:
    """Return what one process sees."""
    sizes, all_reduce = [], torch.distributed.all_reduce

    def counted(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        sizes.append(tensor.numel())
        return all_reduce(tensor, *args, **kwargs)

    together: dict[str, Any] = {"strategy": "ddp", "devices": 2}
    logged: dict[str, Tensor] = {}
    result: dict[str, Any] = {
        "gradients 1": gradients([rank], 1, **together),
        "of one step": gradients([rank], 7, logged=logged, **together),
        "logged": logged,
        "all-reduced": sizes,
    }
    torch.distributed.all_reduce = counted
    return result | {"gradients 3": gradients([rank], 3, **together)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where two processes left their results."""
    path = tmp_path_factory.mktemp("normalization")
    torchrun(__file__, path)
    return path


def two_processes(folder: Path) -> list[dict[str, Any]]:
    """Return the result of each process."""
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


if __name__ == "__main__":
    rank = int(os.environ["RANK"])
    torch.save(work(rank), f"{sys.argv[1]}/{rank}.pt")
    end_process()
