"""The sections of a report: which pictures tell what about which head."""

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from matplotlib.figure import Figure

from torch_heads.families.family import Counts
from torch_heads.functional.errors import preview
from torch_heads.functional.residuals import Residuals
from torch_heads.functional.scores import SOFT
from torch_heads.heads.base import Head
from torch_heads.integrations.report.canvas import ends
from torch_heads.integrations.report.classes import MOST_CELLS, confusion_figure, pairs_figure
from torch_heads.integrations.report.evaluation import evaluation
from torch_heads.integrations.report.mean_pictures import means_figure, number_columns
from torch_heads.integrations.report.ranking import ranking_of
from torch_heads.integrations.report.ranking_pictures import (
    coverage_figure,
    ranking_figure,
    strips_of,
)
from torch_heads.integrations.report.residual_pictures import finite, residuals_figure
from torch_heads.integrations.report.score_columns import ScoreColumn, score_columns
from torch_heads.integrations.report.score_pictures import curves_figure, histograms_figure
from torch_heads.integrations.report.survival_pictures import survival_figure
from torch_heads.integrations.report.tasks import COVERAGE, Task, by_kind
from torch_heads.metrics.collection import ReadingCollection

MOST_SHOWN = 12  # of the worst and the best heads, where there are many
MOST_HISTOGRAMS = 12

SOFT_LABELS = (
    "Some labels lie between 0 and 1. The curves count them as positive, so that calibrated scores "
    "look too low."
)
NOT_RANKED = "Not ranked, for want of a finite metric, of labels, or of both kinds of labels"
NOT_FINITE = "of the residuals are not finite, or beyond 2**60, and are not drawn."


class Picture(NamedTuple):
    """A figure, the name of its file without the extension, and what it shows."""

    stem: str
    caption: str
    figure: Figure


@dataclass
class Section:
    """A part of the report."""

    title: str
    notes: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def report_figures(head: Head, metrics: ReadingCollection) -> dict[str, Figure]:
    """Return the pictures of an evaluation, by name.

    Args:
        head: the head, or one of the heads inside of a `MultiHead`.
        metrics: what `update_metrics` of the head, or of the `MultiHead`, has filled.

    Raises:
        TypeError: if these are not a head and metrics of a head.
        ValueError: if the metrics are not of this head, or have not seen a batch.

    >>> from torch_heads import BinaryClassHead
    >>> head = BinaryClassHead(name="even")
    >>> metrics = head.update_metrics(logits=[[2.0], [-1.0], [0.5]], labels=[1, 0, 1])
    >>> list(report_figures(head, metrics))
    ['even-curves']
    """
    sections = make_sections(evaluation(head, metrics).tasks)
    return {picture.stem: picture.figure for each in sections for picture in each.pictures}


def make_sections(tasks: Sequence[Task]) -> list[Section]:
    """Return the sections of these tasks, with different names for all pictures."""
    few, many = by_kind(tasks)
    # of each kind, three of the worst and three of the best, or fewer where there are many kinds
    shown = min(6, max(2, MOST_SHOWN // max(len(many), 1)))
    groups = (section for kind, alike in many.items() for section in _group(kind, alike, shown))
    sections = [*_coverage(tasks), *map(_section, few), *groups]
    taken: set[str] = set()
    for section in sections:
        for i, picture in enumerate(section.pictures):
            stem, copy = picture.stem, 2
            while stem in taken:
                stem, copy = f"{picture.stem}-{copy}", copy + 1
            taken.add(stem)
            section.pictures[i] = picture._replace(stem=stem)
    return sections


def file_stem(name: str, what: str) -> str:
    """Return a name for a file that every file system takes.

    >>> file_stem("größe/Ω <b>", "curves")
    'grosse-b-curves'
    """
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore")
    slug = re.sub(r"[^a-z0-9]+", "-", plain.decode().lower()).strip("-")[:40]
    return f"{slug or 'head'}-{what}"


def _coverage(tasks: Sequence[Task]) -> Iterator[Section]:
    covered = [task for task in tasks if COVERAGE in task.metrics]
    if not covered:
        return
    section = Section("Label coverage")
    never = [task.name for task in covered if not task.labels]
    if never:
        section.notes.append(f"Without any label: {preview(never, 20)}")
    shares = [(task.name, task.metrics[COVERAGE]) for task in covered]
    seen = [(name, share) for name, share in shares if not math.isnan(share)]
    if seen:
        figure = coverage_figure("Label coverage", *zip(*seen, strict=True))
        caption = "The share of rows in which each head had a label."
        section.pictures.append(Picture("label-coverage", caption, figure))
    yield section


def _section(task: Task, most: int | None = None) -> Section:
    """Return what there is to say of a task, with its first pictures."""
    section = Section(task.name)
    if not task.counted:
        section.notes.append("No labels were seen: there is nothing to draw.")
    elif task.form is Counts.SCORES:
        columns = list(score_columns(task))
        with_curves = {column.name for column in columns}
        absent = [name for name in task.columns if name not in with_curves]
        if absent:
            names = "" if absent == [task.name] else f": {preview(absent, 20)}"
            section.notes.append(f"No curves for want of labels of both kinds{names}")
        if task.scores is not None and task.scores[:, SOFT].any():
            section.notes.append(SOFT_LABELS)
        section.pictures += islice(_score_pictures(task.name, task.name, columns), most)
    elif task.form is Counts.NUMBERS:
        if task.residuals is not None:
            counts, drawn = task.residuals.counts, finite(task.residuals).counts
            if (counts > drawn).any():
                section.notes.append(f"{1 - drawn.sum() / counts.sum():.3%} {NOT_FINITE}")
        section.pictures += islice(_number_pictures(task), most)
    elif task.survival is not None:
        figure = survival_figure(task.name, task.survival)
        caption = "The share of labels that survives, and the mean of the predicted shares."
        section.pictures.append(Picture(file_stem(task.name, "survival"), caption, figure))
    elif task.confusion is None:
        section.notes.append("There are too many classes for confusions to be kept.")
    else:
        draw = confusion_figure if len(task.confusion) <= MOST_CELLS else pairs_figure
        classes = list(task.target.label_vocabulary or map(str, range(len(task.confusion))))
        figure = draw(task.name, classes, task.confusion)
        caption = "Which class is taken for which, and how well each class is found."
        section.pictures.append(Picture(file_stem(task.name, "confusion"), caption, figure))
    return section


def _number_pictures(task: Task) -> Iterator[Picture]:
    if task.residuals is not None:
        seen = finite(task.residuals).counts.sum(-1).nonzero().flatten().tolist()
        if seen:
            names, own = [task.columns[i] for i in seen], Residuals(task.residuals.counts[seen])
            caption = "How far predictions are off, and the share of examples within each error."
            figure = residuals_figure(task.name, names, own)
            yield Picture(file_stem(task.name, "residuals"), caption, figure)
    caption = "The mean label and the mean prediction of each column."
    figure = means_figure(task.name, number_columns(task))
    yield Picture(file_stem(task.name, "means"), caption, figure)


def _score_pictures(title: str, name: str, columns: Sequence[ScoreColumn]) -> Iterator[Picture]:
    if columns:
        caption = "ROC, precision-recall and calibration curves, and the scores by label."
        yield Picture(file_stem(name, "curves"), caption, curves_figure(title, columns))
    if 1 < len(columns) <= MOST_HISTOGRAMS:
        caption = "The histogram of the scores of each column, by label."
        yield Picture(file_stem(name, "histograms"), caption, histograms_figure(title, columns))


def _group(kind: str, tasks: Sequence[Task], shown: int) -> Iterator[Section]:
    by, ranked, unranked = ranking = ranking_of(tasks)
    strips = strips_of(tasks)
    title = f"{len(tasks):,} × {kind}"
    section = Section(title)
    if unranked:
        section.notes.append(f"{NOT_RANKED}: {preview([task.name for task in unranked], 20)}")
    if strips.left_out:
        section.notes.append(f"Not drawn, for want of room: {preview(strips.left_out, 20)}")
    if ranked or strips.shares or strips.own:
        heads = f", and the heads by {by}" if ranked else ""
        caption = f"How the metrics spread over the heads{heads}."
        figure = ranking_figure(title, ranking, strips)
        section.pictures.append(Picture(file_stem(kind, "ranking"), caption, figure))
    columns = [
        column._replace(name=f"{task.name}: {column.name}") if len(task.columns) > 1 else column
        for task in tasks
        if task.form is Counts.SCORES
        for column in score_columns(task)
    ]
    section.pictures += _score_pictures(title, kind, columns)
    yield section
    for place in ends(len(ranked), shown):
        own = _section(ranked[place], 1)  # the curves alone: there are many heads to look at
        own.notes.insert(0, f"Number {len(ranked) - place} of {len(ranked)} by {by}.")
        yield own
