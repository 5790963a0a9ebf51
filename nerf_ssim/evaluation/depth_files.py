"""Depth as data: distances along the rays as float arrays and as 16-bit pictures."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from nerf_ssim.files import atomic_file

__all__ = ["depth_unit", "hit_distance", "save_depth"]

LARGEST_LEVEL = 65535
HIT = 0.5  # opacity from which a ray counts as stopped


def hit_distance(depth: Tensor, opacity: Tensor) -> Tensor:
    """Mean distance along each ray of what stopped it, scene units; 0 where less than half of the ray was stopped.

    Args:
        depth: sum of weight times distance, `[height, width]`.
        opacity: sum of weights, of the same shape.
    """
    return torch.where(opacity > HIT, depth / opacity.clamp_min(HIT), torch.zeros_like(depth))


def depth_unit(c2w: Tensor, aabb: Tensor) -> float:
    """Scene units of a 16-bit level: the power of ten with which all of the box is within reach of every camera.

    Args:
        c2w: cameras `[frames, 3, 4]`.
        aabb: the scene's box `[2, 3]`.
    """
    corners = torch.cartesian_prod(*aabb.T.cpu().double())
    reach = float(torch.cdist(c2w[:, :, 3].cpu().double(), corners).max())
    return float(10.0 ** math.ceil(math.log10(max(reach, 1e-12) / LARGEST_LEVEL)))


def save_depth(stem: Path, distance: Tensor, unit: float) -> None:
    """Writes `<stem>.npy`, float32 scene units, and `<stem>.png`, 16-bit levels of `unit`; 0 where nothing was hit.

    What is farther than 65535 levels is shown as 65535.

    Raises:
        OSError: a file cannot be written.
    """
    values = distance.detach().cpu().float().numpy()
    with atomic_file(stem.with_name(f"{stem.name}.npy")) as file:
        np.save(file, values)
    levels = np.clip(np.rint(values.astype(np.float64) / unit), 0, LARGEST_LEVEL).astype(np.uint16)
    is_encoded, data = cv2.imencode(".png", levels)
    if not is_encoded:
        raise OSError(f"{stem}.png: the picture could not be encoded")
    with atomic_file(stem.with_name(f"{stem.name}.png")) as file:
        file.write(data.tobytes())
