"""Executes the notebooks in a temporary folder and keeps what they show.

python docs/notebooks/execute.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Return the notebook with the outputs of its cells, run in ``folder``; a cell that fails raises an error."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":  # progress and warnings differ from run to run
            cell.outputs = [
                output for output in cell.outputs if output.output_type != "stream" or output.name == "stdout"
            ]
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    return notebook


def shown(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a result or a print, and not a progress bar or a warning."""
    return output.output_type == "execute_result" or output.get("name") == "stdout"


if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(path, Path(folder)), path)
