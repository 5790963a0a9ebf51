"""Total variation of the factorised grids.

Source: TensoRF's regulariser, without the factor 1e-2 that it applies outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from nerf_ssim.ops.calls import GradientCall
from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import uniform
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
    return PLANE_TV(plane)


def line_tv(line: Tensor) -> Tensor:
    """Smoothness penalty of a line `[n, C]`: the scalar `2 * mean squared difference of neighbours`."""
    if line.dim() != 2:
        raise ValueError(f"line: expected [n, C], not {tuple(line.shape)}")
    return plane_tv(line[:, None])


def _gradient(call: GradientCall) -> Sequence[Tensor]:
    return (torch.ops.nerf_ssim.plane_tv_backward(*call.upstream, *call.args),)


def _examples() -> Iterator[tuple[Tensor]]:
    for shape in ((5, 7, 3), (1, 4, 2), (33, 1, 16)):
        yield (uniform(*shape),)


PLANE_TV = declare(
    Op(
        name="plane_tv",
        operators={
            "plane_tv(Tensor plane) -> Tensor": lambda plane: plane.new_empty(()),
            "plane_tv_backward(Tensor grad, Tensor plane) -> Tensor": lambda _, plane: plane.new_empty(plane.shape),
        },
        reference=reference.plane_tv,
        differentiable=("plane",),
        gradient=_gradient,
        examples=_examples,
    )
)
