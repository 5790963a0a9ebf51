"""SSIM and multi-scale SSIM with the calls and the numbers of the package pytorch-msssim.

>>> from nerf_ssim.ssim.msssim import MS_SSIM, SSIM, ms_ssim, ssim  # for: from pytorch_msssim import ...

As there, `data_range` is 255 unless it is given, and windows lie inside the image. Source of the multi-scale index:
Wang, Simoncelli and Bovik 2003, "Multiscale structural similarity for image quality assessment".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops.number_kinds import real_number, whole_number
from nerf_ssim.ops.ssim import ssim_maps, ssim_mean
from nerf_ssim.ops.ssim_window import SsimWindow
from nerf_ssim.ssim.pairs import largest_value, promoted, refuse_another_range

__all__ = ["MS_SSIM", "SSIM", "ms_ssim", "ssim"]

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, from the finest; of Wang et al. 2003."""


def ssim(
    X: Tensor,
    Y: Tensor,
    data_range: float = 255,
    size_average: bool = True,
    win_size: int = 11,
    win_sigma: float = 1.5,
    win: None = None,
    K: Sequence[float] = (0.01, 0.03),
    nonnegative_ssim: bool = False,
) -> Tensor:
    """Structural similarity of two batches of images, over windows inside them.

    Args:
        X, Y: `[N, C, H, W]` in [0, data_range], of any real type; promoted and computed as by `fused_ssim`.
        data_range: the largest value that pixels could have; give 1 for images in [0, 1].
        size_average: one number for the batch, or one an image.
        win_size, win_sigma: side of the window, 1 to 11, and sigma of its Gaussian, in pixels.
        win: a window of one's own is not taken; give `win_size` and `win_sigma`.
        K: the constants are `(K[0] * data_range)^2` and `(K[1] * data_range)^2`.
        nonnegative_ssim: count the index of a channel below 0 as 0.
    Returns:
        0-dim, or `[N]`; differentiable in both.
    Raises:
        ConfigError: shapes that disagree, an image without a window, values plainly beyond `data_range`, an option out
            of range.
    Source: Wang et al. 2004; the arguments are those of the package pytorch-msssim.
    """
    window = _window(data_range, win_size, win_sigma, win, K)
    x, y = _planes(X, Y, data_range)
    if size_average and not nonnegative_ssim:
        window.map_size(*x.shape[1:])
        return ssim_mean(x, y, window)[0]
    index, _ = _index_and_structure(x, y, window)
    return _averaged(index.relu() if nonnegative_ssim else index, X, size_average)


def ms_ssim(
    X: Tensor,
    Y: Tensor,
    data_range: float = 255,
    size_average: bool = True,
    win_size: int = 11,
    win_sigma: float = 1.5,
    win: None = None,
    weights: Sequence[float] | None = None,
    K: Sequence[float] = (0.01, 0.03),
) -> Tensor:
    """Multi-scale structural similarity: the product of each scale's mean structure, and of the last one's mean index.

    A scale is half the one before, by means of 2x2 pixels. A factor below 0 counts as 0, and there no gradient flows.

    Args:
        X, Y, data_range, size_average, win_size, win_sigma, win, K: as in `ssim`.
        weights: the exponent of each scale, from the finest; `SCALE_WEIGHTS` by default. Five scales and a window of 11
            need sides over 160 pixels.
    Returns:
        0-dim, or `[N]`; differentiable in both.
    Raises:
        ConfigError: as `ssim`, and an image too small for its last scale.
    Source: Wang, Simoncelli and Bovik 2003, "Multiscale structural similarity for image quality assessment".
    """
    window = _window(data_range, win_size, win_sigma, win, K)
    exponents = _exponents(weights)
    x, y = _planes(X, Y, data_range)
    smallest = min(x.shape[1:])
    if smallest <= (window.size - 1) * 2 ** (len(exponents) - 1):
        raise ConfigError(
            f"MS-SSIM: an image of {x.shape[1]}x{x.shape[2]} is too small for {len(exponents)} scales and a window of "
            f"{window.size}: sides must be over {(window.size - 1) * 2 ** (len(exponents) - 1)} pixels."
        )
    factors = []
    for scale, exponent in enumerate(exponents):
        index, structure = _index_and_structure(x, y, window)
        if scale + 1 < len(exponents):
            factors.append(_power(structure, exponent))
            padding = [side % 2 for side in x.shape[1:]]
            x, y = (F.avg_pool2d(each, kernel_size=2, padding=padding) for each in (x, y))
        else:
            factors.append(_power(index, exponent))
    return _averaged(reduce(torch.mul, factors), X, size_average)


class SSIM(nn.Module):
    """`ssim` as a module: options once, images at each call.

    Args:
        data_range, size_average, win_size, win_sigma, K, nonnegative_ssim: as in `ssim`.
        channel: of the images.
        spatial_dims: 2; volumes are not taken.
    Raises:
        ConfigError: an option out of range; at a call, another number of channels and what `ssim` refuses.
    Source: as `ssim`.
    """

    def __init__(
        self,
        data_range: float = 255,
        size_average: bool = True,
        win_size: int = 11,
        win_sigma: float = 1.5,
        channel: int = 3,
        spatial_dims: int = 2,
        K: Sequence[float] = (0.01, 0.03),
        nonnegative_ssim: bool = False,
    ) -> None:
        super().__init__()
        _check_images(channel, spatial_dims)
        _window(data_range, win_size, win_sigma, None, K)
        self.channel, self.nonnegative_ssim = channel, nonnegative_ssim
        self.data_range, self.size_average = data_range, size_average
        self.win_size, self.win_sigma, self.K = win_size, win_sigma, K

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """The index of `X, Y [N, channel, H, W]`."""
        _check_channels(X, self.channel)
        options = self.data_range, self.size_average, self.win_size, self.win_sigma, None, self.K
        return ssim(X, Y, *options, nonnegative_ssim=self.nonnegative_ssim)


class MS_SSIM(nn.Module):
    """`ms_ssim` as a module: options once, images at each call.

    Args:
        data_range, size_average, win_size, win_sigma, weights, K: as in `ms_ssim`.
        channel: of the images.
        spatial_dims: 2; volumes are not taken.
    Raises:
        ConfigError: an option out of range; at a call, another number of channels and what `ms_ssim` refuses.
    Source: as `ms_ssim`.
    """

    def __init__(
        self,
        data_range: float = 255,
        size_average: bool = True,
        win_size: int = 11,
        win_sigma: float = 1.5,
        channel: int = 3,
        spatial_dims: int = 2,
        weights: Sequence[float] | None = None,
        K: Sequence[float] = (0.01, 0.03),
    ) -> None:
        super().__init__()
        _check_images(channel, spatial_dims)
        _window(data_range, win_size, win_sigma, None, K)
        self.weights = _exponents(weights)
        self.channel, self.data_range, self.size_average = channel, data_range, size_average
        self.win_size, self.win_sigma, self.K = win_size, win_sigma, K

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """The index of `X, Y [N, channel, H, W]`."""
        _check_channels(X, self.channel)
        options = self.data_range, self.size_average, self.win_size, self.win_sigma, None, self.weights, self.K
        return ms_ssim(X, Y, *options)


def _window(data_range: float, size: int, sigma: float, win: object, constants: Sequence[float]) -> SsimWindow:
    if win is not None:
        raise ConfigError("SSIM: a window of one's own is not taken; give win_size and win_sigma instead of win.")
    numbers = [real_number(value) for value in constants]
    if len(numbers) != 2 or None in numbers:
        raise ConfigError(f"SSIM K: {constants!r} is not two numbers, such as (0.01, 0.03).")
    c1, c2 = (number * number for number in numbers if number is not None)
    return SsimWindow(size, sigma, 1, "valid", c1, c2).for_range(largest_value(data_range))


def _planes(X: Tensor, Y: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """The images as `[N * C, H, W]`, in one type."""
    x, y = promoted(X, Y, data_range, "SSIM", ("X", "Y"))
    if x.ndim != 4 or x.shape != y.shape or x.numel() == 0:
        raise ConfigError(f"SSIM: shapes {list(x.shape)} and {list(y.shape)}; give two of [N, C, H, W], the same.")
    for name, image in (("X", x), ("Y", y)):
        refuse_another_range(image, largest_value(data_range), "SSIM", name)
    return x.flatten(0, 1), y.flatten(0, 1)


def _index_and_structure(x: Tensor, y: Tensor, window: SsimWindow) -> tuple[Tensor, Tensor]:
    """The mean index and the mean contrast-structure of each plane, `[planes]`."""
    window.map_size(*x.shape[1:])
    maps = ssim_maps(x, y, window)
    return maps.ssim.mean((1, 2)), maps.structure.mean((1, 2))


def _power(values: Tensor, exponent: float) -> Tensor:
    """`values ** exponent`, and 0 with a gradient of 0, not NaN, where a value is not above 0."""
    is_positive = values > 0
    return torch.where(is_positive, torch.where(is_positive, values, 1) ** exponent, 0 * values.detach())


def _averaged(of_planes: Tensor, images: Tensor, over_all: bool) -> Tensor:
    return of_planes.mean() if over_all else of_planes.unflatten(0, images.shape[:2]).mean(1)


def _exponents(weights: Sequence[float] | Tensor | None) -> tuple[float, ...]:
    given = SCALE_WEIGHTS if weights is None else weights.tolist() if isinstance(weights, Tensor) else weights
    numbers = [real_number(value) for value in given]
    exponents = tuple(number for number in numbers if number is not None)
    if not exponents or len(exponents) != len(numbers):
        raise ConfigError(f"MS-SSIM weights: {weights!r} is not a list of numbers, one for each scale.")
    return exponents


def _check_images(channel: int, spatial_dims: int) -> None:
    number = whole_number(channel)
    if number is None or number < 1:
        raise ConfigError(f"SSIM channel: {channel!r} is not a whole number of at least 1.")
    if spatial_dims != 2:
        raise ConfigError(f"SSIM spatial_dims: {spatial_dims!r}; only images are taken, give 2.")


def _check_channels(X: Tensor, channel: int) -> None:
    if X.ndim == 4 and X.shape[1] != channel:
        raise ConfigError(f"SSIM: images of {X.shape[1]} channels were given to a module of {channel}; give channel.")
