"""The notebooks run on the local endpoint with real models, and their outputs are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def outputs(notebook: Any) -> list[list[str]]:
    """Return what each code cell shows: its printed text, then its other outputs.

    A kernel hands over what is printed in as many parts as time makes of it. What goes to
    stderr is left out.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        [
            "".join(each["text"] for each in cell.outputs if each.get("name") == "stdout"),
            *(each["data"].get("text/plain", "") for each in cell.outputs if "data" in each),
        ]
        for cell in cells
    ]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_short(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    assert len(notebook.cells) < 20


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_its_stored_output(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    kept = outputs(notebook)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": FOLDER}}
    ).execute()
    again = outputs(notebook)
    # A model's words may differ from one kind of processor to another; what is shown may not.
    assert [[bool(text) for text in cell] for cell in again] == [
        [bool(text) for text in cell] for cell in kept
    ]
