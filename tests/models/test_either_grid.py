"""Either model on either grid: a factorised grid and the dense one of its nodal values are one and the same field.

Between nodes a plane is bilinear and its line linear, so their product is trilinear: exactly what a dense grid of the
products at the nodes has there, inside the box and where both fade out beyond it.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nerf_ssim.models.dvgo.bounded import BoundedDVGO
from nerf_ssim.models.dvgo.contracted import ContractedDVGO
from nerf_ssim.models.dvgo.field import VoxelField, VoxelSettings
from nerf_ssim.models.parts.grids import Grid, make_grid
from nerf_ssim.models.parts.voxel_grid import VoxelGrid, node_coords
from nerf_ssim.models.tensorf.field import TensoRF
from nerf_ssim.models.tensorf.options import TensorfOptions
from nerf_ssim.rays.cameras import Rays

BOX = torch.tensor([[-1.0, -0.9, -0.4], [1.2, 0.7, 0.6]])  # neither a cube nor about the origin
CUBE = torch.tensor([[-0.7, -0.5, -0.9], [0.5, 0.7, 0.3]])
COMPONENTS = {"vm": ((2, 3, 4), (3, 2, 4)), "cp": ((5,), (6,))}
RESOLUTION = [7, 6, 5]


@pytest.fixture(params=COMPONENTS)
def kind(request):
    """The factorised grid."""
    return request.param


def rays(n: int = 40) -> Rays:
    generator = torch.Generator().manual_seed(5)
    directions = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=1)
    return Rays(0.4 * torch.randn(n, 3, generator=generator), directions)


def make_tensorf(grid: str) -> TensoRF:
    sizes = dict(zip(("n_lamb_sigma", "n_lamb_sh"), COMPONENTS.get(grid, ((1,), (1,))), strict=True))
    settings = TensorfOptions(
        grid=grid, data_dim_color=4, featureC=8, view_pe=2, fea_pe=2, shadingMode="MLP_Fea", **sizes
    )
    generator = torch.Generator().manual_seed(1)
    return TensoRF(settings, BOX, RESOLUTION, near=0.05, far=1.0, generator=generator)


def make_dvgo(shape: str, grid: str) -> VoxelField:
    components = COMPONENTS.get(grid, ((), ()))
    settings = VoxelSettings(400, 0.05, 0.5, 4, 3, 8, 2, "float32", grid, *components)
    generator = torch.Generator().manual_seed(1)
    if shape == "contracted":
        return ContractedDVGO(settings, CUBE, 400, bg_len=0.2, generator=generator)
    return BoundedDVGO(settings, BOX, 400, near=0.05, generator=generator)


def randomise(*grids: Grid) -> None:
    """Large enough that opacities differ."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in (parameter for grid in grids for parameter in grid.parameters()):
            parameter.copy_(0.8 * torch.randn(parameter.shape, generator=generator))


def at_nodes(values_at, resolution) -> Tensor:
    """`[X, Y, Z, channels]` of what `values_at` gives at coordinates."""
    coords = node_coords(resolution, "cpu").view(-1, 3)
    return values_at(coords).view(*resolution, -1)


def same_networks(to: torch.nn.Module, of: torch.nn.Module) -> None:
    of_networks = {name: value for name, value in of.state_dict().items() if name.startswith(("decoder", "rgbnet"))}
    assert of_networks and not to.load_state_dict(of_networks, strict=False).unexpected_keys


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-5 * max(1.0, theirs.abs().max().item()))


def twins_of_tensorf(kind: str) -> tuple[TensoRF, TensoRF, dict[Tensor, Tensor]]:
    """A factorised TensoRF, the same with dense grids, and the dense values as functions of the factors."""
    field, dense = make_tensorf(kind), make_tensorf("dense")
    randomise(field.density_grid, field.appearance_grid)
    same_networks(dense, field)
    density = at_nodes(field.density_grid.density, RESOLUTION)
    colors = at_nodes(lambda coords: field.appearance_grid.features_in(field.basis.weight, coords), RESOLUTION)
    with torch.no_grad():
        dense.density_grid.values.copy_(density)
        dense.appearance_grid.values.copy_(colors)
        dense.basis.weight.copy_(torch.eye(4))
    return field, dense, {dense.density_grid.values: density, dense.appearance_grid.values: colors}


def twins_of_dvgo(shape: str, kind: str) -> tuple[VoxelField, VoxelField, dict[Tensor, Tensor]]:
    """The same of a DVGO."""
    field, dense = make_dvgo(shape, kind), make_dvgo(shape, "dense")
    randomise(field.density, field.k0)
    same_networks(dense, field)
    dense.mask = field.mask = torch.rand(field.mask.shape, generator=torch.Generator().manual_seed(2)) < 0.8
    density = at_nodes(field.density.density, field.resolution)
    colors = at_nodes(lambda coords: field.k0.features_in(field.basis.weight, coords), field.resolution)
    with torch.no_grad():
        dense.density.values.copy_(density)
        dense.k0.values.copy_(colors)
    return field, dense, {dense.density.values: density, dense.k0.values: colors}


def check_gradients(field: torch.nn.Module, values_of: dict[Tensor, Tensor], networks: tuple[str, ...]) -> None:
    """The factors' gradients are the dense grids', taken on by the products at the nodes."""
    parameters = {n: p for n, p in field.named_parameters() if not n.startswith(networks)}
    chained = torch.autograd.grad(
        sum((value * dense.grad).sum() for dense, value in values_of.items()), list(parameters.values())
    )
    for (name, parameter), expected in zip(parameters.items(), chained, strict=True):
        assert expected.abs().max() > 0, name
        close(parameter.grad, expected)


def test_tensorf_on_a_dense_grid_is_the_factorised_field_of_its_nodes(kind):
    field, dense, values_of = twins_of_tensorf(kind)
    for one in (field, dense):
        rendered = one.render(rays(), background=1.0)
        assert rendered.n_coloured > 100
        rendered.rgb.square().sum().backward()
    close(dense.render(rays()).rgb, field.render(rays()).rgb)
    check_gradients(field, values_of, ("decoder",))


def test_tensorf_upsamples_crops_and_masks_either_grid_alike(kind):
    field, dense, _ = twins_of_tensorf(kind)
    for one in (field, dense):
        one.refresh_occupancy(RESOLUTION)
        crop = one.shrink(BOX * 0.7)
        assert set(crop.kept) == set(crop.replaced)
        one.upsample([9, 8, 6])
    assert torch.equal(dense.occupancy.volume, field.occupancy.volume) and torch.equal(dense.aabb, field.aabb)
    assert list(dense.density_grid.values.shape) == [9, 8, 6, 1]
    close(dense.render(rays()).rgb, field.render(rays()).rgb)
    restored = TensoRF.restore(dense.settings, dense.state())
    assert torch.equal(restored.render(rays()).rgb, dense.render(rays()).rgb)


@pytest.mark.parametrize("shape", ["contracted", "bounded"])
def test_dvgo_on_a_factorised_grid_is_the_dense_field_of_its_nodes(shape, kind):
    field, dense, values_of = twins_of_dvgo(shape, kind)
    for one in (field, dense):
        rendered = one.render(rays(), threshold=1e-4, background=1.0)
        assert rendered.weights.numel() > 100
        rendered.rgb.square().sum().backward()
    close(*(one.render(rays(), threshold=1e-4, background=1.0).rgb for one in (dense, field)))
    check_gradients(field, values_of, ("rgbnet",))


@pytest.mark.parametrize("shape", ["contracted", "bounded"])
def test_dvgo_scales_and_masks_either_grid_alike(shape, kind):
    field, dense, _ = twins_of_dvgo(shape, kind)
    for one in (field, dense):
        one.scale(900, 0.06)
    assert torch.equal(dense.mask, field.mask) and 0 < dense.mask.float().mean() < 1
    close(dense.alpha(dense.resolution), field.alpha(field.resolution))
    close(*(one.render(rays(), threshold=1e-4, background=1.0).rgb for one in (dense, field)))


def test_a_dense_grids_regularisers_are_those_of_its_neighbours_and_elements():
    grid = VoxelGrid(torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(1)))
    values = grid.values.detach()
    expected = 0.0
    for axis in range(3):
        first, second = values.narrow(axis, 0, values.shape[axis] - 1), values.narrow(axis, 1, values.shape[axis] - 1)
        expected += 2 * (second - first).square().mean().item()
    assert grid.total_variation().item() == pytest.approx(1e-2 * expected, rel=1e-5)
    assert grid.l1().item() == pytest.approx(values.abs().mean().item(), rel=1e-6)
    two = torch.rand(7, 3) * 2 - 1
    close(grid.density(two), grid.features(two).sum(1))


def test_grids_begin_as_published_whichever_model_has_them():
    generator = torch.Generator().manual_seed(1)
    assert not make_grid("dense", RESOLUTION, (), 3, generator).values.any()
    for kind, deviation in (("vm", 0.1), ("cp", 0.2)):
        grid = make_grid(kind, [40, 40, 40], COMPONENTS[kind][0], 3, generator)
        drawn = torch.cat([parameter.detach().flatten() for parameter in grid.parameters()])
        assert drawn.std().item() == pytest.approx(deviation, rel=0.1)
