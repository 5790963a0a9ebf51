"""From what a browser looks at to a picture: the camera, and the channel that is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nerf_ssim.evaluation import pictures
from nerf_ssim.evaluation.camera_paths import resize_intrinsics
from nerf_ssim.evaluation.protocol import RenderedView

__all__ = ["CHANNELS", "Look", "Photograph", "picture_of"]

CHANNELS = ("rgb", "depth", "opacity", "error")
DIMMED = 0.25  # of its brightness, what lies beside the photograph in a picture of errors

Picture = NDArray[np.uint8]
Size = tuple[int, int]


@dataclass(frozen=True)
class Photograph:
    """A camera of the data set: its split and place there, its lens `K [3, 3]`, its picture's (width, height)."""

    split: str
    index: int
    K: Tensor
    size: Size


@dataclass(frozen=True)
class Look:
    """What a browser looks at.

    Attributes:
        c2w: `[3, 4]`, OpenCV camera-to-world.
        fov: vertical field of view, radians.
        aspect: width over height of the browser's picture.
        photograph: the camera of the data set at which it stands, whose lens counts then.
    """

    c2w: Tensor
    fov: float
    aspect: float
    photograph: Photograph | None = None

    def lens(self, size: Size) -> Tensor:
        """Intrinsics `[3, 3]` for a picture of (width, height) `size`."""
        if self.photograph is not None:
            return resize_intrinsics(self.photograph.K.to(self.c2w), self.photograph.size, size)
        focal = size[1] / 2 / math.tan(self.fov / 2)
        lens = [[focal, 0.0, size[0] / 2], [0.0, focal, size[1] / 2], [0.0, 0.0, 1.0]]
        return torch.tensor(lens, dtype=self.c2w.dtype, device=self.c2w.device)


def picture_of(
    view: RenderedView, channel: str, depth_range: tuple[float, float], photograph: Picture | None = None
) -> Picture:
    """A render as a picture of one of `CHANNELS`, uint8 `[height, width, 3]`.

    Args:
        depth_range: the distances that the colours of depth span.
        photograph: the camera's own, of any size; `error` compares with it and is a dim render beside it.
    """
    if channel == "depth":
        return pictures.depth_map(view.depth, depth_range, view.opacity)
    if channel == "opacity":
        return pictures.to_bytes(view.opacity[..., None].expand(-1, -1, 3))
    if channel == "error" and photograph is not None:
        return _errors(view.rgb, photograph)
    return pictures.to_bytes(view.rgb)


def _errors(rgb: Tensor, photograph: Picture) -> Picture:
    """The error map where the photograph is: in the middle, as large as it fits, as `resize_intrinsics` has it."""
    (height, width), (own_height, own_width) = rgb.shape[:2], photograph.shape[:2]
    factor = min(width / own_width, height / own_height)
    shape = max(1, round(own_width * factor)), max(1, round(own_height * factor))
    truth = cv2.resize(photograph, shape, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    left, top = (width - shape[0]) // 2, (height - shape[1]) // 2
    place = slice(top, top + shape[1]), slice(left, left + shape[0])
    picture = pictures.to_bytes(rgb * DIMMED)
    picture[place] = pictures.error_map(rgb[place], torch.from_numpy(truth).float() / 255)
    return picture
