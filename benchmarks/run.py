"""Time the heads against hand-written code, Keras 3, and the least that could be done.

Prints one table of ratios, and whether the targets are met; writes both to RESULTS.md. The machine
should have nothing else to do.
"""

import gc
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import product

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from benchmarks.apart import apart
from benchmarks.contestants import Bound, ByHand, Contestant, Loop, Ours
from benchmarks.families import families
from benchmarks.limits import LIMITS
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
from benchmarks.results import SERVING, TABLES, bullets, write
from benchmarks.serving import section, serving
from benchmarks.single import bandwidth, overhead
from benchmarks.timing import Spread, Turns, ratio, take_turns
from benchmarks.workloads import Workload, workloads

TASKS = {"loss with backward": "train", "metric update": "update"}
FASTER = {"loss with backward": 8, "metric update": 100}  # than by hand, at 100 heads
MOST = {  # times the bound
    "100 binary heads": {"loss with backward": 1.5, "metric update": 1.7},
    "100 heads of all kinds": {"loss with backward": 1.7, "metric update": 1.7},
}
VISITS = 5  # to each workload: a machine may be slow for seconds on end
HAND, BOUND, KERAS, COMPILED = "by hand", "bound", "Keras 3", "compiled"


def main() -> None:
    settle()
    torch._dynamo.config.recompile_limit = 64  # all heads share the code that is compiled
    console = Console()
    if not console.is_terminal:
        console.width = 130
    sections = ["# Benchmarks", ABOUT, f"Printed by `make bench`, with {versions()}."]
    for device in map(torch.device, ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]):
        rows = compare_all(device, console)
        if device.type == "cuda":
            lines = [*overhead(device), *bandwidth(device), *families(device)]
        else:
            own = [partial(overhead, device), *LIMITS, partial(families, device)]
            lines = [*targets(rows), *apart(own)]
        sections += [f"## {machine(device)}", markdown_table(rows)]
        sections += [bullets(lines)]
        console.print(terminal_table(rows), *map(escape, lines), sep="\n")
    served = list(serving())
    console.print(*map(escape, served), sep="\n")
    write({TABLES: "\n\n".join(sections), SERVING: section(served)})


def compare_all(device: torch.device, console: Console) -> list[Row]:
    """Return the rows of all tasks and workloads."""
    works = workloads(device)
    entrants = [contestants(work) for work in works]
    gc.freeze()  # or all would pay for the many objects of a few
    turns: dict[tuple[str, str], list[Turns]] = defaultdict(list)
    with Progress(console=console) as progress:
        steps = [*product(range(VISITS), zip(works, entrants, strict=True), TASKS.items())]
        for _, (work, among), (task, method) in progress.track(steps, description=str(device)):
            calls = {name: getattr(entrant, method) for name, entrant in among.items()}
            turns[task, work.name].append(take_turns(calls, device))
    return [
        row
        for task in TASKS
        for work, among in zip(works, entrants, strict=True)
        for row in compare(task, work, among, turns[task, work.name], device)
    ]


def contestants(work: Workload) -> dict[str, Contestant]:
    """Return who takes part; the heads under the name of each form of the labels."""
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
    task: str,
    work: Workload,
    entrants: Mapping[str, Contestant],
    turns: Sequence[Turns],
    device: torch.device,
) -> Iterator[Row]:
    """Yield a row for each form of the labels."""
    peaks = {}
    for name in [*work.forms, BOUND]:
        entrants[name].forget()
        peaks[name] = peak_bytes(getattr(entrants[name], TASKS[task]), device)
    for form in work.forms:
        yield Row(
            task,
            work.name,
            form,
            Spread.of([seconds for samples in turns for seconds in samples[form]]),
            ratio(turns, HAND, form),
            ratio(turns, KERAS, form) if KERAS in entrants else None,
            ratio(turns, form, BOUND),
            ratio(turns, COMPILED, form) if form == work.best_form else None,
            peaks[form],
            peaks[BOUND],
        )


def targets(rows: list[Row]) -> Iterator[str]:
    """Yield what is to be reached at 100 heads on a CPU, and whether it is."""
    for row in rows:
        if row.work not in MOST or row.labels != "stacked labels":
            continue
        of = f"{row.task}, {row.work}, {row.labels}"
        if row.work == "100 binary heads":
            faster = FASTER[row.task]
            reached = verdict(row.by_hand.median >= faster)
            yield f"{reached} {of}: {times(row.by_hand)} faster than by hand, at least {faster}×"
        most = MOST[row.work][row.task]
        reached = verdict(row.bound.median <= most)
        yield f"{reached} {of}: {times(row.bound)} the time of the bound, at most {most}×"


if __name__ == "__main__":
    main()
