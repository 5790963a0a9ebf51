"""TensoRF in normalised device coordinates: trained, continued, rendered and taken away."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tiny_scene import differing, tiny_config, train_session, weights_of

from nerf_ssim.cli.main import main
from nerf_ssim.errors import CheckpointError, SceneError
from nerf_ssim.models.parts.solid import opacity_at, surface_of
from nerf_ssim.rays.ndc import NDC_BOX
from nerf_ssim.training.session import Session
from nerf_ssim.training.trained import load_trained
from tests.config.test_published_files import FLOWER
from tests.forward_scene import BOARDS, ORIGIN, WALL, axes, write_forward_scene

SMALL = (
    "--batch_size 256 --s3im_patch_height 16 --s3im_patch_width 16 --N_voxel_init 13824 --N_voxel_final 32768 "
    "--s3im_repeat_time 2 --featureC 32 --vis_every 0 --log_to none --save_every 1000 --check_poses 0 "
    "--downsample_train 1 --seed 3"
).split()
"""A flower.txt that takes seconds."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_forward_scene(tmp_path_factory.mktemp("forward") / "boards")


@pytest.fixture(scope="module")
def trained_run(scene, tmp_path_factory):
    """The published configuration of forward-facing scenes, its moments drawn together, trained for 130 updates."""
    folder = tmp_path_factory.mktemp("runs")
    config = folder / "flower.txt"
    config.write_text(
        FLOWER.replace("n_iters = 25000", "n_iters = 130")
        .replace("[2000,3000,4000,5500]", "[30,50]")
        .replace("[2500]", "[40]")
    )
    words = ["train", "--config", str(config), "--datadir", str(scene), "--basedir", str(folder), *SMALL]
    assert main([*words, "--expname", "whole"]) == 0
    return folder / "whole"


@pytest.mark.release
def test_the_published_configuration_of_forward_facing_scenes_learns_one(trained_run):
    results = json.loads((trained_run / "results.json").read_text())
    assert len(results["per_image"]) == 3  # every eighth
    assert results["psnr"] > 20


@pytest.mark.release
def test_depth_is_in_scene_units_and_nothing_is_nearer_than_the_plane(trained_run):
    trained = load_trained(trained_run)
    view = trained.render_view(trained.scene.test, 1)
    distance = (view.depth / view.opacity.clamp_min(1e-6))[view.opacity > 0.9]
    assert distance.numel() > 0.8 * view.opacity.numel()
    assert 1.4 < float(distance.min()) and float(distance.quantile(0.95)) < 2.5 * WALL
    # The nearest board is in the middle left of the picture, the wall around it.
    assert float(distance.quantile(0.1)) < BOARDS[1][2] + 1 and float(distance.quantile(0.8)) > 0.5 * WALL


def tiny(scene, tmp_path, expname="tiny", **options):
    """A tiny configuration on the forward-facing scene."""
    return tiny_config(scene, tmp_path, expname=expname, **{"ndc_ray": True, **options})


@pytest.mark.slow
def test_a_run_that_is_continued_has_the_same_bits(scene, tmp_path):
    whole = train_session(tiny(scene, tmp_path, "whole"))
    train_session(tiny(scene, tmp_path, "parts", stop_at=6)).folder.close()
    parts = train_session(tiny(scene, tmp_path, "parts", resume=True))
    assert differing(weights_of(whole), weights_of(parts)) == []
    ours, theirs = (session.recipe.field.state()["ndc"] for session in (whole, parts))
    assert torch.equal(ours["frame"], theirs["frame"]) and torch.equal(ours["tangents"], theirs["tangents"])


def test_no_ray_is_filtered_and_the_box_is_that_of_ndc(scene, tmp_path):
    session = train_session(tiny(scene, tmp_path))
    assert session.batches.kept_bits is None
    assert (session.recipe.field.aabb.abs() <= torch.tensor(NDC_BOX[1]) + 1e-6).all()


def test_the_same_scene_trains_without_ndc_too(scene, tmp_path):
    session = train_session(tiny(scene, tmp_path, ndc_ray=False, alpha_mask_thre=1e-4))
    assert session.recipe.field.ndc is None and "ndc" not in session.recipe.field.state()


@pytest.mark.release
def test_triangles_of_a_mirrored_field_face_away_from_the_matter(trained_run):
    trained = load_trained(trained_run, needs_images=False)
    surface = surface_of(trained.field, resolution=40, threshold=0.3)
    assert np.isfinite(surface.vertices).all() and len(surface.faces) > 100
    assert ((surface.vertices - ORIGIN) @ axes()[:, 2]).min() > 1.4
    a, b, c = (surface.vertices[surface.faces[:, k]] for k in range(3))
    outwards, middle = np.cross(b - a, c - a), (a + b + c) / 3
    outwards *= 0.3 * np.linalg.norm(b - a, axis=1)[:, None] / np.linalg.norm(outwards, axis=1)[:, None].clip(1e-12)
    places = (torch.from_numpy(middle + sign * outwards).float() for sign in (1, -1))
    with torch.no_grad():
        out, inside = (opacity_at(trained.field, trained.field.from_world(at)) for at in places)
    assert (out < inside).float().mean() > 0.75


@pytest.mark.release
def test_paths_points_and_meshes_come_out(trained_run, tmp_path):
    assert main(["render", str(trained_run), "--path", "spiral", "--frames", "2", "--size", "20x16", "--no_video"]) == 0
    assert (trained_run / "render_spiral" / "0001.png").exists()
    points, mesh = tmp_path / "points.ply", tmp_path / "mesh.ply"
    pytest.importorskip("trimesh")
    words = ["export", str(trained_run), "--points", str(points), "--count", "500", "--mesh", str(mesh)]
    assert main([*words, "--resolution", "32"]) == 0
    assert points.exists() and mesh.exists()


def test_a_run_in_ndc_is_not_continued_without(scene, tmp_path):
    train_session(tiny(scene, tmp_path, stop_at=3)).folder.close()
    with pytest.raises(CheckpointError, match="ndc_ray"):
        Session(tiny(scene, tmp_path, ndc_ray=False, resume=True))


def test_scenes_that_are_not_forward_facing_end_in_one_line_and_leave_nothing(tmp_path, capsys):
    words = ["train", "--config", "room.txt", "--ndc_ray", "1", "--basedir", str(tmp_path), "--n_iters", "5"]
    assert main(words) == 2
    assert "ndc_ray is for cameras that face one way" in capsys.readouterr().err
    assert not (tmp_path / "room").exists()


def test_dvgo_has_no_ndc(tmp_path, capsys):
    words = ["train", "--config", "dvgo_room.txt", "--ndc_ray", "1", "--basedir", str(tmp_path)]
    assert main(words) == 2
    assert "ndc_ray" in capsys.readouterr().err


def test_a_scene_without_near_says_what_to_do(scene, tmp_path):
    with pytest.raises(SceneError, match=r"ndc_ray needs a near plane.*--near"):
        Session(tiny(scene, tmp_path, near=0.0))
