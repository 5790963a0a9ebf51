"""The factorised grids against their definition, and the native kernels against the specification."""

import pytest
import torch
from native_parity import assert_equal_to_rounding, require_native, threads, value_and_gradients

from nerf_ssim.ops import grids
from nerf_ssim.ops.reference import grids as reference

OPS = ("vm_density", "vm_features", "vm_basis_features", "cp_density", "cp_features")
OUTPUTS = 27  # of the basis


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


def make_parameters(op, nodes, channels, dtype=torch.float32, outputs=OUTPUTS):
    """The tensors that `op` is differentiable in, in its own order."""
    planes, lines = make_grids(nodes, channels, dtype)
    if op == "vm_basis_features":
        generator = torch.Generator().manual_seed(2)
        basis = torch.randn(outputs, sum(channels), generator=generator, dtype=dtype).requires_grad_()
        return [*planes, *lines, basis]
    return [*planes, *lines] if op.startswith("vm") else lines


def call(module, op, parameters, coords):
    function = getattr(module, op)
    if op.startswith("vm"):
        return function(parameters[:3], parameters[3:6], *parameters[6:], coords)
    return function(parameters, coords)


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


@pytest.mark.slow
@pytest.mark.parametrize("op", OPS)
def test_reference_gradient_is_right_in_float64(op):
    parameters = make_parameters(op, (3, 2, 4), (2, 2, 2), torch.float64, outputs=3)
    coords = (make_coords(6) * 0.7).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *inputs: call(reference, op, inputs[:-1], inputs[-1]), (*parameters, coords))


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_features_in_a_basis_are_the_features_times_the_basis(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    *grid, basis = make_parameters("vm_basis_features", (5, 6, 7), (48, 48, 48))
    coords = make_coords(300)
    expected = grids.vm_features(grid[:3], grid[3:], coords).double() @ basis.double().T
    actual = grids.vm_basis_features(grid[:3], grid[3:], basis, coords)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    ("nodes", "channels", "samples", "outputs"),
    [
        ((7, 5, 9), (16, 16, 16), 5000, 27),
        ((6, 8, 7), (48, 48, 48), 3000, 27),
        ((1, 2, 3), (5, 5, 5), 4000, 1),
        ((4, 4, 4), (16, 16, 16), 1, 12),
        ((4, 4, 4), (48, 48, 48), 0, 27),
        ((2, 3, 2), (33, 33, 33), 257, 40),
        ((30, 28, 31), (16, 16, 16), 2100, 5),
    ],
)
@pytest.mark.parametrize("op", OPS)
def test_native_equals_float64_reference(op, nodes, channels, samples, outputs, n_threads):
    require_native(op)
    parameters = make_parameters(op, nodes, channels, outputs=outputs)
    coords = make_coords(samples)
    doubles = [p.detach().double().requires_grad_() for p in parameters]
    with threads(n_threads):
        actual = value_and_gradients(lambda: call(grids, op, parameters, coords), parameters)
    exact = value_and_gradients(lambda: call(reference, op, doubles, coords.double()), doubles)
    assert_equal_to_rounding(actual, exact, 1e-5)


@pytest.mark.parametrize("op", OPS)
def test_gradients_under_deterministic_algorithms_equal_the_reference(op):
    require_native(op)
    channels = (16, 8, 5) if op.startswith("vm") else (6, 6, 6)
    parameters, coords = make_parameters(op, (6, 5, 7), channels), make_coords(300)
    exact = value_and_gradients(lambda: call(reference, op, parameters, coords), parameters)
    torch.use_deterministic_algorithms(True)
    try:
        first, again = (value_and_gradients(lambda: call(grids, op, parameters, coords), parameters) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert_equal_to_rounding(first, exact, 1e-5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("op", ["vm_density", "vm_features", "vm_basis_features"])
def test_orientations_may_have_different_numbers_of_components(op):
    require_native(op)
    parameters, coords = make_parameters(op, (4, 5, 6), (16, 3, 9)), make_coords(500)
    actual = value_and_gradients(lambda: call(grids, op, parameters, coords), parameters)
    exact = value_and_gradients(lambda: call(reference, op, parameters, coords), parameters)
    assert_equal_to_rounding(actual, exact, 1e-5)


@pytest.mark.parametrize("op", OPS)
def test_gradients_are_bit_identical_for_one_number_of_threads(op):
    require_native(op)
    parameters = make_parameters(op, (9, 9, 9), (16, 16, 16))
    coords = make_coords(20000)
    with threads(2):
        first, second = (value_and_gradients(lambda: call(grids, op, parameters, coords), parameters) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("op", OPS)
def test_native_takes_non_contiguous_input(op):
    require_native(op)
    parameters, coords = make_parameters(op, (4, 5, 6), (16, 16, 16)), make_coords(100)
    strided = [p.transpose(0, 1).contiguous().transpose(0, 1) for p in parameters]
    assert not strided[0].is_contiguous()
    actual = value_and_gradients(lambda: call(grids, op, strided, coords.T.contiguous().T), strided)
    expected = value_and_gradients(lambda: call(grids, op, parameters, coords), parameters)
    assert all(torch.equal(a, e) for a, e in zip(actual, expected, strict=True))


def test_gradient_with_respect_to_points_is_served():
    planes, lines = make_grids((4, 5, 6), (16, 16, 16))
    coords = (make_coords(30) * 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(grids.vm_density(planes, lines, coords).sum(), coords)
    assert gradient.abs().sum() > 0


def test_a_point_that_is_not_a_number_reads_no_memory():
    planes, lines = make_grids((4, 5, 6), (16, 16, 16))
    grids.vm_density(planes, lines, torch.tensor([[float("nan"), float("inf"), -float("inf")]]))


@pytest.mark.slow
@pytest.mark.parametrize("op", OPS)
def test_native_operator_passes_opcheck(op):
    require_native(op)
    parameters = make_parameters(op, (3, 4, 5), (4, 4, 4))
    torch.library.opcheck(getattr(torch.ops.nerf_ssim, op).default, (*parameters, make_coords(30)))


def test_wrong_shapes_are_refused():
    planes, lines = make_grids((3, 3, 3), (2, 2, 2))
    coords = make_coords(4)
    for arguments in ((planes[:2], lines, coords), (planes, lines[:2], coords), (planes, lines, coords[:, :2])):
        with pytest.raises(ValueError):
            grids.vm_density(*arguments)
    with pytest.raises(ValueError):
        grids.cp_density(planes, coords)
    with pytest.raises(ValueError):
        grids.vm_basis_features(planes, lines, torch.zeros(3, 5), coords)
