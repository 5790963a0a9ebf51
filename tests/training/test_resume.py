"""A run that was stopped, interrupted or killed goes on to bit-identical weights; one that does not fit is refused."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time

import imageio.v3 as imageio
import pytest
import torch
from kill_resume import compare_runs, differences, kill_and_resume, newest_iteration
from tiny_scene import differing, tiny_config, train_session, weights_of

from nerf_ssim.cli.main import main
from nerf_ssim.evaluation import protocol
from nerf_ssim.runs.manifest import read_manifest
from nerf_ssim.training.session import Session

SCHEDULES = {
    "removed by hand": {"ssim_remove_at": 11},
    "removed by luminance": {
        "ssim_remove_at": "auto",
        "ssim_auto_watches": "luminance",
        "ssim_auto_patience": 2,
        "ssim_auto_tolerance": 0.9,
    },
    "never": {"s3im_weight": 0.0, "luminance_every": 1, "alpha_mask_thre": 0.015},
}


# Every schedule of TensoRF; of DVGO, whose stages have nothing to do with it, one each.
RUNS = [*(("tensorf", name) for name in SCHEDULES), ("dvgo", "removed by hand"), ("bounded dvgo", "removed in fine")]
SCHEDULES["removed in fine"] = {"ssim_remove_at": 7}


@pytest.fixture(scope="module", params=RUNS, ids=", ".join)
def unbroken(request, scene, tmp_path_factory):
    """A model and a schedule as options, and the state after a run of it in one go."""
    kind, schedule = request.param
    options = {"kind": kind, **SCHEDULES[schedule]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})
        session = train_session(tiny_config(scene, tmp_path_factory.mktemp("unbroken"), **options))
    return options, session


# TensoRF: mask and shrink follow update 4 (iteration 3), upsampling 6, mask and ray filter 8, upsampling 10. DVGO:
# the fine stage begins before update 5, scalings come before 6 and 10, a new threshold with 8. SSIM ends at 11.
@pytest.mark.slow
@pytest.mark.parametrize("stops", [[2, 5], [4], [6], [8, 9], [10, 11, 12], list(range(1, 14))], ids=str)
def test_a_resumed_run_ends_with_the_same_bits(unbroken, scene, tmp_path, stops):
    schedule, whole = unbroken
    check_resumed(scene, tmp_path, whole, stops, schedule)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense tensorf", "vm dvgo", "bounded vm dvgo"])
def test_a_resumed_run_on_the_other_models_grid_does_so_too(scene, tmp_path, kind):
    whole = train_session(tiny_config(scene, tmp_path / "whole", kind))
    check_resumed(scene, tmp_path, whole, [4, 8, 10], {"kind": kind})


def check_resumed(scene, tmp_path, whole: Session, stops: list[int], schedule: dict) -> None:
    """A run that is stopped after these numbers of updates ends as the `whole` one did."""
    for stop in stops:
        train_session(tiny_config(scene, tmp_path, stop_at=stop, resume=True, **schedule))
    session = train_session(tiny_config(scene, tmp_path, resume=True, **schedule))
    assert session.iteration == whole.iteration == 14
    ours, theirs = weights_of(session), weights_of(whole)
    parameters = sum(1 for _ in whole.recipe.field.parameters())
    assert len(theirs) >= 4 * parameters, "each with its step and two moments"
    assert differing(ours, theirs) == []
    assert session.schedule.state_dict() == whole.schedule.state_dict()
    for state in ("generators", "batches", "recipe"):
        assert list(differences(getattr(session, state).state_dict(), getattr(whole, state).state_dict())) == []
    columns = [column_of(run, "mse") for run in (session, whole)]
    assert columns[0] == columns[1]


def column_of(session: Session, name: str) -> list[str]:
    lines = (session.folder.path / "metrics.csv").read_text().splitlines()
    index = lines[0].split(",").index(name)
    return [line.split(",")[index] for line in lines[1:]]


@pytest.mark.slow
def test_the_examples_remove_ssim_on_the_way(unbroken):
    schedule, session = unbroken
    assert session.schedule.removed_at is None or session.schedule.removed_at < 14
    if schedule.get("ssim_remove_at") == "auto":
        assert 3 <= session.schedule.removed_at < 14


def test_a_resumption_before_the_first_checkpoint_starts_from_the_beginning(scene, tmp_path):
    assert train_session(tiny_config(scene, tmp_path, resume=True, stop_at=2)).iteration == 2


# Signals and kills, in processes of their own.


def run_train(argv: list[str]) -> None:
    """The `train` command in a child process; its exit code is the process's."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    sys.modules["tensorboard"] = None  # its import takes seconds
    torch.set_num_threads(1)
    sys.exit(main(["train", *argv]))


@pytest.fixture(scope="module")
def start():
    """Starts trainings as forks of a fresh process that has torch loaded already: milliseconds instead of seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["nerf_ssim.training.loop", "nerf_ssim.training.scoring", "torch._dynamo", "test_resume"]
    )
    processes = []

    def start_one(argv: list[str]) -> multiprocessing.Process:
        processes.append(context.Process(target=run_train, args=(argv,)))
        processes[-1].start()
        return processes[-1]

    yield start_one
    for process in processes:
        if process.is_alive():
            process.kill()


def wait(process: multiprocessing.Process, seconds: float | None) -> int | None:
    process.join(120 if seconds is None else seconds)
    return process.exitcode


SIXTY = {
    "tensorf": {
        "n_iters": 60,
        "upsamp_list": [15, 35],
        "update_AlphaMask_list": [10, 30],
        "ssim_remove_at": 45,
        "save_every": 4,
        "alpha_mask_thre": 0.02,
        "lr_init": 0.05,
    },
    "bounded dvgo": {"n_iters": 60, "coarse_iters": 25, "pg_scale": [8, 20], "save_every": 4, "ssim_remove_at": 17},
}


def options_file(scene, folder, kind, **options) -> list[str]:
    """Command-line options of a tiny run in `folder`."""
    folder.mkdir(exist_ok=True)
    tiny_config(scene, folder, kind, **(SIXTY[kind] | options)).write(folder / "options.txt")
    return ["--config", str(folder / "options.txt"), "--render_test", "0"]


@pytest.fixture(scope="module", params=SIXTY)
def sixty(request, scene, start, tmp_path_factory):
    """A model and the unbroken run of it over 60 iterations."""
    folder = tmp_path_factory.mktemp("sixty")
    assert wait(start(options_file(scene, folder, request.param)), None) == 0
    return request.param, folder / "tiny"


@pytest.mark.slow
def test_three_kills_at_random_moments_leave_no_trace(scene, start, sixty, tmp_path):
    kind, unbroken = sixty
    options = options_file(scene, tmp_path, kind)
    moments = list(
        kill_and_resume(options, tmp_path / "tiny", 3, 60, start, wait, save_every=4, pause=0.2, chance=random.Random())
    )
    assert len(moments) == 3
    assert compare_runs(tmp_path / "tiny", unbroken, 60) == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_saves_and_exits_with_its_code_and_the_run_can_be_resumed(scene, start, sixty, tmp_path, number, code):
    kind, unbroken = sixty
    options = options_file(scene, tmp_path, kind, save_every=1000)  # only the signal makes a checkpoint
    process = start(options)
    deadline = time.monotonic() + 60
    metrics = tmp_path / "tiny" / "metrics.csv"
    while (not metrics.is_file() or metrics.read_bytes().count(b"\n") < 8) and time.monotonic() < deadline:
        time.sleep(0.005)  # progress_refresh_rate iterations at a time
    os.kill(process.pid, number)
    assert wait(process, None) == code
    assert 0 < newest_iteration(tmp_path / "tiny") < 60
    assert not (tmp_path / "tiny" / "results.json").exists()
    assert wait(start([*options, "--resume"]), None) == 0
    assert compare_runs(tmp_path / "tiny", unbroken, 60) == []


@pytest.mark.slow
def test_a_signal_while_scoring_says_that_the_training_is_saved(scene, tmp_path, monkeypatch, capsys):
    whole, scored = protocol.score_image, []

    def score_and_signal(*arguments):
        if scored:
            os.kill(os.getpid(), signal.SIGTERM)
        scored.append(True)
        return whole(*arguments)

    monkeypatch.setattr(protocol, "score_image", score_and_signal)
    tiny_config(scene, tmp_path, n_iters=14).write(tmp_path / "options.txt")
    assert main(["train", "--config", str(tmp_path / "options.txt")]) == 143
    run = tmp_path / "tiny"
    assert f"nerf-ssim evaluate {run}" in capsys.readouterr().out and newest_iteration(run) == 14
    assert not (run / "results.json").exists() and list(run.rglob("*.partial")) == []
    monkeypatch.undo()
    assert main(["evaluate", str(run)]) == 0  # as the line says
    assert json.loads((run / "results.json").read_text())["stopped_at"] == 14


# Refusals: one line and exit code 2.


@pytest.fixture(scope="module", params=["tensorf", "dvgo"])
def stopped(request, scene, tmp_path_factory):
    """A model's run that stopped after two updates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})
        folder = tmp_path_factory.mktemp("stopped")
        train_session(tiny_config(scene, folder, request.param, stop_at=2))
    return folder


@pytest.fixture
def kind(stopped):
    """The model of the stopped run."""
    return read_manifest(stopped / "tiny")["config"]["model"]


def refusal(capsys, folder, *argv: str, config=None) -> str:
    """The one line that `train` prints before it exits with 2."""
    capsys.readouterr()
    path = folder / "tiny" / "config.txt"
    if config is not None:
        path = folder / "options.txt"
        config.write(path)
    assert main(["train", "--config", str(path), *argv]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("nerf-ssim: ") and captured.out == ""
    return lines[0]


def test_an_existing_run_asks_for_resume_or_overwrite(stopped, capsys):
    line = refusal(capsys, stopped)
    assert "--resume" in line and "--overwrite" in line


CHANGES = {
    "tensorf": {"lr_init": "0.01", "upsamp_list": "[6,9]", "TV_weight_density": "0.2", "white_bg": "1"},
    "dvgo": {"lrate_k0": "0.01", "pg_scale": "[6,9]", "weight_tv_density": "0.2", "white_bg": "0"},
}


@pytest.mark.slow
def test_other_options_are_refused_by_name(stopped, kind, capsys):
    changes = CHANGES[kind] | {"seed": "8", "ssim_remove_at": "9"}
    for name, value in changes.items():
        assert f"{name} was" in refusal(capsys, stopped, "--resume", f"--{name}", value)


def test_options_that_the_result_does_not_depend_on_may_change(stopped, kind, scene, tmp_path):
    shutil.copytree(stopped / "tiny", tmp_path / "moved")
    session = train_session(
        tiny_config(
            scene, tmp_path, kind, expname="moved", resume=True, stop_at=3, save_every=5, log_every=1, vis_every=7
        )
    )
    assert session.iteration == 3


def test_other_data_is_refused(stopped, scene, tmp_path, capsys):
    other = tmp_path / "scene"
    shutil.copytree(scene, other)
    image = imageio.imread(other / "005.png")
    image[3, 4] ^= 1
    imageio.imwrite(other / "005.png", image)
    assert "data" in refusal(capsys, stopped, "--resume", "--datadir", str(other))


def test_the_same_data_elsewhere_is_taken(stopped, kind, scene, tmp_path):
    other = tmp_path / "scene"
    shutil.copytree(scene, other)
    shutil.copytree(stopped / "tiny", tmp_path / "tiny")
    assert train_session(tiny_config(other, tmp_path, kind, resume=True, stop_at=3)).iteration == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "text"])
def test_when_every_checkpoint_is_damaged_that_is_said(stopped, tmp_path, capsys, damage):
    shutil.copytree(stopped / "tiny", tmp_path / "tiny")
    checkpoint = tmp_path / "tiny" / "checkpoints" / "000002.pt"
    data = bytearray(checkpoint.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        for place in range(len(data) // 2, len(data) // 2 + 300):  # more than the padding between two tensors
            data[place] ^= 255
    else:
        data = bytearray(b"not a checkpoint")
    checkpoint.write_bytes(data)
    path = tmp_path / "tiny" / "config.txt"
    capsys.readouterr()
    assert main(["train", "--config", str(path), "--basedir", str(tmp_path), "--resume"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_overwriting_leaves_nothing_of_the_old_run_to_resume(stopped, kind, scene, tmp_path):
    """Stopped before its first checkpoint, the new run must not continue as the old one."""
    shutil.copytree(stopped / "tiny", tmp_path / "tiny")
    scores = [tmp_path / "tiny" / "results.json", tmp_path / "tiny" / "evaluation_000004" / "results.json"]
    for path in scores:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({}))
    with Session(tiny_config(scene, tmp_path, kind, overwrite=True)).open_log():
        pass
    assert newest_iteration(tmp_path / "tiny") == 0 and not any(path.exists() for path in scores)
    assert Session(tiny_config(scene, tmp_path, kind, resume=True)).iteration == 0
