"""The load of a long run in miniature; in full by ``pytest tests/soak --full``.

In full its figures are written into benchmarks/RESULTS.md.
"""

import gc
import time
from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader

import torch_heads as th
from benchmarks.report import machine, versions
from benchmarks.results import SOAK, bullets, write
from tests.integrations.test_checkpoint_io import kill
from tests.integrations.trainers import expected_warnings, quiet_trainer
from torch_heads.functional.bins import GRID
from torch_heads.integrations.lightning import HeadModule
from torch_heads.metrics.sums import Total

pytestmark = expected_warnings

MIB = 2**20


@pytest.fixture(scope="module")
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--full"))


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest, full: bool) -> Iterator[list[str]]:
    """Take what each test found; at the end of a full run, write it down."""
    found: list[str] = []
    yield found
    if full and not request.session.testsfailed:
        title = f"{SOAK} on {machine(torch.device('cpu'))}"
        about = f"Printed by `make soak`, with {versions()}."
        text = "\n\n".join([title, about, bullets(found)])
        print(f"\n{text}")
        write({SOAK: text})


def resident() -> int:
    """Return the memory of this process in bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return pages * 4096


def test_rows_are_counted_exactly_in_constant_memory(full: bool, figures: list[str]) -> None:
    size, classes = 10_000, 5
    batches = 2000 if full else 20
    heads = [
        th.BinaryClassHead(name="even", missing_label=-1),
        th.MultiClassHead(classes, name="digit", missing_label=-1),
        th.RegressionHead(name="ink"),
    ]
    head, random = th.MultiHead(heads), torch.Generator().manual_seed(0)
    matrix = torch.zeros(classes, classes, dtype=torch.int64)
    even, early = torch.zeros(3, dtype=torch.int64), 0  # labels 0, 1, and those that miss
    for step in range(batches):
        logits = torch.randint(-3, 4, (size, 2 + classes), generator=random).float()
        labels = torch.randint(-1, 2, (size,), generator=random)
        digits = torch.randint(-1, classes, (size,), generator=random)
        given = {"even": labels, "digit": digits, "ink": logits[:, -1]}
        head.update_metrics(logits=logits, labels=given)
        even += torch.bincount(labels % 3, minlength=3)
        there = digits >= 0
        pairs = digits[there] * classes + logits[there, 1 : 1 + classes].argmax(-1)
        matrix += torch.bincount(pairs, minlength=classes**2).view(classes, classes)
        if step == batches // 10:
            early = resident()
    grown, metrics = (resident() - early) / MIB, head.metric_collection
    assert torch.equal(metrics.confusion_matrix("digit"), matrix.double())
    counts = metrics.curves("even").counts.sum((0, 2))
    assert counts.tolist() == [even[0], 0, even[1]]
    assert metrics.tallies["normal"].sums[0, Total.VALID] == batches * size
    assert grown < 20
    rows = f"{batches * size:,} rows of three heads, a third or a sixth of the labels missing"
    figures.append(f"{rows}: every count exact, memory {grown:+.1f} MiB after the first tenth")


def test_sparse_tasks_agree_with_scikit_learn(full: bool, figures: list[str]) -> None:
    tasks, rows = (1300, 20_000) if full else (130, 2000)
    random = torch.Generator().manual_seed(0)
    head = th.MultiHead([th.BinaryClassHead(name=f"t{i}", missing_label=nan) for i in range(tasks)])
    # scores in the middle of the bins: there the area under 200 thresholds is the exact one
    scores = (torch.randint(GRID, (rows, tasks), generator=random) + 0.5) / GRID
    labels = (torch.rand(rows, tasks, generator=random) < scores).float()
    labels[torch.rand(rows, tasks, generator=random) < 0.98] = nan
    logits = torch.logit(scores.double()).float()
    for part in torch.arange(rows).split(1000):
        head.update_metrics(logits=logits[part], labels=labels[part])
    values, apart, compared = head.metric_collection.compute(), 0.0, 0
    for i in range(tasks):
        there = ~labels[:, i].isnan()
        truth, own = (one[there, i].double().numpy() for one in (labels, scores))
        wanted = {"label/coverage": there.float().mean().item()}
        if len(truth):
            wanted["accuracy"] = accuracy_score(truth, own > 0.5)
            wanted["average_loss"] = log_loss(truth, own, labels=[0, 1])
        if len(np.unique(truth)) == 2:
            wanted["auc"] = roc_auc_score(truth, own)
        found = [values[f"{key}/t{i}"].item() for key in wanted]
        apart = max(apart, *np.abs(np.array(found) - [*wanted.values()]))
        compared += len(wanted)
    assert apart < 2e-6
    assert compared > 3.5 * tasks
    text = f"{tasks:,} tasks, 98 % of {rows * tasks:,} labels missing"
    figures.append(f"{text}: {compared:,} metrics at most {apart:.1e} from scikit-learn's")


def test_memory_does_not_grow_with_the_steps(full: bool, figures: list[str]) -> None:
    steps, count = (2000, 1000) if full else (200, 100)
    head = th.MultiHead([th.BinaryClassHead(name=f"h{i}") for i in range(count)])
    model = nn.Linear(16, count)
    optimizer = torch.optim.AdamW(model.parameters())
    inputs, labels, early = torch.randn(64, 16), torch.zeros(64, count), 0
    for step in range(steps):
        logits = model(inputs)
        optimizer.zero_grad()
        head.loss(labels, logits).backward()
        optimizer.step()
        metrics = head.update_metrics(logits=logits, labels=labels)
        if step % 100 == 99:
            metrics.compute()
            metrics.reset()
        if step == steps // 10:
            early = resident()
    grown = (resident() - early) / MIB
    assert grown < 20
    figures.append(f"{steps:,} steps of {count:,} heads: memory {grown:+.1f} MiB after 10 %")


def test_kills_leave_whole_checkpoints(full: bool, figures: list[str], tmp_path: Path) -> None:
    times = 300 if full else 5
    broken, failed, left = kill(tmp_path, "Atomic", times)
    assert broken == failed == left == 0
    text = f"{times} kills at random moments of saving: {broken} checkpoints broken"
    figures.append(f"{text}, {failed} readings meanwhile failed")


class Bare(LightningModule):
    """The same loss by hand."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.backbone = nn.Linear(64, count)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, labels = batch
        logits = self.backbone(inputs)
        losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        loss = losses.mean(0).sum()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters())


class Clock(Callback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        self.times.append(time.perf_counter() - self.start)


def test_a_step_of_a_thousand_heads_takes_the_time_of_a_bare_module(
    full: bool, figures: list[str]
) -> None:
    count, steps, turns, size = 1000, 100 if full else 20, 5 if full else 2, 256
    labels = torch.zeros(size, count)
    data: Any = DataLoader([(torch.randn(size, 64), labels)] * steps, batch_size=None)  # type: ignore
    head = th.MultiHead([th.BinaryClassHead(name=f"h{i}") for i in range(count)])
    modules = [Bare(count), HeadModule(nn.Linear(64, count), head)]
    medians: list[list[float]] = [[], []]
    for _ in range(turns):
        for module, own in zip(modules, medians, strict=True):
            clock = Clock()
            trainer: Trainer = quiet_trainer(callbacks=[clock])
            trainer.fit(module, data)
            own.append(float(np.median(clock.times[steps // 5 :])) * 1000)
    bare, ours = (min(own) for own in medians)
    assert ours / bare < (1.25 if full else 4), (bare, ours)  # a busy machine tells little
    figures.append(
        f"`HeadModule.training_step` with {count:,} heads, B = {size}: {ours:.2f} ms a step, "
        f"{ours / bare:.2f}× a bare `LightningModule` with the stacked loss"
    )
