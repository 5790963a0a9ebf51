"""Marching through a box: the set of samples, and that the native marcher keeps exactly the same."""

import pytest
import torch
import torch.nn.functional as F
from native_parity import require_native, threads

from nerf_ssim.ops.marching import OccupancyGrid, march_box

AABB = torch.tensor([[-1.0, -0.5, -2.0], [1.5, 1.0, 0.5]])


def make_rays(count, seed=0):
    """Rays inside and outside the box, some along an axis, some that miss it."""
    generator = torch.Generator().manual_seed(seed)
    origins = torch.rand(count, 3, generator=generator) * 5 - 2.5
    directions = F.normalize(torch.randn(count, 3, generator=generator), dim=1)
    axes = torch.eye(3).repeat(2, 1) * torch.tensor([1.0, 1, 1, -1, -1, -1])[:, None]
    directions[: min(6, count)] = axes[: min(6, count)]
    origins[: min(4, count)] = 0.0
    return origins, directions, torch.rand(count, generator=generator)


def make_occupancy(shape=(5, 7, 6), share=0.3, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return OccupancyGrid(torch.rand(shape, generator=generator) < share, AABB * 0.9)


def test_occupied_is_where_trilinear_interpolation_is_positive():
    grid = make_occupancy()
    xyz = torch.rand(4000, 3, generator=torch.Generator().manual_seed(3)) * 5 - 2.5
    coords = (xyz - grid.aabb[0]) / (grid.aabb[1] - grid.aabb[0]) * 2 - 1
    volume = grid.volume.float().permute(2, 1, 0)[None, None]
    sampled = F.grid_sample(volume, coords[None, :, None, None], align_corners=True, padding_mode="zeros").flatten()
    assert 0 < int((sampled > 0).sum()) < 4000
    assert torch.equal(grid.occupied(xyz), sampled > 0)


def test_on_a_node_only_that_node_counts():
    volume = torch.zeros(3, 3, 3)
    volume[1, 1, 1] = 1
    grid = OccupancyGrid(volume, torch.tensor([[0.0, 0, 0], [2, 2, 2]]))
    points = torch.tensor(
        [[1.0, 1, 1], [0.0, 1, 1], [2.0, 1, 1], [0.25, 1, 1], [1.75, 1.75, 1.75], [float("nan"), 1, 1]]
    )
    assert grid.occupied(points).tolist() == [True, False, False, True, True, False]


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_samples_are_those_of_a_plain_loop(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    origins, directions, jitter = make_rays(40)
    occupancy, step, n = make_occupancy(), 0.13, 25
    samples = march_box(origins, directions, AABB, 0.05, 3.0, step, n, jitter, occupancy)
    kept = []
    for r in range(40):
        o, d = origins[r], directions[r]
        divisor = torch.where(d == 0, 1e-6, d)
        t0 = torch.minimum((AABB[1] - o) / divisor, (AABB[0] - o) / divisor).max().clamp(0.05, 3.0)
        for k in range(n):
            t = t0 + step * (k + jitter[r])
            xyz = o + d * t
            if (xyz >= AABB[0]).all() and (xyz <= AABB[1]).all() and bool(occupancy.occupied(xyz[None])):
                kept.append((r, t, 0.0 if k == n - 1 else step, (xyz - AABB[0]) / (AABB[1] - AABB[0]) * 2 - 1))
    assert samples.ray_index.tolist() == [r for r, *_ in kept]
    torch.testing.assert_close(samples.t, torch.stack([t for _, t, *_ in kept]))
    torch.testing.assert_close(samples.delta, torch.tensor([d for *_, d, _ in kept]))
    torch.testing.assert_close(samples.coords, torch.stack([c for *_, c in kept]), atol=1e-5, rtol=1e-5)
    counts = torch.bincount(samples.ray_index, minlength=40)
    assert torch.equal(samples.ray_offsets.diff(), counts) and int(samples.ray_offsets[-1]) == len(kept)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(("rays", "n_samples"), [(3000, 70), (1, 9), (0, 9), (130, 1), (20, 0)])
@pytest.mark.parametrize("has_occupancy", [False, True])
@pytest.mark.parametrize("has_jitter", [False, True])
def test_native_keeps_exactly_the_samples_of_the_reference(
    rays, n_samples, has_occupancy, has_jitter, n_threads, monkeypatch
):
    require_native("march_box")
    origins, directions, jitter = make_rays(rays)
    occupancy = make_occupancy((9, 4, 13)) if has_occupancy else None
    arguments = (origins, directions, AABB, 0.01, 4.0, 0.05, n_samples, jitter if has_jitter else None, occupancy)
    with threads(n_threads):
        native = march_box(*arguments)
    monkeypatch.setenv("NERF_SSIM_BACKEND", "reference")
    for name, actual, expected in zip(native._fields, native, march_box(*arguments), strict=True):
        assert torch.equal(actual, expected), name


def test_native_takes_non_contiguous_rays():
    require_native("march_box")
    origins, directions, jitter = make_rays(50)
    expected = march_box(origins, directions, AABB, 0.0, 4.0, 0.1, 20, jitter)
    strided = march_box(
        origins.T.contiguous().T, directions.T.contiguous().T, AABB, 0.0, 4.0, 0.1, 20, jitter.repeat(2, 1).T[:, 0]
    )
    assert all(torch.equal(a, b) for a, b in zip(strided, expected, strict=True))


@pytest.mark.slow
def test_native_operator_passes_opcheck():
    require_native("march_box")
    origins, directions, jitter = make_rays(10)
    grid = make_occupancy()
    arguments = (origins, directions, AABB, 0.0, 4.0, 0.1, 20, jitter, grid.corner_bits, grid.aabb)
    torch.library.opcheck(torch.ops.nerf_ssim.march_box.default, arguments)


def test_wrong_shapes_are_refused():
    origins, directions, jitter = make_rays(4)
    for arguments in ((origins[:3], directions, AABB), (origins, directions, AABB[0]), (origins[:, :2],) * 2 + (AABB,)):
        with pytest.raises(ValueError):
            march_box(*arguments, 0.0, 1.0, 0.1, 5)
    with pytest.raises(ValueError):
        march_box(origins, directions, AABB, 0.0, 1.0, 0.1, 5, jitter[:2])
    with pytest.raises(ValueError):
        OccupancyGrid(torch.ones(2, 2), AABB)
