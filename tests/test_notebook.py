"""The notebook's cells run from the first to the last on the bundled room, and its field learns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs/when_ssim_helps.ipynb"


def cells() -> list[str]:
    """The code of each cell."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") for cell in notebook["cells"]), "outputs are not kept"
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_every_cell_runs_and_the_field_learns(tmp_path):
    """As one program, which needs no Jupyter."""
    program = "\n".join(cells())
    body, _, last = program.rpartition("\n")
    checked = f"{body}\nerror = {last}\nassert error < 0.05, error\nassert session.schedule.removed_at == 70\n"
    checked += "assert len(plt.get_fignums()) == 3\n"
    environment = {**os.environ, "MPLBACKEND": "agg", "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-c", checked]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.release
def test_the_notebook_runs_in_jupyter(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="runs the notebook: the extra dev")
    nbclient = pytest.importorskip("nbclient", reason="runs the notebook: the extra dev")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    results = [
        output["data"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]
    assert "(200, 70)" in [result.get("text/plain") for result in results]
    assert sum("image/png" in result for result in results) == 3
