"""Marching through contracted space: the set of samples, and that the native marcher keeps exactly the same."""

import math

import pytest
import torch
import torch.nn.functional as F
from native_parity import require_native, threads

from nerf_ssim.ops.contracted import march_contracted
from nerf_ssim.ops.voxels import nearest_occupied

BG_LEN = 0.2


def make_rays(count, seed=0):
    """Rays from inside the unit ball and from outside, some along an axis, one from the centre."""
    generator = torch.Generator().manual_seed(seed)
    origins = torch.rand(count, 3, generator=generator) * 1.6 - 0.8
    origins[: min(3, count)] = torch.tensor([[0.0, 0, 0], [1.5, 0.1, 0], [0, 0, -3]])[:count]
    directions = F.normalize(torch.randn(count, 3, generator=generator), dim=1)
    axes = torch.eye(3).repeat(2, 1) * torch.tensor([1.0, 1, 1, -1, -1, -1])[:, None]
    directions[: min(6, count)] = axes[: min(6, count)]
    return origins, directions


def make_distances(n_inner):
    """DVGO's places: even to a distance of 2, then even in inverse distance to 256."""
    edges = torch.cat((torch.linspace(0, 2, n_inner + 1), (2 / torch.linspace(1, 1 / 128, n_inner + 1))[1:]))
    return (edges[1:] + edges[:-1]) * 0.5


def make_mask(shape=(9, 8, 11), seed=2):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.4


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_samples_are_those_of_a_plain_loop(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    (origins, directions), t, mask, spacing = make_rays(25), make_distances(30), make_mask(), 0.06
    samples = march_contracted(origins, directions, t, bg_len=BG_LEN, min_distance=spacing, mask=mask)
    kept, outer = [], 0
    for r in range(25):
        travelled, before = 0.0, None
        for distance in t.double().tolist():
            p = origins[r].double() + directions[r].double() * distance
            norm = float(p.norm())
            is_inner = norm <= 1
            q = p if is_inner else p / norm * (1 + BG_LEN - BG_LEN / norm)
            is_over = False
            if before is not None:
                travelled += float((q - before).norm())
                is_over = travelled > spacing
                travelled = 0.0 if is_over else travelled
            before = q
            coords = (q / (1 + BG_LEN)).float()
            if (is_inner or is_over) and bool(nearest_occupied(mask, coords[None])):
                kept.append((r, distance, coords))
                outer += not is_inner
    assert outer > 50 and len(kept) - outer > 50
    assert samples.ray_index.tolist() == [r for r, *_ in kept]
    torch.testing.assert_close(samples.t, torch.tensor([d for _, d, _ in kept]))
    torch.testing.assert_close(samples.coords, torch.stack([c for *_, c in kept]), atol=1e-5, rtol=1e-5)
    counts = torch.bincount(samples.ray_index, minlength=25)
    assert torch.equal(samples.ray_offsets.diff(), counts) and int(samples.ray_offsets[-1]) == len(kept)


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_everything_lies_in_the_shell_and_inner_places_are_all_kept(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    (origins, directions), t = make_rays(200), make_distances(40)
    samples = march_contracted(origins, directions, t, bg_len=BG_LEN, min_distance=0.05)
    radius = samples.coords.norm(dim=1) * (1 + BG_LEN)
    assert float(radius.max()) < 1 + BG_LEN
    inner = (origins[:, None] + directions[:, None] * t[:, None]).norm(dim=2) <= 1
    assert int((radius <= 1 + 1e-6).sum()) == int(inner.sum())


def test_a_larger_spacing_thins_only_what_is_outside():
    (origins, directions), t = make_rays(50), make_distances(40)

    def count(min_distance):
        samples = march_contracted(origins, directions, t, bg_len=BG_LEN, min_distance=min_distance)
        is_outer = samples.coords.norm(dim=1) * (1 + BG_LEN) > 1 + 1e-6
        return int(is_outer.sum()), int((~is_outer).sum())

    everywhere, fine, coarse, nowhere = count(0.0), count(0.02), count(0.08), count(math.inf)
    assert everywhere[0] > fine[0] > coarse[0] > nowhere[0] == 0
    assert everywhere[1] == fine[1] == coarse[1] == nowhere[1]


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(("rays", "n_inner"), [(700, 53), (1, 9), (0, 9), (130, 1), (70, 32), (20, 0)])
@pytest.mark.parametrize("has_mask", [False, True])
def test_native_keeps_exactly_the_samples_of_the_reference(rays, n_inner, has_mask, n_threads, monkeypatch):
    require_native("march_contracted")
    (origins, directions), t = make_rays(rays), make_distances(n_inner)
    options = {"bg_len": BG_LEN, "min_distance": 0.03, "mask": make_mask((17, 4, 33)) if has_mask else None}
    with threads(n_threads):
        native = march_contracted(origins, directions, t, **options)
    monkeypatch.setenv("NERF_SSIM_BACKEND", "reference")
    expected = march_contracted(origins, directions, t, **options)
    for name, actual, exact in zip(native._fields, native, expected, strict=True):
        assert torch.equal(actual, exact), name


def test_native_takes_non_contiguous_input():
    require_native("march_contracted")
    (origins, directions), t, mask = make_rays(50), make_distances(20), make_mask((8, 8, 8))
    expected = march_contracted(origins, directions, t, bg_len=BG_LEN, min_distance=0.05, mask=mask)
    strided = march_contracted(
        origins.T.contiguous().T,
        directions.T.contiguous().T,
        t.repeat(2, 1).T.contiguous()[:, 0],
        bg_len=BG_LEN,
        min_distance=0.05,
        mask=mask.permute(2, 1, 0).contiguous().permute(2, 1, 0),
    )
    assert all(torch.equal(a, b) for a, b in zip(strided, expected, strict=True))


@pytest.mark.slow
def test_native_operator_passes_opcheck():
    require_native("march_contracted")
    arguments = (*make_rays(10), make_distances(8), BG_LEN, 0.05, make_mask())
    torch.library.opcheck(torch.ops.nerf_ssim.march_contracted.default, arguments)


def test_wrong_shapes_are_refused():
    (origins, directions), t = make_rays(4), make_distances(3)
    for arguments in ((origins[:3], directions, t), (origins, directions, t[None]), (origins[:, :2],) * 2 + (t,)):
        with pytest.raises(ValueError):
            march_contracted(*arguments, bg_len=BG_LEN, min_distance=0.1)
    with pytest.raises(ValueError):
        march_contracted(origins, directions, t, bg_len=BG_LEN, min_distance=0.1, mask=torch.ones(3, 3, 3))
