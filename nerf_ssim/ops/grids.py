"""Factorised grids sampled at packed points: density and appearance features of the VM and CP decompositions.

Source: Chen et al. 2022, "TensoRF: Tensorial Radiance Fields", section 4. Interpolation is (bi)linear with corners
aligned: coordinate -1 is the first node, 1 the last, and the grid is zero beyond, as in `grid_sample`.
On a GPU gradients are added up with atomics, in a fixed order under `torch.use_deterministic_algorithms`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops.calls import GradientCall
from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import uniform
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
    if not _is_one_grid(planes, lines):
        return reference.vm_density(planes, lines, coords)
    return VM_DENSITY(*planes, *lines, coords)


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
    if not _is_one_grid(planes, lines):
        return reference.vm_features(planes, lines, coords)
    return VM_FEATURES(*planes, *lines, coords)


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
    if not _is_one_grid(planes, lines):
        return reference.vm_basis_features(planes, lines, basis, coords)
    return VM_BASIS_FEATURES(*planes, *lines, basis, coords)


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
    return CP_DENSITY(*lines, coords)


def cp_features(lines: Sequence[Tensor], coords: Tensor) -> Tensor:
    """Appearance features of the CP decomposition: the product of the three lines, `[S, C]`; see `cp_density`."""
    _check_cp(lines, coords)
    return CP_FEATURES(*lines, coords)


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


def _is_one_grid(planes: Sequence[Tensor], lines: Sequence[Tensor]) -> bool:
    """Whether the three orientations agree on each axis's number of nodes, as the kernels want it."""
    nodes = {axis: len(line) for axis, line in zip(reference.LINE_AXES, lines, strict=True)}
    return all(
        tuple(plane.shape[:2]) == (nodes[v], nodes[u])
        for plane, (u, v) in zip(planes, reference.PLANE_AXES, strict=True)
    )


def _example_coords(samples: int) -> Tensor:
    """Points inside the box, in the cell around it and beyond."""
    return uniform(samples, 3, low=-1.3, high=1.3, seed=7)


def _vm_examples(*, has_basis: bool = False) -> Iterator[tuple[Any, ...]]:
    grids = ((5, 7, 4), (3, 2, 4), 41), ((2, 1, 3), (1, 1, 1), 1), ((9, 6, 8), (16, 16, 16), 90)
    for (nx, ny, nz), channels, samples in grids:
        sides = ((ny, nx, nz), (nz, nx, ny), (nz, ny, nx))
        sizes = list(zip(sides, channels, strict=True))
        planes = [uniform(n_v, n_u, c, low=-1, seed=m) for m, ((n_v, n_u, _), c) in enumerate(sizes)]
        lines = [uniform(n_w, c, low=-1, seed=3 + m) for m, ((_, _, n_w), c) in enumerate(sizes)]
        basis = (uniform(5, sum(channels), low=-1, seed=6),) if has_basis else ()
        yield *planes, *lines, *basis, _example_coords(samples)


def _cp_examples() -> Iterator[tuple[Any, ...]]:
    for nodes, channels, samples in (((5, 7, 4), 3, 41), ((2, 1, 3), 1, 1), ((9, 6, 8), 16, 90)):
        yield *(uniform(n, channels, low=-1, seed=axis) for axis, n in enumerate(nodes)), _example_coords(samples)


def _grid_op(
    name: str,
    grids: str,
    of_grids: Callable[..., Tensor],
    width: Callable[..., tuple[int, ...]],
    examples: Callable[[], Iterator[tuple[Any, ...]]],
) -> Op:
    """An op on grids and points, with a gradient in the grids and none in the points.

    Args:
        grids: names of the grids in the schema, separated by ", ".
        of_grids: the reference, given the grids and the points.
        width: shape of what a sample has, given the grids.
    """
    names = grids.split(", ")
    arguments = ", ".join(f"Tensor {each}" for each in (*names, "coords"))
    gradients = ", ".join("Tensor" for _ in names)

    def shapes(*inputs: Tensor) -> Tensor:
        return inputs[-1].new_empty(inputs[-1].shape[:1] + width(*inputs[:-1]))

    def gradient_shapes(grad: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(grid, memory_format=torch.contiguous_format) for grid in inputs[:-1])

    def gradient(call: GradientCall) -> Sequence[Tensor]:
        return getattr(torch.ops.nerf_ssim, f"{name}_backward")(*call.upstream, *call.args)

    return declare(
        Op(
            name=name,
            operators={
                f"{name}({arguments}) -> Tensor": shapes,
                f"{name}_backward(Tensor grad, {arguments}) -> ({gradients})": gradient_shapes,
            },
            reference=of_grids,
            differentiable=tuple(names),
            gradient=gradient,
            first_derivative_only=True,  # of grid_sample too, which the reference uses
            examples=examples,
        )
    )


_VM = "plane_xy, plane_xz, plane_yz, line_z, line_y, line_x"
_CP = "line_x, line_y, line_z"

VM_DENSITY = _grid_op(
    "vm_density", _VM, lambda *t: reference.vm_density(t[:3], t[3:6], t[6]), lambda *grids: (), _vm_examples
)
VM_FEATURES = _grid_op(
    "vm_features",
    _VM,
    lambda *t: reference.vm_features(t[:3], t[3:6], t[6]),
    lambda *grids: (sum(plane.shape[2] for plane in grids[:3]),),
    _vm_examples,
)
VM_BASIS_FEATURES = _grid_op(
    "vm_basis_features",
    f"{_VM}, basis",
    lambda *t: reference.vm_basis_features(t[:3], t[3:6], t[6], t[7]),
    lambda *grids: (grids[6].shape[0],),
    lambda: _vm_examples(has_basis=True),
)
CP_DENSITY = _grid_op("cp_density", _CP, lambda *t: reference.cp_density(t[:3], t[3]), lambda *grids: (), _cp_examples)
CP_FEATURES = _grid_op(
    "cp_features", _CP, lambda *t: reference.cp_features(t[:3], t[3]), lambda x, *_: (x.shape[1],), _cp_examples
)
