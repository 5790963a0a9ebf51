"""A scene converted from any layout renders the same rays, with the same pixels, split and bounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from layout_writers import WRITERS
from test_formats import REAL, load, write
from test_frame_images import masked_scene

from nerf_ssim.datasets.convert import WRITERS as TARGETS
from nerf_ssim.datasets.convert import convert_scene
from nerf_ssim.datasets.scene import Scene, data_difference
from nerf_ssim.datasets.scene_record import scene_of_record, scene_record
from nerf_ssim.errors import SceneError
from nerf_ssim.rays.cameras import camera_rays


def same(one: Scene, other: Scene) -> None:
    assert torch.allclose(one.aabb, other.aabb) and (one.near, one.far) == pytest.approx((other.near, other.far))
    assert one.white_bg == other.white_bg and one.label == other.label
    for ours, theirs in ((one.train, other.train), (one.test, other.test)):
        assert len(ours) == len(theirs) and torch.equal(ours.images, theirs.images)
        for index in range(len(ours)):
            assert ours.size_of(index) == theirs.size_of(index)
            rays, again = (camera_rays(v.c2w[index], v.K[index], *v.size_of(index)) for v in (ours, theirs))
            assert (rays.origins - again.origins).abs().max() < 1e-5
            assert (rays.directions - again.directions).abs().max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", WRITERS)
def test_a_converted_scene_has_the_same_rays(tmp_path: Path, case: str, target: str) -> None:
    scene = load(write(tmp_path, case))
    convert_scene(scene, tmp_path / "out", target)
    again = load(tmp_path / "out")
    same(scene, again)
    assert data_difference(scene_of_record(scene_record(scene)), again) == ""
    assert again.content_hash != scene.content_hash
    same(load(tmp_path / "above" / "scene", test_every=4), load(tmp_path / "out", test_every=4))


def test_a_scene_of_other_pixels_cameras_or_bounds_is_other_data(tmp_path: Path) -> None:
    scene = load(write(tmp_path, "replica"))
    moved = replace(scene.train, c2w=scene.train.c2w + torch.tensor([0, 0, 0, 0.01]))
    for what, changed in {
        "bounds": replace(scene, near=0.2),
        "cameras": replace(scene, train=moved),
        "pixels": replace(scene, train=replace(scene.train, images=255 - scene.train.images)),
    }.items():
        convert_scene(changed, tmp_path / what, "sdfstudio")
        assert data_difference(scene, load(tmp_path / what)) == f"their {what} differ"
    assert data_difference(scene, load(tmp_path / "bounds", test_every=5)) == "their numbers of views differ"
    assert data_difference(scene, load(tmp_path / "bounds", downsample_train=2)) == "their sizes of images differ"


@pytest.mark.parametrize("target", TARGETS)
def test_bounds_that_were_estimated_are_no_part_of_the_data(tmp_path: Path, target: str) -> None:
    folder = write(tmp_path, "colmap")
    convert_scene(load(folder), tmp_path / "out", target)
    scene, again = (load(one, downsample_train=2.0, test_every=3) for one in (folder, tmp_path / "out"))
    again = replace(again, near=2 * scene.near)  # images of another size and other training views give others
    assert scene.are_bounds_estimated and again.are_bounds_estimated and "before conversion" in again.bounds_source
    assert data_difference(scene_of_record(scene_record(scene)), again) == ""


@pytest.mark.parametrize("target", TARGETS)
def test_masks_are_converted_too(tmp_path: Path, target: str) -> None:
    scene = load(masked_scene(tmp_path / "scene"))
    convert_scene(scene, tmp_path / "out", target)
    again = load(tmp_path / "out")
    assert scene.train.valid is not None and again.train.valid is not None
    assert torch.equal(scene.train.valid, again.train.valid)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", REAL)
def test_a_converted_real_scene_has_the_same_rays(shared_path: Path, tmp_path: Path, name: str, target: str) -> None:
    scene = load(shared_path / "data" / "layouts" / name, downsample_train=4.0)
    convert_scene(scene, tmp_path / "out", target)
    same(scene, load(tmp_path / "out"))


def test_nothing_is_written_over(tmp_path: Path) -> None:
    scene = load(write(tmp_path, "replica"))
    (tmp_path / "mine").write_text("")
    with pytest.raises(SceneError, match="not an empty folder"):
        convert_scene(scene, tmp_path, "sdfstudio")
