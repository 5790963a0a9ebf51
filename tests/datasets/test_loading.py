"""What a loaded scene holds: the right pixels, cameras right to the half pixel, one copy of the images."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from scene_files import HEIGHT, WIDTH, image, load, metadata, pose, write_rgb, write_scene

from nerf_ssim.datasets import formats
from nerf_ssim.datasets.assemble import assemble
from nerf_ssim.datasets.cameras import resized_intrinsics
from nerf_ssim.datasets.formats import replica
from nerf_ssim.datasets.images import shrink_image, shrunk_size
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.datasets.scene_file import Reading, SceneFile
from nerf_ssim.errors import SceneError


def project(K: torch.Tensor, c2w: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    camera = c2w[:, :3].T @ (point - c2w[:, 3])
    return (K @ camera)[:2] / camera[2]


def test_views_hold_the_files_pixels_and_poses_in_order(tmp_path: Path) -> None:
    scene = load(write_scene(tmp_path / "scene"))
    assert scene.test.names == ("000000_rgb.png", "000003_rgb.png")
    assert scene.train.names == ("000001_rgb.png", "000002_rgb.png", "000004_rgb.png")
    for views, indices in ((scene.train, (1, 2, 4)), (scene.test, (0, 3))):
        assert (views.height, views.width, len(views)) == (HEIGHT, WIDTH, len(indices))
        assert views.images.dtype == torch.uint8
        for row, index in enumerate(indices):
            assert np.array_equal(views.images[row].numpy(), image(index))
            assert np.allclose(views.c2w[row], pose(index)[:3], atol=1e-6)
    assert scene.name == "scene" and scene.label is None
    assert (scene.near, scene.far) == (0.1, 2.0)


def test_integer_pixel_centres_move_by_half_a_pixel_unless_as_published(tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "scene")
    stored = torch.tensor(metadata()["frames"][0]["intrinsics"])[:3, :3]
    shift = torch.tensor([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    assert torch.equal(load(folder).train.K[0], stored + shift)
    assert torch.equal(load(folder, as_published=True).train.K[0], stored)


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0, 2.3, 3.0, 7.0])
def test_a_point_projects_to_the_same_share_of_the_image_at_every_size(tmp_path: Path, factor: float) -> None:
    folder = write_scene(tmp_path / "scene")
    full, small = load(folder).train, load(folder, downsample_train=factor).train
    assert (small.height, small.width) == (int(HEIGHT / factor + 0.5), int(WIDTH / factor + 0.5))
    for row in range(len(full)):
        point = full.c2w[row] @ torch.tensor([0.2, -0.1, 1.3, 1.0])
        share = project(full.K[row], full.c2w[row], point) / torch.tensor([full.width, full.height])
        small_share = project(small.K[row], small.c2w[row], point) / torch.tensor([small.width, small.height])
        assert torch.allclose(share, small_share, atol=1e-6)


def test_a_spot_stays_where_the_shrunk_camera_sees_it() -> None:
    """Ties the intrinsics to what the area filter does to pixels, not only to each other."""
    y, x = np.mgrid[0:90, 0:120] + 0.5
    spot = np.exp(-((x - 70.3) ** 2 + (y - 40.9) ** 2) / (2 * 9.0**2)) * 255
    spot = np.repeat(spot.round().astype(np.uint8)[:, :, None], 3, axis=2)
    for factor in (2.0, 3.0, 3.7):
        height, width = shrunk_size(90, 120, factor)
        small = shrink_image(spot, height, width)[:, :, 0].astype(float)
        rows, columns = np.mgrid[0:height, 0:width] + 0.5
        centre = np.array([(small * columns).sum(), (small * rows).sum()]) / small.sum()
        K = resized_intrinsics(np.array([[1.0, 0, 70.3], [0, 1.0, 40.9], [0, 0, 1]]), (90, 120), (height, width))
        assert np.abs(K[:2, 2] - centre).max() < 0.02


def test_area_filter_of_whole_factors_is_the_mean_of_each_block() -> None:
    original = image(0, 12, 18)
    blocks = original.reshape(4, 3, 6, 3, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(shrink_image(original, 4, 6) - blocks).max() <= 0.5


def test_downsample_test_overrides_the_test_split_alone(tmp_path: Path) -> None:
    scene = load(write_scene(tmp_path / "scene"), downsample_train=3.0, downsample_test=2.0)
    assert (scene.train.height, scene.train.width) == (4, 6)
    assert (scene.test.height, scene.test.width) == (6, 9)
    assert scene.test.K[0, 0, 0] == 7.5


def test_each_frame_keeps_its_own_intrinsics(tmp_path: Path) -> None:
    contents = metadata()
    for index, frame in enumerate(contents["frames"]):
        frame["intrinsics"][0][0] = 10.0 + index
    scene = load(write_scene(tmp_path / "scene", contents))
    assert scene.train.K[:, 0, 0].tolist() == [11.0, 12.0, 14.0]
    assert scene.test.K[:, 0, 0].tolist() == [10.0, 13.0]


def test_three_by_three_intrinsics_and_three_by_four_poses_are_read_too(tmp_path: Path) -> None:
    good = load(write_scene(tmp_path / "good"))
    contents = metadata()
    for frame in contents["frames"]:
        frame["intrinsics"] = [row[:3] for row in frame["intrinsics"][:3]]
        frame["camtoworld"] = frame["camtoworld"][:3]
    other = load(write_scene(tmp_path / "other", contents))
    assert torch.equal(good.train.K, other.train.K) and torch.equal(good.train.c2w, other.train.c2w)


def test_label_of_the_scene_travels_unless_one_is_given(tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "scene", {**metadata(), "label": "recovered poses"})
    assert load(folder).label == "recovered poses"
    assert load(folder, label="mine").label == "mine"


def test_content_hash_tells_every_byte_and_no_option(tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "scene")
    first = load(folder).content_hash
    assert load(folder, downsample_train=2.0, test_every=2).content_hash == first
    assert load(write_scene(tmp_path / "copy")).content_hash == first
    write_rgb(folder / "000002_rgb.png", image(77))
    assert load(folder).content_hash != first
    other = write_scene(tmp_path / "other", {**metadata(), "label": "x"})
    assert load(other).content_hash != first


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "scene")
    (folder / "images").mkdir()
    (folder / "000002_rgb.png").rename(folder / "images" / "a.png")
    (folder / "000002_rgb.png").symlink_to(folder / "images" / "a.png")
    assert len(load(folder).train) == 3


def test_transparent_images_are_blended(tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "scene")
    bgra = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    bgra[:] = 200, 100, 50, 51
    cv2.imwrite(str(folder / "000001_rgb.png"), bgra)
    assert load(folder).train.images[0, 0, 0].tolist() == [10, 20, 40]
    assert load(folder, white_bg=True).train.images[0, 0, 0].tolist() == [214, 224, 244]


def test_the_first_bad_frame_is_the_one_named(tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "scene")
    for name in ("000004_rgb.png", "000001_rgb.png", "000003_rgb.png"):
        (folder / name).unlink()
    for _ in range(5):
        with pytest.raises(SceneError, match="frame 1 "):
            load(folder)


def test_bundled_room_loads(tmp_path: Path) -> None:
    scene = load("bundled:room", test_every=10)
    assert (len(scene.train), len(scene.test), scene.label) == (54, 6, "synthetic room")
    assert (scene.train.height, scene.train.width) == (128, 128)


@pytest.mark.slow
def test_replica_scene_loads_at_a_third(shared_path: Path) -> None:
    folder = shared_path / "data" / "replica_office0"
    scene = load(folder, downsample_train=3.0, test_every=10)
    assert (len(scene.train), len(scene.test)) == (72, 9)
    assert (scene.train.height, scene.train.width) == (128, 128)
    stored = json.loads((folder / "meta_data.json").read_text())["frames"][0]["intrinsics"]
    assert scene.train.K[0, 0, 0].item() == pytest.approx(stored[0][0] / 3)
    assert scene.train.K[0, 0, 2].item() == 64.0


def test_a_format_may_bring_its_own_split_and_is_one_file_and_one_name(tmp_path: Path, monkeypatch) -> None:
    def read(folder: Path, how: Reading) -> SceneFile:
        return replace(replica.read(folder, how), is_test=[False, True, False, True, False])

    module = SimpleNamespace(detect=lambda folder: (folder / "own.txt").exists(), read=read)
    monkeypatch.setitem(sys.modules, "nerf_ssim.datasets.formats.own", module)
    monkeypatch.setattr(formats, "FORMATS", ("own", *formats.FORMATS))
    folder = write_scene(tmp_path / "scene")
    assert formats.detect_format(folder) == "replica"
    (folder / "own.txt").touch()
    assert formats.detect_format(folder) == "own"
    scene = assemble(formats.load_format("own").read(folder, Reading()), DataConfig(datadir=str(folder)))
    assert scene.test.names == ("000001_rgb.png", "000003_rgb.png")


def test_a_folder_without_a_known_layout_has_none(tmp_path: Path) -> None:
    assert formats.detect_format(tmp_path) is None
