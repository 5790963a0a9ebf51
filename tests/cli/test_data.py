"""`nerf-ssim data`: reports and pictures of scenes, rooms and downloads; each mistake is one line and status 2."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from forward_scene import write_forward_scene

from nerf_ssim.cli.data.check import count_hits
from nerf_ssim.cli.main import main
from nerf_ssim.datasets.scene import Views


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "room"
    assert main(["data", "room", str(folder), "--size", "16", "--views", "12", "--seed", "3", "--quiet"]) == 0
    return folder


def reported(output: str) -> dict[str, str]:
    return {line[:12].strip(): line[12:].strip() for line in output.splitlines()}


def test_check_counts_views_rays_and_cameras(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(room), "--out", str(tmp_path)]) == 0
    report = reported(capsys.readouterr().out)
    assert report["views"].startswith("10 training, 2 test")
    assert report["size"].startswith("16x16")
    assert report["scene"] == "room (replica), label: synthetic room"
    assert report["rays"].startswith("100.0%") and report["inside"].startswith("12 of 12")


def test_check_draws_the_cameras_of_both_splits_where_they_are(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(room), "--out", str(tmp_path / "new")]) == 0
    picture = cv2.imread(str(tmp_path / "new" / "data_check.png"))[:, :, ::-1].astype(int)
    assert picture.shape == (750, 1400, 3)
    metadata = json.loads((room / "meta_data.json").read_text())
    half = 1.2 * np.array(metadata["scene_box"]["aabb"])[1]
    zoom = 580 / (2 * half[0])
    for index, frame in enumerate(metadata["frames"]):
        x, y, z = np.array(frame["camtoworld"])[:3, 3]
        colour = (225, 110, 0) if index % 10 == 0 else (40, 90, 200)
        for column, up in ((350 + zoom * x, y), (1050 + zoom * x, z)):
            row = 50 + 350 - zoom * up
            around = picture[int(row) - 3 : int(row) + 4, int(column) - 3 : int(column) + 4].reshape(-1, 3)
            # Test views are drawn last, so that none of them is hidden; a training view's dot may be.
            assert (np.abs(around - colour).max(axis=1) < 40).any() or index % 10


def test_check_warns_where_rays_miss_the_box(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "far"
    folder.mkdir()
    for file in room.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    metadata = json.loads((room / "meta_data.json").read_text())
    metadata["scene_box"]["aabb"] = [[10, 10, 10], [11, 11, 11]]
    (folder / "meta_data.json").write_text(json.dumps(metadata))
    assert main(["data", "check", str(folder), "--out", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "warning: many rays miss the box" in output
    assert reported(output)["inside"].startswith("0 of 12")


def test_the_share_of_rays_is_that_of_the_solid_angle() -> None:
    """A camera looking along z at a square that covers a quarter of its picture."""
    K = torch.tensor([[[32.0, 0, 32], [0, 32, 32], [0, 0, 1]]])
    c2w = torch.eye(4)[None, :3]
    views = Views(torch.zeros(1, 64, 64, 3, dtype=torch.uint8), c2w, K, ("a",))
    ahead = torch.tensor([[-1.0, -1, 2], [1, 1, 2.001]])
    hits, rays = count_hits(views, ahead)
    assert (hits, rays) == (32 * 32, 64 * 64)
    assert count_hits(views, -ahead.flip(0))[0] == 0  # behind


def test_the_layout_is_found_by_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cameras.npz").write_bytes(b"")
    assert main(["data", "check", str(tmp_path)]) == 2
    assert "cameras.npz" in capsys.readouterr().err


MISTAKES = {
    "no command": ([], "required"),
    "unknown command": (["chek"], "chek"),
    "no folder": (["check"], "DIR"),
    "missing folder": (["check", "{tmp}/nowhere"], "no such scene folder"),
    "a folder that is no scene": (["check", "{tmp}"], "no scene in a known layout"),
    "unknown layout": (["check", "{tmp}", "--dataset_name", "colmapp"], "colmapp"),
    "an enlarging factor": (["check", "{tmp}", "--downsample_train", "0.5"], "must be from 1 to 64"),
    "a factor that is no number": (["check", "{tmp}", "--downsample_train", "two"], "two"),
    "a factor that is not finite": (["check", "{tmp}", "--aabb_scale", "nan"], "nan"),
    "every frame a test frame": (["check", "{tmp}", "--test_every", "1"], "every frame a test view"),
    "an unknown option": (["check", "{tmp}", "--downsampel", "2"], "--downsampel"),
    "a room of no views": (["room", "{tmp}/new", "--views", "0"], "--views"),
    "a room of no size": (["room", "{tmp}/new", "--size", "-3"], "--size"),
    "a room over a file": (["room", "{tmp}/file", "--quiet"], "not an empty folder"),
    "an unknown data set": (["download", "imagenet"], "imagenet"),
    "no server": (["download", "replica", "--out", "{tmp}/d", "--url", "http://127.0.0.1:9/a"], "cannot be reached"),
    "a local file": (["download", "replica", "--out", "{tmp}/d", "--url", "file:///etc/hostname"], "http"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    (tmp_path / "file").write_text("")
    arguments, expected = MISTAKES[kind]
    assert main(["data", *(word.format(tmp=tmp_path) for word in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1 and expected in captured.err


def test_check_says_where_scaling_about_the_origin_cuts_the_scene_off(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "moved"
    folder.mkdir()
    for file in room.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    metadata = json.loads((room / "meta_data.json").read_text())
    shift = np.array([3.0, 2.0, 1.0])
    metadata["scene_box"]["aabb"] = (np.array(metadata["scene_box"]["aabb"]) + shift).tolist()
    for frame in metadata["frames"]:
        for row, step in zip(frame["camtoworld"], shift, strict=False):
            row[3] += step
    (folder / "meta_data.json").write_text(json.dumps(metadata))
    assert main(["data", "check", str(folder), "--out", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert reported(output)["kept"].startswith("100.0%") and "warning" not in output
    assert main(["data", "check", str(folder), "--out", str(tmp_path), "--box_about", "origin"]) == 0
    output = capsys.readouterr().out
    assert reported(output)["kept"].startswith("65.0%") and "train with --box_about centre" in output


@pytest.mark.slow
def test_check_says_whether_a_scene_is_forward_facing(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for scene in (room, write_forward_scene(tmp_path / "boards")):
        assert main(["data", "check", str(scene), "--out", str(tmp_path)]) == 0
        said.append(reported(capsys.readouterr().out)["ndc"])
    assert said[0].startswith("no; ndc_ray is for cameras that face one way")
    assert said[1].startswith("forward-facing: with --ndc_ray 1 ")
