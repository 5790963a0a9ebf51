"""Factorised grids sampled at packed points: density and appearance features of the VM and CP decompositions.

Source: Chen et al. 2022, "TensoRF: Tensorial Radiance Fields", section 4. Interpolation is (bi)linear with corners
aligned: coordinate -1 is the first node, 1 the last, and the grid is zero beyond, as in `grid_sample`.
On a GPU gradients are added up with atomics, in a fixed order under `torch.use_deterministic_algorithms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops import backend
from nerf_ssim.ops.reference import grids as reference


def vm_density(planes: Sequence[Tensor], lines: Sequence[Tensor], coords: Tensor) -> Tensor:
    """Density feature of the vector-matrix decomposition.

    Args:
        planes: three planes `[n_v, n_u, C_m]` over the axes (u, v) = (x, y), (x, z), (y, z).
        lines: their three lines `[n_w, C_m]` along w = z, y, x.
        coords: points `[S, 3]` in [-1, 1] of the grid's box, ordered x, y, z.
    Returns:
        Sum over orientations and components of plane times line, `[S]`, differentiable in the grids.
    Raises:
        ValueError: grids or points of other shapes.
    """
    _check_vm(planes, lines, coords)
    if not _is_native_vm("vm_density", planes, lines, coords):
        return reference.vm_density(planes, lines, coords)
    return torch.ops.nerf_ssim.vm_density(*planes, *lines, coords)


def vm_features(planes: Sequence[Tensor], lines: Sequence[Tensor], coords: Tensor) -> Tensor:
    """Appearance features of the vector-matrix decomposition, one a component.

    Args:
        planes, lines, coords: as for `vm_density`.
    Returns:
        Plane times line of each component, orientations one after the other, `[S, C_0 + C_1 + C_2]`.
    Raises:
        ValueError: grids or points of other shapes.
    """
    _check_vm(planes, lines, coords)
    if not _is_native_vm("vm_features", planes, lines, coords):
        return reference.vm_features(planes, lines, coords)
    return torch.ops.nerf_ssim.vm_features(*planes, *lines, coords)


def vm_basis_features(planes: Sequence[Tensor], lines: Sequence[Tensor], basis: Tensor, coords: Tensor) -> Tensor:
    """Appearance features of the vector-matrix decomposition in a basis: `vm_features(…) @ basis.T`, never stored.

    Args:
        planes, lines, coords: as for `vm_density`.
        basis: `[outputs, C_0 + C_1 + C_2]`, the weight of a linear layer without bias.
    Returns:
        `[S, outputs]`, differentiable in the grids and the basis.
    Raises:
        ValueError: grids, basis or points of other shapes.
    Source: TensoRF's appearance matrix B, equation 9.
    """
    _check_vm(planes, lines, coords)
    width = sum(line.shape[1] for line in lines)
    if basis.dim() != 2 or basis.shape[1] != width:
        raise ValueError(f"basis: expected [outputs, {width}], not {tuple(basis.shape)}")
    if not _is_native_vm("vm_basis_features", planes, lines, coords, basis):
        return reference.vm_basis_features(planes, lines, basis, coords)
    return torch.ops.nerf_ssim.vm_basis_features(*planes, *lines, basis, coords)


def cp_density(lines: Sequence[Tensor], coords: Tensor) -> Tensor:
    """Density feature of the CP decomposition.

    Args:
        lines: three lines `[n, C]` along x, y, z, of one C.
        coords: points `[S, 3]` in [-1, 1] of the grid's box.
    Returns:
        Sum over components of the product of the three lines, `[S]`, differentiable in the lines.
    Raises:
        ValueError: lines or points of other shapes.
    """
    _check_cp(lines, coords)
    if not _is_native("cp_density", lines, coords):
        return reference.cp_density(lines, coords)
    return torch.ops.nerf_ssim.cp_density(*lines, coords)


def cp_features(lines: Sequence[Tensor], coords: Tensor) -> Tensor:
    """Appearance features of the CP decomposition: the product of the three lines, `[S, C]`; see `cp_density`."""
    _check_cp(lines, coords)
    if not _is_native("cp_features", lines, coords):
        return reference.cp_features(lines, coords)
    return torch.ops.nerf_ssim.cp_features(*lines, coords)


def _check_vm(planes: Sequence[Tensor], lines: Sequence[Tensor], coords: Tensor) -> None:
    _check_coords(coords)
    if len(planes) != 3 or len(lines) != 3:
        raise ValueError(f"expected three planes and three lines, not {len(planes)} and {len(lines)}")
    for plane, line in zip(planes, lines, strict=True):
        if plane.dim() != 3 or line.dim() != 2 or plane.shape[2] != line.shape[1]:
            shapes = f"{tuple(plane.shape)} and {tuple(line.shape)}"
            raise ValueError(f"expected a plane [n_v, n_u, C] and its line [n_w, C], not {shapes}")


def _check_cp(lines: Sequence[Tensor], coords: Tensor) -> None:
    _check_coords(coords)
    shapes = [tuple(line.shape) for line in lines]
    if len(lines) != 3 or any(len(shape) != 2 or shape[1] != shapes[0][1] for shape in shapes):
        raise ValueError(f"expected three lines [n, C] of one C, not {shapes}")


def _check_coords(coords: Tensor) -> None:
    if coords.dim() != 2 or coords.shape[1] != 3:
        raise ValueError(f"coords: expected [S, 3], not {tuple(coords.shape)}")


def _is_native(op: str, grids: Sequence[Tensor], coords: Tensor) -> bool:
    """The kernels know no gradient in the points: where one is wanted, the reference serves."""
    wants_point_gradient = coords.requires_grad and torch.is_grad_enabled()
    return not wants_point_gradient and backend.implementation(op, *grids, coords) == "native"


def _is_native_vm(op: str, planes: Sequence[Tensor], lines: Sequence[Tensor], coords: Tensor, *others: Tensor) -> bool:
    """The kernels want one number of nodes an axis in all three orientations."""
    nodes = {axis: len(line) for axis, line in zip(reference.LINE_AXES, lines, strict=True)}
    is_one_grid = all(
        tuple(plane.shape[:2]) == (nodes[v], nodes[u])
        for plane, (u, v) in zip(planes, reference.PLANE_AXES, strict=True)
    )
    return is_one_grid and _is_native(op, (*planes, *lines, *others), coords)


def _register(op: str, out_width: Any) -> None:
    """Tell PyTorch the output shape of native `op` and of its backward, and that one is the gradient of the other."""
    backward = getattr(torch.ops.nerf_ssim, f"{op}_backward")

    def shape_only(*inputs: Tensor) -> Tensor:
        width = out_width(inputs)
        return inputs[-1].new_empty(inputs[-1].shape[:1] + width)

    def backward_shape_only(grad: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(grid, memory_format=torch.contiguous_format) for grid in inputs[:-1])

    def save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    def differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (*backward(grad, *ctx.saved_tensors), None)

    torch.library.register_fake(f"nerf_ssim::{op}", shape_only)
    torch.library.register_fake(f"nerf_ssim::{op}_backward", backward_shape_only)
    torch.library.register_autograd(f"nerf_ssim::{op}", differentiate, setup_context=save)


_WIDTHS = {
    "vm_density": lambda inputs: (),
    "vm_features": lambda inputs: (sum(plane.shape[2] for plane in inputs[:3]),),
    "vm_basis_features": lambda inputs: (inputs[6].shape[0],),
    "cp_density": lambda inputs: (),
    "cp_features": lambda inputs: (inputs[0].shape[1],),
}
for _op, _width in _WIDTHS.items():
    if backend.declare(_op):
        _register(_op, _width)
