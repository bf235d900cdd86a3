"""The notebooks run from top to bottom without an error or a warning, and store no outputs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = ["first_steps", "missing_labels", "from_tf_estimator"]
SECONDS = 120

# Run as a first cell. Warnings of the kernel itself are not the notebook's.
STRICT = """
import warnings

warnings.simplefilter("error")
warnings.filterwarnings("ignore", category=PendingDeprecationWarning, module="ipykernel")
"""

each_notebook = pytest.mark.parametrize("name", NAMES)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_there_are_no_other_notebooks() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(NAMES)


@each_notebook
def test_a_notebook_stores_no_outputs(name: str) -> None:
    notebook = read(FOLDER / f"{name}.ipynb")
    nbformat.validate(notebook)
    assert outputs(notebook) == []
    assert all(cell.get("execution_count") is None for cell in notebook.cells)


@each_notebook
def test_a_notebook_runs_without_a_warning(name: str, tmp_path: Path) -> None:
    notebook = read(FOLDER / f"{name}.ipynb")
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    nbformat.write(notebook, tmp_path / "given.ipynb")
    # in a process of its own, since the client leaves its sockets to the garbage collector
    execute = Path(sys.executable).with_name("jupyter-execute")
    done = subprocess.run(
        [execute, "given.ipynb", "--output=run", f"--timeout={SECONDS}"],
        cwd=tmp_path,
        env={
            **os.environ,
            "IPYTHONDIR": str(tmp_path),  # not the settings of who runs the tests
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(FOLDER.parent),
        },
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = outputs(read(tmp_path / "run.ipynb"))
    assert any("image/png" in output.get("data", {}) for output in printed)
    assert [output.text for output in printed if output.get("name") == "stderr"] == []
