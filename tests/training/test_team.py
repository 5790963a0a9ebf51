"""Several processes that train one scene make the updates that one process makes; one that fails ends all of them.

The processes are two on the CPU, which talk by Gloo. They are forks that have what `torchrun` tells its processes.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from kill_resume import newest_iteration
from tiny_scene import tiny_config

from nerf_ssim.cli.main import main
from nerf_ssim.rays.share import Share
from nerf_ssim.runs.manifest import read_manifest
from nerf_ssim.training import scoring
from nerf_ssim.training.processes import ALONE, joined


def run_one(argv: list[str], environment: dict[str, str], words: Path) -> None:
    """The `train` command as one of the processes; what it prints goes to a file."""
    sink = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.environ.update(environment)
    sys.modules["tensorboard"] = None  # its import takes seconds
    scoring.lpips_scorers = lambda *arguments: ()
    torch.set_num_threads(1)
    sys.exit(main(["train", *argv]))


@pytest.fixture(scope="module")
def start():
    """Starts a training in so many processes, forks of one that has torch loaded already; each prints to its file."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["nerf_ssim.training.team", "nerf_ssim.training.loop", "nerf_ssim.training.scoring", "torch._dynamo"]
    )
    processes = []

    def start_all(argv: list[str], size: int, words: Path) -> list[multiprocessing.Process]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        started = []
        for rank in range(size):
            environment = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            file = words / f"words_{rank}.txt"
            file.unlink(missing_ok=True)
            started.append(context.Process(target=run_one, args=(argv, environment, file)))
            started[-1].start()
        processes.extend(started)
        return started

    yield start_all
    for process in processes:
        if process.is_alive():
            process.kill()


def codes_of(processes: Sequence[multiprocessing.Process]) -> list[int | None]:
    for process in processes:
        process.join(400)
    return [process.exitcode for process in processes]


KINDS = {
    "tensorf": {"upsamp_list": [5, 12], "update_AlphaMask_list": [3, 9], "color_samples": 4, "batch_size": 64},
    "dvgo": {"ssim_remove_at": 15},
    "bounded dvgo": {"rand_bkgd": True},
}
"""Runs of 20 updates with a mask, a shrink, a filter of rays, upsamplings, a new stage and an end of SSIM in them."""
SIZES = {"tensorf": 2, "dvgo": 3, "bounded dvgo": 2}
"""Processes; 64 rays are not divisible by 3."""


def options_of(scene, folder, kind, **options) -> list[str]:
    folder.mkdir(exist_ok=True)
    given = {"n_iters": 20, "render_test": 0, "grad_norm_every": 6, **KINDS[kind], **options}
    tiny_config(scene, folder, kind, **given).write(folder / "options.txt")
    return ["--config", str(folder / "options.txt")]


def words_of(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(folder.glob("words_*.txt"))}


def distances(ours: Path, theirs: Path) -> dict[str, float]:
    """How far two runs' parameters are from each other, each as a vector, relative to its length."""
    states = [torch.load(run / "tiny/checkpoints/000020.pt", weights_only=True)["recipe"] for run in (ours, theirs)]
    ours, theirs = (state["field"]["weights"] for state in states)
    assert ours.keys() == theirs.keys() and all(ours[name].shape == theirs[name].shape for name in ours)
    return {name: float((ours[name] - value).norm() / value.norm()) for name, value in theirs.items()}


def rows_of_run(folder: Path) -> list[dict[str, str]]:
    with open(folder / "tiny" / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def events_of(words: str) -> list[str]:
    return [line for line in words.splitlines() if line.startswith("iteration ")]


CLOSE = 1e-4
"""Sums in another order; 5e-6 and less was seen."""


@pytest.fixture(scope="module", params=["tensorf", "dvgo", pytest.param("bounded dvgo", marks=pytest.mark.release)])
def alone(request, scene, start, tmp_path_factory):
    """A model, and the folder of a run of it by one process."""
    folder = tmp_path_factory.mktemp("alone")
    assert codes_of(start(options_of(scene, folder, request.param), 1, folder)) == [0], words_of(folder)
    return request.param, folder


@pytest.mark.slow
def test_several_processes_make_the_updates_of_one(alone, scene, start, tmp_path):
    kind, one = alone
    assert codes_of(start(options_of(scene, tmp_path, kind), SIZES[kind], tmp_path)) == [0] * SIZES[kind]
    found = distances(tmp_path, one)
    print(f"{kind}, {SIZES[kind]} processes: {max(found.values()):.1e}")
    assert max(found.values()) < CLOSE
    words = words_of(tmp_path)
    assert f"{SIZES[kind]} processes train together" in words["words_0"] and not words["words_1"]
    assert events_of(words["words_0"]) == events_of(words_of(one)["words_0"]) != []
    assert "processes" not in words_of(one)["words_0"]
    assert [read_manifest(run / "tiny")["processes"] for run in (tmp_path, one)] == [SIZES[kind], 1]
    for ours, theirs in zip(rows_of_run(tmp_path), rows_of_run(one), strict=True):
        for name in set(theirs) - {"seconds"}:
            assert (ours[name] == "") == (theirs[name] == ""), name
            if theirs[name]:
                assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-3, abs=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("alone", ["tensorf"], indirect=True)
def test_a_run_goes_on_with_another_number_of_processes(alone, scene, start, tmp_path):
    kind, one = alone
    argv = options_of(scene, tmp_path, kind)
    assert codes_of(start([*argv, "--stop_at", "7"], 2, tmp_path)) == [0, 0]
    assert codes_of(start([*argv, "--resume", "--stop_at", "11"], 1, tmp_path)) == [0]
    assert "processes 2, now 1" in words_of(tmp_path)["words_0"]
    assert codes_of(start([*argv, "--resume", "--stop_at", "20"], 2, tmp_path)) == [0, 0], words_of(tmp_path)
    assert max(distances(tmp_path, one).values()) < CLOSE


LONG = {"n_iters": 5000, "upsamp_list": [], "update_AlphaMask_list": [], "save_every": 10, "progress_refresh_rate": 1}


def begun(processes: list[multiprocessing.Process], folder: Path) -> list[multiprocessing.Process]:
    """The processes, once they have saved something."""
    deadline = time.monotonic() + 400
    while newest_iteration(folder / "tiny") < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    return processes


@pytest.mark.slow
@pytest.mark.parametrize("killed", [1, pytest.param(0, marks=pytest.mark.release)])
def test_a_process_that_is_killed_ends_all_with_one_line(scene, start, tmp_path, killed):
    processes = begun(start(options_of(scene, tmp_path, "tensorf", **LONG), 2, tmp_path), tmp_path)
    processes[killed].kill()
    assert codes_of(processes)[1 - killed] == 2
    said = words_of(tmp_path)[f"words_{1 - killed}"].splitlines()
    complaint = [line for line in said if line.startswith("nerf-ssim: ")]
    assert complaint == said[-1:] and "another process" in complaint[0] and "--resume" in complaint[0]
    assert newest_iteration(tmp_path / "tiny") >= 10


@pytest.mark.slow
def test_a_signal_to_one_process_saves_and_ends_all(scene, start, tmp_path):
    argv = options_of(scene, tmp_path, "tensorf", **(LONG | {"save_every": 5000, "save_at": [10]}))
    processes = begun(start(argv, 2, tmp_path), tmp_path)
    os.kill(processes[1].pid, signal.SIGINT)
    assert codes_of(processes) == [130, 130]
    stopped = newest_iteration(tmp_path / "tiny")
    assert f"stopped after {stopped} updates" in words_of(tmp_path)["words_0"] and stopped > 10


@pytest.mark.slow
def test_what_ends_all_is_told_once(scene, start, tmp_path):
    """No processes may have no ray; each of the two finds it out for itself."""
    argv = options_of(scene, tmp_path, "dvgo", batch_size=1, s3im_weight=0.0, luminance_every=0)
    assert codes_of(start(argv, 2, tmp_path)) == [2, 2]
    said = [line for line in "".join(words_of(tmp_path).values()).splitlines() if line.startswith("nerf-ssim:")]
    assert len(said) == 1 and "fewer rays than the 2 processes" in said[0]


@pytest.mark.slow
def test_a_gpu_for_all_is_refused(scene, start, tmp_path):
    assert codes_of(start([*options_of(scene, tmp_path, "dvgo"), "--device", "cuda:0"], 2, tmp_path)) == [2, 2]
    assert "give --device cuda" in "".join(words_of(tmp_path).values())


def test_one_process_is_alone_whatever_started_it(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert joined() is ALONE
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert joined() is ALONE


@pytest.mark.parametrize(("size", "whole"), [(1, 5), (2, 64), (3, 64), (5, 7)])
def test_shares_of_a_batch_cover_it_and_differ_by_a_ray(size, whole):
    shares = [Share.of(rank, size, whole) for rank in range(size)]
    assert [row for share in shares for row in range(whole)[share.rows]] == list(range(whole))
    assert max(share.count for share in shares) - min(share.count for share in shares) <= 1
