"""Rays through pixels: the kernel gives the reference's to the last bit."""

from __future__ import annotations

import pytest
import torch

from nerf_ssim.ops.pixel_rays import pixel_rays
from nerf_ssim.ops.reference import pixel_rays as reference
from tests.ops.native_parity import require_native

VIEWS, HEIGHT, WIDTH = 5, 31, 47


def cameras(seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (VIEWS, HEIGHT, WIDTH, 3), generator=generator, dtype=torch.uint8)
    rotations = torch.linalg.qr(torch.randn(VIEWS, 3, 3, generator=generator))[0]
    c2w = torch.cat([rotations, torch.randn(VIEWS, 3, 1, generator=generator)], dim=2)
    K = torch.tensor([[41.0, 0.3, 23.2], [0.0, 39.0, 15.1], [0.0, 0.0, 1.0]])
    return images, c2w, K * (1 + 0.1 * torch.rand(VIEWS, 1, 1, generator=generator))


@pytest.mark.parametrize("count", [0, 1, 7, 4096, VIEWS * HEIGHT * WIDTH])
def test_rays_are_those_of_the_reference_to_the_last_bit(count):
    require_native("pixel_rays")
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("PyTorch's norm rounds otherwise on this processor")
    views = cameras()
    pixels = torch.randperm(VIEWS * HEIGHT * WIDTH, generator=torch.Generator().manual_seed(1))[:count]
    for actual, expected in zip(pixel_rays(pixels, *views), reference.pixel_rays(pixels, *views), strict=True):
        assert torch.equal(actual, expected)


def test_a_pixel_in_the_middle_looks_along_the_axis():
    images, c2w, K = cameras()
    K[:, 0, 2], K[:, 1, 2], K[:, 0, 1] = WIDTH / 2, HEIGHT / 2, 0.0
    middle = torch.tensor([(2 * HEIGHT + HEIGHT // 2) * WIDTH + WIDTH // 2])
    origins, directions, rgb = pixel_rays(middle, images, c2w, K)
    torch.testing.assert_close(directions[0], c2w[2, :, 2])
    assert torch.equal(origins[0], c2w[2, :, 3])
    torch.testing.assert_close(rgb[0] * 255, images[2, HEIGHT // 2, WIDTH // 2].float())


def test_a_gradient_with_respect_to_the_cameras_is_the_reference_s():
    images, c2w, K = cameras()
    c2w.requires_grad_()
    _, directions, _ = pixel_rays(torch.arange(40), images, c2w, K)
    (gradient,) = torch.autograd.grad(directions.sum(), c2w)
    assert gradient[0, :, :3].abs().min() > 0


@pytest.mark.parametrize("pixel", [-1, VIEWS * HEIGHT * WIDTH])
def test_a_pixel_that_no_view_has_is_refused(pixel):
    require_native("pixel_rays")
    with pytest.raises(RuntimeError, match="is not in the views"):
        pixel_rays(torch.tensor([0, pixel]), *cameras())


def test_shapes_are_checked():
    images, c2w, K = cameras()
    with pytest.raises(ValueError, match="pixels and images"):
        pixel_rays(torch.zeros(2, 2, dtype=torch.int64), images, c2w, K)
