"""The occupancy mask and what follows from it: which corners count, the box around them, and the crop to it."""

from __future__ import annotations

import pytest
import torch
from explicit_tensorf import Explicit, density, interpolated_mask

from nerf_ssim.models.parts.occupancy import occupied_box, update_occupancy
from nerf_ssim.models.tensorf.field import TensoRF
from nerf_ssim.models.tensorf.options import TensorfOptions
from nerf_ssim.ops.marching import OccupancyGrid

AABB = torch.tensor([[-1.0, -0.9, -0.4], [1.2, 0.7, 0.6]])
RESOLUTION = [9, 7, 6]


def make_field(threshold: float, seed: int = 0, distance_scale: float = 25.0, shift: float = -10.0) -> TensoRF:
    """Density grids of all signs and sizes, so that opacities spread over the threshold."""
    generator = torch.Generator().manual_seed(seed)
    settings = TensorfOptions(
        n_lamb_sigma=(3, 3, 3),
        n_lamb_sh=(1, 1, 1),
        data_dim_color=3,
        shadingMode="RGB",
        alpha_mask_thre=threshold,
        distance_scale=distance_scale,
        density_shift=shift,
    )
    field = TensoRF(settings, AABB, RESOLUTION, near=0.05, far=6.0, generator=generator)
    with torch.no_grad():
        for parameter in field.density_grid.parameters():
            parameter.copy_(1.4 * torch.randn(parameter.shape, generator=generator))
    return field


def explicit_mask(field: TensoRF, resolution: list[int], threshold: float) -> tuple[torch.Tensor, float]:
    """Alpha at each corner, zero where the old mask is, the largest of 27 neighbours, compared; the closest call."""
    formula = Explicit.of(field, 1)
    low, high = AABB.double()
    alpha = torch.zeros(resolution, dtype=torch.float64)
    for i in range(resolution[0]):
        for j in range(resolution[1]):
            for k in range(resolution[2]):
                share = torch.tensor([i, j, k]).double() / (torch.tensor(resolution) - 1)
                point = low + share * (high - low)
                old = field.occupancy
                if old is not None and not interpolated_mask(old.volume, old.aabb.double(), point) > 0:
                    continue
                sigma = density(formula, (2 * share - 1)[None])[0]
                alpha[i, j, k] = 1 - torch.exp(-sigma * formula.step)
    pooled = torch.zeros_like(alpha)
    for i in range(resolution[0]):
        for j in range(resolution[1]):
            for k in range(resolution[2]):
                near = alpha[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2, max(k - 1, 0) : k + 2]
                pooled[i, j, k] = near.max()
    return pooled >= threshold, float((pooled / threshold - 1).abs().min())


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(("resolution", "threshold"), [(RESOLUTION, 1e-2), ([6, 8, 5], 2e-3)])
def test_the_mask_is_what_the_formula_says(resolution, threshold):
    field = make_field(threshold)
    expected, margin = explicit_mask(field, resolution, threshold)
    assert margin > 1e-5 and 0.1 < expected.float().mean() < 0.9, "a useless example: choose another seed"
    field.refresh_occupancy(resolution)
    assert torch.equal(field.occupancy.volume, expected)
    assert torch.equal(field.occupancy.aabb, AABB)


@pytest.mark.slow
@torch.no_grad()
def test_what_the_old_mask_left_empty_stays_empty_but_for_one_corner_of_widening():
    field = make_field(1e-2)
    without, _ = explicit_mask(field, RESOLUTION, 1e-2)
    volume = torch.rand(5, 6, 4, generator=torch.Generator().manual_seed(5)) < 0.04
    field.occupancy = OccupancyGrid(volume, torch.tensor([[-1.1, -0.8, -0.5], [0.9, 0.8, 0.6]]))
    expected, margin = explicit_mask(field, RESOLUTION, 1e-2)
    assert margin > 1e-5 and expected.sum() < without.sum() - 20 and expected.any()
    field.refresh_occupancy(RESOLUTION)
    assert torch.equal(field.occupancy.volume, expected)


def test_the_distance_scale_does_not_enter_the_mask():
    one, other = make_field(1e-2, distance_scale=25.0), make_field(1e-2, distance_scale=1.0)
    assert torch.equal(one.refresh_occupancy(RESOLUTION).volume, other.refresh_occupancy(RESOLUTION).volume)


def test_a_corner_at_exactly_the_threshold_is_occupied():
    def alpha_of(points):
        return torch.full((len(points),), 0.25)

    assert update_occupancy(alpha_of, [3, 3, 3], AABB, 0.25, None).volume.all()
    assert not update_occupancy(alpha_of, [3, 3, 3], AABB, 0.2501, None).volume.any()


def test_one_opaque_corner_occupies_its_26_neighbours():
    target = torch.lerp(AABB[0], AABB[1], torch.tensor([3 / 8, 4 / 6, 0.0]))

    def alpha_of(points):
        return ((points - target).norm(dim=1) < 1e-4).float()

    volume = update_occupancy(alpha_of, RESOLUTION, AABB, 1e-4, None).volume
    expected = torch.zeros(RESOLUTION, dtype=torch.bool)
    expected[2:5, 3:6, 0:2] = True
    assert torch.equal(volume, expected)
    box = occupied_box(OccupancyGrid(volume, AABB))
    size = AABB[1] - AABB[0]
    expected_box = torch.stack(
        [AABB[0] + size * torch.tensor([2 / 8, 3 / 6, 0]), AABB[0] + size * torch.tensor([4 / 8, 5 / 6, 1 / 5])]
    )
    torch.testing.assert_close(box, expected_box)


def test_an_empty_mask_has_no_box():
    assert occupied_box(OccupancyGrid(torch.zeros(3, 3, 3, dtype=torch.bool), AABB)) is None


def crop_by_hand(box: torch.Tensor, resolution: list[int]) -> tuple[list[int], list[int]]:
    """round((min - aabb0)/units) ... min(round((max - aabb0)/units) + 1, resolution)."""
    start, stop = [], []
    for axis in range(3):
        unit = float(AABB[1, axis] - AABB[0, axis]) / (resolution[axis] - 1)
        start.append(round(float(box[0, axis] - AABB[0, axis]) / unit))
        stop.append(min(round(float(box[1, axis] - AABB[0, axis]) / unit) + 1, resolution[axis]))
    return start, stop


def test_a_shrink_crops_to_whole_cells_and_the_field_stays_the_same_inside():
    field = make_field(1e-2)
    volume = torch.zeros(RESOLUTION, dtype=torch.bool)
    volume[2:7, 1:6, 3:6] = True
    field.occupancy = OccupancyGrid(volume, AABB)
    box = occupied_box(field.occupancy)
    inside = box[0] + (box[1] - box[0]) * torch.rand(50, 3, generator=torch.Generator().manual_seed(0))

    def density_at(points):
        return field.density_grid.density(2 * (points - field.aabb[0]) / (field.aabb[1] - field.aabb[0]) - 1)

    before = density_at(inside)
    planes = [plane.detach().clone() for plane in field.density_grid.planes]
    lines = [line.detach().clone() for line in field.appearance_grid.lines]
    field.shrink(box)
    assert crop_by_hand(box, RESOLUTION) == ([2, 1, 3], [7, 6, 6])
    assert field.resolution == [5, 5, 3] and torch.equal(field.aabb, box)
    torch.testing.assert_close(density_at(inside), before, rtol=1e-4, atol=1e-4)
    xy, xz, yz = field.density_grid.planes
    assert torch.equal(xy, planes[0][1:6, 2:7]) and torch.equal(xz, planes[1][3:6, 2:7])
    assert torch.equal(yz, planes[2][3:6, 1:6])
    z, y, x = field.appearance_grid.lines
    assert torch.equal(z, lines[0][3:6]) and torch.equal(y, lines[1][1:6]) and torch.equal(x, lines[2][2:7])


def test_a_shrink_snaps_to_the_grids_cells_where_the_mask_has_another_resolution():
    field = make_field(1e-2)
    volume = torch.zeros(6, 8, 5, dtype=torch.bool)
    volume[1:4, 2:5, 1:5] = True
    field.occupancy = OccupancyGrid(volume, AABB)
    box = occupied_box(field.occupancy)
    start, stop = crop_by_hand(box, RESOLUTION)  # x: 1/5 of 8 = 1.6 -> 2, 3/5 of 8 = 4.8 -> 5 ...
    assert (start, stop) == ([2, 2, 1], [6, 4, 6])
    field.shrink(box)
    assert field.resolution == [4, 2, 5]
    size = AABB[1] - AABB[0]
    corners = [[s / (n - 1) for s, n in zip(edge, RESOLUTION, strict=True)] for edge in (start, [e - 1 for e in stop])]
    torch.testing.assert_close(field.aabb, AABB[0] + size * torch.tensor(corners))
    assert not torch.allclose(field.aabb, box, atol=1e-3)
