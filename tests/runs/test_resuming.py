"""`--resume` as people expect it: the run's own options, changed by the command line alone, and said where they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from run_fixtures import without_tensorboard  # noqa: F401 - pytest finds it here
from tiny_scene import differing, tiny_config, train_session, weights_of, write_tiny_scene

from nerf_ssim.cli.main import main
from nerf_ssim.runs.checkpoints import load_checkpoint
from nerf_ssim.runs.manifest import read_manifest


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """A folder with a scene and a run of each model on it that stopped after 4 of 14 updates."""
    folder = tmp_path_factory.mktemp("stopped")
    scene = write_tiny_scene(folder / "scene")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})
        for kind in ("tensorf", "dvgo"):
            train_session(tiny_config(scene, folder, kind, expname=kind, stop_at=4, save_every=2))
    return folder


@pytest.fixture
def runs(stopped, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, in which to work."""
    shutil.copytree(stopped, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nerf_ssim.training.scoring.lpips_scorers", lambda *arguments: ())
    return tmp_path / "runs"


def train(capsys, *words: object) -> tuple[int, str]:
    """Exit code and all that was printed."""
    capsys.readouterr()
    code = main(["train", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def iteration_of(run: Path) -> int:
    return int(sorted((run / "checkpoints").glob("*.pt"))[-1].stem)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tensorf", "dvgo"])
def test_resume_alone_takes_the_runs_own_options(runs, capsys, kind):
    code, said = train(capsys, "--resume", "--basedir", runs, "--expname", kind)
    assert code == 0 and "has reached its stop_at 4" in said
    assert iteration_of(runs / kind) == 14
    options = load_checkpoint(runs / kind / "checkpoints" / "000014.pt")["config"]
    assert options["model"] == kind and options["batch_size"] == 64


def test_a_file_only_names_the_run(runs, tmp_path, capsys):
    (tmp_path / "tensorf.txt").write_text(
        "datadir = nowhere\nlr_init = 3.0\nn_iters = 5\nupsamp_list = [3]\nmodel = dvgo\n"
    )
    code, _ = train(capsys, "--resume", "--basedir", runs, "--config", tmp_path / "tensorf.txt", "--stop_at", 6)
    assert code == 0 and iteration_of(runs / "tensorf") == 6


@pytest.mark.slow
def test_what_stands_on_the_line_must_be_one_that_may_change(runs, capsys):
    place = ["--resume", "--basedir", runs, "--expname", "tensorf"]
    code, said = train(capsys, *place, "--seed", 8)
    assert code == 2 and "seed was 7, is 8" in said and "allow_changes" not in said
    code, said = train(capsys, *place, "--seed", 7, "--save_every", 1, "--stop_at", 5)
    assert code == 0, said
    code, said = train(capsys, *place, "--model", "dvgo")
    assert code == 2 and "model was 'tensorf', is 'dvgo'" in said


def test_a_mistyped_name_starts_anew_and_says_so_or_is_refused(runs, capsys):
    code, said = train(capsys, "--resume", "--basedir", runs, "--expname", "tensrof")
    assert code == 2 and "holds no run to continue (did you mean tensorf?)" in said and not (runs / "tensrof").exists()
    options = ["--datadir", runs / "scene", "--batch_size", 64, "--s3im_patch_height", 8, "--s3im_patch_width", 8]
    options += ["--N_voxel_init", 64, "--N_voxel_final", 64, "--stop_at", 1, "--N_vis", 0, "--render_test", 0]
    code, said = train(capsys, "--resume", "--basedir", runs, "--expname", "tensrof", *options)
    assert code == 0 and "it starts anew" in said and iteration_of(runs / "tensrof") == 1


def test_a_run_killed_before_its_first_checkpoint_is_begun_again_by_its_name(runs, capsys):
    shutil.rmtree(runs / "tensorf" / "checkpoints")
    code, _ = train(capsys, "--resume", "--basedir", runs, "--expname", "tensorf")
    assert code == 0 and iteration_of(runs / "tensorf") == 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tensorf", "dvgo"])
def test_an_extended_run_is_the_one_that_was_laid_out_so_from_the_start(runs, capsys, kind):
    """Finished at 14 and extended to 18: the same bits, with TensoRF's rates at the pace that they had."""
    assert train(capsys, "--resume", "--basedir", runs, "--expname", kind)[0] == 0
    code, said = train(capsys, "--resume", "--basedir", runs, "--expname", kind, "--n_iters", 18)
    assert code == 0 and "extended from 14 to 18 updates" in said
    assert ("lr_decay_iters 14" in said) == (kind == "tensorf")
    pace = {"lr_decay_iters": 14} if kind == "tensorf" else {}
    whole = train_session(tiny_config(runs / "scene", runs, kind, expname="whole", n_iters=18, **pace))
    state = load_checkpoint(runs / kind / "checkpoints" / "000018.pt")["recipe"]
    assert (
        differing(
            state["field"]["weights"], {k: v for k, v in weights_of(whole).items() if k in state["field"]["weights"]}
        )
        == []
    )
    (start,) = [start for start in read_manifest(runs / kind)["resumed"] if "changes" in start]
    assert start["iteration"] == 14 and start["changes"]["n_iters"] == [14, 18]
    assert train(capsys, "--resume", "--basedir", runs, "--expname", kind)[0] == 0  # with its options as they are now


@pytest.mark.slow
def test_rates_that_still_depend_on_the_length_do_not_let_it_grow(runs, capsys):
    scene = runs / "scene"
    train_session(tiny_config(scene, runs, expname="early", lr_upsample_reset=False, alpha_mask_thre=1e-8, stop_at=4))
    code, said = train(capsys, "--resume", "--basedir", runs, "--expname", "early", "--n_iters", 18)
    assert code == 2 and "upsampling at 9" in said
    assert train(capsys, "--resume", "--basedir", runs, "--expname", "early")[0] == 0
    assert train(capsys, "--resume", "--basedir", runs, "--expname", "early", "--n_iters", 18)[0] == 0


def test_a_shorter_run_is_refused(runs, capsys):
    code, said = train(capsys, "--resume", "--basedir", runs, "--expname", "tensorf", "--n_iters", 12)
    assert code == 2 and "n_iters was 14, is 12" in said


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "rate", "value"), [("tensorf", "lr_init", 0.05), ("dvgo", "lrate_density", 0.01)])
def test_rates_change_when_asked_and_the_manifest_says_so(runs, capsys, kind, rate, value):
    place = ["--resume", "--basedir", runs, "--expname", kind, f"--{rate}", value]
    code, said = train(capsys, *place)
    assert code == 2 and f"take the new {rate} from here on with --allow_changes" in said
    code, said = train(capsys, *place, "--allow_changes", "--stop_at", 6)
    assert code == 0, said
    assert f"from update 4 on {rate} is {value}" in said
    (start,) = [start for start in read_manifest(runs / kind)["resumed"] if "changes" in start]
    assert start["changes"] == {rate: [0.1, value]}
    rows = (runs / kind / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("lr_grids" if kind == "tensorf" else "lr_density")
    before, after = (float(row.split(",")[column]) for row in (rows[4], rows[5]))
    assert after < 0.6 * before
    optimizer = torch.load(sorted((runs / kind / "checkpoints").glob("*.pt"))[-1], weights_only=True)["recipe"][
        "optimizer"
    ]
    assert optimizer["param_groups"][0]["initial_lr"] == value


def test_other_options_are_refused_with_allow_changes_too(runs, capsys):
    code, said = train(capsys, "--resume", "--basedir", runs, "--expname", "tensorf", "--allow_changes", "--seed", 9)
    assert code == 2 and "seed was 7" in said
    code, said = train(capsys, "--basedir", runs, "--expname", "new", "--allow_changes", "--datadir", runs / "scene")
    assert code == 2 and "goes with resume" in said


def fit(capsys, *words: object) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["fit-image", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.mark.slow
def test_fits_go_on_by_their_name_too(tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    for number, name in enumerate(("one", "two")):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "pictures" / f"{name}.png"), pixels)
    small = "--size 16 --hidden 16 --hidden_layers 2 --n_iters 6 --ssim_remove_at 3 --stop_at 4".split()
    place = ["--basedir", tmp_path]
    for expname, data in (
        ("a", ["--image", tmp_path / "pictures" / "one.png"]),
        ("b", ["--images", tmp_path / "pictures"]),
    ):
        assert fit(capsys, *place, "--expname", expname, *small, *data)[0] == 0
        code, said = fit(capsys, *place, "--expname", expname, "--resume", "--stop_at", 6)
        assert code == 0, said
    for run in ("a", "b/one", "b/two"):
        assert json.loads((tmp_path / run / "results.json").read_text())["stopped_at"] == 6
    code, said = fit(capsys, *place, "--expname", "a", "--resume", "--n_iters", 9)
    assert code == 0 and "extended from 6 to 9" in said
    code, said = fit(capsys, *place, "--expname", "a", "--resume", "--lr", 1e-5)
    assert code == 2 and "--allow_changes" in said
    assert fit(capsys, *place, "--expname", "a", "--resume", "--lr", 1e-5, "--allow_changes", "--n_iters", 10)[0] == 0
