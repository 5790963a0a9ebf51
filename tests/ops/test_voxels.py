"""Dense voxel grids: trilinear samples, their gradient, and the memory that it comes from."""

import pytest
import torch
from native_parity import WRONG_FLAGS, assert_equal_to_rounding, require_native, threads, value_and_gradients

from nerf_ssim.ops.reference import voxels as reference
from nerf_ssim.ops.voxels import RUN, GradientPool, nearest_occupied, resize_volume, voxel_features

SHAPES = [(5, 7, 6, 12), (4, 3, 9, 1), (6, 5, 4, 3), (1, 2, 1, 12), (1, 1, 1, 1), (33, 20, 41, 12), (3, 4, 5, 18)]


def random_grid(shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype).requires_grad_()


def random_coords(samples, extent=1.3, seed=1):
    """Points inside, in the fading cell around the box and beyond; the first ones on corners and sides, one NaN."""
    coords = (torch.rand(samples, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * extent
    special = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, 0, -1], [0, 0, 0], [-9, 0, 0], [0, 3e9, 0]])
    coords[: len(special)] = special[:samples]
    return coords


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_a_linear_function_is_reproduced_and_fades_over_one_cell(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    axes = [torch.linspace(-1, 1, n) for n in (4, 5, 9)]
    grid = torch.stack([*torch.meshgrid(*axes, indexing="ij"), torch.ones(4, 5, 9)], dim=-1)
    coords = random_coords(50, extent=1.0)[6:]
    sampled = voxel_features(grid, coords)
    torch.testing.assert_close(sampled[:, :3], coords)
    torch.testing.assert_close(sampled[:, 3], torch.ones(44))
    cell = 2 / 8
    outside = torch.tensor([[0.1, 0.1, 1 + 0.25 * cell], [0.1, 0.1, -1 - 0.75 * cell], [0.1, 0.1, 1 + 1.01 * cell]])
    torch.testing.assert_close(voxel_features(grid, outside)[:, 3], torch.tensor([0.75, 0.25, 0.0]))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("samples", [5000, 70, 1, 0])
@pytest.mark.parametrize("shape", SHAPES)
def test_native_features_equal_float64_reference(shape, samples, n_threads):
    require_native("voxel_features")
    grid, coords = random_grid(shape), random_coords(samples)
    exact_grid = grid.detach().double().requires_grad_()
    with threads(n_threads):
        actual = value_and_gradients(lambda: voxel_features(grid, coords), [grid])
    exact = value_and_gradients(lambda: reference.voxel_features(exact_grid, coords.double()), [exact_grid])
    assert_equal_to_rounding(actual, exact, 1e-5)


def test_points_that_are_not_numbers_sample_zero():
    require_native("voxel_features")
    coords = torch.tensor([[float("nan"), 0, 0], [float("inf"), 0, 0], [0, -float("inf"), 0]])
    assert voxel_features(torch.ones(3, 3, 3, 12), coords).abs().max() == 0


@pytest.mark.parametrize("channels", [1, 12])
def test_the_number_of_threads_changes_no_bit(channels):
    require_native("voxel_features")
    grid, coords, results = random_grid((20, 9, 11, channels)), random_coords(20_000), []
    for count in (1, 2, 5):
        with threads(count):
            results.append(value_and_gradients(lambda: voxel_features(grid, coords), [grid]))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_samples_without_gradient_leave_the_grids_gradient_at_zero(monkeypatch):
    grid, coords = random_grid((5, 5, 5, 1)), random_coords(300, extent=1.0)
    upstream = torch.zeros(300, 1)
    upstream[7] = 1.0
    (gradient,) = torch.autograd.grad(voxel_features(grid, coords), grid, upstream)
    assert int((gradient != 0).sum()) == 8 and float(gradient.sum()) == pytest.approx(1.0)


def test_reference_gradients_are_right_in_float64():
    coords = random_coords(12, extent=1.1)[6:].double().requires_grad_()
    assert torch.autograd.gradcheck(voxel_features, (random_grid((3, 4, 3, 2), torch.float64), coords))


def test_native_takes_non_contiguous_input():
    require_native("voxel_features")
    grid, coords = random_grid((5, 4, 6, 12)), random_coords(40)
    strided = grid.detach().permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0).requires_grad_()
    assert not strided.is_contiguous()
    actual = value_and_gradients(lambda: voxel_features(strided, coords.T.contiguous().T), [strided])
    expected = value_and_gradients(lambda: voxel_features(grid, coords), [grid])
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


def test_a_pool_gives_the_same_gradient_in_the_memory_that_was_given_back():
    require_native("voxel_features")
    grid, coords, pool = random_grid((5, 4, 6, 12)), random_coords(40), GradientPool()
    expected = value_and_gradients(lambda: voxel_features(grid, coords), [grid])
    voxel_features(grid, coords, pool=pool).sum().backward()
    first = grid.grad.data_ptr()
    pool.give(grid.grad.zero_())
    grid.grad = None
    actual = voxel_features(grid, coords, pool=pool)
    actual.backward(torch.linspace(-1, 1.5, actual.numel()).cos().reshape(actual.shape))
    assert grid.grad.data_ptr() == first
    assert torch.equal(actual, expected[0]) and torch.equal(grid.grad, expected[1])


def test_a_pool_makes_a_new_gradient_where_what_it_keeps_does_not_fit():
    require_native("voxel_features")
    pool, grid = GradientPool(), random_grid((2, 3, 4, 1))
    pool.give(torch.zeros(2, 3, 3, 1))
    voxel_features(grid, random_coords(40), pool=pool).sum().backward()
    assert grid.grad.shape == grid.shape


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("shape", [(9, 7, 40, 12), (5, 6, 300, 1), (3, 4, 5, 150), (1, 2, 1, 12)])
def test_a_pool_knows_exactly_which_runs_its_gradient_touches(shape, n_threads):
    require_native("voxel_features")
    pool, grid, line = GradientPool(), random_grid(shape), shape[2] * shape[3]
    for samples in (2500, 20):  # flags of the first gradient are gone in the second
        coords = random_coords(samples, extent=0.3)[6:]
        with threads(n_threads):
            gradient = pool.gradient(grid, coords, torch.ones(len(coords), shape[3]))
        lines = torch.nn.functional.pad(gradient.view(*shape[:2], line), (0, -line % RUN))
        expected = lines.unflatten(2, (-1, RUN)).ne(0).any(-1)
        assert torch.equal(pool.touched(gradient).bool(), expected)
        pool.give(gradient.zero_())


def test_a_pool_does_not_answer_for_a_gradient_that_was_changed_or_is_not_its_own():
    require_native("voxel_features")
    pool, grid, coords = GradientPool(), random_grid((5, 4, 6, 12)), random_coords(40)
    voxel_features(grid, coords, pool=pool).sum().backward()
    assert pool.touched(grid.grad) is not None
    assert pool.touched(grid.grad.clone()) is None
    voxel_features(grid, coords.flip(1), pool=pool).sum().backward()  # is added to the first
    assert pool.touched(grid.grad) is None
    grid.grad = None
    (voxel_features(grid, coords, pool=pool).sum() + voxel_features(grid, coords.flip(1), pool=pool).sum()).backward()
    assert pool.touched(grid.grad) is None
    grid.grad = None
    voxel_features(grid, coords, pool=pool).sum().backward()
    grid.grad.mul_(0.5)
    assert pool.touched(grid.grad) is None


@pytest.mark.slow
def test_native_operators_pass_opcheck():
    require_native("voxel_features")
    grid, coords = random_grid((4, 3, 5, 12)), random_coords(9)
    torch.library.opcheck(torch.ops.nerf_ssim.voxel_features.default, (grid, coords))
    arguments = (torch.zeros(4, 3, 5, 12), torch.ones(9, 12), coords, torch.zeros(4, 3, 1, dtype=torch.uint8))
    torch.library.opcheck(torch.ops.nerf_ssim.add_voxel_features_gradient.default, arguments)


@pytest.mark.parametrize("wrong", WRONG_FLAGS.values(), ids=WRONG_FLAGS)
def test_flags_that_do_not_fit_the_gradient_are_refused(wrong):
    """The kernels of every device would write past them."""
    require_native("voxel_features")
    gradient, coords = torch.zeros(3, 4, 70, 2), random_coords(9)
    with pytest.raises(RuntimeError, match="touched: "):
        torch.ops.nerf_ssim.add_voxel_features_gradient(gradient, torch.ones(9, 2), coords, wrong)


def test_resizing_keeps_corners_and_linear_ramps():
    axes = [torch.linspace(0, 1, n) for n in (4, 5, 3)]
    ramp = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    bigger = resize_volume(ramp, (7, 6, 9))
    expected = torch.stack(torch.meshgrid(*(torch.linspace(0, 1, n) for n in (7, 6, 9)), indexing="ij"), dim=-1)
    torch.testing.assert_close(bigger, expected)
    assert bigger.is_contiguous() and torch.equal(resize_volume(ramp, (4, 5, 3)), ramp)


def test_the_nearest_voxel_decides_and_outside_is_empty():
    mask = torch.zeros(5, 5, 5, dtype=torch.bool)
    mask[2, 2, 2] = mask[4, 4, 4] = True
    coords = torch.tensor([[0.0, 0, 0], [0.24, -0.24, 0], [0.26, 0, 0], [1.2, 1, 1], [1.26, 1, 1], [-1, -1, -1]])
    assert nearest_occupied(mask, coords).tolist() == [True, True, False, True, False, False]


def test_wrong_shapes_are_refused():
    for call in (
        lambda: voxel_features(torch.ones(3, 3, 3), torch.ones(2, 3)),
        lambda: voxel_features(torch.ones(3, 3, 3, 1), torch.ones(2, 2)),
        lambda: voxel_features(torch.ones(3, 0, 3, 1), torch.ones(2, 3)),
        lambda: resize_volume(torch.ones(3, 3, 3, 1), (3, 3)),
        lambda: resize_volume(torch.ones(3, 3, 3, 1), (3, 3, 0)),
        lambda: nearest_occupied(torch.ones(3, 3, 3), torch.ones(2, 3)),
    ):
        with pytest.raises(ValueError):
            call()
