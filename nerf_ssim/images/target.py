"""One picture as the target of a fit: read, reduced to its grey values and to a size, made linear."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nerf_ssim.datasets.images import read_image
from nerf_ssim.errors import SceneError
from nerf_ssim.files import file_errors, user_path

__all__ = ["ImageTarget", "coordinates", "linear_to_srgb", "list_images", "load_target", "srgb_to_linear"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class ImageTarget:
    """A picture to fit.

    Attributes:
        name: the file's name without its suffix.
        values: `[height, width, channels]`, float64 in [0, 1]; one channel or three.
        is_linear: whether they are linear intensities, not sRGB.
        content_hash: of the values.
    """

    name: str
    values: Tensor
    is_linear: bool
    content_hash: str

    @property
    def height(self) -> int:
        """Rows."""
        return self.values.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.values.shape[1]

    @property
    def channels(self) -> int:
        """Values a pixel."""
        return self.values.shape[2]

    def shown(self, values: Tensor) -> Tensor:
        """`values [height, width, channels]` as an sRGB picture `[height, width, 3]` in [0, 1]."""
        clamped = values.detach().double().clamp(0, 1).cpu()
        return (linear_to_srgb(clamped) if self.is_linear else clamped).expand(-1, -1, 3).float()


def load_target(path: str | Path, *, size: Sequence[int], grey: bool, linear: bool) -> ImageTarget:
    """The picture at `path` as a target.

    In the published order: 8-bit grey (weights 0.299, 0.587, 0.114), averaged over areas to the size in 8 bits, divided
    by 255, made linear.

    Args:
        size: `(side,)`, `(height, width)`, or `(0,)` for the picture's own.
    Raises:
        SceneError: no such file, not a picture, or smaller than the size asked for.
    """
    path = user_path(path)
    pixels: NDArray[Any] = read_image(path)
    if grey:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = pixels.shape[:2] if tuple(size) == (0,) else (size[0], size[-1])
    if height > pixels.shape[0] or width > pixels.shape[1]:
        raise SceneError(
            f"{path}: is {pixels.shape[1]}x{pixels.shape[0]} (width x height), smaller than the {width}x{height} asked "
            "for; give a smaller --size, or 0 for its own"
        )
    if pixels.shape[:2] != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    values = torch.from_numpy(np.ascontiguousarray(pixels)).double().reshape(height, width, -1) / 255
    if linear:
        values = srgb_to_linear(values)
    digest = hashlib.sha256(f"{list(values.shape)} {linear}".encode() + pixels.tobytes()).hexdigest()
    return ImageTarget(path.stem, values, linear, digest)


def list_images(folder: str | Path) -> list[Path]:
    """The pictures of a folder, by name.

    Raises:
        SceneError: no such folder or none that can be read, no picture in it, or two of one name but different kinds.
    """
    folder = user_path(folder)
    if not os.path.isdir(folder):
        raise SceneError(f"{folder}: no such folder of pictures")
    with file_errors(folder, "read", kind=SceneError):
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SceneError(f"{folder}: holds no picture ({', '.join(SUFFIXES)})")
    for earlier, later in zip(paths, paths[1:], strict=False):
        if earlier.stem == later.stem:
            raise SceneError(f"{folder}: {earlier.name} and {later.name} would share one run folder; rename one")
    return paths


def coordinates(height: int, width: int) -> Tensor:
    """Pixel places `[height * width, 2]`, float32 in [-1, 1], rows first; the outermost pixels are at ±1."""
    rows, columns = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).reshape(-1, 2)


def srgb_to_linear(values: Tensor) -> Tensor:
    """Linear intensities of sRGB `values` in [0, 1] (IEC 61966-2-1)."""
    return torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values: Tensor) -> Tensor:
    """sRGB values of linear intensities in [0, 1]."""
    return torch.where(values <= 0.0031308, values * 12.92, 1.055 * values.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)
