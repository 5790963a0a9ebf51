"""Images outside a scene's folder, in every layout: refused with a true message, taken with --follow_links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from layout_writers import FRAMES, WRITERS

from nerf_ssim.datasets.loading import load_scene
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.errors import SceneError

REFUSED = r"leaves the scene folder .* --follow_links 1"


def load(folder: Path, **options: object):
    return load_scene(
        DataConfig(datadir=str(folder), test_every=0, scene_box="-9,-9,-9,9,9,9", near=0.1, far=9, **options)
    )


def written(folder: Path, case: str) -> Path:
    folder.mkdir(parents=True)
    WRITERS[case][1](folder)
    return folder


def same(ours, theirs) -> bool:
    return torch.equal(ours.train.images, theirs.train.images) and torch.equal(ours.train.c2w, theirs.train.c2w)


@pytest.mark.slow
@pytest.mark.parametrize("case", WRITERS)
def test_linked_images_are_refused_by_name_and_taken_when_links_are_followed(tmp_path, case):
    folder, store = written(tmp_path / "a" / "scene", case), tmp_path / "store"
    before = load(folder)
    for index, image in enumerate(sorted(folder.rglob("*.png"))):
        target = store / f"{index}.png"
        store.mkdir(exist_ok=True)
        image.rename(target)
        image.symlink_to(target)
    with pytest.raises(SceneError, match=f"is a link that {REFUSED}"):
        load(folder)
    after = load(folder, follow_links=True)
    assert same(after, before) and after.content_hash == before.content_hash
    assert f"{FRAMES} images lie outside the scene's folder" in " ".join(after.notes)


@pytest.mark.slow
@pytest.mark.parametrize("case", WRITERS)
def test_a_linked_folder_of_images_is_refused_and_taken_likewise(tmp_path, case):
    folder = written(tmp_path / "a" / "scene", case)
    before = load(folder)
    folders = {image.parent for image in folder.rglob("*.png")} - {folder}
    if not folders:
        pytest.skip("images lie beside the scene's file")
    for images in folders:
        images.rename(tmp_path / images.name)
        images.symlink_to(tmp_path / images.name)
    with pytest.raises(SceneError, match=REFUSED):
        load(folder)
    assert same(load(folder, follow_links=True), before)


@pytest.mark.parametrize("case", ["replica", "nerfstudio", "blender", "colmap", "llff", "niceslam"])
def test_a_scene_that_is_reached_by_a_link_needs_no_option(tmp_path, case):
    folder = written(tmp_path / "a" / "scene", case)
    (tmp_path / "link").symlink_to(folder)
    if case == "niceslam":  # its cameras' file lies one folder up
        os.rename(folder.parent / "cam_params.json", folder / "cam_params.json")
    assert same(load(tmp_path / "link"), load(folder))


@pytest.mark.parametrize("case", ["replica", "monosdf", "nerfstudio", "colmap", "scannet"])
def test_a_link_that_leads_nowhere_or_to_itself_is_one_line(tmp_path, case):
    folder = written(tmp_path / "a" / "scene", case)
    image = sorted(folder.rglob("*.png"))[3]
    for target in (tmp_path / "gone.png", image):
        image.unlink()
        image.symlink_to(target)
        for follow in (False, True):
            try:
                scene = load(folder, follow_links=follow)
            except SceneError as error:
                assert "\n" not in str(error)
            else:  # where a layout's own programs leave missing images out
                assert len(scene.train) == FRAMES - 1
