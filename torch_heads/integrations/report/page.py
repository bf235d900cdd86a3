"""The report as one HTML page, with its pictures inside, and as files beside it."""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from torch_heads.heads.base import Head
from torch_heads.integrations.atomic import replacing
from torch_heads.integrations.report.canvas import number
from torch_heads.integrations.report.evaluation import evaluation
from torch_heads.integrations.report.sections import make_sections
from torch_heads.integrations.report.tasks import Task, by_kind, is_first_process, metric_keys
from torch_heads.metrics.collection import ReadingCollection
from torch_heads.metrics.sums import Total

HELD = re.compile(r'<img data-file="([\w-]+\.png)" [^>]*src="data:image/png;base64,([\w+/=]+)"')


class Grid(NamedTuple):
    """A table of metrics, as text."""

    title: str
    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


def write_report(
    head: Head, metrics: ReadingCollection, folder: str | Path, *, interval: float | None = None
) -> Path:
    """Write pictures and tables of an evaluation, and return the path of the page.

    ``report.html`` holds all of it in one file; the pictures are also beside it, as PNG. Those of
    an earlier report in the folder are removed. Heads of which there are many of one kind are
    ranked, and the best and the worst of them shown.

    Under several processes, all of them must call this; the first one writes.

    Args:
        head: the head, or one of the heads inside of a `MultiHead`.
        metrics: what `update_metrics` of the head, or of the `MultiHead`, has filled.
        folder: where to write; it is made if it is not there.
        interval: the level at which to tell where metrics lie, such as 0.95; None for not at all.

    Raises:
        TypeError: if these are not a head and metrics of a head.
        ValueError: if the metrics are not of this head, or have not seen a batch.

    >>> import tempfile
    >>> from torch_heads import BinaryClassHead
    >>> head = BinaryClassHead(name="even")
    >>> metrics = head.update_metrics(logits=[[2.0], [-1.0], [0.5]], labels=[1, 0, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write_report(head, metrics, folder)
    ...     sorted(file.name for file in page.parent.iterdir())
    ['even-curves.png', 'report.html']
    """
    tasks, others = evaluation(head, metrics, interval)
    page = Path(folder) / "report.html"
    if not is_first_process():
        return page
    sections = make_sections(tasks)
    page.parent.mkdir(parents=True, exist_ok=True)
    remove_pictures(page)
    images = {}
    for section in sections:
        for picture in section.pictures:
            file = page.with_name(f"{picture.stem}.png")
            with replacing(file) as opened:
                picture.figure.savefig(opened)
            images[picture.stem] = b64encode(file.read_bytes()).decode()
    loader = PackageLoader("torch_heads.integrations.report", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    template = environment.get_template("page.html.jinja")
    rows = max(float(task.totals[:, Total.VALID].max()) for task in tasks)
    title = tasks[0].name if len(tasks) == 1 else f"{len(tasks):,} heads"
    content = template.render(
        title=title,
        rows=f"{rows:,.0f}",
        labels=f"{sum(task.labels for task in tasks):,.0f}",
        grids=list(grids(tasks, others)),
        sections=sections,
        images=images,
    )
    with replacing(page) as opened:
        opened.write(content.encode())
    return page


def remove_pictures(page: Path) -> None:
    """Remove the pictures beside an earlier page, if they are still those which it holds."""
    earlier = page.read_text(encoding="utf-8", errors="replace") if page.exists() else ""
    for name, image in HELD.findall(earlier):
        file = page.with_name(name)
        if file.is_file() and file.read_bytes() == b64decode(image):
            file.unlink()


def grids(tasks: Sequence[Task], others: Mapping[str, float]) -> Iterator[Grid]:
    """Yield the tables of all metrics: a row per metric for a few heads, per head for many."""
    few, many = by_kind(tasks)
    if few:
        rows = [(key, [task.written(key) for task in few]) for key in metric_keys(few)]
        yield Grid("Metrics", ["metric", *(task.name for task in few)], rows)
    for kind, alike in many.items():
        keys = metric_keys(alike)
        rows = [(task.name, [task.written(key) for key in keys]) for task in alike]
        yield Grid(f"Metrics of {len(alike):,} × {kind}", ["head", *keys], rows)
    if others:
        rows = [(key, [number(value)]) for key, value in others.items()]
        yield Grid("Metrics of several heads", ["metric", "value"], rows)
