"""What `train` and `data check` print where images and cameras disagree."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_scene import command_line, tiny_config, write_tiny_scene

from nerf_ssim.cli.data.check import check_scene
from nerf_ssim.cli.main import main
from nerf_ssim.datasets.loading import load_scene, scene_folder
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.datasets.posecheck import verdict as verdicts
from nerf_ssim.datasets.posecheck.verdict import Verdict, check_poses

REASON = "features lie 12.30 pixels from their epipolar lines"


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scenes that were looked at; each is said to disagree with its cameras."""
    scenes: list[str] = []

    def check(scene: Any, data: Any, *, is_training: bool = False) -> Verdict:
        scenes.append(scene.name)
        assert is_training
        return Verdict("disagree", REASON)

    monkeypatch.setattr(verdicts, "check_poses", check)
    return scenes


def test_train_warns_in_one_line_and_goes_on(
    tmp_path: Path, looked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(write_tiny_scene(tmp_path / "scene"), tmp_path, n_iters=4, stop_at=2)
    assert main(command_line(config)) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "images and cameras" in line]
    assert len(lines) == 1 and lines[0].startswith(f"warning: images and cameras disagree: {REASON}, no usual mistake")
    assert looked == ["scene"]


@pytest.mark.slow
def test_a_resumed_run_and_one_that_asks_for_it_do_not_look(tmp_path: Path, looked: list[str]) -> None:
    config = tiny_config(write_tiny_scene(tmp_path / "scene"), tmp_path, n_iters=4, stop_at=2, check_poses=False)
    assert main(command_line(config)) == 0
    assert main([*command_line(config), "--resume", "--stop_at", "3"]) == 0
    assert main([*command_line(config), "--resume", "--stop_at", "4", "--check_poses", "1"]) == 0
    assert looked == []


def test_looking_draws_from_no_random_stream(tmp_path: Path) -> None:
    data = DataConfig(datadir=str(write_tiny_scene(tmp_path / "scene")), test_every=0)
    scene = load_scene(data)

    def states() -> tuple[bytes, str, str]:
        return torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state()), repr(random.getstate())

    before, images = states(), scene.train.images.clone()
    check_poses(scene, data, is_training=True)
    assert states() == before and torch.equal(scene.train.images, images)


@pytest.mark.slow
def test_data_check_names_the_option_and_draws_the_worst_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "room"
    shutil.copytree(scene_folder("bundled:room"), folder)
    contents = json.loads((folder / "meta_data.json").read_text())
    for frame in contents["frames"]:
        frame["camtoworld"] = (np.array(frame["camtoworld"]) @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist()
    (folder / "meta_data.json").write_text(json.dumps(contents))
    assert main(["data", "check", str(folder), "--out", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[-1].endswith("use --pose_convention opengl")
    assert "agreement   disagree" in output
    picture = cv2.imread(str(tmp_path / "data_check_pair.png"))
    assert picture is not None and picture.shape == (740, 1400, 3)
    assert main(["data", "check", str(folder), "--out", str(tmp_path), "--pose_convention", "opengl"]) == 0
    output = capsys.readouterr().out
    assert "agreement   agree" in output and "warning" not in output


@pytest.mark.release
@pytest.mark.parametrize(
    "scene",
    [
        "replica_office0",
        "layouts/transforms_fox",
        "layouts/replica_niceslam_room0/Replica/room0",
        "layouts/nsvf_lego",
        "layouts/colmap_bin_bartoszek",
    ],
)
def test_data_check_has_no_warning_of_a_right_scene(tmp_path: Path, shared_path: Path, scene: str) -> None:
    report = check_scene(DataConfig(datadir=str(shared_path / "data" / scene)), tmp_path)
    assert "agreement   agree" in report and "\nwarning" not in report
