"""The TensoRF field against its formulas in float64, and the arithmetic of its resolutions and samples."""

from __future__ import annotations

import math

import pytest
import torch
from explicit_tensorf import Explicit, render

from nerf_ssim.models.tensorf.field import TensoRF, resolution_for, samples_per_ray
from nerf_ssim.models.tensorf.options import TensorfOptions
from nerf_ssim.ops.marching import OccupancyGrid
from nerf_ssim.rays.cameras import Rays

AABB = torch.tensor([[-1.0, -0.9, -0.4], [1.2, 0.7, 0.6]])  # neither a cube nor about the origin
RESOLUTION = [7, 6, 5]
NEAR, FAR = 0.05, 1.0  # a far that rays from outside exceed: it clamps the entry and must do nothing else
TIGHT = {torch.float64: 1e-7, torch.float32: 3e-5}  # the 1e-10 in each factor of T; float32 rounding of about 40 steps


def settings(grid: str = "vm", **options: object) -> TensorfOptions:
    sizes = {"n_lamb_sigma": (2, 3, 4), "n_lamb_sh": (3, 2, 4)}
    if grid == "cp":
        sizes = {"n_lamb_sigma": (5,), "n_lamb_sh": (6,)}
    given = {"data_dim_color": 5, "featureC": 8, "view_pe": 2, "fea_pe": 2, "shadingMode": "MLP_Fea"}
    return TensorfOptions(grid=grid, **(sizes | given | options))


def dense_field(seed: int, grid: str = "vm", **options: object) -> TensoRF:
    """Random weights, the density grid's scaled up so that many samples pass the threshold of 1e-4."""
    generator = torch.Generator().manual_seed(seed)
    field = TensoRF(settings(grid, **options), AABB, RESOLUTION, near=NEAR, far=FAR, generator=generator)
    with torch.no_grad():
        for parameter in field.density_grid.parameters():
            parameter.copy_(1.1 * torch.randn(parameter.shape, generator=generator).abs())
        for parameter in field.appearance_grid.parameters():
            parameter.mul_(10)
    return field


def rays_through(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Half of them start in the box, half outside; one is parallel to two axes, one misses the box."""
    generator = torch.Generator().manual_seed(seed)
    origins = 0.3 * torch.randn(n, 3, generator=generator)
    origins[n // 2 :] *= 8
    targets = 0.3 * torch.randn(n, 3, generator=generator)
    directions = torch.nn.functional.normalize(targets - origins, dim=1)
    directions[0] = torch.tensor([0.0, 1.0, 0.0])
    origins[1], directions[1] = torch.tensor([5.0, 0.0, 0.0]), torch.tensor([0.0, 0.6, 0.8])
    return origins, directions


def mask_around(box: torch.Tensor, seed: int) -> OccupancyGrid:
    """A few corners occupied, and with them the cells around each, over its own box."""
    volume = torch.rand(5, 4, 6, generator=torch.Generator().manual_seed(seed)) < 0.06
    return OccupancyGrid(volume, box)


def compare(field: TensoRF, dtype: torch.dtype, *, background: float, **explicit_options: object) -> Explicit:
    """Renders 24 jittered rays both ways, checks that they agree, and returns the explicit side with its counts."""
    n_samples = samples_per_ray(RESOLUTION, 0.5, 1e6)
    origins, directions = rays_through(24, seed=2)
    jitter = torch.rand(24, generator=torch.Generator().manual_seed(3))
    formula = Explicit.of(field, n_samples, **explicit_options)
    rgb, opacity, depth = render(formula, origins, directions, jitter, background)
    assert min(formula.margins) > 1e-6, "a sample on the edge of a decision: choose another seed"
    field = field.to(dtype)
    field._set_resolution(field.resolution)  # the step in this precision too
    if field.occupancy is not None:
        field.occupancy = OccupancyGrid(field.occupancy.volume, field.occupancy.aabb.to(dtype))
    rays = Rays(origins.to(dtype), directions.to(dtype))
    ours = field.render(rays, n_samples=n_samples, jitter=jitter.to(dtype), background=background)
    for name, theirs in (("rgb", rgb), ("opacity", opacity), ("depth", depth)):
        torch.testing.assert_close(
            getattr(ours, name).double(),
            theirs,
            rtol=TIGHT[dtype],
            atol=TIGHT[dtype],
            msg=lambda m, n=name: f"{n}: {m}",
        )
    assert ours.n_coloured == formula.n_coloured
    return formula


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("background", [0.0, 1.0])
@pytest.mark.parametrize("grid", ["vm", "cp"])
def test_a_render_is_what_the_formulas_say(grid, background, dtype):
    formula = compare(dense_field(1, grid), dtype, background=background)
    assert formula.n_coloured > 100, "too few samples pass the threshold for this test to mean anything"
    assert formula.n_coloured < 24 * formula.n_samples


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_render_with_an_occupancy_mask_of_an_older_box_is_what_the_formulas_say(dtype):
    field = dense_field(1)
    older = torch.tensor([[-1.3, -1.0, -0.3], [1.2, 0.8, 0.7]])  # in places smaller than the field's own
    without = compare(dense_field(1), dtype, background=1.0).n_coloured
    field.occupancy = mask_around(older, seed=4)
    formula = compare(field, dtype, background=1.0, mask=field.occupancy.volume, mask_aabb=older.double())
    assert 30 < formula.n_coloured < without - 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("SH", {"data_dim_color": 27}),
        ("RGB", {"data_dim_color": 3}),
        ("MLP", {}),
        ("MLP_PE", {"pos_pe": 3}),
        ("MLP_Fea", {"view_pe": 1, "fea_pe": 3}),
        ("MLP_Fea", {"view_pe": 0, "fea_pe": 0}),
    ],
)
def test_each_shading_mode_renders_as_its_formula_says(mode, options):
    field = dense_field(1, shadingMode=mode, **options)
    compare(
        field,
        torch.float64,
        background=0.0,
        shading=mode,
        view_frequencies=field.settings.view_pe,
        feature_frequencies=field.settings.fea_pe,
        position_frequencies=field.settings.pos_pe,
    )


def test_a_test_render_covers_the_diagonal_from_the_near_plane_without_jitter():
    field = dense_field(5).double()
    n_samples = int(math.sqrt(2.2**2 + 1.6**2 + 1.0**2) / ((2.2 / 6 + 1.6 / 5 + 1.0 / 4) / 3 * 0.5)) + 1
    assert field.full_samples_per_ray == n_samples
    origins, directions = rays_through(8, seed=6)
    origins = 0.2 * origins / origins.norm(dim=1, keepdim=True)  # all inside: the first sample is at near
    rgb, opacity, depth = render(Explicit.of(field, n_samples), origins, directions, None, 0.0)
    ours = field.render(Rays(origins.double(), directions.double()))
    torch.testing.assert_close(ours.rgb, rgb, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.opacity, opacity, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.depth, depth, rtol=1e-6, atol=1e-6)


def test_a_fresh_field_is_too_thin_for_any_colour():
    """Why training without SSIM collapses: at the start every weight is below the threshold, so rgb is 0."""
    generator = torch.Generator().manual_seed(0)
    small = settings(n_lamb_sigma=(16, 16, 16), n_lamb_sh=(48, 48, 48), data_dim_color=27, featureC=128)
    field = TensoRF(small, torch.tensor([[-1.2] * 3, [1.2] * 3]), [128] * 3, near=0.05, far=6.0, generator=generator)
    origins, directions = rays_through(16, seed=1)
    black = field.render(Rays(0.3 * origins, directions), n_samples=443)
    assert black.n_samples > 1000 and black.n_coloured == 0
    assert not black.rgb.any()
    white = field.render(Rays(0.3 * origins, directions), n_samples=443, background=1.0)
    torch.testing.assert_close(white.rgb, (1 - white.opacity)[:, None].expand(16, 3))
    grids = [*field.density_grid.parameters()]
    assert not any(g.any() for g in torch.autograd.grad(black.rgb.sum(), grids))
    assert all(g.any() for g in torch.autograd.grad(white.rgb.sum(), grids))


def test_the_published_initial_scale_and_decoder_bias():
    generator = torch.Generator().manual_seed(0)
    full = settings(n_lamb_sigma=(16, 16, 16), n_lamb_sh=(48, 48, 48), data_dim_color=27, featureC=128)
    field = TensoRF(full, AABB, [40, 41, 42], near=NEAR, far=FAR, generator=generator)
    for grid in (field.density_grid, field.appearance_grid):
        for parameter in grid.planes:
            assert parameter.std().item() == pytest.approx(0.1, rel=0.05)
    assert [tuple(p.shape) for p in field.density_grid.planes] == [(41, 40, 16), (42, 40, 16), (42, 41, 16)]
    assert [tuple(p.shape) for p in field.density_grid.lines] == [(42, 16), (41, 16), (40, 16)]
    assert tuple(field.basis.weight.shape) == (27, 144) and field.basis.bias is None
    assert [tuple(layer.weight.shape) for layer in field.decoder.layers] == [(128, 150), (128, 128), (3, 128)]
    assert not field.decoder.layers[-1].bias.any() and field.decoder.layers[0].bias.any()
    cp = TensoRF(
        settings("TensorCP", n_lamb_sigma=(96,), n_lamb_sh=(288,)), AABB, [50] * 3, near=0, far=1, generator=generator
    )
    assert all(line.std().item() == pytest.approx(0.2, rel=0.05) for line in cp.density_grid.lines)


@pytest.mark.parametrize(
    ("n_voxels", "extent", "expected"),
    [
        (27000000, (3.0, 2.0, 1.0), (495, 330, 165)),  # voxel (6 / 27e6)^(1/3) = 0.0060571
        (262144, (2.448, 2.00736, 1.4688), (81, 66, 48)),  # 81.07, 66.48, 48.64: truncated, not rounded
    ],
)
def test_resolution_is_the_truncated_extent_in_voxels(n_voxels, extent, expected):
    aabb = torch.tensor([[0.0, 0.0, 0.0], extent]) - 0.5
    assert tuple(resolution_for(n_voxels, aabb)) == expected


def test_a_cube_may_land_one_below_where_float32_puts_it():
    """The arithmetic is pinned: 26999994 voxels are 299.99998 a side, which float32 makes 300 in some boxes."""

    def side(n_voxels, half):
        return resolution_for(n_voxels, torch.tensor([[-half] * 3, [half] * 3]))[0]

    assert [side(n, 1.0) for n in (2097156, 3496047, 5828060, 9715614, 16196343)] == [128, 151, 179, 213, 253]
    assert [side(26999994, half) for half in (0.9, 1.0, 1.1, 1.2, 1.3)] == [300, 299, 299, 300, 299]
    assert side(27000000, 1.0) == 300


def test_samples_per_ray_is_the_truncated_norm_in_steps():
    assert samples_per_ray([128, 128, 128], 0.5, 1e6) == 443  # 2 * 128 * sqrt(3) = 443.4
    assert samples_per_ray([300, 300, 300], 0.5, 1e6) == 1039
    assert samples_per_ray([7, 6, 5], 0.5, 1e6) == int(2 * math.sqrt(110))
    assert samples_per_ray([300, 300, 300], 0.5, 1000) == 1000
    assert samples_per_ray([300, 300, 300], 0.25, 1e6) == 2078


def test_the_step_is_the_mean_cell_times_the_ratio():
    field = dense_field(0)
    assert field.step_size == pytest.approx((2.2 / 6 + 1.6 / 5 + 1.0 / 4) / 3 * 0.5, rel=1e-6)


def test_upsampling_keeps_the_function_at_the_old_corners_and_is_linear_between():
    field = dense_field(3).double()
    axis = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in RESOLUTION]
    corners = torch.stack(torch.meshgrid(*axis, indexing="ij"), -1).view(-1, 3)
    before = field.density_grid.density(corners)
    finer = [2 * n - 1 for n in RESOLUTION]  # old corners are corners again
    old = [parameter.detach().clone() for parameter in field.density_grid.parameters()]
    field.upsample(finer)
    assert field.resolution == finer
    torch.testing.assert_close(field.density_grid.density(corners), before)
    plane, line = old[0], old[3]
    new_plane, new_line = field.density_grid.planes[0], field.density_grid.lines[0]
    torch.testing.assert_close(new_line[1], (line[0] + line[1]) / 2)
    torch.testing.assert_close(new_plane[3, 2], (plane[1, 1] + plane[2, 1]) / 2)
    torch.testing.assert_close(new_plane[3, 3], (plane[1, 1] + plane[1, 2] + plane[2, 1] + plane[2, 2]) / 4)


def test_a_state_restores_the_same_field():
    field = dense_field(9)
    field.occupancy = mask_around(AABB, seed=1)
    again = TensoRF.restore(field.settings, field.state())
    origins, directions = rays_through(10, seed=3)
    for name in ("rgb", "opacity", "depth"):
        ours, theirs = (getattr(f.render(Rays(origins, directions)), name) for f in (field, again))
        assert torch.equal(ours, theirs)
