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

MOST_PLANES = 3
"""The most planes that a native call takes: those of a grid."""


def planes_tv(planes: Sequence[Tensor], scale: float = 1.0, weight: float = 1.0) -> Tensor:
    """Smoothness penalty of a grid's planes, as a loss term.

    Args:
        planes: one to three `[n_v, n_u, C]`.
        scale, weight: the sum is multiplied by the first and then by the second.
    Returns:
        `scale * weight` times the sum over planes of `2 * (mean squared difference along v + mean squared difference
        along u)`, a differentiable scalar. A side of length one adds nothing.
    Raises:
        ValueError: a plane that is not three-dimensional, or another number of planes.
    """
    if not 1 <= len(planes) <= MOST_PLANES:
        raise ValueError(f"planes: expected one to {MOST_PLANES}, not {len(planes)}")
    for plane in planes:
        if plane.dim() != 3:
            raise ValueError(f"plane: expected [n_v, n_u, C], not {tuple(plane.shape)}")
    return PLANES_TV(list(planes), [scale, weight])


def plane_tv(plane: Tensor) -> Tensor:
    """Smoothness penalty of one plane `[n_v, n_u, C]`; see `planes_tv`."""
    return planes_tv((plane,))


def line_tv(line: Tensor) -> Tensor:
    """Smoothness penalty of a line `[n, C]`: the scalar `2 * mean squared difference of neighbours`."""
    return planes_tv((as_plane(line),))


def as_plane(line: Tensor) -> Tensor:
    """A line `[n, C]` as a plane of width one, which has the same penalty."""
    if line.dim() != 2:
        raise ValueError(f"line: expected [n, C], not {tuple(line.shape)}")
    return line[:, None]


def _gradient(call: GradientCall) -> Sequence[Tensor]:
    return torch.ops.nerf_ssim.planes_tv_backward(*call.upstream, *call.args)


def _examples() -> Iterator[tuple[list[Tensor], list[float]]]:
    for shapes, factors in (
        (((5, 7, 3), (1, 4, 2)), [0.5, 3.0]),
        (((33, 1, 16),), [1.0, 1.0]),
        (((4, 5, 8), (6, 4, 8), (5, 6, 4)), [1e-2, 0.1]),
    ):
        yield [uniform(*shape, seed=seed) for seed, shape in enumerate(shapes)], factors


PLANES_TV = declare(
    Op(
        name="planes_tv",
        operators={
            "planes_tv(Tensor[] planes, float[] factors) -> Tensor": lambda planes, _: planes[0].new_empty(()),
            "planes_tv_backward(Tensor grad, Tensor[] planes, float[] factors) -> Tensor[]": (
                lambda _, planes, factors: [plane.new_empty(plane.shape) for plane in planes]
            ),
        },
        reference=reference.planes_tv,
        differentiable=("planes",),
        gradient=_gradient,
        examples=_examples,
    )
)
