"""Specification of the factorised grids (VM and CP) sampled at packed points.

Source: Chen et al. 2022, "TensoRF: Tensorial Radiance Fields", section 4. Storage here is channel-last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PLANE_AXES = ((0, 1), (0, 2), (1, 2))  # (u, v) of each VM plane: (x, y), (x, z), (y, z)
LINE_AXES = (2, 1, 0)  # the axis that each VM plane leaves to its line: z, y, x


def sample_plane(plane: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Bilinear samples `[C, S]` of `plane` `[n_v, n_u, C]` at `u`, `v` in [-1, 1] (corners aligned, zero outside)."""
    grid = torch.stack((u, v), dim=-1).to(plane.dtype)[None, :, None]
    image = plane.permute(2, 0, 1)[None].contiguous()  # grid_sample reads one channel at a time
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=True)[0, :, :, 0]


def sample_line(line: Tensor, w: Tensor) -> Tensor:
    """Linear samples `[C, S]` of `line` `[n_w, C]` at `w` in [-1, 1] (corners aligned, zero outside)."""
    return sample_plane(line[:, None], torch.zeros_like(w), w)


def _vm_products(planes: Sequence[Tensor], lines: Sequence[Tensor], coords: Tensor) -> list[Tensor]:
    products = []
    for plane, line, (u, v), w in zip(planes, lines, PLANE_AXES, LINE_AXES, strict=True):
        products.append(sample_plane(plane, coords[:, u], coords[:, v]) * sample_line(line, coords[:, w]))
    return products


def vm_density(planes: Sequence[Tensor], lines: Sequence[Tensor], coords: Tensor) -> Tensor:
    """Sum of plane times line over the three orientations and all components, `[S]`."""
    first, second, third = (product.sum(0) for product in _vm_products(planes, lines, coords))
    return first + second + third


def vm_features(planes: Sequence[Tensor], lines: Sequence[Tensor], coords: Tensor) -> Tensor:
    """Plane times line for each component, the three orientations one after the other, `[S, C0 + C1 + C2]`."""
    return torch.cat(_vm_products(planes, lines, coords)).T.contiguous()


def vm_basis_features(planes: Sequence[Tensor], lines: Sequence[Tensor], basis: Tensor, coords: Tensor) -> Tensor:
    """The features times the transposed `basis [outputs, C0 + C1 + C2]`, `[S, outputs]`."""
    return F.linear(vm_features(planes, lines, coords), basis)


def _cp_product(lines: Sequence[Tensor], coords: Tensor) -> Tensor:
    x, y, z = (sample_line(line, coords[:, axis]) for axis, line in enumerate(lines))
    return x * y * z


def cp_density(lines: Sequence[Tensor], coords: Tensor) -> Tensor:
    """Sum over components of the product of the three lines, `[S]`."""
    return _cp_product(lines, coords).sum(0)


def cp_features(lines: Sequence[Tensor], coords: Tensor) -> Tensor:
    """The product of the three lines for each component, `[S, C]`."""
    return _cp_product(lines, coords).T.contiguous()
