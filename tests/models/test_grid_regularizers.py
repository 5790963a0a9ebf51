"""Total variation, L1 and orthogonality of the factorised grids, against loops over their elements."""

from __future__ import annotations

import itertools

import pytest
import torch

from nerf_ssim.models.parts.grids import CPGrid, VMGrid


@pytest.fixture(params=[VMGrid, CPGrid])
def grid(request):
    counts = [2, 3, 4] if request.param is VMGrid else [4]
    made = request.param.random([5, 4, 3], counts, torch.Generator().manual_seed(1))
    return made.double()


def explicit_tv(plane: torch.Tensor) -> float:
    """Over every neighbouring pair of texels of one `[rows, columns, channels]` plane; a line is one column."""
    rows, columns, channels = plane.shape
    vertical = [(plane[r + 1, c] - plane[r, c]).square().sum() for r in range(rows - 1) for c in range(columns)]
    horizontal = [(plane[r, c + 1] - plane[r, c]).square().sum() for r in range(rows) for c in range(columns - 1)]
    total = 0.0
    for pairs in (vertical, horizontal):
        if pairs:
            total += sum(pairs).item() / (len(pairs) * channels)
    return 2 * total


def test_total_variation_is_the_mean_squared_difference_of_neighbours(grid):
    if isinstance(grid, VMGrid):
        expected = 1e-2 * sum(explicit_tv(plane) for plane in grid.planes)
    else:
        expected = 1e-3 * sum(explicit_tv(line[:, None]) for line in grid.lines)
    assert grid.total_variation().item() == pytest.approx(expected, rel=1e-12)


def test_total_variation_of_a_constant_is_zero_and_has_no_gradient():
    flat = VMGrid([torch.full((4, 5, 2), 0.3)] * 3, [torch.full((3, 2), 0.1)] * 3)
    value = flat.total_variation()
    value.backward()
    assert value == 0 and not any(plane.grad.any() for plane in flat.planes)


def test_l1_is_the_sum_of_each_tensors_mean_size(grid):
    tensors = list(grid.parameters())
    expected = sum(sum(abs(v) for v in t.flatten().tolist()) / t.numel() for t in tensors)
    assert grid.l1().item() == pytest.approx(expected, rel=1e-12)
    assert len(tensors) == (6 if isinstance(grid, VMGrid) else 3)


def test_orthogonality_is_the_mean_size_of_products_of_different_components(grid):
    expected = 0.0
    for line in grid.lines:
        pairs = list(itertools.permutations(range(line.shape[1]), 2))
        expected += sum(abs((line[:, a] @ line[:, b]).item()) for a, b in pairs) / len(pairs)
    assert grid.orthogonality().item() == pytest.approx(expected, rel=1e-12)


def test_orthogonal_lines_cost_nothing_and_parallel_ones_do():
    eye, ones = torch.eye(3), torch.ones(3, 3)
    assert CPGrid([eye] * 3).orthogonality().item() == 0
    assert CPGrid([ones] * 3).orthogonality().item() == pytest.approx(9.0)
