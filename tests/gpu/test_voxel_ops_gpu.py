"""DVGO's ops and the colour decoder on a GPU mean what the reference means in double precision."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from gpu_parity import assert_close, on_gpu, value_and_gradients

from nerf_ssim.ops.alpha_compositing import composite_voxels, distortion_loss
from nerf_ssim.ops.contracted import march_contracted
from nerf_ssim.ops.decoder import DecoderWeights, decode_color, decoder_inputs, effective_precision
from nerf_ssim.ops.reference import alpha_compositing as compositing_reference
from nerf_ssim.ops.reference import voxel_adam as adam_reference
from nerf_ssim.ops.reference import voxels as voxels_reference
from nerf_ssim.ops.voxel_adam import voxel_adam_step
from nerf_ssim.ops.voxels import voxel_features

COUNTS = [[5, 0, 1, 30, 0, 33, 500], [0, 0], [7] * 4000]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def offsets_of(counts: list[int]) -> torch.Tensor:
    return F.pad(torch.tensor(counts).cumsum(0), (1, 0))


@pytest.mark.parametrize("samples", [50_001, 257, 1, 0])
@pytest.mark.parametrize("shape", [(37, 41, 29, 12), (20, 21, 22, 1), (4, 3, 5, 3), (1, 2, 1, 4)])
def test_voxel_features_and_their_gradient_equal_the_reference(shape, samples, deterministic):
    grid = torch.randn(shape, generator=seeded())
    coords = torch.rand(samples, 3, generator=seeded(1)) * 2.6 - 1.3
    exact = value_and_gradients(lambda g: voxels_reference.voxel_features(g, coords.double()), [grid.double()])
    ours = value_and_gradients(lambda g: voxel_features(g, coords.cuda()), on_gpu([grid]))
    assert_close(ours, exact)
    if deterministic:
        again = value_and_gradients(lambda g: voxel_features(g, coords.cuda()), on_gpu([grid]))
        assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))


@pytest.mark.parametrize("has_mask", [False, True])
@pytest.mark.parametrize(("rays", "places"), [(3000, 300), (1, 9), (0, 9), (130, 1), (20, 0)])
def test_contracted_marching_keeps_exactly_the_samples_of_the_reference(rays, places, has_mask, monkeypatch):
    origins = torch.rand(rays, 3, generator=seeded()) * 1.6 - 0.8
    directions = F.normalize(torch.randn(rays, 3, generator=seeded(1)), dim=1)
    t = torch.linspace(0.01, 12, places)
    mask = torch.rand(15, 17, 16, generator=seeded(2)) < 0.5 if has_mask else None

    def march(device):
        moved = [tensor.to(device) for tensor in (origins, directions, t)]
        where = None if mask is None else mask.to(device)
        return march_contracted(*moved, bg_len=0.2, min_distance=0.06, mask=where)

    ours = march("cuda")
    monkeypatch.setenv("NERF_SSIM_BACKEND", "reference")
    for name, actual, expected in zip(ours._fields, ours, march("cpu"), strict=True):
        assert torch.equal(actual.cpu(), expected), name


@pytest.mark.parametrize("counts", COUNTS, ids=["mixed", "none", "many"])
@pytest.mark.parametrize("output", [0, 1], ids=["weights", "background"])
def test_voxel_compositing_and_its_gradient_equal_the_reference(counts, output):
    offsets, options = offsets_of(counts), {"shift": -3.0, "interval": 0.5, "alpha_threshold": 0.01}
    density = (torch.randn(int(offsets[-1]), generator=seeded()) * 60 - 30).round() / 32
    exact = value_and_gradients(
        lambda d: compositing_reference.composite_voxels(d, offsets, *options.values(), 1e-3)[output],
        [density.double()],
    )
    ours = value_and_gradients(lambda d: composite_voxels(d, offsets.cuda(), **options)[output], on_gpu([density]))
    assert_close(ours, exact)


@pytest.mark.parametrize("counts", [*COUNTS, [40, 0, 300]], ids=["mixed", "none", "many", "long"])
def test_distortion_and_its_gradient_equal_the_reference(counts):
    rays = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    weights, places = torch.rand(2, len(rays), generator=seeded())
    places = places[torch.argsort(rays + places)]
    exact = value_and_gradients(
        lambda w: compositing_reference.distortion_loss(w, places.double(), rays, 0.01), [weights.double()]
    )
    ours = value_and_gradients(lambda w: distortion_loss(w, places.cuda(), rays.cuda(), 0.01), on_gpu([weights]))
    assert_close(ours, exact)


@pytest.mark.parametrize("is_dense", [True, False])
@pytest.mark.parametrize("shape", [(21, 20, 19, 12), (40, 41, 42, 1), (1, 6, 2, 3), (1, 1, 1, 1)])
def test_voxel_updates_equal_the_reference(shape, is_dense):
    state = [torch.randn(shape, generator=seeded(i)) for i in range(3)] + [torch.rand(shape, generator=seeded(3))]
    state[1] *= torch.rand(shape, generator=seeded(4)) < 0.5
    weights = (0.3, 0.02, 0.1)
    exact, ours = [tensor.double() for tensor in state], on_gpu(state)
    constants = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "step": 7, "skip_zero": True}
    constants |= {"tv_weights": weights, "tv_dense": is_dense, "rates": None}
    adam_reference.voxel_adam_step(*exact, **constants)
    voxel_adam_step(*ours, **constants)
    assert_close(ours, exact)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("samples", [40_001, 1, 0])
def test_the_decoder_is_near_the_reference(samples, precision):
    """Matrix products of PyTorch itself; in bf16 each operand has 8 bits."""
    if effective_precision(precision, "cuda")[0] != precision:
        pytest.skip(effective_precision(precision, "cuda")[1])
    sizes = [(128, decoder_inputs(27, 2, 2)), (128,), (128, 128), (128,), (3, 128), (3,)]
    layers = [torch.randn(size, generator=seeded(i)) / math.sqrt(size[-1]) for i, size in enumerate(sizes)]
    features = torch.randn(samples, 27, generator=seeded(9))
    directions = F.normalize(torch.randn(samples, 3, generator=seeded(8)), dim=1)

    def colours(precision, directions):
        return lambda f, *w: decode_color(
            f, directions, DecoderWeights(*w), feature_frequencies=2, view_frequencies=2, precision=precision
        )

    exact_inputs = [tensor.double() for tensor in (features, *layers)]
    exact = value_and_gradients(colours("float32", directions.double()), exact_inputs)
    ours = value_and_gradients(colours(precision, directions.cuda()), on_gpu([features, *layers]))
    if precision == "float32":
        return assert_close(ours, exact)
    assert {tensor.dtype for tensor in ours} == {torch.float32}
    assert float((ours[0].cpu() - exact[0]).abs().amax(0).sum() if samples else 0) < 0.1
    for actual, expected in zip(ours[1:], exact[1:], strict=True):
        assert (actual.cpu() - expected).norm() <= 0.1 * expected.norm()


def test_no_pass_of_a_voxel_step_waits_for_the_device(nothing_waits_for_the_device):
    grid = torch.zeros(20, 21, 22, 1, device="cuda", requires_grad=True)
    coords = torch.rand(1000, 3, device="cuda") * 2 - 1
    offsets, rays = torch.tensor([0, 400, 1000], device="cuda"), torch.arange(1000, device="cuda") // 500
    places, moments = torch.linspace(0, 1, 1000, device="cuda"), [torch.zeros_like(grid) for _ in range(2)]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    composited = composite_voxels(voxel_features(grid, coords)[:, 0], offsets, shift=-3.0, interval=0.5)
    loss = composited.background.sum() + distortion_loss(composited.weights, places, rays, 0.01)
    loss.backward()
    voxel_adam_step(
        grid.detach(), grid.grad, *moments, lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, step=1, tv_weights=(1e-5,) * 3
    )
