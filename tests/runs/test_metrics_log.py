"""metrics.csv: every row whole, none twice after a resume; its copies have the same values."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nerf_ssim.errors import TrainingError
from nerf_ssim.runs.metrics_log import MetricsLog

COLUMNS = ("iteration", "seconds", "mse", "psnr_test")


def make(folder: Path, resume_iteration: int | None = None, columns=COLUMNS, **options) -> MetricsLog:
    return MetricsLog(folder, columns, resume_iteration, **options)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def write_five(folder: Path) -> None:
    with make(folder) as log:
        for iteration in range(0, 50, 10):
            log.write(iteration, {"seconds": iteration / 3, "mse": 0.5})


def test_rows_hold_the_values_and_missing_ones_are_empty(tmp_path):
    with make(tmp_path) as log:
        log.write(0, {"seconds": 1.5, "mse": 0.25, "psnr_test": None})
        log.write(10, {"mse": float("nan"), "psnr_test": 23.7})
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "iteration,seconds,mse,psnr_test",
        "0,1.5,0.25,",
        "10,,nan,23.7",
    ]


def test_a_float32_comes_back_exactly(tmp_path):
    import numpy as np

    values = np.random.default_rng(0).standard_normal(200).astype(np.float32) * np.float32(1e-5)
    with make(tmp_path) as log:
        for index, value in enumerate(values):
            log.write(index, {"mse": float(value)})
    assert [np.float32(row["mse"]) for row in rows(tmp_path)] == list(values)


def test_iteration_is_the_first_column_wherever_it_was_given(tmp_path):
    for columns in (("mse", "seconds"), ("mse", "iteration", "seconds")):
        make(tmp_path, columns=columns).close()
        assert (tmp_path / "metrics.csv").read_text() == "iteration,mse,seconds\n"


def test_a_row_is_in_the_file_as_soon_as_it_is_written(tmp_path):
    log = make(tmp_path)
    log.write(0, {"mse": 1.0})
    assert (tmp_path / "metrics.csv").read_text().endswith("0,,1,\n")
    log.close()


def test_a_value_without_a_column_is_an_error(tmp_path):
    with make(tmp_path) as log:
        with pytest.raises(ValueError, match="ssim"):
            log.write(0, {"ssim": 1.0})
        with pytest.raises(ValueError, match="iteration"):
            log.write(0, {"iteration": 1.0})
    with pytest.raises(ValueError, match="distinct"):
        make(tmp_path, columns=("mse", "mse"))


def test_a_fresh_log_replaces_the_old_one(tmp_path):
    write_five(tmp_path)
    make(tmp_path).close()
    assert rows(tmp_path) == []


def test_resuming_keeps_the_rows_before_and_drops_the_rest(tmp_path):
    write_five(tmp_path)
    before = (tmp_path / "metrics.csv").read_text().splitlines()
    with make(tmp_path, 30) as log:
        log.write(30, {"mse": 9.0})
    after = (tmp_path / "metrics.csv").read_text().splitlines()
    assert after == [*before[:4], "30,,9,"]  # header, 0, 10, 20 untouched; 30 and 40 measured again


@pytest.mark.parametrize("cut", [1, 3, 8])
def test_a_torn_last_line_is_dropped_even_if_it_still_parses(tmp_path, cut):
    write_five(tmp_path)
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-cut])
    lines = []
    make(tmp_path, 1000, warn=lines.append).close()
    assert [row["iteration"] for row in rows(tmp_path)] == ["0", "10", "20", "30"]
    assert path.read_bytes().endswith(b"\n")
    assert lines == []  # a kill's ordinary trace deserves no alarm


def test_damage_in_the_middle_is_dropped_with_a_warning(tmp_path):
    write_five(tmp_path)
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes().replace(b"10,3.33333333,0.5,", b"10,3.3\0\xff"))
    lines = []
    make(tmp_path, 1000, warn=lines.append).close()
    assert [row["iteration"] for row in rows(tmp_path)] == ["0", "20", "30", "40"]
    assert len(lines) == 1
    assert "1 damaged" in lines[0]


def test_resuming_with_other_columns_is_refused_and_harms_nothing(tmp_path):
    write_five(tmp_path)
    before = (tmp_path / "metrics.csv").read_bytes()
    with pytest.raises(TrainingError, match="psnr_test, ssim"):
        make(tmp_path, 30, columns=("seconds", "mse", "ssim"))
    with pytest.raises(TrainingError, match="order"):
        make(tmp_path, 30, columns=("mse", "seconds", "psnr_test"))
    assert (tmp_path / "metrics.csv").read_bytes() == before


def test_columns_that_came_later_are_empty_in_the_rows_before(tmp_path):
    write_five(tmp_path)
    before = rows(tmp_path)
    with make(tmp_path, 30, columns=("seconds", "grad_mse", "mse", "psnr_test", "cosine")) as log:
        log.write(30, {"cosine": 0.5, "mse": 0.25})
    after = rows(tmp_path)
    assert after[:3] == [row | {"grad_mse": "", "cosine": ""} for row in before[:3]]
    assert (after[3]["cosine"], after[3]["mse"], len(after)) == ("0.5", "0.25", 4)


def test_resuming_without_a_file_or_with_an_empty_one_starts_it(tmp_path):
    make(tmp_path, 30).close()
    (tmp_path / "metrics.csv").write_bytes(b"itera")
    make(tmp_path, 30).close()
    assert (tmp_path / "metrics.csv").read_text() == "iteration,seconds,mse,psnr_test\n"


def test_a_folder_that_can_not_be_written_is_one_line(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(TrainingError) as caught:
        make(tmp_path / "run")
    assert str(caught.value).startswith(f"{tmp_path / 'run'}") and "move it away" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line(tmp_path):
    log = make(tmp_path)
    log._file.close()
    log._file = open("/dev/full", "w", buffering=1)  # noqa: SIM115
    with pytest.raises(TrainingError, match="No space left"):
        log.write(0, {"mse": 1.0})
    with pytest.raises(TrainingError, match="No space left"):
        log.close()
    log.close()


def test_kill_9_loses_at_most_the_last_line(tmp_path):
    code = (
        "import sys, os, signal\n"
        "from nerf_ssim.runs.metrics_log import MetricsLog\n"
        "log = MetricsLog(sys.argv[1], ['mse'])\n"
        "for i in range(100): log.write(i, {'mse': i / 7})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60, check=False)
    assert done.returncode == -9
    assert [row["iteration"] for row in rows(tmp_path)] == [str(i) for i in range(100)]


def test_copies_get_the_values_that_are_there_and_are_closed_with_the_log(tmp_path):
    class Kept:
        def __init__(self):
            self.rows, self.is_closed = [], False

        def write(self, values, step):
            self.rows.append((step, values))

        def close(self):
            self.is_closed = True

    kept = Kept()
    with make(tmp_path, copies=kept) as log:
        log.write(3, {"mse": 0.5, "psnr_test": None})
        assert not kept.is_closed
    assert kept.rows == [(3, {"mse": 0.5})] and kept.is_closed
