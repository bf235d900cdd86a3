"""Time the heads against hand-written code, Keras 3, and the least that could be done.

Prints one table of ratios, and whether the targets are met; writes both to RESULTS.md. The machine
should have nothing else to do.
"""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from benchmarks.contestants import Bound, ByHand, Contestant, Loop, Ours
from benchmarks.memory import peak_bytes, settle
from benchmarks.report import (
    ABOUT,
    Row,
    machine,
    markdown_table,
    terminal_table,
    times,
    verdict,
    versions,
)
from benchmarks.single import bandwidth, overhead
from benchmarks.timing import Spread, ratio, take_turns
from benchmarks.workloads import Workload, workloads

RESULTS = Path(__file__).with_name("RESULTS.md")
TASKS = {"loss with backward": "train", "metric update": "update"}
FASTER = {"loss with backward": 8, "metric update": 100}  # than by hand, at 100 heads
HAND, BOUND, KERAS, COMPILED = "by hand", "bound", "Keras 3", "compiled"


def main() -> None:
    settle()
    console = Console()
    if not console.is_terminal:
        console.width = 130
    sections = ["# Benchmarks", ABOUT, f"Printed by `make bench`, with {versions()}."]
    for device in map(torch.device, ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]):
        rows = compare_all(device, console)
        if device.type == "cuda":
            lines = [*overhead(device), *bandwidth(device)]
        else:
            lines = [*targets(rows), *overhead(device)]
        sections += [f"## {machine(device)}", markdown_table(rows)]
        sections += ["\n".join(f"- {line}" for line in lines)]
        console.print(terminal_table(rows), *map(escape, lines), sep="\n")
    RESULTS.write_text("\n\n".join(sections) + "\n", "utf-8")


def compare_all(device: torch.device, console: Console) -> list[Row]:
    """Return the rows of all tasks and workloads."""
    rows: dict[str, list[Row]] = {task: [] for task in TASKS}
    works = workloads(device)
    with Progress(console=console) as progress:
        bar = progress.add_task("", total=len(works) * len(TASKS))
        for work in works:
            entrants = contestants(work)
            for task in TASKS:
                progress.update(bar, description=f"{device}: {task}, {work.name}")
                rows[task] += compare(task, work, entrants, device)
                progress.advance(bar)
    return [row for task in TASKS for row in rows[task]]


def contestants(work: Workload) -> dict[str, Contestant]:
    """Return who takes part; the heads under the name of each form of the labels."""
    torch.compiler.reset()  # the few compiled variants that torch keeps are for this workload
    entrants: dict[str, Contestant] = {form: Ours(work, form) for form in work.forms}
    entrants[COMPILED] = Ours(work, work.best_form, compiled=True)
    entrants[HAND] = Loop(work, ByHand)
    entrants[BOUND] = Bound(work)
    # Keras runs on a GPU wherever there is one
    if find_spec("keras") and work.logits.is_cuda == torch.cuda.is_available():
        from benchmarks.with_keras import Keras

        entrants[KERAS] = Loop(work, Keras)
    return entrants


def compare(
    task: str, work: Workload, entrants: Mapping[str, Contestant], device: torch.device
) -> Iterator[Row]:
    """Yield a row for each form of the labels."""
    calls = {name: getattr(entrant, TASKS[task]) for name, entrant in entrants.items()}
    samples = take_turns(calls, device)
    peaks = {}
    for name in [*work.forms, BOUND]:
        entrants[name].forget()
        peaks[name] = peak_bytes(calls[name], device)
    for form in work.forms:
        ours = samples[form]
        yield Row(
            task,
            work.name,
            form,
            Spread.of(ours),
            ratio(samples[HAND], ours),
            ratio(samples[KERAS], ours) if KERAS in samples else None,
            ratio(ours, samples[BOUND]),
            ratio(samples[COMPILED], ours) if form == work.best_form else None,
            peaks[form],
            peaks[BOUND],
        )


def targets(rows: list[Row]) -> Iterator[str]:
    """Yield what is to be reached at 100 heads on a CPU, and whether it is."""
    for row in rows:
        if (row.work, row.labels) == ("100 binary heads", "stacked labels"):
            of, faster = f"{row.task}, {row.work}, {row.labels}", FASTER[row.task]
            reached = verdict(row.by_hand.median >= faster)
            yield f"{reached} {of}: {times(row.by_hand)} faster than by hand, at least {faster}×"
            reached = verdict(row.bound.median <= 2)
            yield f"{reached} {of}: {times(row.bound)} the time of the bound, at most 2×"


if __name__ == "__main__":
    main()
