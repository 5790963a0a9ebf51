"""Pixels to rays: exact against points projected into the camera, whatever its pose and intrinsics."""

from __future__ import annotations

import pytest
import torch

from nerf_ssim.rays.cameras import camera_rays, pixel_rays


def random_camera(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A rotation, a position, and intrinsics with two focal lengths and a skew, in float64."""
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    rotation = rotation * torch.sign(torch.linalg.det(rotation))
    position = torch.randn(3, 1, generator=generator, dtype=torch.float64)
    K = torch.tensor([[310.0, 1.7, 101.3], [0.0, 290.0, 77.9], [0.0, 0.0, 1.0]], dtype=torch.float64)
    return torch.cat([rotation, position], 1), K


@pytest.mark.parametrize("seed", range(4))
def test_the_ray_through_a_projected_point_meets_the_point(seed):
    c2w, K = random_camera(seed)
    generator = torch.Generator().manual_seed(100 + seed)
    in_camera = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    in_camera[:, 2] = in_camera[:, 2].abs() + 0.5
    points = in_camera @ c2w[:, :3].T + c2w[:, 3]
    projected = in_camera @ K.T
    x, y = projected[:, 0] / projected[:, 2], projected[:, 1] / projected[:, 2]
    rays = pixel_rays(c2w.expand(20, 3, 4), K.expand(20, 3, 3), x, y)
    to_points = points - rays.origins
    distance = to_points.norm(dim=1, keepdim=True)
    torch.testing.assert_close(rays.origins + distance * rays.directions, points, rtol=0, atol=1e-12)
    torch.testing.assert_close(rays.directions.norm(dim=1), torch.ones(20, dtype=torch.float64))


def test_each_pixel_uses_its_own_camera():
    cameras = [random_camera(seed) for seed in (1, 2)]
    c2w, K = torch.stack([c for c, _ in cameras]), torch.stack([k for _, k in cameras])
    K[1, 0, 0] = 500.0
    x, y = torch.tensor([10.0, 10.0]).double(), torch.tensor([20.0, 20.0]).double()
    together = pixel_rays(c2w, K, x, y)
    for i in range(2):
        alone = pixel_rays(c2w[i : i + 1], K[i : i + 1], x[i : i + 1], y[i : i + 1])
        assert torch.equal(together.directions[i], alone.directions[0])
        assert torch.equal(together.origins[i], c2w[i, :, 3])


def test_camera_rays_are_row_by_row_through_pixel_centres():
    c2w = torch.eye(4)[:3]
    K = torch.tensor([[2.0, 0.0, 2.0], [0.0, 2.0, 1.5], [0.0, 0.0, 1.0]])
    rays = camera_rays(c2w, K, height=3, width=4)
    slopes = rays.directions[:, :2] / rays.directions[:, 2:]
    expected = [((column + 0.5 - 2.0) / 2, (row + 0.5 - 1.5) / 2) for row in range(3) for column in range(4)]
    torch.testing.assert_close(slopes, torch.tensor(expected))


def test_opencv_axes_x_right_y_down_z_forward():
    c2w = torch.eye(4)[:3]
    K = torch.tensor([[100.0, 0.0, 50.0], [0.0, 100.0, 50.0], [0.0, 0.0, 1.0]])
    right_and_low = pixel_rays(c2w[None], K[None], torch.tensor([80.0]), torch.tensor([90.0])).directions[0]
    assert right_and_low[0] > 0 and right_and_low[1] > right_and_low[0] and right_and_low[2] > 0


def test_split_keeps_the_order_and_loses_nothing():
    c2w, K = random_camera(0)
    rays = camera_rays(c2w, K, 5, 7)
    parts = rays.split(8)
    assert [len(part) for part in parts] == [8, 8, 8, 8, 3]
    assert torch.equal(torch.cat([part.directions for part in parts]), rays.directions)
