"""Specification of grid upsampling: linear, corners aligned."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize_plane(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """`plane` `[n_v, n_u, C]` resampled bilinearly to `[size[0], size[1], C]`, corner on corner."""
    image = plane.permute(2, 0, 1)[None]
    return F.interpolate(image, size=size, mode="bilinear", align_corners=True)[0].permute(1, 2, 0).contiguous()


def resize_line(line: Tensor, size: int) -> Tensor:
    """`line` `[n, C]` resampled linearly to `[size, C]`, end on end."""
    return resize_plane(line[:, None], (size, 1))[:, 0]
