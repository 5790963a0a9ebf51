"""Dense voxel grids sampled at packed points, as DVGO stores density and colour features.

Interpolation is trilinear with corners aligned: coordinate -1 is the first node, 1 the last, and the grid is zero
beyond, as in `grid_sample`. Source: Sun et al. 2022, "Direct Voxel Grid Optimization", section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops.calls import GradientCall
from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import uniform
from nerf_ssim.ops.reference import voxels as reference

RUN = 64  # floats of a line along z that the optimiser takes together, kVoxelRun in the kernels


class GradientPool:
    """Keeps one cleared gradient of a large grid for the next backward pass, and where the present one is not zero.

    A 320^3 grid of 12 channels has a gradient of 1.6 GB: fresh pages for it each step cost more than the step's
    arithmetic, and so does looking through it for the few voxels that samples touch. `voxel_features` takes the kept
    tensor for its gradient and notes what it touches; whoever has used and cleared the gradient gives it back.

    Example:
        >>> pool = GradientPool()
        >>> voxel_features(grid, coords, pool=pool).sum().backward()
        >>> voxel_adam_step(grid.data, grid.grad, ..., touched=pool.touched(grid.grad))  # leaves the gradient cleared
        >>> pool.give(grid.grad)
        >>> grid.grad = None
    """

    def __init__(self) -> None:
        self._kept: Tensor | None = None
        self._touched: Tensor | None = None
        self._made = (0, 0)  # address and version of the gradient that `_touched` is about

    def gradient(self, grid: Tensor, coords: Tensor, upstream: Tensor) -> Tensor:
        """The gradient of `voxel_features(grid, coords)`, in the kept tensor where that fits."""
        gradient, self._kept = self._kept, None
        if gradient is None or (gradient.shape, gradient.device) != (grid.shape, grid.device):
            gradient = torch.zeros_like(grid, memory_format=torch.contiguous_format)
        self._touched = self._no_runs_of(gradient)
        torch.ops.nerf_ssim.add_voxel_features_gradient(gradient, upstream, coords, self._touched)
        self._made = gradient.data_ptr(), gradient._version
        return gradient

    def touched(self, gradient: Tensor) -> Tensor | None:
        """Which runs of RUN elements of `gradient`'s z-lines may hold something else than zeros: uint8 `[X, Y, runs]`.

        None where this is not known: of tensors that the pool did not make last, or that were written to since.
        """
        return self._touched if (gradient.data_ptr(), gradient._version) == self._made else None

    def give(self, cleared: Tensor) -> None:
        """Keep `cleared`, which must be contiguous and hold zeros only, for the next gradient."""
        self._kept = cleared.detach()

    def _no_runs_of(self, gradient: Tensor) -> Tensor:
        """Zeros to note in what `gradient` has been touched, in the memory of the last ones if they fit."""
        *nodes, depth, channels = gradient.shape
        shape = (*nodes, -(-depth * channels // RUN))
        if self._touched is not None and (self._touched.shape, self._touched.device) == (shape, gradient.device):
            return self._touched.zero_()
        return gradient.new_zeros(shape, dtype=torch.uint8)


def voxel_features(grid: Tensor, coords: Tensor, *, pool: GradientPool | None = None) -> Tensor:
    """Trilinear samples of a dense grid.

    Args:
        grid: `[X, Y, Z, C]`.
        coords: points `[S, 3]` in [-1, 1] of the grid's box, ordered x, y, z.
        pool: what the native backward pass makes the grid's gradient with; None for new memory.
    Returns:
        `[S, C]`, differentiable in `grid`; samples outside the box fade to 0 over one cell.
    Raises:
        ValueError: a grid or points of another shape.
    """
    if grid.dim() != 4 or min(grid.shape[:3]) < 1:
        raise ValueError(f"grid: expected [X, Y, Z, C] with nodes along each axis, not {tuple(grid.shape)}")
    if coords.dim() != 2 or coords.shape[1] != 3:
        raise ValueError(f"coords: expected [S, 3], not {tuple(coords.shape)}")
    return VOXEL_FEATURES(grid, coords, resource=pool)


def resize_volume(grid: Tensor, size: Sequence[int]) -> Tensor:
    """Resample a grid `[X, Y, Z, C]` trilinearly to `[*size, C]`, contiguous, its corners those of `grid`.

    It is differentiable.

    Raises:
        ValueError: a grid that is not four-dimensional, or a size below one.
    """
    if grid.dim() != 4 or len(size) != 3 or min(size) < 1:
        shapes = f"{tuple(grid.shape)} and {tuple(size)}"
        raise ValueError(f"expected a grid [X, Y, Z, C] and a size of at least one node an axis, not {shapes}")
    return reference.resize_volume(grid, size)


@torch.no_grad()
def nearest_occupied(mask: Tensor, coords: Tensor) -> Tensor:
    """What a mask holds at the nodes nearest to points.

    Args:
        mask: `[X, Y, Z]` bool.
        coords: points `[n, 3]` in [-1, 1] of the mask's box.
    Returns:
        `[n]` bool, False for points nearest to no node: half a cell or more outside the box.
    Raises:
        ValueError: a mask or points of another shape or type.
    """
    if mask.dim() != 3 or mask.dtype != torch.bool or coords.dim() != 2 or coords.shape[1] != 3:
        shapes = f"{tuple(mask.shape)} {mask.dtype} and {tuple(coords.shape)}"
        raise ValueError(f"expected a mask [X, Y, Z] bool and coords [n, 3], not {shapes}")
    return reference.nearest_occupied(mask, coords)


def _gradient(call: GradientCall) -> Sequence[Tensor]:
    grid, coords = call.args
    (upstream,) = call.upstream
    if call.resource is not None:
        return (call.resource.gradient(grid, coords, upstream),)
    gradient = torch.zeros_like(grid, memory_format=torch.contiguous_format)
    torch.ops.nerf_ssim.add_voxel_features_gradient(gradient, upstream, coords, None)
    return (gradient,)


def _examples() -> Iterator[tuple[Any, ...]]:
    for shape, samples in (((5, 7, 6, 12), 41), ((1, 2, 1, 3), 1), ((9, 4, 8, 1), 90)):
        yield uniform(*shape, low=-1), uniform(samples, 3, low=-1.3, high=1.3, seed=7)


VOXEL_FEATURES = declare(
    Op(
        name="voxel_features",
        operators={
            "voxel_features(Tensor grid, Tensor coords) -> Tensor": (
                lambda grid, coords: grid.new_empty(coords.shape[0], grid.shape[3])
            ),
            "add_voxel_features_gradient(Tensor(a!) gradient, Tensor grad, Tensor coords, Tensor(b!)? touched) -> ()": (
                lambda *_: None
            ),
        },
        reference=reference.voxel_features,
        differentiable=("grid",),
        gradient=_gradient,
        first_derivative_only=True,  # of grid_sample too, which the reference uses
        examples=_examples,
    )
)
