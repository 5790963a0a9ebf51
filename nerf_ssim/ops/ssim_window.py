"""The geometry of an SSIM index: its window, where windows lie, its two constants and how its parts are mixed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops.number_kinds import real_number, whole_number

LARGEST_WINDOW = 11


class SsimMix(NamedTuple):
    """The index that is averaged: `product * S1 * S2 + luminance * S1 + structure * S2`; SSIM itself by default.

    A loss is the sum of the three weights less the mean index.
    """

    product: float = 1.0
    luminance: float = 0.0
    structure: float = 0.0


class WindowPlaces(NamedTuple):
    """A window as the native operators take it: weights along one axis, stride, zeros before and after, C1, C2, mix.

    It has what the reference asks of an `SsimWindow` without `clamp_variance`.
    """

    taps: tuple[float, ...]
    stride: int
    padding_before: int
    padding_after: int
    c1: float = 0.0
    c2: float = 0.0
    mix: SsimMix = SsimMix()

    @property
    def clamp_variance(self) -> bool:
        """The native operators know no clamping."""
        return False


@dataclass(frozen=True)
class SsimWindow:
    """A separable window and the grid of places it is put at.

    Args:
        size: pixels a side, 1 to 11; even sizes have their centre at index `size // 2`.
        sigma: standard deviation of the Gaussian weights in pixels, or None for equal weights.
        stride: pixels between windows.
        padding: zeros around the image, which count with full weight: "valid" (none), "same" (at stride 1 the map is as
            large as the image; `(size - 1) // 2` before, the rest after) or a number, on every side, under `size`.
        c1, c2: what steadies the luminance and the contrast-structure quotient (>= 0), for values in [0, 1].
        clamp_variance: variances are at least 0 and the covariance at most their geometric mean, as they are in exact
            arithmetic for weights that sum to one.
        mix: what a mean or a loss is made of; maps hold every part whatever it is.
    Raises:
        ConfigError: an argument outside these ranges.
    """

    size: int = 11
    sigma: float | None = 1.5
    stride: int = 1
    padding: str | int = "same"
    c1: float = 1e-4
    c2: float = 9e-4
    clamp_variance: bool = False
    mix: SsimMix = SsimMix()
    taps: tuple[float, ...] = field(init=False, repr=False, compare=False)
    """The window's weights along one axis; they sum to one, and the window is their outer product."""

    def __post_init__(self) -> None:
        size, stride, padding = (whole_number(value) for value in (self.size, self.stride, self.padding))
        if size is None or not 1 <= size <= LARGEST_WINDOW:
            raise ConfigError(f"SSIM window: {self.size!r} is not a whole number from 1 to {LARGEST_WINDOW}.")
        sigma = None if self.sigma is None else real_number(self.sigma)
        if self.sigma is not None and (sigma is None or sigma <= 0):
            raise ConfigError(f"SSIM sigma: {self.sigma!r} is not above 0; give pixels, or None for equal weights.")
        if stride is None or stride < 1:
            raise ConfigError(f"SSIM stride: {self.stride!r} is not a whole number of at least 1.")
        if self.padding not in ("same", "valid") and not (padding is not None and 0 <= padding < size):
            raise ConfigError(
                f"SSIM padding: {self.padding!r} is not 'same', 'valid' or a whole number from 0 to {size - 1} "
                f"(a window of {size} must meet the image)."
            )
        for name, value in (("c1", self.c1), ("c2", self.c2)):
            _check_number(name, value)
        for name, value in zip(self.mix._fields, self.mix, strict=True):
            _check_number(f"weight of {name}", value)
        plain: dict[str, object] = {"size": size, "sigma": sigma, "stride": stride, "taps": _taps(size, sigma)}
        plain |= {"c1": float(self.c1), "c2": float(self.c2)}
        if padding is not None:
            plain["padding"] = padding
        for name, number in plain.items():
            object.__setattr__(self, name, number)  # of a frozen dataclass

    def for_range(self, data_range: float) -> SsimWindow:
        """The same window for values in [0, `data_range`], which scales the constants by its square."""
        if data_range == 1:
            return self
        square = data_range * data_range
        return replace(self, c1=self.c1 * square, c2=self.c2 * square)

    @property
    def places(self) -> WindowPlaces:
        """The window for the native operators."""
        mix = SsimMix(*map(float, self.mix))
        return WindowPlaces(self.taps, self.stride, self.padding_before, self.padding_after, self.c1, self.c2, mix)

    @property
    def padding_before(self) -> int:
        """Zeros above the first row and left of the first column."""
        return self._padding((self.size - 1) // 2)

    @property
    def padding_after(self) -> int:
        """Zeros below the last row and right of the last column."""
        return self._padding(self.size - 1 - (self.size - 1) // 2)

    def _padding(self, same: int) -> int:
        """The zeros on one side, of which padding "same" has so many."""
        return {"valid": 0, "same": same}[self.padding] if isinstance(self.padding, str) else self.padding

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """How many windows an image of `height` x `width` has along each axis; an image too small is a ConfigError."""
        extra = self.padding_before + self.padding_after - self.size
        if min(height, width) + extra < 0 or min(height, width) < 1:
            raise ConfigError(
                f"SSIM: an image of {height}x{width} holds no window of {self.size} with padding {self.padding!r}; "
                "use a smaller window or padding 'same'."
            )
        return (height + extra) // self.stride + 1, (width + extra) // self.stride + 1


def _taps(size: int, sigma: float | None) -> tuple[float, ...]:
    if sigma is None:
        return (1.0 / size,) * size
    centre = size // 2
    weights = [math.exp(-0.5 * ((i - centre) / sigma) ** 2) for i in range(size)]
    return tuple(weight / sum(weights) for weight in weights)


def _check_number(name: str, value: object) -> None:
    number = real_number(value)
    if number is None or number < 0:
        raise ConfigError(f"SSIM {name}: {value!r} is not a finite number of at least 0.")
