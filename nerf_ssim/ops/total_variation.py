"""Total variation of the factorised grids.

Source: TensoRF's regulariser, without the factor 1e-2 that it applies outside.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops import backend
from nerf_ssim.ops.reference import total_variation as reference


def plane_tv(plane: Tensor) -> Tensor:
    """Smoothness penalty of a plane.

    Args:
        plane: `[n_v, n_u, C]`.
    Returns:
        The scalar `2 * (mean squared difference along v + mean squared difference along u)`, differentiable. A side
        of length one adds nothing.
    Raises:
        ValueError: a plane that is not three-dimensional.
    """
    if plane.dim() != 3:
        raise ValueError(f"plane: expected [n_v, n_u, C], not {tuple(plane.shape)}")
    if backend.implementation("plane_tv", plane) == "reference":
        return reference.plane_tv(plane)
    return torch.ops.nerf_ssim.plane_tv(plane)


def line_tv(line: Tensor) -> Tensor:
    """Smoothness penalty of a line `[n, C]`: the scalar `2 * mean squared difference of neighbours`."""
    if line.dim() != 2:
        raise ValueError(f"line: expected [n, C], not {tuple(line.shape)}")
    return plane_tv(line[:, None])


def _register() -> None:
    """Tell PyTorch the shapes of the native operators and that one is the gradient of the other."""

    def save(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    def differentiate(ctx: Any, grad: Tensor) -> Tensor:
        return torch.ops.nerf_ssim.plane_tv_backward(grad, *ctx.saved_tensors)

    torch.library.register_fake("nerf_ssim::plane_tv", lambda plane: plane.new_empty(()))
    torch.library.register_fake("nerf_ssim::plane_tv_backward", lambda grad, plane: plane.new_empty(plane.shape))
    torch.library.register_autograd("nerf_ssim::plane_tv", differentiate, setup_context=save)


if backend.declare("plane_tv"):
    _register()
