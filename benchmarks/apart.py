"""Figures from a process of their own, in which nothing else has left its memory in pieces."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.memory import settle

Section = Callable[[], Iterable[str]]


def apart(sections: Iterable[Section]) -> Iterator[str]:
    """Yield the lines of each section, measured in a new process."""
    for section in sections:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            yield from pool.submit(_lines, section).result()


def _lines(section: Section) -> list[str]:
    settle()
    return list(section())
