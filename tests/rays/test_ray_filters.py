"""Which rays are worth marching: those whose line crosses the box, and those that meet something occupied."""

from __future__ import annotations

import pytest
import torch

from nerf_ssim.ops.marching import OccupancyGrid
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.rays.filters import all_inside, crosses_box, meets_occupied

AABB = torch.tensor([[-1.0, -0.5, -2.0], [1.0, 1.5, 3.0]])


def random_rays(n: int, seed: int, spread: float = 3.0) -> Rays:
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=1)
    return Rays(spread * torch.randn(n, 3, generator=generator), directions)


def crosses_by_hand(origin: list[float], direction: list[float]) -> bool:
    """The interval of t (of either sign) in which the line is inside all three slabs is not empty."""
    first, last = -float("inf"), float("inf")
    for axis in range(3):
        low, high = AABB[0, axis].item(), AABB[1, axis].item()
        t = sorted([(low - origin[axis]) / direction[axis], (high - origin[axis]) / direction[axis]])
        first, last = max(first, t[0]), min(last, t[1])
    return last > first


def test_crosses_box_is_the_unclamped_slab_test():
    rays = random_rays(2000, seed=0)
    expected = [crosses_by_hand(o.tolist(), d.tolist()) for o, d in zip(rays.origins, rays.directions, strict=True)]
    assert crosses_box(rays, AABB).tolist() == expected
    assert 200 < sum(expected) < 1800


def test_a_box_behind_the_camera_counts():
    behind = Rays(torch.tensor([[5.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]]))
    assert crosses_box(behind, AABB).all()


def test_directions_along_an_axis_neither_fail_nor_miss():
    origins = torch.tensor([[0.0, 0.0, -9.0], [0.0, 2.0, -9.0], [0.0, 0.0, 0.0]])
    directions = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    assert crosses_box(Rays(origins, directions), AABB).tolist() == [True, False, True]


def test_all_inside_is_strict_and_then_every_ray_crosses():
    rays = random_rays(500, seed=1, spread=0.2)
    assert all_inside(rays.origins, AABB) and crosses_box(rays, AABB).all()
    on_the_wall = rays.origins.clone()
    on_the_wall[7, 0] = 1.0
    assert not all_inside(on_the_wall, AABB)


@pytest.mark.slow
def test_a_ray_is_kept_where_a_point_of_it_is_occupied():
    volume = torch.zeros(9, 9, 11, dtype=torch.bool)
    volume[5:9, 1:6, 6:11] = True
    occupancy = OccupancyGrid(volume, AABB)
    rays = random_rays(60, seed=2, spread=0.2)
    step, n_samples = 0.11, 70  # 7.7 long: the whole box from anywhere inside
    kept = meets_occupied(rays, AABB, 0.05, 6.0, step, n_samples, occupancy)
    expected = torch.zeros(60, dtype=torch.bool)
    for r in range(60):
        for k in range(n_samples):
            point = rays.origins[r] + (0.05 + k * step) * rays.directions[r]
            inside = ((point >= AABB[0]) & (point <= AABB[1])).all()
            if inside and occupancy.occupied(point[None]).item():
                expected[r] = True
    assert torch.equal(kept, expected)
    assert 5 < kept.sum() < 55


def test_something_farther_than_256_steps_is_still_met():
    """The published filter stops there and drops these rays."""
    volume = torch.zeros(3, 3, 101, dtype=torch.bool)
    volume[:, :, 98:] = True
    rays = Rays(torch.tensor([[0.0, 0.5, -1.99]]), torch.tensor([[0.0, 0.0, 1.0]]))
    step = 0.01
    occupancy = OccupancyGrid(volume, AABB)
    assert meets_occupied(rays, AABB, 0.01, 6.0, step, 600, occupancy).all()
    assert not meets_occupied(rays, AABB, 0.01, 6.0, step, 256, occupancy).any()
