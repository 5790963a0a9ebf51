"""What pairs of images and colours may be: of two types, under autocast, of bytes whose range is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nerf_ssim.errors import ConfigError
from nerf_ssim.evaluation.metrics import psnr
from nerf_ssim.ssim import S3IM, fused_ssim, pairs, ssim_parts, ssim_with_statistics

pytestmark = pytest.mark.usefixtures("each_backend")


def images(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(shape, generator=generator)
    return x.to(dtype), (0.7 * x + 0.3 * torch.rand(shape, generator=generator)).to(dtype)


HALF, BFLOAT, SINGLE, DOUBLE = torch.float16, torch.bfloat16, torch.float32, torch.float64


@pytest.mark.parametrize(
    ("first", "second"), [(HALF, SINGLE), (SINGLE, BFLOAT), (HALF, BFLOAT), (SINGLE, DOUBLE), (HALF, HALF)]
)
def test_two_types_are_promoted_as_mse_promotes_them_and_each_gets_its_own_gradient(first, second):
    x, y = images(1, 3, 24, 21)
    x, y = x.to(first).requires_grad_(), y.to(second).requires_grad_()
    value = fused_ssim(x, y)
    promoted = F.mse_loss(x, y).dtype
    assert value.dtype == (promoted if promoted in (SINGLE, DOUBLE) else SINGLE)
    value.backward()
    assert x.grad.dtype == first and y.grad.dtype == second
    a, b = (image.detach().double().requires_grad_() for image in (x, y))
    exact = fused_ssim(a, b)
    exact.backward()
    assert value.item() == pytest.approx(exact.item(), abs=1e-6)
    torch.testing.assert_close(y.grad.double(), b.grad, rtol=1e-2, atol=1e-5)
    rendered, target = x.detach().reshape(-1, 3), y.detach().reshape(-1, 3)
    ours = S3IM(patch_height=24, patch_width=21)(rendered.requires_grad_(), target)
    assert ours.item() == pytest.approx(
        S3IM(patch_height=24, patch_width=21)(rendered.double(), target.double()).item(), abs=1e-6
    )


def test_autocast_changes_no_digit():
    x, y = images(1, 3, 24, 21)
    colours = x.reshape(-1, 3)[:64].requires_grad_()
    target = y.reshape(-1, 3)[:64]
    plain = [fused_ssim(x, y), S3IM(patch_height=8, patch_width=8)(colours, target), *ssim_with_statistics(x, y)[1]]
    (gradient,) = torch.autograd.grad(plain[1], colours)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = [fused_ssim(x, y), S3IM(patch_height=8, patch_width=8)(colours, target), *ssim_with_statistics(x, y)[1]]
        (theirs,) = torch.autograd.grad(cast[1], colours)
    assert [value.item() for value in cast] == [value.item() for value in plain]
    assert torch.equal(gradient, theirs)


def test_what_a_layer_under_autocast_gives_is_taken():
    layer, target = torch.nn.Linear(3, 3), images(64, 3)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rendered = layer(target).sigmoid()
        loss = S3IM(patch_height=8, patch_width=8)(rendered, target) + F.mse_loss(rendered, target)
    loss.backward()
    assert rendered.dtype == BFLOAT and loss.dtype == SINGLE
    assert float(layer.weight.grad.abs().max()) > 0


def test_bytes_are_taken_with_their_range_and_refused_without():
    x, y = ((255 * image).round().byte() for image in images(3, 20, 24))
    exact = float(fused_ssim(x.double() / 255, y.double() / 255))
    for a, b in ((x, y), (x.float(), y), (x.int(), y.half())):
        assert float(fused_ssim(a, b, data_range=np.int64(255))) == pytest.approx(exact, abs=1e-5)
        parts = ssim_parts(a, b, data_range=255)
        assert float(parts.ssim.mean()) == pytest.approx(exact, abs=1e-5)
    for index in (fused_ssim, ssim_parts, ssim_with_statistics):
        with pytest.raises(ConfigError, match="uint8; give data_range"):
            index(x, y)
        with pytest.raises(ConfigError, match=r"up to 25\d, expected \[0, 1\]; give data_range"):
            index(x.float() / 255, y.float())
    with pytest.raises(ConfigError, match=r"expected \[0, 1\]"):
        fused_ssim(x.float(), y.float(), data_range=1)
    with pytest.raises(ConfigError, match="data_range"):
        fused_ssim(x, y, data_range=0)


def test_bytes_have_the_psnr_of_bytes_and_none_without_their_range():
    x, y = ((255 * image).round().byte() for image in images(20, 24, 3))
    error = float((x.double() - y.double()).square().mean())
    assert psnr(x, y, data_range=255) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)
    for pair in ((x, y), (x.float(), y.float())):
        with pytest.raises(ValueError, match="data_range"):
            psnr(*pair)


def test_colours_of_another_range_are_taken_with_it_and_refused_without():
    target, rendered = images(64, 3)
    exact = float(S3IM(patch_height=8, patch_width=8)(rendered, target))
    with_range = S3IM(patch_height=8, patch_width=8, data_range=255)
    assert float(with_range(255 * rendered, 255 * target)) == pytest.approx(exact, abs=1e-5)
    with pytest.raises(ConfigError, match="give data_range"):
        S3IM(patch_height=8, patch_width=8)(255 * rendered, 255 * target)
    overshooting = torch.full_like(rendered, 300.0)  # a diverging model is no wrong range
    assert S3IM(patch_height=8, patch_width=8)(overshooting, target).isfinite()


def test_two_devices_complex_numbers_and_masks_are_refused():
    x, y = images(3, 12, 12)
    with pytest.raises(ConfigError, match="img1 is on cpu, img2 is on meta"):
        fused_ssim(x, y.to("meta"))
    with pytest.raises(ConfigError, match="complex64"):
        fused_ssim(x.to(torch.complex64), y)
    with pytest.raises(ConfigError, match="bool"):
        fused_ssim(x > 0.5, y, data_range=1)


def test_on_a_gpu_only_the_first_call_of_a_kind_waits_for_values(monkeypatch):
    class OnGpu:
        """A tensor that says it is on a GPU, and counts how often somebody asks for its values."""

        device, shape, dtype, is_cuda = torch.device("cuda", 0), torch.Size([3]), SINGLE, True
        looks = 0

        def __init__(self, largest: float) -> None:
            self.largest = largest

        def detach(self):
            type(self).looks += 1
            return torch.full((3,), self.largest)

    monkeypatch.setattr(pairs, "Tensor", OnGpu)
    monkeypatch.setattr(pairs, "_seen", set())
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    for _ in range(2):  # what was refused is refused again
        with pytest.raises(ConfigError):
            pairs.refuse_another_range(OnGpu(255.0), 1.0, "SSIM", "x")
    for _ in range(3):
        pairs.refuse_another_range(OnGpu(0.5), 1.0, "SSIM", "x")
    assert OnGpu.looks == 3


def test_numbers_of_numpy_are_numbers():
    x, y = images(1, 3, 20, 20)
    ours = fused_ssim(
        x, y, np.int64(2), window=np.int32(5), sigma=np.float32(1.5), stride=np.uint8(2), c1=np.float64(1e-4)
    )
    assert float(ours) == float(fused_ssim(x, y, 2, window=5, stride=2))
    target, rendered = images(64, 3)
    eight = np.int64(8)
    loss = S3IM(np.int64(4), np.int64(4), np.int64(10), eight, eight)
    assert float(loss(rendered, target)) == float(S3IM(patch_height=8, patch_width=8)(rendered, target))
    for bad in (True, 4.0, "4"):
        with pytest.raises(ConfigError):
            fused_ssim(x, y, window=bad)
