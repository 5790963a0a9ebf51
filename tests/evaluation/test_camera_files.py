"""Camera paths of nerfstudio's viewers, of instant-ngp and our own, and files that are none."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest
import torch

from nerf_ssim.errors import SceneError
from nerf_ssim.evaluation.camera_files import (
    CameraFile,
    read_camera_file,
    read_viewer_frame,
    write_camera_file,
)

# Looks along -x from (1, 2, 3) with z upwards: OpenGL's axes are right +y, up +z, back +x.
OPENGL = [[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 0.0, 3.0], [0.0, 0.0, 0.0, 1.0]]
OPENCV = torch.tensor([[0.0, 0.0, -1.0, 1.0], [1.0, 0.0, 0.0, 2.0], [0.0, -1.0, 0.0, 3.0]], dtype=torch.float64)
FLAT = [number for row in OPENGL for number in row]
COLUMNS = [OPENGL[row][column] for column in range(4) for row in range(4)]
VIEWER = {
    "default_fov": 75.0,
    "camera_type": "perspective",
    "render_height": 1080.0,
    "render_width": 1920.0,
    "fps": 30.0,
    "seconds": 2.0,
    "is_cycle": False,
    "smoothness_value": 0.0,
    "keyframes": [{"matrix": FLAT, "fov": 75.0, "aspect": 1.78}],
    "camera_path": [{"camera_to_world": FLAT, "fov": 50.0, "aspect": 1.78} for _ in range(3)],
}
# The same camera in instant-ngp's cube: axes y, z, x of the scene, a third of its size, in the middle.
NGP_KEY = {"T": [2 * 0.33 + 0.5, 3 * 0.33 + 0.5, 1 * 0.33 + 0.5], "fov": 50.625, "scale": 1.5, "slice": 0.0}


def quaternion_of(rotation: torch.Tensor) -> list[float]:
    """(x, y, z, w) of a rotation whose w is not 0."""
    w = math.sqrt(1 + float(rotation.trace())) / 2
    pairs = ((2, 1), (0, 2), (1, 0))
    return [float(rotation[a, b] - rotation[b, a]) / (4 * w) for a, b in pairs] + [w]


@pytest.fixture
def read(tmp_path):
    def read(record, frame=None) -> CameraFile:
        text = record if isinstance(record, str) else json.dumps(record)
        (tmp_path / "path.json").write_text(text)
        return read_camera_file(tmp_path / "path.json", frame)

    return read


def changed(record: dict, **entries: object) -> dict:
    """A viewer's file whose second frame has other entries."""
    other = copy.deepcopy(record)
    other["camera_path"][1].update(entries)
    return other


@pytest.mark.parametrize("matrix", [FLAT, COLUMNS, OPENGL, OPENGL[:3], FLAT[:12]])
def test_viewer_cameras_become_opencv_in_rows_and_in_columns(read, matrix):
    file = read(changed(VIEWER, camera_to_world=matrix))
    torch.testing.assert_close(file.c2w, OPENCV.expand(3, 3, 4))
    assert (file.size, file.fps, file.fov.tolist(), file.remarks) == ((1920, 1080), 30.0, [50.0] * 3, ())


def test_field_of_view_is_vertical_and_falls_back_to_the_files_default(read):
    record = copy.deepcopy(VIEWER)
    del record["camera_path"][2]["fov"]
    record["camera_path"][0]["fov"] = None
    file = read(record)
    assert file.fov.tolist() == [75.0, 50.0, 75.0]
    K = file.lenses((64, 48))
    assert K[1, 0, 0] == K[1, 1, 1] == pytest.approx(24 / math.tan(math.radians(25)))
    assert K[1, :2, 2].tolist() == [32, 24]


def test_a_scale_in_the_rotation_is_taken_out_and_said(read):
    scaled = [number * 0.735 if index % 4 < 3 and index < 12 else number for index, number in enumerate(FLAT)]
    record = {**VIEWER, "camera_path": [{"camera_to_world": scaled, "fov": 50}]}
    file = read(record)
    torch.testing.assert_close(file.c2w[0], OPENCV)
    assert file.remarks == ("rotations carried a scale of 0.735, which was taken out",)


def test_a_viewers_own_coordinates_are_undone(read, tmp_path):
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    shift, scale = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64), 0.25
    transform = torch.cat([turn, shift[:, None]], dim=1)
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps({"transform": transform.tolist(), "scale": scale}))
    seen = torch.tensor(OPENGL, dtype=torch.float64)[:3]
    inside = torch.cat([turn @ seen[:, :3], scale * (turn @ seen[:, 3:] + shift[:, None])], dim=1)
    record = {**VIEWER, "camera_path": [{"camera_to_world": inside.flatten().tolist() + [0, 0, 0, 1], "fov": 50}]}
    file = read(record, read_viewer_frame(tmp_path / "dataparser_transforms.json"))
    torch.testing.assert_close(file.c2w[0], OPENCV)


@pytest.mark.parametrize(("loop", "last"), [(False, 2.0), (True, 1.1)])
def test_instant_ngps_keys_are_interpolated_in_the_scenes_coordinates(read, loop, last):
    cycle = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    # Turned a little, so that the quaternion's w is not 0.
    turn = torch.tensor([[0.8, 0.0, 0.6], [0.0, 1.0, 0.0], [-0.6, 0.0, 0.8]], dtype=torch.float64)
    key = {**NGP_KEY, "R": quaternion_of(cycle @ turn)}
    second = copy.deepcopy(key)
    second["T"][2] += 0.33
    second["fov"] = 30.625
    file = read({"loop": loop, "time": 0.0, "path": [key, second]})
    assert file.are_keys and len(file.c2w) == 2 and file.size is None
    path = file.of_length(20 if loop else 11, 120)
    torch.testing.assert_close(path.c2w[0], torch.cat([turn, OPENCV[:, 3:]], dim=1), atol=1e-5, rtol=0)
    assert path.c2w[-1, 0, 3] == pytest.approx(last, abs=0.05) and path.fov[0] == 50.625
    assert path.fov[10 if loop else -1] == pytest.approx(30.625)
    assert len(file.of_length(None, 120).c2w) == 120


def test_instant_ngps_cube_may_be_another(read, tmp_path):
    (tmp_path / "transforms.json").write_text(json.dumps({"scale": 1.0, "offset": [0, 0, 0], "frames": []}))
    key = {"R": [0.5, 0.5, 0.5, 0.5], "T": [2.0, 3.0, 1.0], "fov": 40, "dof": 0.1}
    file = read({"path": [key]}, read_viewer_frame(tmp_path / "transforms.json"))
    assert file.c2w[0, :, 3].tolist() == pytest.approx([1.0, 2.0, 3.0])


def test_what_a_file_asks_for_and_is_not_done_is_said(read):
    assert "crop is not applied" in read({**VIEWER, "crop": {"crop_scale": [1, 1, 1]}}).remarks[0]
    key = {**NGP_KEY, "R": [0, 0, 0, 1], "aperture_size": 0.1}
    assert "everything is in focus" in read({"path": [key]}).remarks[0]


def test_own_file_comes_back(tmp_path):
    K = torch.tensor([[50.0, 0.0, 16.0], [0.0, 55.0, 12.5], [0.0, 0.0, 1.0]]).expand(2, 3, 3)
    write_camera_file(tmp_path / "cameras.json", OPENCV.expand(2, 3, 4), K, [(32, 25)] * 2, 12.0, depth_unit=1e-4)
    file = read_camera_file(tmp_path / "cameras.json")
    torch.testing.assert_close(file.c2w, OPENCV.expand(2, 3, 4))
    assert torch.equal(file.K, K) and (file.size, file.fps) == ((32, 25), 12.0)


def test_own_file_keeps_the_size_of_each_frame(tmp_path):
    sizes = [(32, 25), (30, 25), (32, 20)]
    K = torch.tensor([[50.0, 0.0, 16.0], [0.0, 55.0, 12.5], [0.0, 0.0, 1.0]]).expand(3, 3, 3)
    write_camera_file(tmp_path / "cameras.json", OPENCV.expand(3, 3, 4), K, sizes, 12.0)
    file = read_camera_file(tmp_path / "cameras.json")
    assert file.sizes == sizes and file.of_length(2, 120).sizes == [(32, 25), (32, 20)]


def test_a_part_of_the_frames_is_chosen_evenly(read):
    record = {**VIEWER, "camera_path": [{"camera_to_world": FLAT, "fov": 10 + n} for n in range(9)]}
    assert read(record).of_length(3, 120).fov.tolist() == [10, 14, 18]


SHEARED = [1.0, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
MIRRORED = [-1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
NOT_FINITE = "frame 1: camera_to_world has a number that is not finite"
REFUSED = [
    (changed(VIEWER, camera_to_world=SHEARED), "frame 1: camera_to_world is no rotation, even with a scale taken out"),
    (changed(VIEWER, camera_to_world=MIRRORED), "frame 1: camera_to_world is no rotation but a mirror image"),
    (changed(VIEWER, camera_to_world=[0.0] * 15 + [1.0]), "frame 1: camera_to_world is no rotation"),
    (changed(VIEWER, camera_to_world=[1.0] * 16), "frame 1: camera_to_world has no row 0 0 0 1"),
    (changed(VIEWER, camera_to_world=FLAT[:9]), "frame 1: camera_to_world is no matrix"),
    (changed(VIEWER, camera_to_world="x"), "frame 1: camera_to_world is no matrix"),
    (changed(VIEWER, camera_to_world=[None, *FLAT[1:]]), "frame 1: camera_to_world is not 16 numbers"),
    (
        changed(VIEWER, camera_to_world=[math.nan, *FLAT[1:]]),
        NOT_FINITE,
    ),
    (changed(VIEWER, camera_to_world=[10**400, *FLAT[1:]]), NOT_FINITE),
    (changed(VIEWER, fov=180), "frame 1: fov 180 is no angle"),
    (changed(VIEWER, fov=math.nan), "frame 1: fov nan is no angle"),
    ({**VIEWER, "camera_path": [{**VIEWER["camera_path"][0], "aspect": 0}]}, "frame 0: aspect 0 is no ratio"),
    (changed(VIEWER, fov="wide"), "frame 1: fov 'wide' is no angle"),
    ({**VIEWER, "camera_path": [], "keyframes": []}, "camera_path is no list of 1 to"),
    ({**VIEWER, "camera_path": [], "keyframes": [{"fov": 50}]}, "has key frames and no camera_path"),
    ({"keyframes": [{"fov": 50}], "fps": 30}, "has key frames and no camera_path"),
    ({**VIEWER, "render_width": "640"}, "render_width is no number"),
    ({**VIEWER, "camera_path": [3]}, "camera_path: an entry is no camera"),
    ({**VIEWER, "camera_type": "equirectangular"}, "camera_type 'equirectangular' is not rendered"),
    ({**VIEWER, "render_width": 10**6}, "render_width x render_height is 1000000x1080"),
    ({**VIEWER, "fps": 0}, "fps 0 is not between"),
    ({"path": [{**NGP_KEY, "R": [0, 0, 0, 2]}]}, "key 0: R is no rotation"),
    ({"path": [{**NGP_KEY, "R": [0, 0, 1]}]}, "key 0: R is not 4 numbers"),
    ({"format": "nerf_ssim cameras", "frames": [{}]}, "width and height are missing"),
    ({"format": "nerf_ssim cameras", "width": 2, "height": 2, "frames": [{}]}, "frame 0: c2w is no matrix"),
    ({"frames": []}, "is no camera path"),
    ([], "a JSON object is expected"),
    ("{", "is no camera file"),
    ("[" * 100000, "is no camera file"),
]


@pytest.mark.parametrize(("record", "said"), REFUSED)
def test_what_is_no_path_is_one_line_that_names_file_and_frame(read, record, said):
    with pytest.raises(SceneError, match=r"path\.json") as caught:
        read(record)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SceneError, match=r"gone\.json: cannot be read"):
        read_camera_file(tmp_path / "gone.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(SceneError, match="is neither nerfstudio's dataparser_transforms.json nor"):
        read_viewer_frame(tmp_path / "other.json")


def test_real_files_are_read_but_for_the_one_that_is_no_path(shared_path: Path):
    folder = shared_path / "data" / "camera_paths"
    if not folder.is_dir():
        pytest.skip(f"needs camera files in {folder}")
    for path in sorted(folder.glob("*.json")):
        if "nested_list_handwritten" in path.name:
            with pytest.raises(SceneError, match="is no rotation"):
                read_camera_file(path)
            continue
        file = read_camera_file(path)
        assert ("scale of 0.735" in " ".join(file.remarks)) == ("blender_addon" in path.name)
        turns = file.of_length(None, 30).c2w[:, :, :3]
        torch.testing.assert_close(
            turns.mT @ turns, torch.eye(3, dtype=torch.float64).expand_as(turns), atol=1e-6, rtol=0
        )
        if "usmc" in path.name or "ngp" in path.name:  # scenes with z upwards, seen by upright cameras
            assert turns[:, 2, 1].mean() < -0.9
