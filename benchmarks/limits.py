"""Figures beside the table: inputs, and many heads, that may not cost much more than the usual."""

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection

import torch_heads as th
from benchmarks.apart import Section
from benchmarks.contestants import Bound, Ours
from benchmarks.report import duration, times, verdict
from benchmarks.timing import Call, Spread, ratio, take_turns
from benchmarks.workloads import binary, mixture, workload

CPU = torch.device("cpu")
ROUNDS = 3  # of turns
LABELS = 2**16  # of which each is a name
HEADS = 1000
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def compare(what: str, call: Call, usual: Call, of: str, most: float) -> str:
    """Return what a call takes as a ratio to a usual one."""
    turns = [take_turns({"ours": call, "usual": usual}, CPU) for _ in range(ROUNDS)]
    found = ratio(turns, "ours", "usual")
    reached = verdict(found.median <= most)
    return f"{reached} {what}: {times(found)} the time of {of}, at most {most:g}×"


def training(leaf: Tensor, loss: Callable[[], Tensor]) -> Call:
    """Return a call of a loss and its gradient."""

    def train() -> None:
        leaf.grad = None
        loss().backward()

    return train


def class_names(classes: list[str]) -> Iterator[str]:
    """Yield what class names cost, as an array and as a list; a list beside one of ids, too."""
    by_id, by_name = head_of(classes, None), head_of(classes, classes)
    ids = torch.randint(len(classes), (LABELS,), generator=torch.Generator().manual_seed(0))
    logits = torch.randn(LABELS, by_id.logits_dimension, requires_grad=True)
    array = np.array(classes)[ids.numpy()]
    each: list[tuple[str, object, str, object]] = [
        ("an array", array, "ids", ids),
        ("a list", array.tolist(), "ids", ids),
        ("a list", array.tolist(), "ids in a list", ids.tolist()),
    ]
    for form, named, of, usual in each:
        losses = partial(by_name.loss, named, logits), partial(by_id.loss, usual, logits)
        what = f"{LABELS:,} names of {len(classes)} classes in {form}"
        yield compare(f"loss, {what}", *losses, of, 3)
        both = [training(logits, loss) for loss in losses]
        yield compare(f"loss with backward, {what}", *both, of, 3)


def head_of(classes: list[str], vocabulary: list[str] | None) -> th.Head:
    if len(classes) == 2:
        return th.BinaryClassHead(label_vocabulary=vocabulary)
    return th.MultiClassHead(len(classes), label_vocabulary=vocabulary)


def thresholds() -> Iterator[str]:
    """Yield what it takes to read the metrics of heads with thresholds of their own."""
    given = [[(i + 1) / (HEADS + 2)] for i in range(HEADS)]
    heads = [th.BinaryClassHead(name=f"task_{i}", thresholds=own) for i, own in enumerate(given)]
    first = [updated(heads) for _ in range(ROUNDS)]
    seconds = Spread.of([timed(metrics.compute) for metrics in first])
    what = f"compute(), {HEADS:,} binary heads with thresholds of their own"
    yield f"{verdict(seconds.median <= 0.25)} {what}: {duration(seconds)} at first, at most 250 ms"
    none = updated(binary(HEADS))
    yield compare(f"{what}, from then on", first[0].compute, none.compute, "none", 2)


def fine_cut() -> Iterator[str]:
    """Yield what it costs to cut scores by the logit, too."""
    logits = torch.randn(1024, 100)
    labels = (logits > 1).float()
    calls = {}
    for fine in (True, False):
        heads = [th.BinaryClassHead(name=f"task_{i}", fine=fine) for i in range(100)]
        head = th.MultiHead(heads)
        calls[fine] = partial(head.update_metrics, head.metrics(), None, logits, labels)
    what = "metric update, 100 binary heads with the fine cut"
    yield compare(what, calls[True], calls[False], "none", 1.3)


def updated(heads: list[th.Head]) -> MetricCollection:
    """Return new metrics of new heads that have seen a batch."""
    head = th.MultiHead(heads)
    logits = torch.randn(64, HEADS)
    return head.update_metrics(head.metrics(), logits=logits, labels=(logits > 0).float())


def timed(call: Call) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


@torch.no_grad()
def predictions() -> Iterator[str]:
    """Yield what predictions take per key."""
    head, logits = th.MultiHead(binary(HEADS)), torch.randn(64, HEADS)
    calls: dict[str, Callable[[], object]] = {
        "forward": lambda: head(logits),
        "predictions": lambda: head.predictions(logits),
        "forward of one key": lambda: head(logits, keys=["logistic"]),
    }
    turns = [take_turns(calls, CPU) for _ in range(ROUNDS)]
    keys = len(head(logits))
    for what in ["forward", "predictions"]:
        per_key = Spread.of([one / keys for samples in turns for one in samples[what]])
        line = f"{what}, {HEADS:,} binary heads: {duration(per_key)} per key, at most 1.2 us"
        yield f"{verdict(per_key.median <= 1.2e-6)} {line}"
    share = ratio(turns, "forward of one key", "forward")
    line = f"forward of one of 5 keys, {HEADS:,} binary heads: {times(share)} the time of all"
    yield f"{verdict(share.median <= 0.4)} {line}, at most 0.4×"


def coarse_cut() -> Iterator[str]:
    """Yield what an update takes where scores are cut as the bound's are: by the grid alone."""
    for name, kinds in {"binary heads": binary, "heads of all kinds": mixture}.items():
        work = workload(name, kinds(100, fine=False), CPU)
        ours, bound = Ours(work, work.best_form), Bound(work)
        what = f"metric update, 100 {name} without the fine cut, stacked labels"
        yield compare(what, ours.update, bound.update, "the bound", 1.7)


def two_of_a_kind() -> Iterator[str]:
    """Yield what it costs if heads differ in where their weights are, or in their labels' shape."""
    names = [f"task_{i}" for i in range(HEADS)]
    logits = torch.randn(1024, HEADS)
    labels = (torch.randn(1024, HEADS) > 0).float()
    features = {key: torch.rand(1024) for key in "ab"}
    one, two = (
        th.MultiHead(th.BinaryClassHead(keys[i % len(keys)], name=names[i]) for i in range(HEADS))
        for keys in ("a", "ab")
    )
    yield compare(
        f"loss, {HEADS:,} binary heads with two weight columns",
        lambda: two.loss(labels, logits, features),
        lambda: one.loss(labels, logits, features),
        "one",
        2,
    )
    plain = th.MultiHead(binary(HEADS))
    same, mixed = (
        {name: labels[:, i].reshape(shapes[i % len(shapes)]) for i, name in enumerate(names)}
        for shapes in ([(-1,)], [(-1,), (-1, 1)])
    )
    yield compare(
        f"loss, {HEADS:,} binary heads with labels of two shapes",
        lambda: plain.loss(mixed, logits),
        lambda: plain.loss(same, logits),
        "one",
        2,
    )


def dense() -> Iterator[str]:
    """Yield what the pixels of an image cost, some of them not labelled."""
    head = th.MultiClassHead(21, missing_label=255)
    image = torch.randn(8, 21, 128, 128)
    labels = torch.randint(21, (8, 128, 128)).masked_fill(torch.rand(8, 128, 128) < 0.05, 255)
    for layout, memory in {
        "channels first": image,
        "channels last": image.contiguous(memory_format=torch.channels_last),
    }.items():
        leaf = memory.detach().requires_grad_()

        def bare(leaf: Tensor = leaf) -> Tensor:
            return F.cross_entropy(leaf, labels, ignore_index=255)

        def ours(leaf: Tensor = leaf) -> Tensor:
            return head.loss(labels, leaf.movedim(1, -1))

        calls = training(leaf, ours), training(leaf, bare)
        what = f"loss with backward, {list(image.shape)}, {layout} in memory"
        yield compare(what, *calls, "F.cross_entropy", 1.3)


#: What yields each figure on a CPU, and whether it is within its limit.
LIMITS: list[Section] = [
    predictions,
    *(partial(class_names, classes) for classes in [DIGITS, ["no", "yes"]]),
    thresholds,
    fine_cut,
    coarse_cut,
    two_of_a_kind,
    dense,
]
