"""The factorised grids against their definition, and the native kernels against the specification."""

import pytest
import torch
from native_parity import assert_equal_to_rounding, require_native, threads, value_and_gradients

from nerf_ssim.ops import grids
from nerf_ssim.ops.reference import grids as reference

OPS = ("vm_density", "vm_features", "cp_density", "cp_features")


def make_grids(nodes, channels, dtype=torch.float32, seed=0):
    """Planes and lines with `nodes` along x, y, z and `channels` in each orientation."""
    x, y, z = nodes
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    planes = [random(v, u, c) for (v, u), c in zip(((y, x), (z, x), (z, y)), channels, strict=True)]
    lines = [random(n, c) for n, c in zip((z, y, x), channels, strict=True)]
    return planes, lines


def make_coords(samples, seed=1):
    """Points of which some are outside the box, some on its faces and some in its corners."""
    generator = torch.Generator().manual_seed(seed)
    coords = torch.rand(samples, 3, generator=generator) * 2.6 - 1.3
    if samples > 20:
        coords[:10] = coords[:10].sign()
        coords[10:15, 1] = 1.0
        coords[15] = torch.tensor([5.0, -1e9, 0.0])
        coords[16:20] = -1.0 - 1e-3
    return coords


def call(module, op, planes, lines, coords):
    function = getattr(module, op)
    return function(planes, lines, coords) if op.startswith("vm") else function(lines, coords)


def linear(line, w):
    """Value of a line at one coordinate, straight from the definition."""
    position = (w + 1) / 2 * (len(line) - 1)
    return sum(line[i] * max(0.0, 1 - abs(position - i)) for i in range(len(line)))


def bilinear(plane, u, v):
    return linear(torch.stack([linear(row, u) for row in plane]), v)


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_vm_features_are_plane_times_line_of_each_component(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    planes, lines = make_grids((3, 4, 5), (2, 3, 1))
    coords = torch.tensor([[0.3, -0.7, 0.9], [-1.0, 1.0, -0.2], [1.1, 0.0, 0.0]])
    features = grids.vm_features(planes, lines, coords)
    for s, (x, y, z) in enumerate(coords.double().tolist()):
        exact = [
            bilinear(planes[0].double(), x, y) * linear(lines[0].double(), z),
            bilinear(planes[1].double(), x, z) * linear(lines[1].double(), y),
            bilinear(planes[2].double(), y, z) * linear(lines[2].double(), x),
        ]
        torch.testing.assert_close(features[s].double(), torch.cat(exact), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grids.vm_density(planes, lines, coords), features.sum(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_cp_features_are_the_product_of_three_lines(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    lines = [torch.randn(n, 5) for n in (4, 2, 3)]
    coords = torch.tensor([[0.3, -0.7, 0.9], [1.0, 1.0, -1.0]])
    features = grids.cp_features(lines, coords)
    for s, point in enumerate(coords.double().tolist()):
        x, y, z = (linear(line.double(), w) for line, w in zip(lines, point, strict=True))
        torch.testing.assert_close(features[s].double(), x * y * z, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grids.cp_density(lines, coords), features.sum(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", OPS)
def test_reference_gradient_is_right_in_float64(op):
    planes, lines = make_grids((3, 2, 4), (2, 2, 2), torch.float64)
    coords = (make_coords(6) * 0.7).double().requires_grad_()
    parameters = (*planes, *lines) if op.startswith("vm") else tuple(lines)

    def function(*inputs):
        *values, points = inputs
        return call(reference, op, values[:-3], values[-3:], points)

    assert torch.autograd.gradcheck(function, (*parameters, coords))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    ("nodes", "channels", "samples"),
    [
        ((7, 5, 9), (16, 16, 16), 5000),
        ((6, 8, 7), (48, 48, 48), 3000),
        ((1, 2, 3), (5, 5, 5), 4000),
        ((4, 4, 4), (16, 16, 16), 1),
        ((4, 4, 4), (48, 48, 48), 0),
        ((2, 3, 2), (33, 33, 33), 257),
    ],
)
@pytest.mark.parametrize("op", OPS)
def test_native_equals_float64_reference(op, nodes, channels, samples, n_threads):
    require_native(op)
    planes, lines = make_grids(nodes, channels)
    coords = make_coords(samples)
    parameters = (*planes, *lines) if op.startswith("vm") else lines
    doubles = [p.detach().double().requires_grad_() for p in parameters]
    with threads(n_threads):
        actual = value_and_gradients(lambda: call(grids, op, planes, lines, coords), parameters)
    exact = value_and_gradients(lambda: call(reference, op, doubles[:-3], doubles[-3:], coords.double()), doubles)
    assert_equal_to_rounding(actual, exact, 1e-5)


@pytest.mark.parametrize("op", OPS)
def test_gradients_under_deterministic_algorithms_equal_the_reference(op):
    require_native(op)
    planes, lines = make_grids((6, 5, 7), (16, 8, 5) if op.startswith("vm") else (6, 6, 6))
    coords = make_coords(300)
    parameters = (*planes, *lines) if op.startswith("vm") else lines
    exact = value_and_gradients(lambda: call(reference, op, planes, lines, coords), parameters)
    torch.use_deterministic_algorithms(True)
    try:
        first, again = (
            value_and_gradients(lambda: call(grids, op, planes, lines, coords), parameters) for _ in range(2)
        )
    finally:
        torch.use_deterministic_algorithms(False)
    assert_equal_to_rounding(first, exact, 1e-5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_orientations_may_have_different_numbers_of_components():
    require_native("vm_features")
    planes, lines = make_grids((4, 5, 6), (16, 3, 9))
    coords = make_coords(500)
    for op in ("vm_density", "vm_features"):
        actual = value_and_gradients(lambda op=op: call(grids, op, planes, lines, coords), (*planes, *lines))
        exact = value_and_gradients(lambda op=op: call(reference, op, planes, lines, coords), (*planes, *lines))
        assert_equal_to_rounding(actual, exact, 1e-5)


@pytest.mark.parametrize("op", OPS)
def test_gradients_are_bit_identical_for_one_number_of_threads(op):
    require_native(op)
    planes, lines = make_grids((9, 9, 9), (16, 16, 16))
    coords = make_coords(20000)
    parameters = (*planes, *lines) if op.startswith("vm") else lines
    with threads(2):
        first, second = (
            value_and_gradients(lambda: call(grids, op, planes, lines, coords), parameters) for _ in range(2)
        )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_native_takes_non_contiguous_input():
    require_native("vm_density")
    planes, lines = make_grids((4, 5, 6), (16, 16, 16))
    coords = make_coords(100)
    strided = [p.transpose(0, 1).contiguous().transpose(0, 1) for p in planes]
    assert not strided[0].is_contiguous()
    expected = grids.vm_density(planes, lines, coords)
    assert torch.equal(grids.vm_density(strided, lines, coords.T.contiguous().T), expected)


def test_gradient_with_respect_to_points_is_served():
    planes, lines = make_grids((4, 5, 6), (16, 16, 16))
    coords = (make_coords(30) * 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(grids.vm_density(planes, lines, coords).sum(), coords)
    assert gradient.abs().sum() > 0


def test_a_point_that_is_not_a_number_reads_no_memory():
    planes, lines = make_grids((4, 5, 6), (16, 16, 16))
    grids.vm_density(planes, lines, torch.tensor([[float("nan"), float("inf"), -float("inf")]]))


@pytest.mark.parametrize("op", OPS)
def test_native_operator_passes_opcheck(op):
    require_native(op)
    planes, lines = make_grids((3, 4, 5), (4, 4, 4))
    arguments = (*planes, *lines) if op.startswith("vm") else tuple(lines)
    torch.library.opcheck(getattr(torch.ops.nerf_ssim, op).default, (*arguments, make_coords(30)))


def test_wrong_shapes_are_refused():
    planes, lines = make_grids((3, 3, 3), (2, 2, 2))
    coords = make_coords(4)
    for arguments in ((planes[:2], lines, coords), (planes, lines[:2], coords), (planes, lines, coords[:, :2])):
        with pytest.raises(ValueError):
            grids.vm_density(*arguments)
    with pytest.raises(ValueError):
        grids.cp_density(planes, coords)
