"""Figure 6 from metrics logs: drawn where the parts were measured, refused by name where they were not."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from nerf_ssim.errors import ConfigError
from nerf_ssim.experiments.paper.gradients import draw_parts, rows_of
from nerf_ssim.training.objective import PART_FIGURES

pytest.importorskip("matplotlib")
COLUMNS = ("iteration", "grad_mse", *PART_FIGURES)


def write_log(folder: Path, rows: list[dict[str, float]]) -> Path:
    folder.mkdir()
    lines = [",".join(str(row.get(name, "")) for name in COLUMNS) for row in rows]
    (folder / "metrics.csv").write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
    return folder


def measured(tmp_path: Path, name: str) -> Path:
    """Norms that fall and cosines that turn, measured at every other iteration; the first cosine is undefined."""
    figures = [{column: 0.5**at if "grad" in column else at / 10 - 0.5 for column in COLUMNS[1:]} for at in range(10)]
    figures[0] = {column: value for column, value in figures[0].items() if "cosine" not in column}
    rows = [{"iteration": 2 * at, **figure} for at, figure in enumerate(figures)]
    return write_log(tmp_path / name, [each for row in rows for each in (row, {"iteration": row["iteration"] + 1})])


@pytest.mark.slow
def test_a_row_of_plots_a_run_is_drawn(tmp_path):
    draw_parts({"TensoRF": measured(tmp_path, "a")}, tmp_path / "one.png")
    draw_parts({"TensoRF": tmp_path / "a", "DVGO": measured(tmp_path, "b")}, tmp_path / "two.png")
    one, two = (cv2.imread(str(tmp_path / name)) for name in ("one.png", "two.png"))
    assert two.shape[0] > 1.5 * one.shape[0] and two.shape[1] == one.shape[1]
    assert int((one < 128).any(axis=2).sum()) > 2000, "there are lines and words on it"


def test_a_run_whose_parts_were_not_measured_is_named(tmp_path):
    folder = write_log(tmp_path / "plain", [{"iteration": 0, "grad_mse": 1.0}])
    with pytest.raises(ConfigError, match="plain: .*--grad_norm_every"):
        draw_parts({"w/o": folder}, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_the_table_has_what_was_measured_nearest_to_its_iterations():
    columns = {
        "iteration": [0, 4, 8, 12, 16],
        "grad_luminance": [1.0, None, 2.0, 3.0, 4.0],
        "grad_structure": [2.0, None, 0.0, 6.0, 1.0],
        "cosine_luminance": [0.5, None, None, 0.25, -0.5],
        "cosine_structure": [0.1, None, 0.2, 0.3, 0.4],
    }
    assert rows_of(columns) == [[0, 0.5, 0.5, 0.1], [8, None, None, 0.2], [16, 4.0, -0.5, 0.4]]
