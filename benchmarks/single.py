"""Figures beside the table: what one small head takes, and the bandwidth of a compiled loss."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

import torch_heads as th
from benchmarks.contestants import Ours
from benchmarks.report import duration, times, verdict
from benchmarks.timing import difference, ratio, take_turns
from benchmarks.workloads import binary, workload

MOST = 40e-6  # seconds


def overhead(device: torch.device) -> Iterator[str]:
    """Yield what one head takes beyond its bare loss."""
    work = workload("1 binary head", binary(1), device, batch=256)
    ours, (labels,) = Ours(work, work.best_form), work.labels

    def bare_loss() -> Tensor:
        return F.binary_cross_entropy_with_logits(work.logits, labels)

    def bare_train() -> None:
        ours.forget()
        bare_loss().backward()

    for what, call, bare in [
        ("loss", ours.loss, bare_loss),
        ("loss with backward", ours.train, bare_train),
    ]:
        turns = [take_turns({"ours": call, "bare": bare}, device) for _ in range(3)]
        over = difference(turns, "ours", "bare")
        line = f"{what}, 1 binary head at B = 256: {duration(over)} over the bare loss"
        on_cpu = device.type == "cpu"
        yield f"{verdict(over.median <= MOST)} {line}, at most 40 us" if on_cpu else line


def bandwidth(device: torch.device, batch: int = 2**16) -> Iterator[str]:
    """Yield the share of the memory bandwidth that a compiled loss over 1,000 labels reaches."""
    work = workload("1 head of 1,000 labels", [th.MultiLabelHead(1000)], device, batch)
    ours, (labels,) = Ours(work, work.best_form, compiled=True), work.labels
    target = torch.empty_like(labels)
    with torch.no_grad():
        turns = [take_turns({"ours": ours.loss, "copy": lambda: target.copy_(labels)}, device)]
    # both touch two tensors of one size: the loss reads them, the copy reads one and writes one
    share = ratio(turns, "copy", "ours")
    line = f"compiled loss, 1 head of 1,000 labels at B = {batch:,}"
    yield f"{verdict(share.median >= 0.7)} {line}: {times(share)} the bandwidth of a device copy"
