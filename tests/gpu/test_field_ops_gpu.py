"""Grids, marching, compositing and planes on a GPU mean what the reference means in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from gpu_parity import assert_close, on_gpu, value_and_gradients
from torch import Tensor

from nerf_ssim.models.parts.optimizers import FusedAdam
from nerf_ssim.ops import grids
from nerf_ssim.ops.compositing import accumulate, composite
from nerf_ssim.ops.marching import OccupancyGrid, march_box
from nerf_ssim.ops.reference import compositing as compositing_reference
from nerf_ssim.ops.reference import grids as grids_reference
from nerf_ssim.ops.reference.resize import resize_plane as resize_reference
from nerf_ssim.ops.reference.total_variation import plane_tv as tv_reference
from nerf_ssim.ops.resize import resize_plane
from nerf_ssim.ops.total_variation import plane_tv

AABB = torch.tensor([[-1.0, -0.5, -2.0], [1.5, 1.0, 0.5]])


def random_parts(op: str, nodes: tuple[int, int, int], channels: tuple[int, int, int]) -> list[Tensor]:
    """The planes and lines of a VM grid, or the lines of a CP grid."""
    x, y, z = nodes
    generator = torch.Generator().manual_seed(0)
    if op.startswith("cp"):
        return [torch.randn(n, channels[0], generator=generator) for n in nodes]
    shapes = [(*vu, c) for vu, c in zip(((y, x), (z, x), (z, y)), channels, strict=True)]
    shapes += list(zip((z, y, x), channels, strict=True))
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("op", ["vm_density", "vm_features", "cp_density", "cp_features"])
@pytest.mark.parametrize(
    ("nodes", "channels", "samples"),
    [
        ((37, 41, 29), (16, 16, 16), 50_001),
        ((6, 8, 7), (48, 48, 48), 3000),
        ((1, 2, 3), (5, 5, 5), 257),
        ((2, 2, 2), (4, 4, 4), 0),
    ],
)
def test_grids_and_their_gradients_equal_the_reference(op, nodes, channels, samples, deterministic):
    parts = random_parts(op, nodes, channels)
    coords = torch.rand(samples, 3, generator=torch.Generator().manual_seed(1)) * 2.6 - 1.3

    def call(module, points):
        function = getattr(module, op)
        return lambda *p: function(p[:3], p[3:], points) if op.startswith("vm") else function(p, points)

    exact = value_and_gradients(call(grids_reference, coords.double()), [part.double() for part in parts])
    first = value_and_gradients(call(grids, coords.cuda()), on_gpu(parts))
    assert_close(first, exact)
    if deterministic:
        again = value_and_gradients(call(grids, coords.cuda()), on_gpu(parts))
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("has_occupancy", [False, True])
@pytest.mark.parametrize(("rays", "places"), [(3000, 300), (1, 9), (0, 9), (130, 1), (20, 0)])
def test_marching_keeps_exactly_the_samples_of_the_reference(rays, places, has_occupancy, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    origins = torch.rand(rays, 3, generator=generator) * 5 - 2.5
    directions = F.normalize(torch.randn(rays, 3, generator=generator), dim=1)
    jitter = torch.rand(rays, generator=generator)
    volume = torch.rand(9, 4, 13, generator=generator) < 0.3
    inputs = (origins, directions, AABB)

    def march(device):
        occupancy = OccupancyGrid(volume.to(device), (AABB * 0.9).to(device)) if has_occupancy else None
        moved = (tensor.to(device) for tensor in inputs)
        return march_box(*moved, 0.01, 4.0, 0.02, places, jitter.to(device), occupancy)

    ours = march("cuda")
    monkeypatch.setenv("NERF_SSIM_BACKEND", "reference")
    for name, actual, expected in zip(ours._fields, ours, march("cpu"), strict=True):
        assert torch.equal(actual.cpu(), expected), name


@pytest.mark.parametrize("counts", [[5, 0, 1, 30, 0, 33, 500], [0, 0], [], [7] * 4000])
def test_compositing_and_its_gradient_equal_the_reference(counts):
    offsets = torch.tensor([0, *torch.tensor(counts, dtype=torch.int64).cumsum(0).tolist()])
    generator = torch.Generator().manual_seed(0)
    sigma = (torch.randn(int(offsets[-1]), generator=generator) * 4 - 1).exp()
    delta = torch.rand(len(sigma), generator=generator) * 0.02
    for output in range(3):
        exact = value_and_gradients(
            lambda s, o=output: compositing_reference.composite(s, delta.double(), offsets, 25.0)[o], [sigma.double()]
        )
        ours = value_and_gradients(
            lambda s, o=output: composite(s, delta.cuda(), offsets.cuda(), distance_scale=25.0)[o], on_gpu([sigma])
        )
        assert_close(ours, exact)


@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize(("samples", "channels"), [(20_000, 3), (1, 1), (0, 3), (100, 7)])
def test_sums_over_rays_and_their_gradients_equal_the_reference(samples, channels, is_sorted, deterministic):
    generator = torch.Generator().manual_seed(0)
    rays = torch.randint(0, 50, (samples,), generator=generator)
    rays = rays.sort().values if is_sorted else rays
    inputs = [torch.rand(samples, generator=generator), torch.randn(samples, channels, generator=generator)]
    exact = value_and_gradients(
        lambda w, v: compositing_reference.accumulate(w, v, rays, 50), [tensor.double() for tensor in inputs]
    )
    ours = value_and_gradients(lambda w, v: accumulate(w, v, rays.cuda(), 50), on_gpu(inputs))
    assert_close(ours, exact)
    if deterministic:
        again = value_and_gradients(lambda w, v: accumulate(w, v, rays.cuda(), 50), on_gpu(inputs))
        assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))


@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 4, 16), (6, 1, 2), (1, 1, 5), (300, 290, 48)])
def test_total_variation_and_resampling_equal_the_reference(shape):
    plane = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert_close(value_and_gradients(plane_tv, on_gpu([plane])), value_and_gradients(tv_reference, [plane.double()]))
    for size in ((9, 13), shape[:2], (1, 1)):
        assert_close([resize_plane(plane.cuda(), size)], [resize_reference(plane.double(), size)])


def test_nothing_but_the_number_of_samples_is_waited_for(nothing_waits_for_the_device):
    parts = on_gpu(random_parts("vm_density", (20, 20, 20), (16, 16, 16)))
    parameters = [part.requires_grad_() for part in parts]
    coords = torch.rand(1000, 3, device="cuda") * 2 - 1
    offsets, delta = torch.tensor([0, 400, 1000], device="cuda"), torch.full((1000,), 0.01, device="cuda")
    rays = torch.arange(1000, device="cuda") // 500
    adam = FusedAdam(parameters, lr=0.1)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    density = F.softplus(grids.vm_density(parameters[:3], parameters[3:], coords))
    weights = composite(density, delta, offsets, distance_scale=25.0).weights
    loss = accumulate(weights, coords, rays, 2).sum() + plane_tv(parameters[0])
    loss.backward()
    adam.step()
