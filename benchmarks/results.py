"""RESULTS.md: the tables of `make bench`, the figures of bundles and those of `make soak`."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
TABLES, SERVING, SOAK = "", "## Serving", "## Soak"  # what the sections of each begin with


def write(own: Mapping[str, str]) -> None:
    """Write some of the three anew, each as its text, and keep the others."""
    RESULTS.write_text(with_sections(RESULTS.read_text("utf-8"), own), "utf-8")


def with_sections(text: str, own: Mapping[str, str]) -> str:
    """Return the text of RESULTS.md with some of the three anew."""
    found: dict[str, list[str]] = {TABLES: [], SERVING: [], SOAK: []}
    for section in re.split(r"\n(?=## )", text):
        kind = next((one for one in (SERVING, SOAK) if section.startswith(one)), TABLES)
        found[kind].append(section)
    found.update({kind: [f"{new}\n"] for kind, new in own.items()})
    return "\n".join(section for sections in found.values() for section in sections)


def bullets(lines: Iterable[str]) -> str:
    """Return figures as a list."""
    return "\n".join(f"- {line}" for line in lines)
