"""The DVGO fields against their formulas in float64, and the arithmetic of their grids, masks and boxes."""

from __future__ import annotations

import math

import pytest
import torch
from explicit_dvgo import Explicit, boxed_places, contracted_places, nearest, opacity, parameters_of, render, trilinear

from nerf_ssim.models.dvgo.bounded import BoundedDVGO
from nerf_ssim.models.dvgo.contracted import ContractedDVGO
from nerf_ssim.models.dvgo.field import VoxelField, VoxelSettings, initial_shift, voxel_side
from nerf_ssim.rays.cameras import Rays

CUBE = torch.tensor([[-0.7, -0.5, -0.9], [0.5, 0.7, 0.3]])
BOX = torch.tensor([[-1.0, -0.9, -0.4], [1.2, 0.7, 0.6]])  # neither a cube nor about the origin
BG_LEN, NEAR, THRESHOLD = 0.2, 0.05, 1e-2
TIGHT = {torch.float64: 5e-7, torch.float32: 1e-4}  # shift and sides are float32 in either


def settings(**changes: float) -> VoxelSettings:
    values = {"num_voxels_base": 900, "alpha_init": 0.05, "stepsize": 0.5, "rgbnet_dim": 4}
    return VoxelSettings(**(values | {"rgbnet_depth": 3, "rgbnet_width": 8, "viewbase_pe": 2} | changes))


def make_field(kind: str, num_voxels: int = 400, seed: int = 1, contrast: float = 2.5, **changes: float) -> VoxelField:
    """Random grids, a part of the mask closed."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "contracted":
        field = ContractedDVGO(settings(**changes), CUBE, num_voxels, bg_len=BG_LEN, generator=generator)
    else:
        field = BoundedDVGO(settings(**changes), BOX, num_voxels, near=NEAR, generator=generator)
    with torch.no_grad():
        for grid, scale in ((field.density.values, contrast), (field.k0.values, 1.0)):
            grid.copy_(scale * torch.randn(grid.shape, generator=generator))
    field.mask = torch.rand(field.mask.shape, generator=generator) < 0.8
    return field


def rays_through(n: int, spread: float, seed: int = 5) -> Rays:
    generator = torch.Generator().manual_seed(seed)
    origins = spread * torch.randn(n, 3, generator=generator)
    directions = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=1)
    directions[0] = torch.tensor([0.0, 1.0, 0.0])
    return Rays(origins, directions)


def explicit(field: VoxelField) -> Explicit:
    """The field by its formulas; sides and steps from canonical's words, not from the field."""
    num_voxels, options = field.num_voxels, field.settings
    margins: list[float] = []
    aabb = field.aabb.double()
    if isinstance(field, ContractedDVGO):
        volume = (2 + 2 * BG_LEN) ** 3
        side = int((num_voxels) ** (1 / 3))
        centre, radius = (aabb[0] + aabb[1]) / 2, float(aabb[1, 0] - aabb[0, 0]) / 2
        places = contracted_places(centre, radius, side, BG_LEN, options.stepsize, margins)
    else:
        volume = float((aabb[1] - aabb[0]).prod())
        places = boxed_places(aabb, NEAR, options.stepsize * (volume / num_voxels) ** (1 / 3), margins)
    ratio = (volume / num_voxels) ** (1 / 3) / (volume / options.num_voxels_base) ** (1 / 3)
    shift = math.log(1 / (1 - options.alpha_init) - 1)
    length, frequencies = options.stepsize * ratio, options.viewbase_pe
    return Explicit(parameters_of(field), shift, length, THRESHOLD, field.mask, places, frequencies, margins)


def compare(field: VoxelField, dtype: torch.dtype, rays: Rays, backgrounds: torch.Tensor) -> Explicit:
    """Renders both ways, checks that they agree and returns the explicit side with its counts."""
    formula = explicit(field)
    rgb, light, depth = render(formula, rays.origins, rays.directions, backgrounds)
    assert min(formula.margins) > 1e-6, "a sample on the edge of a decision: choose another seed"
    field = field.to(dtype)
    ours = field.render(
        Rays(rays.origins.to(dtype), rays.directions.to(dtype)), threshold=THRESHOLD, background=backgrounds.to(dtype)
    )
    assert ours.n_samples == formula.n_samples and ours.n_coloured == len(formula.coloured)
    theirs = {"rgb": rgb, "background": light, "opacity": 1 - light, "depth": depth}
    theirs["weights"] = torch.stack([weight for _, weight, _, _ in formula.coloured])
    theirs["point_rgb"] = torch.stack([colour for _, _, colour, _ in formula.coloured])
    theirs["place"] = torch.tensor([place for _, _, _, place in formula.coloured])
    for name, expected in theirs.items():
        torch.testing.assert_close(
            getattr(ours, name).double(),
            expected.double(),
            rtol=TIGHT[dtype],
            atol=TIGHT[dtype],
            msg=lambda m, n=name: f"{n}: {m}",
        )
    assert ours.ray_index.tolist() == [ray for ray, _, _, _ in formula.coloured]
    return formula


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", ["contracted", "bounded"])
def test_a_render_is_what_the_formulas_say(kind, dtype):
    rays = rays_through(24, spread=0.4)
    backgrounds = torch.rand(24, 3, generator=torch.Generator().manual_seed(3))
    formula = compare(make_field(kind, num_voxels=1500, contrast=10.0), dtype, rays, backgrounds)
    assert 60 < len(formula.coloured) < formula.n_samples - 20, "thresholds must bite, and not everything"
    assert 2 < formula.n_stopped < 20, "some rays must end early, and some not"


@pytest.mark.parametrize(("changes"), [{"rgbnet_dim": 0}, {"rgbnet_depth": 2}, {"rgbnet_depth": 4}, {"viewbase_pe": 0}])
def test_every_colour_network_renders_as_its_formula_says(changes):
    rays = rays_through(6, spread=0.3)
    compare(make_field("contracted", **changes), torch.float64, rays, torch.zeros(6, 3))


def test_distances_are_the_same_on_every_ray_and_thinned_only_outside_the_ball():
    field = make_field("contracted")
    field.mask[:] = True
    samples = field.march(rays_through(200, spread=0.3))
    side = field.resolution[0]
    n = int(2 / 2.4 * side / 0.5) + 1
    assert samples.spacing == 1 / (2 * n)
    in_ball = (samples.coords * 1.2).norm(dim=1) <= 1
    assert 0 < (~in_ball).sum() and samples.coords.abs().max() <= 1
    assert samples.t.unique().numel() <= 2 * n
    counts = samples.ray_offsets.diff()
    assert counts.float().mean() < 1.6 * n, "of the outer places most are too close together"


def test_the_published_sides_of_the_progressive_grids():
    extent = torch.ones(3) * 2.4
    sides = [(extent / voxel_side(extent, 320**3 >> k)).long().tolist() for k in range(7, -1, -1)]
    assert sides == [[side] * 3 for side in (63, 80, 100, 126, 160, 201, 253, 320)]
    field = make_field("contracted", num_voxels=320, num_voxels_base=2560)
    assert field.voxel_size_ratio == pytest.approx(2.0, rel=1e-6)


def test_a_bounded_grid_has_cubes_for_voxels():
    field = make_field("bounded", num_voxels=3000)
    extent = (BOX[1] - BOX[0]).double()
    side = float(extent.prod() / 3000) ** (1 / 3)
    assert field.resolution == [int(value / side) for value in extent]
    assert field.voxel_size == pytest.approx(side, rel=1e-6)


def test_a_density_of_zero_has_the_initial_opacity_over_a_base_voxel():
    for alpha in (1e-6, 1e-4, 1e-2):
        shift = initial_shift(alpha)
        assert opacity(torch.zeros((), dtype=torch.float64), shift, 1.0).item() == pytest.approx(alpha, rel=1e-4)
    assert initial_shift(1e-4) == pytest.approx(-9.21, abs=1e-2)
    field = make_field("contracted", num_voxels_base=400)
    with torch.no_grad():
        field.density.values.zero_()
    torch.testing.assert_close(field.alpha(field.resolution), torch.full([7, 7, 7], 0.05), rtol=1e-4, atol=0)


def widest_nearby(values: torch.Tensor, node: tuple[int, int, int]) -> float:
    """The largest value of a node and its neighbours, corner ones too."""
    around = [slice(max(index - 1, 0), index + 2) for index in node]
    return float(values[tuple(around)].max())


def test_a_mask_refresh_closes_what_is_thin_all_around_and_never_opens():
    field = make_field("contracted")
    before, shift = field.mask.clone(), math.log(1 / 0.95 - 1)
    ratio = (900 / 400) ** (1 / 3)
    alpha = opacity(field.density.values[..., 0].detach().double(), shift, ratio)
    threshold = float(alpha.flatten().kthvalue(335).values)  # a few nodes of 343 above it
    field.refresh_mask(threshold * 1.001)
    changed = 0
    for node in torch.cartesian_prod(*(torch.arange(7),) * 3).tolist():
        is_open = before[tuple(node)] and widest_nearby(alpha, tuple(node)) > threshold * 1.001
        assert bool(field.mask[tuple(node)]) == bool(is_open)
        changed += bool(before[tuple(node)]) and not is_open
    assert 10 < changed < before.sum() - 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["contracted", "bounded"])
def test_scaling_resamples_both_grids_and_closes_the_mask_where_it_was_or_where_all_is_thin(kind):
    field = make_field(kind)
    old = {name: value.detach().double() for name, value in field.named_parameters()}
    old_mask, old_shift, threshold = field.mask.clone(), field.shift, 0.5
    field.scale(1300, threshold)
    sizes = field.resolution
    assert sizes != list(old_mask.shape) and field.mask.shape == tuple(sizes)
    density = field.density.values.detach().double()
    coords = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in sizes]
    alpha = opacity(density[..., 0], old_shift, (900 / 1300) ** (1 / 3))
    both = set()
    for node in torch.cartesian_prod(*(torch.arange(n) for n in sizes)).tolist()[::3]:
        coord = torch.stack([coords[axis][node[axis]] for axis in range(3)])
        for name in ("density.values", "k0.values"):
            ours = dict(field.named_parameters())[name][tuple(node)].double()
            torch.testing.assert_close(ours, trilinear(old[name], coord), rtol=1e-5, atol=1e-5)
        margins: list[float] = []
        was_open = nearest(old_mask, coord, margins)
        if min(margins) > 1e-6:  # a node half-way between two old ones may go either way
            is_open = was_open and widest_nearby(alpha, tuple(node)) > threshold
            assert bool(field.mask[tuple(node)]) == is_open
            both.add((was_open, is_open))
    assert both == {(True, True), (True, False), (False, False)}


def test_a_mask_finer_than_256_cubed_is_kept(monkeypatch):
    from nerf_ssim.models.dvgo import field as dvgo

    assert dvgo.MASK_VOXELS_MAX == 16777216
    monkeypatch.setattr(dvgo, "MASK_VOXELS_MAX", 1000)
    field = make_field("contracted")
    before = field.mask.clone()
    field.scale(1332, 0.5)  # 11 nodes a side
    assert torch.equal(field.mask, before)
    field.refresh_mask(0.5)  # at its own nodes, between the grid's
    assert field.mask.shape == before.shape and 0 < field.mask.sum() < before.sum()
    node = field.mask.nonzero()[0].tolist()
    coord = torch.tensor([-1 + 2 * index / 6 for index in node], dtype=torch.float64)
    grid = field.density.values.detach().double()
    ratio = (900 / 1332) ** (1 / 3)
    around = [
        float(opacity(trilinear(grid, coord + torch.tensor(d) / 3)[0], field.shift, ratio))
        for d in torch.cartesian_prod(*(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64),) * 3).tolist()
        if (coord + torch.tensor(d) / 3).abs().max() <= 1 + 1e-9
    ]
    assert max(around) > 0.5 - 1e-4


def test_voxels_near_a_camera_start_empty():
    field = make_field("bounded", num_voxels=500)
    centres = torch.tensor([[0.1, 0.0, 0.1], [1.0, 0.5, 0.4]])
    before = field.density.values.detach().clone()
    field.hide_near(centres, 0.4)
    hidden = 0
    for node in torch.cartesian_prod(*(torch.arange(n) for n in field.resolution)).tolist():
        share = torch.tensor([index / (n - 1) for index, n in zip(node, field.resolution, strict=True)])
        point = BOX[0] + share * (BOX[1] - BOX[0])
        distance = min(float((point - centre).norm()) for centre in centres)
        if abs(distance - 0.4) < 1e-5:
            continue
        value = field.density.values[tuple(node)]
        assert torch.equal(value, torch.tensor([-100.0])) if distance < 0.4 else torch.equal(value, before[tuple(node)])
        hidden += distance < 0.4
    assert hidden > 5


def test_the_weight_of_samples_is_the_sum_of_their_shares_at_each_node():
    field = make_field("bounded", num_voxels=120)
    rays = rays_through(9, spread=0.4)
    ours = field.weight_of_samples(rays)
    formula = explicit(field)
    grid = torch.zeros(*field.resolution, 1, dtype=torch.float64, requires_grad=True)
    for origin, direction in zip(rays.origins.double(), rays.directions.double(), strict=True):
        for coord, _, _ in formula.places(origin, direction):
            trilinear(grid, coord).sum().backward()
    torch.testing.assert_close(ours.double(), grid.grad[..., 0], rtol=1e-4, atol=1e-4)


def test_the_fine_mask_is_open_where_coarse_is_opaque_nearby():
    coarse, fine = make_field("bounded"), make_field("bounded", num_voxels=1000, seed=2)
    fine.aabb = torch.tensor([[-0.8, -0.8, -0.3], [1.4, 0.5, 0.5]])  # reaches out of the coarse box
    fine.open_where(coarse, 0.6)
    alpha = opacity(coarse.density.values[..., 0].detach().double(), coarse.shift, (900 / 400) ** (1 / 3))
    seen = set()
    for node in torch.cartesian_prod(*(torch.arange(n) for n in fine.mask.shape)).tolist():
        share = torch.tensor([index / (n - 1) for index, n in zip(node, fine.mask.shape, strict=True)])
        point = fine.aabb[0] + share * (fine.aabb[1] - fine.aabb[0])
        coord = ((point - BOX[0]) / (BOX[1] - BOX[0]) * 2 - 1).double()
        spots = [(float(coord[axis]) + 1) / 2 * (alpha.shape[axis] - 1) for axis in range(3)]
        if min(abs(spot - math.floor(spot) - 0.5) for spot in spots) < 1e-4:
            continue
        index = tuple(math.floor(spot + 0.5) for spot in spots)
        inside = all(0 <= i < n for i, n in zip(index, alpha.shape, strict=True))
        expected = inside and widest_nearby(alpha, index) >= 0.6
        assert bool(fine.mask[tuple(node)]) == expected
        seen.add((inside, expected))
    assert seen == {(True, True), (True, False), (False, False)}


@pytest.mark.parametrize("kind", ["contracted", "bounded"])
def test_a_state_brings_back_the_same_render(kind):
    field, other = make_field(kind), make_field(kind, seed=9)
    field.scale(900, 0.1)
    other.scale(900, 0.1)
    field.shift -= 1
    other.load_state(field.state())
    rays = rays_through(8, spread=0.3)
    ours, theirs = (f.render(rays, threshold=THRESHOLD, background=1.0) for f in (field, other))
    assert torch.equal(ours.rgb, theirs.rgb) and ours.n_coloured == theirs.n_coloured > 0
