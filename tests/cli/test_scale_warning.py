"""A scene that is tiny in its own units: what `train` and `data check` say, and that their advice helps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_scene import command_line, first_grid, tiny_config, train_session, write_tiny_scene

from nerf_ssim.cli.main import main
from nerf_ssim.models.tensorf.options import TensorfOptions

SCALE = 1e-3
WARNING = "warning: the scene is small in its own units (far is 0.006)"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The tiny scene with every length a thousandth."""
    folder = write_tiny_scene(tmp_path / "scene")
    path = folder / "meta_data.json"
    metadata = json.loads(path.read_text())
    box = metadata["scene_box"]
    box["aabb"] = [[SCALE * value for value in corner] for corner in box["aabb"]]
    box["near"], box["far"] = SCALE * box["near"], SCALE * box["far"]
    for frame in metadata["frames"]:
        for row in frame["camtoworld"][:3]:
            row[3] *= SCALE
    path.write_text(json.dumps(metadata))
    return folder


@pytest.mark.slow
def test_check_and_train_name_the_option(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tiny), "--out", str(tmp_path)]) == 0
    assert f"{WARNING}: with distance_scale 25 hardly any density" in capsys.readouterr().out
    words = command_line(tiny_config(tiny, tmp_path, n_iters=1, upsamp_list=[], update_AlphaMask_list=[]))
    assert main([*words, "--stop_at", "1"]) == 0
    assert WARNING in capsys.readouterr().err
    assert main([*words, "--overwrite", "--distance_scale", "10000"]) == 0
    assert WARNING not in capsys.readouterr().err


def test_with_the_option_a_small_scene_trains_as_a_large_one(tiny: Path, tmp_path: Path) -> None:
    large = write_tiny_scene(tmp_path / "large")
    short = {"n_iters": 2, "upsamp_list": [], "update_AlphaMask_list": [], "box_about": "centre"}
    grids = []
    for scene, scale in ((large, 25.0), (tiny, 25.0 / SCALE)):
        config = tiny_config(scene, tmp_path, expname=scene.name, distance_scale=scale, **short)
        grids.append(first_grid(train_session(config)))
    torch.testing.assert_close(grids[0], grids[1], rtol=0, atol=1e-3)


@pytest.mark.parametrize("far", [1e-6, 1.9e-3, 0.05, 0.19])
def test_what_is_advised_is_warned_of_no_more(far: float) -> None:
    warning = TensorfOptions().scale_warning(far)
    advised = float(warning.rsplit(" ", 1)[1])
    assert TensorfOptions(distance_scale=advised).scale_warning(far) == ""
    assert TensorfOptions().scale_warning(2.0) == ""
