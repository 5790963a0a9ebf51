"""`nerf-ssim fit-image`: files left, folders, processes, and one line for whatever is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from nerf_ssim.cli.main import main
from tests.ops.native_parity import pretend_bf16_unit

SMALL = "--size 16 --hidden 16 --hidden_layers 2 --n_iters 6 --ssim_remove_at 3 --permute 1".split()


@pytest.fixture
def folder(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, name in enumerate(("one", "two")):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        cv2.imwrite(str(pictures / f"{name}.png"), pixels)
    return pictures


def fit(tmp_path, *words):
    return main(["fit-image", "--basedir", str(tmp_path / "runs"), "--expname", "r", *SMALL, *map(str, words)])


@pytest.mark.slow
def test_a_picture_leaves_the_files_of_every_run(folder, tmp_path, capsys):
    assert fit(tmp_path, "--image", folder / "one.png") == 0
    run = tmp_path / "runs" / "r"
    expected = {"manifest.json", "config.txt", "metrics.csv", "results.json", "checkpoints", "fit.png", "error.png"}
    assert expected <= {path.name for path in run.iterdir()}
    assert cv2.imread(str(run / "fit.png")).shape == (16, 16, 3)
    results = json.loads((run / "results.json").read_text())
    assert results["permuted"] is True and results["schedule"]["removed_at"] == 3 and results["model"] == "siren"
    assert "best" in capsys.readouterr().out
    assert fit(tmp_path, "--image", folder / "one.png", "--resume") == 0


def test_a_precision_that_does_not_run_here_is_said_and_recorded(folder, tmp_path, monkeypatch, capsys):
    pretend_bf16_unit(monkeypatch, "")
    assert fit(tmp_path, "--image", folder / "one.png", "--precision", "bf16x3") == 0
    assert "precision bf16x3: runs in float32" in capsys.readouterr().out
    run = tmp_path / "runs" / "r"
    records = json.loads((run / "results.json").read_text()), json.loads((run / "manifest.json").read_text())
    for record in (records[0]["precision"], records[1]["network_precision"]):
        assert (record["asked"], record["ran"]) == ("bf16x3", "float32")


def test_a_folder_is_fitted_picture_by_picture(folder, tmp_path):
    assert fit(tmp_path, "--images", folder, "--grey", 0) == 0
    for name in ("one", "two"):
        results = json.loads((tmp_path / "runs" / "r" / name / "results.json").read_text())
        assert (results["image"], results["channels"]) == (name, 3)


def test_a_damaged_picture_of_a_folder_does_not_keep_the_others_from_being_fitted(folder, tmp_path, capsys):
    (folder / "notes.txt").write_text("no picture")
    (folder / "a_first.png").write_text("no picture either")
    assert fit(tmp_path, "--images", folder) == 2
    first, last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nerf-ssim: ")]
    assert "a_first.png" in first and "not fitted: a_first" in last
    assert all((tmp_path / "runs" / "r" / name / "results.json").is_file() for name in ("one", "two"))


@pytest.mark.slow
def test_processes_side_by_side_give_the_same_results(folder, tmp_path):
    assert fit(tmp_path, "--images", folder, "--lr_exponents", "[9,11]", "--stop_psnr", "60") == 0
    assert fit(
        tmp_path, "--images", folder, "--lr_exponents", "[9,11]", "--stop_psnr", "60", "--expname", "p", "--workers", 2
    ) == 0  # fmt: skip
    for name in ("one", "two"):
        alone, parallel = (json.loads((tmp_path / "runs" / run / name / "results.json").read_text()) for run in "rp")
        # The processes share the threads out, and a sum's last bits depend on how many there are.
        assert alone["psnr_best"] == pytest.approx(parallel["psnr_best"], rel=1e-5)
        assert all(alone[key] == parallel[key] for key in ("image", "lr", "cost", "step_best", "ended", "permuted"))


@pytest.mark.slow
def test_a_signal_stops_every_process_and_resuming_ends_the_work(folder, tmp_path):
    words = [*SMALL, "--images", str(folder), "--workers", "2", "--basedir", str(tmp_path), "--expname", "r"]
    words += ["--n_iters", "100000", "--save_every", "100000"]
    command = [sys.executable, "-m", "nerf_ssim.cli.main", "fit-image", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    logs = [tmp_path / "r" / name / "metrics.csv" for name in ("one", "two")]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not all(log.exists() and log.stat().st_size > 2000 for log in logs):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    saved = [sorted((tmp_path / "r" / name / "checkpoints").glob("*.pt")) for name in ("one", "two")]
    assert all(len(files) == 1 for files in saved), "each process saves where it stopped"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "--image"),
        (["--image", "nothing.png"], "nothing.png"),
        (["--images", "nowhere"], "nowhere"),
        (["--image", "a.png", "--fild", "siren"], "did you mean field"),
        (["--image", "a.png", "--size", "8"], "ssim_window"),
        (["--image", "a.png", "--lr_exponents", "[9]", "--stop_psnr", "52"], "55"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(tmp_path, capsys, words, named):
    assert fit(tmp_path, *words) == 2
    line = capsys.readouterr().err
    assert line.startswith("nerf-ssim: ") and line.count("\n") == 1 and named in line


def test_a_diverged_fit_is_one_line_and_exit_code_2(folder, tmp_path, capsys):
    assert fit(tmp_path, "--image", folder / "one.png", "--lr", "1e37") == 2
    assert "lower --lr" in capsys.readouterr().err.splitlines()[-1]
