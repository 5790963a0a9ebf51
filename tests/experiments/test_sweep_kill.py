"""A sweep that is killed at any moment, and started again, ends with the table of an unbroken one."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
from sweep_fixtures import hide_tensorboard, write_pictures

from nerf_ssim.cli.main import main
from nerf_ssim.experiments.sweep.rows import FACTS

SWEEP = """
name: killed
command: fit-image
options: {size: 16, hidden: 8, hidden_layers: 1, n_iters: 1500, save_every: 100, luminance_every: 50}
axes:
  scene: [one.png]
  schedule: SCHEDULES
  seed: [1]
resources: {cores: 1}
"""


def words_of(folder, runs):
    return ["sweep", str(folder / "s.yaml"), "--data", str(folder), "--basedir", str(folder / runs), "--jobs", "2"]


def start(folder, runs):
    command = [sys.executable, "-m", "nerf_ssim.cli.main", *words_of(folder, runs)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(folder, runs):
    assert main(words_of(folder, runs)) == 0


def results_in(folder):
    """The rows without what may differ between two sweeps with the same results."""
    with open(folder / "killed" / "runs.csv", newline="") as file:
        return [
            {name: cell for name, cell in row.items() if name not in (*FACTS, "folder")} for row in csv.DictReader(file)
        ]


def logged(folder):
    return sum(path.read_bytes().count(b"\n") for path in folder.rglob("metrics.csv"))


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)


def children_of(process):
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        return [int(word) for word in file.read().split()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="children are found through /proc")
@pytest.mark.parametrize(
    "schedules", [["remove_9"], pytest.param(["without", "remove_9"], marks=pytest.mark.release)], ids=len
)
def test_a_sweep_killed_with_its_runs_gives_the_table_of_an_unbroken_one(tmp_path, monkeypatch, schedules):
    pytest.importorskip("yaml")
    hide_tensorboard(tmp_path, monkeypatch)
    write_pictures(tmp_path)
    (tmp_path / "s.yaml").write_text(SWEEP.replace("SCHEDULES", str(schedules)))
    finish(tmp_path, "unbroken")
    expected = results_in(tmp_path / "unbroken")
    assert len(expected) == len(schedules) and {row["state"] for row in expected} == {"done"}

    broken = tmp_path / "broken"
    process = start(tmp_path, "broken")
    wait_for(lambda: logged(broken) > 200, process)
    for child in children_of(process):
        os.kill(child, signal.SIGKILL)
    process.kill()
    process.wait()
    assert logged(broken) < len(schedules) * 1500, "the runs were over before they were killed"

    process = start(tmp_path, "broken")
    before = logged(broken)
    wait_for(lambda: logged(broken) > before + 200, process)
    process.kill()  # its runs are told to save and stop
    process.wait()

    finish(tmp_path, "broken")
    assert results_in(broken) == expected
    commands = [path.read_text().count("$ nerf-ssim") for path in broken.rglob("sweep.log")]
    assert len(commands) == len(schedules) and max(commands) > 1, "no run was ever started again"
    finish(tmp_path, "broken")
    assert [path.read_text().count("$ nerf-ssim") for path in broken.rglob("sweep.log")] == commands, (
        "done runs started"
    )
