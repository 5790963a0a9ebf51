"""The page of values: which of our options gives the number of which library, on two photographs of the room."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nerf_ssim import MS_SSIM, S3IM, fused_ssim
from nerf_ssim.evaluation import metrics
from nerf_ssim.ssim import msssim

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/values.md"
TOLERANCE = 2e-6
pytestmark = pytest.mark.usefixtures("each_backend")


def photographs() -> tuple[Tensor, Tensor]:
    """Two neighbouring views, `[H, W, 3]` bytes."""
    first, second = (torch.from_numpy(imageio.imread(ROOT / f"data/room/00000{i}_rgb.png")) for i in (0, 1))
    return first[..., :3], second[..., :3]


def gaussian(size: int) -> Tensor:
    """A window of sigma 1.5 about `size // 2` as S3IM makes it, float64."""
    weights = torch.exp(-((torch.arange(size).double() - size // 2) ** 2) / 4.5)
    weights = weights / weights.sum()
    return weights[:, None] * weights


def by_formula(x: Tensor, y: Tensor, size: int = 11, stride: int = 1, padding: int = 0, clamps: bool = False) -> float:
    """The published formula over `x, y [C, H, W]` in float64, without anything of the package."""
    x, y, table = x.double(), y.double(), gaussian(size)[None, None]

    def mean(image: Tensor) -> Tensor:
        return F.conv2d(image[:, None], table, stride=stride, padding=padding)

    mu_x, mu_y = mean(x), mean(y)
    var_x, var_y, cov = mean(x * x) - mu_x**2, mean(y * y) - mu_y**2, mean(x * y) - mu_x * mu_y
    if clamps:
        var_x, var_y = var_x.clamp_min(0), var_y.clamp_min(0)
        cov = cov.sign() * torch.minimum((var_x * var_y).sqrt(), cov.abs())
    luminance = (2 * mu_x * mu_y + 1e-4) / (mu_x**2 + mu_y**2 + 1e-4)
    return float((luminance * (2 * cov + 9e-4) / (var_x + var_y + 9e-4)).mean())


def stochastic_by_formula(x: Tensor, y: Tensor, loss: S3IM) -> float:
    """The published S3IM of colours `[rays, 3]` in the orders that `loss` draws next."""
    height, width = loss.patch_height, loss.patch_width * loss.repeat
    orders = S3IM(repeat=loss.repeat, patch_height=height, patch_width=loss.patch_width).draw_orders().flatten()
    images = (each.double()[orders].T.reshape(3, height, width) for each in (x, y))
    return 1 - by_formula(*images, size=4, stride=4, padding=1)


def scikit_image(x: Tensor, y: Tensor, **options: object) -> float:
    similarity = pytest.importorskip("skimage.metrics").structural_similarity
    return float(similarity(x.double().numpy(), y.double().numpy(), data_range=1, channel_axis=0, **options))


def torchmetrics(x: Tensor, y: Tensor) -> float:
    image = pytest.importorskip("torchmetrics.functional.image", reason="compares with torchmetrics")
    return float(image.structural_similarity_index_measure(y[None].double(), x[None].double(), data_range=1.0))


def pytorch_msssim(name: str) -> Callable[[Tensor, Tensor], float]:
    def call(x: Tensor, y: Tensor) -> float:
        package = pytest.importorskip("pytorch_msssim", reason="compares with pytorch-msssim")
        return float(getattr(package, name)(data_range=1)(_large(x).double(), _large(y).double()))

    return call


def _large(image: Tensor) -> Tensor:
    """`image [3, H, W]` as a batch that multi-scale SSIM can take: each pixel four times."""
    return image[None].repeat_interleave(2, 2).repeat_interleave(2, 3)


ROWS: dict[str, tuple[Callable[[Tensor, Tensor], float], Callable[[Tensor, Tensor], Tensor | float]]] = {
    "scikit-image, Gaussian": (
        lambda x, y: scikit_image(x, y, gaussian_weights=True, use_sample_covariance=False),
        lambda x, y: fused_ssim(x, y, "valid"),
    ),
    "scikit-image, default": (
        scikit_image,
        lambda x, y: fused_ssim(x, y, "valid", window=7, sigma=None, c2=9e-4 * 48 / 49),
    ),
    "pytorch-msssim, SSIM": (pytorch_msssim("SSIM"), lambda x, y: msssim.SSIM(data_range=1)(_large(x), _large(y))),
    "pytorch-msssim, MS_SSIM": (pytorch_msssim("MS_SSIM"), lambda x, y: MS_SSIM(data_range=1)(_large(x), _large(y))),
    "torchmetrics": (torchmetrics, lambda x, y: fused_ssim(x, y, "reflect")),
    "fused-ssim, same": (lambda x, y: by_formula(x, y, padding=5), lambda x, y: fused_ssim(x, y)),
    "fused-ssim, valid": (by_formula, lambda x, y: fused_ssim(x, y, "valid")),
    "TensorFlow": (by_formula, lambda x, y: fused_ssim(x, y, "valid")),
    "TensoRF": (
        lambda x, y: by_formula(x, y, clamps=True),
        lambda x, y: metrics.ssim(y.permute(1, 2, 0), x.permute(1, 2, 0), "tensorf"),
    ),
    "S3IM, score": (
        lambda x, y: by_formula(x, y, padding=5),
        lambda x, y: metrics.ssim(y.permute(1, 2, 0), x.permute(1, 2, 0), "s3im"),
    ),
    "S3IM, loss": (
        lambda x, y: stochastic_by_formula(*_colours(x, y), S3IM()),
        lambda x, y: S3IM()(*reversed(_colours(x, y))),
    ),
}


def _colours(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The first 4096 pixels of each, as a batch of rays."""
    first, second = (each.permute(1, 2, 0).reshape(-1, 3)[:4096].contiguous() for each in (x, y))
    return first, second


def rows_of_the_page() -> dict[str, float]:
    """The number of each row whose first cell is a name and whose last is a number."""
    found = re.findall(r"^\| ([^|`]+?) \|.*\| (\d+\.\d+) \|$", PAGE.read_text(), re.MULTILINE)
    return {name: float(number) for name, number in found}


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_our_number_is_the_librarys_and_stands_on_the_page(name):
    theirs, ours = ROWS[name]
    x, y = (image.permute(2, 0, 1).float() / 255 for image in photographs())
    number = theirs(x, y)
    assert float(ours(x, y)) == pytest.approx(number, abs=TOLERANCE)
    assert f"{rows_of_the_page()[name]:.5f}" == f"{number:.5f}"


def test_the_page_has_these_rows_and_no_other():
    assert set(rows_of_the_page()) == {*ROWS, "PSNR"}


def test_psnr_on_the_page_is_that_of_bytes():
    number = metrics.psnr(*photographs(), data_range=255)
    assert f"{rows_of_the_page()['PSNR']:.3f}" == f"{number:.3f}"


def test_bytes_give_the_numbers_of_floats():
    x, y = (image.permute(2, 0, 1) for image in photographs())
    for padding in ("same", "valid", "reflect"):
        exact = fused_ssim(x.double() / 255, y.double() / 255, padding)
        assert float(fused_ssim(x, y, padding, data_range=255)) == pytest.approx(float(exact), abs=TOLERANCE)
