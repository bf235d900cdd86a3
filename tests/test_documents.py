"""The code of the README and the pages of docs/ runs, and prints what they say.

Blocks run in order, ```python in one namespace per page. A block whose first line names a file, as
``# train.py``, is that file. The plain block right after ```python or ```bash is what it prints;
commands without one are not run, but what they name has to be there.
"""

import contextlib
import importlib
import inspect
import io
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from tests.integrations.trainers import expected_warnings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
OUTPUT = re.compile(r"\n\n```\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# ([\w/]+\.\w+)\n")
COMMANDS = ("bash", "console")
SECONDS = 120

# A thread of gloo dies so if Python ends before it lets go of a tensor: after all work is done.
ENDED = "terminate called without an active exception"

pytestmark = expected_warnings

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


class Block(NamedTuple):
    """A block of code: its language, the lines above it, and what it prints, if that is told."""

    language: str
    code: str
    above: int
    output: str | None

    @property
    def file(self) -> str | None:
        """The file that the block is."""
        named = FILE.match(self.code)
        return named[1] if named else None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in BLOCK.finditer(text):
        after = OUTPUT.match(text, found.end())
        above = text.count("\n", 0, found.start(2))
        yield Block(found[1], found[2], above, after and after[1])


def lines(block: Block) -> list[list[str]]:
    """Return the words of each command."""
    joined = block.code.replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def run_commands(code: str) -> str:
    """Run commands as a reader would, in an environment that has the package."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if "lo" in [name for _, name in socket.if_nameindex()]:
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    started = subprocess.Popen(
        ["bash", "-ec", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that what hangs goes with all that it launched
    )
    try:
        printed, errors = started.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        raise AssertionError(f"{code!r} hangs for {SECONDS} seconds.") from None
    assert started.returncode == 0 or ENDED in errors, errors
    return printed


def class_paths(node: Any) -> Iterator[dict[str, Any]]:
    """Yield the parts of a configuration that name a class."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and "class_path" in node:
        yield node
    for child in children:
        yield from class_paths(child)


@pytest.fixture(autouse=True)
def _a_fixed_seed() -> None:
    torch.manual_seed(0)


@each_page
def test_the_code_of_a_page_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", names)  # so that its classes can be pickled
    for block in blocks(page):
        if block.file:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.code)
        elif block.language == "python":
            code = compile("\n" * block.above + block.code, page, "exec")
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(code, vars(names))
            if block.output is not None:
                assert printed.getvalue() == block.output
        elif block.language in COMMANDS and block.output is not None:
            assert run_commands(block.code) == block.output


def test_every_example_of_the_readme_prints_something() -> None:
    examples = [block for block in blocks(README) if block.language == "python"]
    assert examples
    assert all(block.output for block in examples)


@each_page
def test_a_page_has_only_blocks_that_are_checked(page: Path) -> None:
    found = list(blocks(page))
    assert {block.language for block in found} <= {"python", "yaml", *COMMANDS, ""}
    assert page.read_text().count("```") == 2 * len(found)


@each_page
def test_the_commands_of_a_page_can_be_run(page: Path) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    subcommands = ["fit", "validate", "test", "predict", "show", "run", "serve"]
    found = list(blocks(page))
    files = {block.file for block in found}
    for block in found:
        if block.language not in COMMANDS:
            continue
        subprocess.run(["bash", "-nc", block.code], check=True)
        for words in lines(block):
            if words[0] == "make":
                assert words[1] in targets
            if "torch_heads" in words[:-1]:
                assert words[words.index("torch_heads") + 1] in subcommands
            for word in words:
                if re.fullmatch(r"[\w/]+\.(py|ipynb|ya?ml)", word):
                    assert word in files or (ROOT / word).is_file()


@each_page
def test_the_configurations_of_a_page_name_classes_and_their_arguments(page: Path) -> None:
    for block in blocks(page):
        if block.language != "yaml":
            continue
        for part in class_paths(yaml.safe_load(block.code)):
            module, _, name = part["class_path"].rpartition(".")
            if module.partition(".")[0] in ("lightning", "torch", "torch_heads"):
                made = getattr(importlib.import_module(module), name)
                inspect.signature(made).bind_partial(**part.get("init_args", {}))


@each_page
def test_the_links_of_a_page_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_speed_that_the_readme_tells_is_what_the_benchmarks_printed() -> None:
    rows: dict[tuple[str, str], list[str]] = {}
    task = ""
    for first, *cells in table((ROOT / "benchmarks/RESULTS.md").read_text("utf-8")):
        if first.startswith("**"):
            task = first.strip("*")
        rows[task, first] = [cell.split(" (")[0] for cell in cells]
    told = [row for row in table(README.read_text("utf-8")) if row[0] in {"1", "100", "1,000"}]
    assert len(told) == 6
    for heads, task, *ratios in told:
        name = "1 binary head" if heads == "1" else f"{heads} binary heads (stacked labels)"
        assert ratios == rows[task, name][1:4]


def table(text: str) -> list[list[str]]:
    """Return the cells of all tables in Markdown, by row."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
