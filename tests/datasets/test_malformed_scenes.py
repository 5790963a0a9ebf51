"""Every way a scene can be wrong is one line that names the file and, where there is one, the frame."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scene_files import image, load, metadata, write_monosdf, write_rgb, write_scene

from nerf_ssim.errors import SceneError

META = "meta_data.json"
FRAME = "meta_data.json: frame 2 (000002_rgb.png)"


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """The good scene with its metadata changed."""

    def spoil(folder: Path) -> None:
        contents = metadata()
        change(contents)
        (folder / META).write_text(json.dumps(contents))

    return spoil


def in_frame(key: str, value: Any, index: int = 2) -> Callable[[Path], None]:
    return changed(lambda contents: contents["frames"][index].update({key: value}))


def in_box(key: str, value: Any) -> Callable[[Path], None]:
    return changed(lambda contents: contents["scene_box"].update({key: value}))


def pose_times(matrix: np.ndarray) -> Callable[[Path], None]:
    def spoil(contents: dict[str, Any]) -> None:
        c2w = np.array(contents["frames"][2]["camtoworld"])
        c2w[:3, :3] = c2w[:3, :3] @ matrix
        contents["frames"][2]["camtoworld"] = c2w.tolist()

    return changed(spoil)


def entry(key: str, row: int, column: int, value: Any) -> Callable[[Path], None]:
    def spoil(contents: dict[str, Any]) -> None:
        contents["frames"][2][key][row][column] = value

    return changed(spoil)


def text(contents: str | bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / META).write_bytes(contents.encode() if isinstance(contents, str) else contents)


def on_image(action: Callable[[Path], Any]) -> Callable[[Path], None]:
    return lambda folder: action(folder / "000002_rgb.png") and None


def replaced(path: Path, make: Callable[[Path], Any]) -> None:
    path.unlink()
    make(path)


def linked_outside(folder: Path) -> None:
    outside = folder.parent / "outside.png"
    write_rgb(outside, image(2))
    replaced(folder / "000002_rgb.png", lambda path: path.symlink_to(outside))


MALFORMED: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "no metadata": (lambda folder: (folder / META).unlink(), (META, "no scene in a known layout")),
    "metadata is a folder": (lambda folder: replaced(folder / META, Path.mkdir), (META, "cannot be read")),
    "empty metadata": (text(""), (META, "not JSON")),
    "half of the metadata": (text(json.dumps(metadata())[:200]), (META, "not JSON", "line 1")),
    "metadata of bytes": (text(b"\xff\xfe\x00"), (META, "not text")),
    "metadata nested too deeply": (text("[" * 100000), (META, "nested")),
    "metadata a list": (text("[]"), (META, "object")),
    "no height": (changed(lambda contents: contents.pop("height")), (META, "'height'")),
    "width zero": (changed(lambda contents: contents.update(width=0)), (META, "width", "0")),
    "height of text": (changed(lambda contents: contents.update(height="12")), (META, "height", "str")),
    "height half a pixel": (changed(lambda contents: contents.update(height=12.5)), (META, "height", "12.5")),
    "no box": (changed(lambda contents: contents.pop("scene_box")), (META, "'scene_box'")),
    "box a list": (changed(lambda contents: contents.update(scene_box=[])), (META, "scene_box", "list")),
    "no aabb": (changed(lambda contents: contents["scene_box"].pop("aabb")), (META, "scene_box", "'aabb'")),
    "aabb transposed": (in_box("aabb", [[-1, 1]] * 3), (META, "aabb", "(3, 2)")),
    "aabb inverted": (in_box("aabb", [[-1, 1, -1], [1, -1, 1]]), (META, "inverted along y")),
    "aabb empty": (in_box("aabb", [[-1, -1, 0], [1, 1, 0]]), (META, "empty along z")),
    "aabb NaN": (in_box("aabb", [[-1, -1, float("nan")], [1, 1, 1]]), (META, "aabb", "NaN")),
    "aabb vast": (in_box("aabb", [[-1e30, -1, -1], [1, 1, 1]]), (META, "1e+30", "scale the scene")),
    "aabb thin": (in_box("aabb", [[1e8, -1, -1], [1e8 + 1, 1, 1]]), (META, "too thin along x", "to the origin")),
    "far vast": (in_box("far", 1e30), (META, "bounds", "1e+30")),
    "near beyond far": (in_box("near", 3.0), (META, "near (3)", "far (2)")),
    "near equals far": (in_box("near", 2.0), (META, "near", "far")),
    "near negative": (in_box("near", -0.1), (META, "near", "negative")),
    "far infinite": (in_box("far", float("inf")), (META, "far", "finite")),
    "far a boolean": (in_box("far", True), (META, "far", "bool")),
    "far missing": (changed(lambda contents: contents["scene_box"].pop("far")), (META, "'far'")),
    "no frames": (changed(lambda contents: contents.pop("frames")), (META, "'frames'")),
    "frames an object": (changed(lambda contents: contents.update(frames={})), (META, "frames", "dict")),
    "frames empty": (changed(lambda contents: contents["frames"].clear()), (META, "0 frames", "at least 2")),
    "one training frame": (
        changed(lambda contents: contents.update(frames=contents["frames"][:2])),
        (META, "training"),
    ),
    "frame a number": (changed(lambda contents: contents["frames"].insert(2, 7)), (META, "frame 2", "int")),
    "frame twice": (
        changed(lambda contents: contents["frames"].append(contents["frames"][2])),
        (META, "frame 5", "same image", "frame 2"),
    ),
    "label a list": (changed(lambda contents: contents.update(label=[])), (META, "label")),
    "no rgb_path": (changed(lambda contents: contents["frames"][2].pop("rgb_path")), (META, "frame 2", "'rgb_path'")),
    "rgb_path a number": (in_frame("rgb_path", 3), (META, "frame 2", "rgb_path", "int")),
    "rgb_path empty": (in_frame("rgb_path", ""), (META, "frame 2", "rgb_path")),
    "rgb_path with a null": (in_frame("rgb_path", "a\0.png"), (META, "frame 2", "rgb_path")),
    "rgb_path half a character": (
        text(json.dumps(metadata()).replace("000002_rgb", "\\ud800")),
        (META, "\\ud800 is half a character"),
    ),
    "rgb_path given twice": (
        text(json.dumps(metadata()).replace('"rgb_path"', '"rgb_path": "x.png", "rgb_path"', 1)),
        (META, "'rgb_path' stands twice"),
    ),
    "rgb_path absolute": (in_frame("rgb_path", "/etc/hostname"), (META, "frame 2", "leaves the scene folder")),
    "rgb_path upwards": (in_frame("rgb_path", "../outside.png"), (META, "frame 2", "leaves the scene folder")),
    "image a link outside": (linked_outside, (FRAME, "leaves the scene folder")),
    "image a link to itself": (
        on_image(lambda path: replaced(path, lambda path: path.symlink_to(path.name))),
        (FRAME, "a link that leaves the scene folder", "itself"),
    ),
    "image missing": (on_image(os.remove), (FRAME, "image missing")),
    "image a folder": (on_image(lambda path: replaced(path, Path.mkdir)), (FRAME, "cannot be read")),
    "image empty": (on_image(lambda path: path.write_bytes(b"")), (FRAME, "not an image")),
    "image of text": (on_image(lambda path: path.write_text("no image")), (FRAME, "not an image")),
    "image torn": (on_image(lambda path: path.write_bytes(path.read_bytes()[:-30])), (FRAME, "damaged", "ends early")),
    "image with a flipped byte": (
        on_image(lambda path: path.write_bytes(path.read_bytes()[:80] + b"\0\0" + path.read_bytes()[82:])),
        (FRAME, "damaged", "checksum"),
    ),
    "image of another size": (on_image(lambda path: write_rgb(path, image(2, 18, 12))), (FRAME, "12x18", "18x12")),
    "image of floats": (
        lambda folder: (
            in_frame("rgb_path", "f.tiff")(folder),
            cv2.imwrite(str(folder / "f.tiff"), np.zeros((12, 18), np.float32)),
        )[0],
        ("frame 2 (f.tiff)", "float32"),
    ),
    "no pose": (changed(lambda contents: contents["frames"][2].pop("camtoworld")), (FRAME, "'camtoworld'")),
    "pose of text": (in_frame("camtoworld", [["a"] * 4] * 4), (FRAME, "camtoworld", "numbers")),
    "pose ragged": (in_frame("camtoworld", [[1.0], [2.0, 3.0]]), (FRAME, "camtoworld", "ragged")),
    "pose of three columns": (in_frame("camtoworld", np.eye(3).tolist()), (FRAME, "camtoworld", "(3, 3)")),
    "pose null": (entry("camtoworld", 0, 3, None), (FRAME, "camtoworld", "numbers")),
    "pose far away": (entry("camtoworld", 0, 3, -1e30), (FRAME, "camera's coordinates", "1e+30")),
    "pose NaN": (entry("camtoworld", 0, 3, float("nan")), (FRAME, "camtoworld", "NaN")),
    "pose mirrored": (pose_times(np.diag([1.0, 1.0, -1.0])), (FRAME, "det = -1.000", "mirrored")),
    "pose scaled": (pose_times(2 * np.eye(3)), (FRAME, "det = 8.000", "scaled by 2")),
    "pose sheared": (pose_times(np.eye(3) + 0.2 * np.eye(3, k=1)), (FRAME, "not a rotation", "perpendicular")),
    "pose zero": (in_frame("camtoworld", np.diag([0, 0, 0, 1]).tolist()), (FRAME, "det = 0.000")),
    "pose transposed": (entry("camtoworld", 3, 0, 0.3), (FRAME, "last row", "0.3 0 0 1")),
    "no intrinsics": (changed(lambda contents: contents["frames"][2].pop("intrinsics")), (FRAME, "'intrinsics'")),
    "intrinsics a number": (in_frame("intrinsics", 15.0), (FRAME, "intrinsics", "float")),
    "intrinsics infinite": (entry("intrinsics", 0, 0, float("inf")), (FRAME, "intrinsics", "infinity")),
    "focal length negative": (entry("intrinsics", 0, 0, -15.0), (FRAME, "focal", "fx -15")),
    "focal length zero": (entry("intrinsics", 1, 1, 0), (FRAME, "focal", "fy 0")),
    "intrinsics transposed": (entry("intrinsics", 2, 0, 8.5), (FRAME, "intrinsics", "transposed")),
    "intrinsics of a larger image": (entry("intrinsics", 0, 2, 600.0), (FRAME, "principal point", "18x12")),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_scene_is_refused_in_one_line_that_names_file_and_frame(tmp_path: Path, kind: str) -> None:
    spoil, expected = MALFORMED[kind]
    folder = write_scene(tmp_path / "scene")
    load(folder)
    spoil(folder)
    with pytest.raises(SceneError) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message and message.isprintable()
    assert str(folder) in message
    for part in expected:
        assert part in message


def test_missing_folder_is_named(tmp_path: Path) -> None:
    for folder, expected in ((tmp_path / "nowhere", "no such"), (tmp_path / "file", "not a folder")):
        (tmp_path / "file").write_text("")
        with pytest.raises(SceneError, match=expected):
            load(folder)
    with pytest.raises(SceneError, match="datadir is not set"):
        load("")


def replace_npz(change: Callable[[dict[str, np.ndarray]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        arrays = dict(np.load(folder / "cameras.npz"))
        change(arrays)
        np.savez(folder / "cameras.npz", **arrays)

    return spoil


def pickled_npz(folder: Path) -> None:
    np.savez(folder / "cameras.npz", world_mat_0=np.array([{}], dtype=object))


NPZ_FRAME = "cameras.npz: frame 2 (000002_rgb.png)"
MALFORMED_MONOSDF: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "no cameras": (lambda folder: (folder / "cameras.npz").unlink(), ("cameras.npz", "missing")),
    "cameras of text": (lambda folder: (folder / "cameras.npz").write_text("no"), ("cameras.npz", "npz")),
    "cameras torn": (
        lambda folder: (folder / "cameras.npz").write_bytes((folder / "cameras.npz").read_bytes()[:300]),
        ("cameras.npz", "npz"),
    ),
    "cameras a bare array": (
        lambda folder: np.lib.format.write_array((folder / "cameras.npz").open("wb"), np.eye(4)),
        ("cameras.npz", "npz"),
    ),
    "cameras pickled": (pickled_npz, ("cameras.npz", "pickled")),
    "cameras a pickle": (lambda folder: (folder / "cameras.npz").write_bytes(pickle.dumps({})), ("cameras.npz", "npz")),
    "one camera too few": (replace_npz(lambda arrays: arrays.pop("world_mat_4")), ("4 cameras", "5 *_rgb.png")),
    "a camera misnumbered": (
        replace_npz(lambda arrays: arrays.update(world_mat_9=arrays.pop("world_mat_2"))),
        (NPZ_FRAME, "'world_mat_2'"),
    ),
    "no scale": (replace_npz(lambda arrays: arrays.pop("scale_mat_2")), (NPZ_FRAME, "'scale_mat_2'")),
    "camera of 3x4": (
        replace_npz(lambda arrays: arrays.update(world_mat_2=arrays["world_mat_2"][:3])),
        (NPZ_FRAME, "world_mat_2", "(3, 4)"),
    ),
    "camera NaN": (
        replace_npz(lambda arrays: arrays.update(world_mat_2=arrays["world_mat_2"] * np.nan)),
        (NPZ_FRAME, "world_mat_2", "NaN"),
    ),
    "camera singular": (
        replace_npz(lambda arrays: arrays.update(world_mat_2=np.zeros((4, 4)))),
        (NPZ_FRAME, "singular"),
    ),
    "camera of another size": (
        replace_npz(lambda arrays: arrays.update(world_mat_2=np.diag([9, 9, 1, 1.0]) @ arrays["world_mat_2"])),
        (NPZ_FRAME, "principal point"),
    ),
    "no images": (lambda folder: [path.unlink() for path in folder.glob("*.png")] and None, ("no *_rgb.png",)),
    "an image of another size": (
        lambda folder: write_rgb(folder / "000002_rgb.png", image(2, 10, 10)),
        (NPZ_FRAME, "10x10"),
    ),
}


@pytest.mark.parametrize("kind", MALFORMED_MONOSDF)
def test_malformed_monosdf_scene_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    spoil, expected = MALFORMED_MONOSDF[kind]
    folder = write_monosdf(tmp_path / "scan")
    load(folder, dataset_name="monosdf")
    spoil(folder)
    with pytest.raises(SceneError) as caught:
        load(folder, dataset_name="monosdf")
    message = str(caught.value)
    assert "\n" not in message and str(folder) in message
    for part in expected:
        assert part in message
