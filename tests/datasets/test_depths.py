"""Depth maps of a scene: read in scene units, shrunk without blur, and no part of the scene's identity."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from nerf_ssim.datasets.depths import UNIT_KEY, without_depth, write_depth
from nerf_ssim.datasets.loading import load_scene
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.datasets.room import build_room, camera_rays, write_room
from nerf_ssim.errors import SceneError

SIZE, VIEWS = 24, 11
BUNDLED_HASH = "ce948214379e1a87799ade71e586d66db4ab0eb7115d9aeb7a6c86b03fdf15a4"


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    return write_room(tmp_path_factory.mktemp("room") / "scene", size=SIZE, views=VIEWS, seed=3)


@pytest.fixture
def scene_folder(room, tmp_path) -> Path:
    """A copy that a test may change."""
    folder = tmp_path / "scene"
    folder.mkdir()
    for file in room.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def metadata_of(folder: Path) -> dict:
    return json.loads((folder / "meta_data.json").read_text())


def write_metadata(folder: Path, metadata: dict, **layout) -> None:
    (folder / "meta_data.json").write_text(json.dumps(metadata, **layout))


def load(folder: Path, **options):
    return load_scene(DataConfig(datadir=str(folder), **options))


def test_depth_of_the_room_is_where_its_surfaces_are_along_the_optical_axis(room):
    scene = load(room)
    solids = build_room(3).solids
    for views in (scene.train, scene.test):
        assert views.depths.shape == (len(views), SIZE, SIZE)
        for c2w, K, depth in zip(views.c2w.double(), views.K.double(), views.depths.double(), strict=True):
            origins, directions = camera_rays(K.numpy(), c2w.numpy(), SIZE, SIZE)
            points = origins + directions / (directions @ c2w[:, 2].numpy())[:, None] * depth.numpy().reshape(-1, 1)
            assert np.abs(solids.distance(points)).max() < 2e-4  # a step of the map, at a grazing angle


def test_bundled_room_has_depth_and_the_identity_that_it_had_without():
    scene = load_scene(DataConfig(datadir="bundled:room"))
    assert scene.content_hash == BUNDLED_HASH
    assert scene.test.depths is not None and float(scene.test.depths.min()) > 0.2


@pytest.mark.parametrize("layout", [{}, {"indent": 2}, {"separators": (",", ":")}])
@pytest.mark.parametrize("first", [False, True])
def test_adding_depth_to_a_scene_does_not_change_its_identity(scene_folder, layout, first):
    metadata = metadata_of(scene_folder)
    plain = {key: value for key, value in metadata.items() if key != UNIT_KEY}
    plain["frames"] = [{k: v for k, v in frame.items() if k != "depth_path"} for frame in metadata["frames"]]
    write_metadata(scene_folder, plain, **layout)
    before = load(scene_folder)
    assert before.train.depths is None
    named = [{"depth_path": frame["depth_path"]} for frame in metadata["frames"]]
    frames = [n | f if first else f | n for f, n in zip(plain["frames"], named, strict=True)]
    write_metadata(scene_folder, plain | {"frames": frames, UNIT_KEY: metadata[UNIT_KEY]}, **layout)
    after = load(scene_folder)
    assert after.train.depths is not None and after.content_hash == before.content_hash
    for file in scene_folder.glob("*_depth.png"):
        write_depth(file, np.full((SIZE, SIZE), 1.0), metadata[UNIT_KEY])
    assert load(scene_folder).content_hash == before.content_hash
    changed = plain | {"label": "another"}
    write_metadata(scene_folder, changed, **layout)
    assert load(scene_folder).content_hash != before.content_hash


def test_what_is_not_about_depth_stays_part_of_the_identity():
    text = b'{"a": 1, "depth_path": "x,\\"y", "frames": [{"depth_unit": 5e-05 , "b": 2}], "mono_depth_path": "z"}'
    assert without_depth(text) == b'{"a": 1, "frames": [{"b": 2}], "mono_depth_path": "z"}'


def test_shrunk_depth_is_that_of_the_nearest_pixel_and_arrays_are_in_scene_units(scene_folder):
    metadata = metadata_of(scene_folder)
    values = np.arange(SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    values[0, :4] = [np.nan, -1.0, np.inf, 0.0]
    np.save(scene_folder / "first.npy", values)
    metadata["frames"][0] |= {"depth_path": "first.npy"}
    write_metadata(scene_folder, metadata)
    whole, half = load(scene_folder).test.depths[0], load(scene_folder, downsample_train=2.0).test.depths[0]
    assert torch.equal(whole[0, :5], torch.tensor([0.0, 0, 0, 0, 4]))
    assert torch.equal(half, torch.from_numpy(np.where(np.isfinite(values) & (values > 0), values, 0))[1::2, 1::2])


def test_frames_without_a_map_are_unknown_and_estimates_without_a_scale_are_left_alone(scene_folder):
    metadata = metadata_of(scene_folder)
    for frame in metadata["frames"]:
        frame["mono_depth_path"] = frame.pop("depth_path")
    metadata["frames"][0]["sensor_depth_path"] = metadata["frames"][0]["mono_depth_path"]
    write_metadata(scene_folder, metadata)
    scene = load(scene_folder)
    assert scene.train.depths is None
    assert bool((scene.test.depths[0] > 0).all()) and bool((scene.test.depths[1:] == 0).all())


def save_png(path: Path, pixels: np.ndarray) -> None:
    cv2.imwrite(str(path), pixels)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f, m: m.pop(UNIT_KEY), "needs the scene's depth_unit"),
        (lambda f, m: m.update({UNIT_KEY: 0}), "depth_unit must be"),
        (lambda f, m: m["frames"][0].update(depth_path=7), "depth_path must be text"),
        (lambda f, m: m["frames"][0].update(depth_path="../x.png"), "depth_path leaves"),
        (lambda f, m: m["frames"][0].update(depth_path="x.exr"), "depth maps are .npy or 16-bit .png"),
        (lambda f, m: m["frames"][0].update(sensor_depth_path="x.npy"), "has both depth_path and sensor_depth_path"),
        (lambda f, m: (f / "000000_depth.png").unlink(), "missing"),
        (lambda f, m: save_png(f / "000000_depth.png", np.ones((SIZE, SIZE), np.uint8)), "not a 16-bit grey PNG"),
        (lambda f, m: save_png(f / "000000_depth.png", np.ones((SIZE, 9), np.uint16)), "9x24"),
        (lambda f, m: (f / "000000_depth.png").write_bytes((f / "000000_depth.png").read_bytes()[:90]), "damaged"),
        (lambda f, m: (m["frames"][0].update(depth_path="a.npy"), (f / "a.npy").write_bytes(b"no")), "cannot be read"),
        (lambda f, m: (m["frames"][0].update(depth_path="a.npy"), np.save(f / "a.npy", np.ones((3, 4)))), "is 3x4"),
        (lambda f, m: (m["frames"][0].update(depth_path="a.npy"), np.save(f / "a.npy", np.ones(3, int))), "int64"),
        (lambda f, m: m["frames"][0].update(depth_path="a.npy"), "missing"),
    ],
)
def test_a_depth_map_that_cannot_be_used_is_named(scene_folder, spoil, message):
    metadata = metadata_of(scene_folder)
    spoil(scene_folder, metadata)
    write_metadata(scene_folder, metadata)
    with pytest.raises(SceneError, match=message) as caught:
        load(scene_folder)
    assert "\n" not in str(caught.value)
