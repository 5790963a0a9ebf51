"""Normalised device coordinates against the projective formula that they are named for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nerf_ssim.datasets.loading import load_scene
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.errors import SceneError
from nerf_ssim.rays.cameras import Rays, camera_rays
from nerf_ssim.rays.ndc import NDC_BOX, Ndc
from tests.datasets import layout_writers
from tests.forward_scene import FOCAL, HEIGHT, NEAREST, WIDTH, poses, write_forward_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return load_scene(DataConfig(datadir=str(write_forward_scene(tmp_path_factory.mktemp("forward") / "boards"))))


@pytest.fixture(scope="module")
def ndc(scene):
    found = Ndc.of_scene(scene)
    return Ndc(found.frame.double(), found.tangents.double())


def projected(points: np.ndarray) -> np.ndarray:
    """World points by the OpenGL projection whose far plane is at infinity, about the mean camera of the scene."""
    cameras = poses()
    back, up = -cameras[:, :, 2].mean(0), -cameras[:, :, 1].mean(0)
    back /= np.linalg.norm(back)
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(back, right), back])
    near = 0.75 * NEAREST
    in_camera = (points - cameras[:, :, 3].mean(0)) @ rotation.T / near
    frustum = np.array(
        [[2 * FOCAL / WIDTH, 0, 0, 0], [0, 2 * FOCAL / HEIGHT, 0, 0], [0, 0, -1, -2], [0, 0, -1, 0]], np.float64
    )
    clip = np.concatenate([in_camera, np.ones_like(in_camera[:, :1])], axis=1) @ frustum.T
    return clip[:, :3] / clip[:, 3:]


def some_rays(scene) -> Rays:
    rays = camera_rays(scene.train.c2w[3].double(), scene.train.K[3].double(), HEIGHT, WIDTH)
    return Rays(rays.origins, rays.directions)


def test_points_on_a_ray_are_where_the_projection_puts_them(scene, ndc):
    rays = some_rays(scene)
    bent = ndc.rays(rays)
    for t in (0.0, 0.1, 0.5, 0.9, 0.999):
        along = torch.full((len(rays),), t, dtype=torch.float64)
        world = rays.origins + rays.directions * bent.distance(along)[:, None]
        expected = torch.from_numpy(projected(world.numpy()))
        torch.testing.assert_close(bent.origins + t * bent.directions, expected, rtol=0, atol=2e-6)  # a float32 frame
        torch.testing.assert_close(ndc.of_world(world), expected, rtol=0, atol=2e-6)


def test_rays_begin_at_the_near_plane_and_end_at_infinity(scene, ndc):
    bent = ndc.rays(some_rays(scene))
    assert bent.origins[:, 2].allclose(torch.tensor(-1.0, dtype=torch.float64))
    far = bent.origins + bent.directions
    assert far[:, 2].allclose(torch.tensor(1.0, dtype=torch.float64))
    assert (bent.start > 0).all()
    corners = torch.cat([bent.origins, far])
    assert (corners.abs() <= torch.tensor(NDC_BOX[1], dtype=torch.float64) + 1e-9).all()


def test_a_camera_beyond_the_near_plane_sees_nothing_behind_itself(scene, ndc):
    rays = some_rays(scene)
    moved = Rays(rays.origins + 3 * NEAREST * scene.train.c2w[3, :, 2].double(), rays.directions)
    bent = ndc.rays(moved)
    assert (bent.start == 0).all()
    torch.testing.assert_close(bent.origins, torch.from_numpy(projected(moved.origins.numpy())), rtol=0, atol=2e-6)


def test_rays_that_look_back_have_no_samples(scene, ndc):
    rays = some_rays(scene)
    bent = ndc.rays(Rays(rays.origins, -rays.directions))
    assert bent.march(torch.tensor(NDC_BOX), 16).t.numel() == 0
    assert bent.distance(torch.full((len(rays),), 0.5)).isfinite().all()


def test_there_and_back(ndc):
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(100, 3, generator=generator, dtype=torch.float64) * 1.8 - 0.9
    torch.testing.assert_close(ndc.of_world(ndc.to_world(points)), points)
    assert ndc.to_world(torch.tensor([[0.1, 0.2, 1.0], [0.0, 0.0, 1.5]], dtype=torch.float64)).isinf().all()


def test_directions_are_those_of_a_small_step(ndc):
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(50, 3, generator=generator, dtype=torch.float64) - 0.5
    world = ndc.to_world(points)
    along = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator, dtype=torch.float64), dim=1)
    step = ndc.of_world(world + 1e-5 * along) - ndc.of_world(world - 1e-5 * along)
    torch.testing.assert_close(
        ndc.directions_at(points, along), torch.nn.functional.normalize(step, dim=1), rtol=0, atol=1e-6
    )


def test_samples_are_even_in_t_and_their_lengths_are_of_ndc(scene):
    rays = camera_rays(scene.train.c2w[0], scene.train.K[0], HEIGHT, WIDTH)
    bent = Ndc.of_scene(scene).rays(rays)
    jitter = torch.linspace(0, 1, len(rays) + 1)[:-1]
    box = torch.tensor(NDC_BOX)
    even, jittered = bent.march(box, 9), bent.march(box, 9, jitter)
    assert even.t.view(len(rays), 9)[:, 1:-1].allclose(torch.linspace(0, 1, 9)[1:-1], atol=1e-6)
    assert even.delta.view(len(rays), 9)[:, :-1].allclose(bent.directions.norm(dim=1)[:, None] / 8)
    assert (even.delta.view(len(rays), 9)[:, -1] == 0).all()
    moved = jittered.t[jittered.ray_offsets[:-1]]  # of each ray's first sample
    torch.testing.assert_close(moved, jitter / 9)
    assert (jittered.coords.abs() <= 1).all()


def test_the_frame_is_a_mean_camera_a_little_before_the_nearest_matter(scene):
    ndc = Ndc.of_scene(scene)
    scale = ndc.frame[:, :3].norm(dim=1)
    torch.testing.assert_close(scale, torch.full((3,), 1 / (0.75 * NEAREST)))
    torch.testing.assert_close(ndc.tangents, torch.tensor([WIDTH, HEIGHT]) / (2 * FOCAL))


def test_cameras_that_look_about_are_refused(tmp_path):
    (tmp_path / "scene").mkdir()
    layout_writers.write_llff(tmp_path / "scene")
    scene = load_scene(DataConfig(datadir=str(tmp_path / "scene")))
    with pytest.raises(SceneError, match=r"ndc_ray is for cameras that face one way.* degrees away.* leave it out"):
        Ndc.of_scene(scene)
