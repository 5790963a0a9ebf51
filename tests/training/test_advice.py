"""Messages that say what to do are followed here, to the letter."""

from __future__ import annotations

import json
import re

import cv2
import numpy as np
import pytest
from tiny_scene import tiny_config

from nerf_ssim.cli.main import main
from nerf_ssim.runs.checkpoints import CheckpointFolder


@pytest.fixture(autouse=True)
def without_lpips(monkeypatch):
    monkeypatch.setattr("nerf_ssim.training.scoring.lpips_scorers", lambda *arguments: ())


def line_of(capsys, argv: list[str]) -> str:
    """The one line with which a command ends with status 2."""
    capsys.readouterr()
    assert main(argv) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nerf-ssim: ")]
    return line


def follow(capsys, command: list[str], line: str, value: float) -> None:
    """Does what a line says: lowers the options that it names, in each of the ways that it names."""
    kept = re.search(r"the checkpoint after (\d+) updates is kept", line)
    names = re.findall(r"lower ((?:--\w+(?: or )?)+)", line)[0].split(" or ")
    lowered = [word for name in names for word in (name, str(value))]
    folder = command[command.index("--basedir") + 1] + "/" + command[command.index("--expname") + 1]
    saved = CheckpointFolder(folder).paths()
    assert (kept is None) == (saved == [])
    if kept is None:
        assert "start it again" in line
        assert main([*command, *lowered]) == 0
        return
    assert int(kept[1]) == int(saved[-1].stem)
    assert "--resume --allow_changes" in line and "start anew with --overwrite" in line
    assert main([*command, "--resume", "--allow_changes", *lowered]) == 0, capsys.readouterr().err
    assert main([*command, "--overwrite", *lowered]) == 0, capsys.readouterr().err


def train_words(scene, tmp_path, kind="tensorf", **options) -> list[str]:
    tiny_config(scene, tmp_path, kind, **options).write(tmp_path / "options.txt")
    return ["train", "--config", str(tmp_path / "options.txt"), "--basedir", str(tmp_path), "--expname", "tiny"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tensorf", "dvgo"])
@pytest.mark.parametrize("save_every", [1, 1000])
def test_a_term_that_is_no_number(scene, tmp_path, capsys, kind, save_every, monkeypatch):
    """The third update of the first start divides by nothing; whether anything is saved by then is said truly."""
    from nerf_ssim.training import objective, step

    calls = []

    def spoilt(*arguments, **options):
        terms, statistics = objective.photometric_terms(*arguments, **options)
        calls.append(True)
        return (terms | {"mse": terms["mse"] * float("nan")} if len(calls) == 3 else terms), statistics

    monkeypatch.setattr(step, "photometric_terms", spoilt)
    options = {"alpha_mask_thre": 1e-8} if kind == "tensorf" else {}
    command = train_words(scene, tmp_path, kind, save_every=save_every, **options)
    line = line_of(capsys, command)
    assert "'mse' is nan" in line and ("--lr_init or --lr_basis" if kind == "tensorf" else "--lrate_density") in line
    follow(capsys, command, line, 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("save_every", [1, 1000])
def test_an_empty_mask(scene, tmp_path, capsys, save_every):
    command = train_words(scene, tmp_path, alpha_mask_thre=0.9, save_every=save_every)
    line = line_of(capsys, command)
    assert "the occupancy mask is empty" in line and "a later --update_AlphaMask_list" in line
    follow(capsys, command, line, 1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("save_every", [1, 1000])
def test_an_empty_coarse_box(scene, tmp_path, capsys, save_every):
    command = train_words(scene, tmp_path, "bounded dvgo", bbox_thres=0.9, save_every=save_every)
    line = line_of(capsys, command)
    assert "bbox_thres 0.9" in line and "more --coarse_iters or a higher --coarse_alpha_init" in line
    follow(capsys, command, line, 0.02)


@pytest.mark.slow
def test_a_run_far_below_its_own_best_says_so(scene, tmp_path, capsys):
    no_milestones = {"upsamp_list": [], "update_AlphaMask_list": []}
    command = train_words(scene, tmp_path, lr_init=1e10, n_iters=8, log_every=1, **no_milestones)
    assert main(command) == 0
    assert "warning: the run ends at" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--lr_init", "0.02", "--lr_basis", "1e-3"]) == 0
    assert "warning: the run ends" not in capsys.readouterr().err


@pytest.mark.parametrize("save_every", [1, 1000])
def test_a_diverged_fit(tmp_path, capsys, save_every):
    cv2.imwrite(str(tmp_path / "one.png"), np.random.default_rng(0).integers(0, 256, (24, 24), dtype=np.uint8))
    command = ["fit-image", "--image", str(tmp_path / "one.png"), "--basedir", str(tmp_path), "--expname", "tiny"]
    command += "--size 16 --hidden 16 --hidden_layers 2 --n_iters 6 --lr 1e37".split()
    command += ["--save_every", str(save_every)]
    line = line_of(capsys, command)
    assert "the error is not a number" in line
    lowered = ["--lr", "1e-4"]
    if "is kept" in line:
        assert main([*command, "--resume", "--allow_changes", *lowered]) in (0, 2)  # what was saved may be spoilt
        assert main([*command, "--overwrite", *lowered]) == 0
    else:
        assert main([*command, *lowered]) == 0
    assert json.loads((tmp_path / "tiny" / "results.json").read_text())["ended"] == "steps"
