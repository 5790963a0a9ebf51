"""Wrong cameras are found and named, right ones raise no alarm, and a corrected scene has the right cameras."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import layout_writers as layouts
import numpy as np
import pytest
import torch
from layout_writers import WRITERS

from nerf_ssim.datasets.corrections import image_sources
from nerf_ssim.datasets.loading import load_scene
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.datasets.posecheck import verdict as verdicts
from nerf_ssim.datasets.posecheck.units import judge_units
from nerf_ssim.datasets.posecheck.verdict import Verdict, check_poses
from nerf_ssim.datasets.scene import Scene
from nerf_ssim.errors import SceneError

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
SCENES = {
    "room": "bundled:room",
    "office_0": "replica_office0",
    "fox": "layouts/transforms_fox",
    "room0": "layouts/replica_niceslam_room0/Replica/room0",
}
OTHERS = {"lego": "layouts/nsvf_lego", "statuette": "layouts/colmap_bin_bartoszek"}


@pytest.fixture(scope="module")
def room() -> Scene:
    """The bundled room in the order of its list, every view in the training split."""
    return load_scene(DataConfig(datadir="bundled:room", test_every=0))


@pytest.fixture(scope="module")
def searched() -> dict[int, Any]:
    return {}


@pytest.fixture(autouse=True)
def search_once(monkeypatch: pytest.MonkeyPatch, searched: dict[int, Any]) -> None:
    """Images are searched once and however long it takes; a fault in the cameras changes nothing of what they show."""
    search = verdicts.find_pairs

    def found(views: Any, seconds: float, most: int) -> Any:
        key = hash(views.image_of(0).numpy().tobytes())
        if key not in searched:
            searched[key] = search(views, 300.0, 24)
        pairs = []
        for pair in searched[key]:
            scales = [
                max(pair.sizes[side]) / max(views.size_of(index))
                for side, index in enumerate((pair.first, pair.second))
            ]
            K = [
                views.K[index] * np.diag([scale, scale, 1.0]).diagonal()[:, None]
                for index, scale in zip((pair.first, pair.second), scales, strict=True)
            ]
            pairs.append(replace(pair, K=np.stack(K)))
        return pairs

    monkeypatch.setattr(verdicts, "find_pairs", found)


def with_poses(scene: Scene, change: Any) -> Scene:
    """The scene, with each of its matrices `[4, 4]` as its file has them changed."""
    axes = FLIP if scene.pose_axes == "opengl" else np.eye(4)
    poses = []
    for c2w in scene.train.c2w.double().numpy():
        stored = np.eye(4)
        stored[:3] = c2w
        poses.append((change(stored @ axes) @ axes)[:3])
    return with_cameras(scene, c2w=torch.tensor(np.array(poses)).float())


def with_cameras(scene: Scene, **changed: torch.Tensor) -> Scene:
    return replace(scene, train=replace(scene.train, **changed))


def shifted(scene: Scene, by: int) -> Scene:
    """Every image belongs to the pose `by` frames before the one that it is listed with."""
    return with_cameras(scene, c2w=scene.train.c2w.roll(-by, 0))


def scaled(scene: Scene, focal: float, principal: float) -> Scene:
    factors = torch.tensor([[focal, 1, principal], [1, focal, principal], [1, 1, 1]])
    return with_cameras(scene, K=scene.train.K * factors)


def transposed(matrix: np.ndarray) -> np.ndarray:
    changed = matrix.copy()
    changed[:3, :3] = matrix[:3, :3].T
    return changed


def with_own_position(matrix: np.ndarray) -> np.ndarray:
    """The rotation of camera-to-world with the position of world-to-camera."""
    changed = matrix.copy()
    changed[:3, 3] = np.linalg.inv(matrix)[:3, 3]
    return changed


def as_text(scene: Scene, undone: bool) -> Scene:
    order = image_sources(scene.train.names, "text", 0)
    return with_cameras(scene, c2w=scene.train.c2w[np.argsort(order) if undone else order])


OTHER_AXES = {"opencv": "opengl", "opengl": "opencv"}
FAULTS: dict[str, tuple[Any, str]] = {
    "other axes": (lambda s: with_poses(s, lambda m: m @ FLIP), "--pose_convention {other}"),
    "inverse": (lambda s: with_poses(s, np.linalg.inv), "--pose_convention {own}_w2c"),
    "inverse with other axes": (
        lambda s: with_poses(s, lambda m: np.linalg.inv(m @ FLIP)),
        "--pose_convention {other}_w2c",
    ),
    "transposed": (lambda s: with_poses(s, transposed), "--pose_convention {own}_transposed"),
    "position": (lambda s: with_poses(s, with_own_position), "--pose_convention {own}_w2c_position"),
    "shifted by seven": (lambda s: shifted(s, 7), "--image_shift 7"),
    "shifted by one": (lambda s: shifted(s, -1), "--image_shift -1"),
    "sorted as text": (lambda s: as_text(s, False), "--image_order text"),
    "text undone": (lambda s: as_text(s, True), "--image_order text"),
    "half the focal length": (lambda s: scaled(s, 0.5, 1.0), "--focal_scale 2"),
    "twice the focal length": (lambda s: scaled(s, 2.0, 1.0), "--focal_scale 0.5"),
    "principal point of half the size": (lambda s: scaled(s, 1.0, 0.5), "--principal_scale 2"),
    "principal point of twice the size": (lambda s: scaled(s, 1.0, 2.0), "--principal_scale 0.5"),
    "intrinsics of half the size": (lambda s: scaled(s, 0.5, 0.5), "--focal_scale 2 --principal_scale 2"),
    "positions with the wrong sign": (
        lambda s: with_poses(s, lambda m: m * np.array([1, 1, 1, -1.0]) * np.array([[1], [1], [1], [-1.0]])),
        "--position_scale -1",
    ),
    "positions in millimetres": (
        lambda s: with_poses(s, lambda m: np.concatenate([m[:, :3], m[:, 3:] * [[1000], [1000], [1000], [1]]], axis=1)),
        "--position_scale 0.001",
    ),
    "positions ten times too small": (
        lambda s: with_poses(s, lambda m: np.concatenate([m[:, :3], m[:, 3:] * [[0.1], [0.1], [0.1], [1]]], axis=1)),
        "--position_scale 10",
    ),
    "positions twice too large": (
        lambda s: with_poses(s, lambda m: np.concatenate([m[:, :3], m[:, 3:] * [[2], [2], [2], [1]]], axis=1)),
        "--position_scale 0.5",
    ),
}


def judged(scene: Scene) -> Verdict:
    return check_poses(scene, DataConfig(datadir="bundled:room"))


def assert_named(scene: Scene, fault: str) -> None:
    make, option = FAULTS[fault]
    warning = judged(make(scene)).warning
    expected = option.format(own=scene.pose_axes, other=OTHER_AXES[scene.pose_axes])
    assert warning is not None and "\n" not in warning
    assert f"use {expected}" in warning.removesuffix("_undone"), warning


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_the_option_that_undoes_it(room: Scene, fault: str) -> None:
    assert_named(room, fault)


def test_the_room_is_right(room: Scene) -> None:
    verdict = judged(room)
    assert verdict.state == "agree" and verdict.warning is None and verdict.note is None
    assert verdict.given is not None and verdict.given.error < 0.3 and verdict.given.in_front > 0.9


@pytest.mark.slow
def test_two_faults_together_are_named(room: Scene) -> None:
    verdict = judged(shifted(with_poses(room, lambda m: m @ FLIP), 3))
    assert verdict.warning is not None and verdict.warning.endswith("use --pose_convention opengl --image_shift 3")


@pytest.mark.slow
def test_noise_in_the_poses_is_no_usual_mistake(room: Scene) -> None:
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (len(room.train), 3))).float()
    c2w = room.train.c2w.clone()
    c2w[:, :, 3] += noise
    verdict = judged(with_cameras(room, c2w=c2w))
    assert verdict.state == "disagree" and verdict.best is None
    assert verdict.warning is not None and "no usual mistake explains it" in verdict.warning


def test_cameras_at_one_place_tell_nothing(room: Scene) -> None:
    c2w = room.train.c2w.clone()
    c2w[:, :, 3] = 0.1
    assert judged(with_cameras(room, c2w=c2w)).state == "cannot tell"


def test_with_a_correction_asked_for_no_other_is_proposed(room: Scene) -> None:
    scene = with_poses(room, lambda m: m @ FLIP)
    verdict = check_poses(scene, DataConfig(datadir="bundled:room", focal_scale=2.0))
    assert verdict.best is None and verdict.warning is not None
    assert "cameras were read with --focal_scale 2; check without" in verdict.warning


@pytest.mark.parametrize("case", WRITERS)
def test_images_without_common_features_raise_no_alarm_in_any_layout(tmp_path: Path, case: str) -> None:
    folder = tmp_path / "above" / "scene"
    folder.mkdir(parents=True)
    WRITERS[case][1](folder)
    verdict = judged(load_scene(DataConfig(datadir=str(folder))))
    assert verdict.state == "cannot tell" and verdict.warning is None and verdict.note is None


@pytest.mark.release
@pytest.mark.parametrize("name", list(SCENES)[1:])
def test_faults_of_real_scenes_are_named(shared_path: Path, name: str) -> None:
    scene = load_scene(DataConfig(datadir=str(shared_path / "data" / SCENES[name]), test_every=0))
    assert judged(scene).state == "agree"
    for fault in FAULTS:
        if "shifted by one" not in fault or name != "room0":
            assert_named(scene, fault)


@pytest.mark.release
@pytest.mark.parametrize("name", OTHERS)
def test_other_real_scenes_raise_no_alarm(shared_path: Path, name: str) -> None:
    verdict = judged(load_scene(DataConfig(datadir=str(shared_path / "data" / OTHERS[name]), test_every=0)))
    assert verdict.state == "agree" and verdict.warning is None and verdict.note is None


def test_an_ample_box_is_a_remark_and_no_alarm() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (500, 3))
    box = np.array([[-2.0] * 3, [2.0] * 3])
    units = judge_units(points, np.linalg.norm(points, axis=1) + 0.5, box, 0.1, 6.0)
    assert units is not None and units.scale == 2.0 and not units.is_sure
    fitting = judge_units(points, np.linalg.norm(points, axis=1) + 0.5, box / 2, 0.1, 6.0)
    assert fitting is not None and fitting.scale == 1.0


# A scene's file is damaged and read with the option that undoes it.


def matrices_of(folder: Path, change: Any) -> None:
    path = folder / "transforms.json"
    contents = json.loads(path.read_text())
    for frame in contents["frames"]:
        frame["transform_matrix"] = change(np.array(frame["transform_matrix"])).tolist()
    path.write_text(json.dumps(contents))


@pytest.mark.parametrize(
    ("change", "convention"),
    [
        (lambda m: m @ FLIP, "opencv"),
        (np.linalg.inv, "opengl_w2c"),
        (lambda m: np.linalg.inv(m @ FLIP), "opencv_w2c"),
        (transposed, "opengl_transposed"),
        (with_own_position, "opengl_w2c_position"),
    ],
)
def test_a_pose_convention_undoes_its_fault(tmp_path: Path, change: Any, convention: str) -> None:
    layouts.write_nerfstudio(tmp_path)
    matrices_of(tmp_path, change)
    scene = load_scene(DataConfig(datadir=str(tmp_path), test_every=0, pose_convention=convention))
    assert np.allclose(scene.train.c2w, layouts.poses()[:, :3], atol=1e-6)


def test_intrinsics_positions_and_images_are_corrected(tmp_path: Path) -> None:
    layouts.write_replica(tmp_path)
    options = {"focal_scale": 2.0, "principal_scale": 0.5, "position_scale": 10.0, "image_shift": 2, "test_every": 0}
    scene = load_scene(DataConfig(datadir=str(tmp_path), **options))
    expected = layouts.intrinsics() * [[2, 1, 0.5], [1, 2, 0.5], [1, 1, 1]]
    assert np.allclose(scene.train.K, expected, atol=1e-5)
    assert np.allclose(scene.train.c2w[:, :, 3], 10 * layouts.poses()[:, :3, 3], atol=1e-5)
    assert np.array_equal(scene.train.images[0].numpy(), layouts.image(2))
    assert np.array_equal(scene.train.images[-1].numpy(), layouts.image(1))


def test_images_sorted_as_text_are_put_in_order() -> None:
    names = [f"{number}.png" for number in range(12)]
    by_text = sorted(names)
    assert [by_text[source] for source in image_sources(by_text, "number", 0)] == names
    assert [names[source] for source in image_sources(names, "text", 0)] == by_text
    undone = image_sources(names, "text_undone", 0)
    assert [by_text[source] for source in undone] == names


def test_positions_cannot_be_scaled_to_nothing() -> None:
    with pytest.raises(Exception, match="position_scale"):
        DataConfig(position_scale=0.0)


def test_an_image_of_one_pixel_is_looked_at(tmp_path: Path) -> None:
    layouts.write_nerfstudio(tmp_path)
    for path in (tmp_path / "images").iterdir():
        cv2.imwrite(str(path), np.zeros((1, 1, 3), np.uint8))
    path = tmp_path / "transforms.json"
    contents = json.loads(path.read_text()) | {"w": 1, "h": 1, "cx": 0.5, "cy": 0.5}
    path.write_text(json.dumps(contents))
    try:
        scene = load_scene(DataConfig(datadir=str(tmp_path), test_every=0))
    except SceneError:
        pytest.skip("such images are refused")
    assert judged(scene).state == "cannot tell"
