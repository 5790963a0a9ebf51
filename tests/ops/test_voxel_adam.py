"""Total variation of voxel grids as a gradient, and the update fused with it."""

import itertools
import math

import pytest
import torch
from native_parity import WRONG_FLAGS, require_native, threads

from nerf_ssim.ops.reference import voxel_adam as reference
from nerf_ssim.ops.voxel_adam import voxel_adam_step
from nerf_ssim.ops.voxels import RUN

CONSTANTS = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
WEIGHTS = (0.3, 0.02, 0.1)
SHAPES = [(5, 7, 6, 12), (3, 4, 40, 1), (1, 1, 1, 1), (2, 1, 70, 1), (1, 6, 2, 40), (7, 90, 41, 3), (2, 3, 1, 70)]
LARGE = (9, 40, 80, 12)  # several blocks of lines a thread


def make_state(shape, share=0.3, seed=0, dtype=torch.float32):
    """Parameter, gradient (zero but for a share of blocks of 64), moments; differences beyond one and within."""
    generator = torch.Generator().manual_seed(seed)
    param, grad, first, second = (torch.randn(shape, generator=generator, dtype=dtype) for _ in range(4))
    blocks = torch.rand((grad.numel() + 63) // 64, generator=generator) < share
    is_touched = blocks.repeat_interleave(64)[: grad.numel()] & (torch.rand(grad.numel(), generator=generator) < 0.5)
    return [param, grad * is_touched.reshape(shape), first * 0.1, second.square()]


@pytest.mark.parametrize("dense", [True, False])
def test_tv_is_the_sum_over_the_neighbours_that_exist(dense):
    grid, grad, *_ = make_state((3, 4, 2, 3), share=0.9)
    before = grad.clone()
    reference.add_voxel_tv_gradient(grid, grad, WEIGHTS, dense)
    assert 0 < int((before == 0).sum()) < before.numel()
    for x, y, z, c in itertools.product(*map(range, grid.shape)):
        total = 0.0
        for axis, step in itertools.product(range(3), (-1, 1)):
            other = [x, y, z]
            other[axis] += step
            if 0 <= other[axis] < grid.shape[axis]:
                difference = float(grid[x, y, z, c] - grid[(*other, c)])
                total += WEIGHTS[axis] * max(-1.0, min(1.0, difference))
        expected = float(before[x, y, z, c]) + (total if dense or before[x, y, z, c] != 0 else 0.0)
        assert float(grad[x, y, z, c]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("skip_zero", [True, False])
@pytest.mark.parametrize("tv", ["dense", "sparse", "off"])
@pytest.mark.parametrize("shape", [*SHAPES, LARGE])
def test_knowing_which_runs_are_touched_changes_no_bit(shape, tv, skip_zero, n_threads):
    require_native("voxel_adam_step")
    knowing, looking = make_state(shape), make_state(shape)
    for state in (knowing, looking):
        state[0][shape[0] // 2 :] = 0.0  # nothing pulls in there
    line = shape[2] * shape[3]
    lines = torch.nn.functional.pad(knowing[1].view(*shape[:2], line), (0, -line % RUN))
    touched = lines.unflatten(2, (-1, RUN)).ne(0).any(-1).byte()
    options = {"skip_zero": skip_zero, "tv_weights": None if tv == "off" else WEIGHTS, "tv_dense": tv == "dense"}
    with threads(n_threads):
        voxel_adam_step(*knowing, **CONSTANTS, step=3, **options, touched=touched)
        voxel_adam_step(*looking, **CONSTANTS, step=3, **options)
    assert not knowing[1].any()
    for actual, expected in zip(knowing, looking, strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("tv_dense", [True, False])
def test_a_run_that_is_not_noted_as_touched_is_taken_to_have_no_gradient(tv_dense):
    require_native("voxel_adam_step")
    state = make_state((2, 3, 20, 12), share=1.0)
    state[0].zero_()
    touched = torch.zeros(2, 3, 4, dtype=torch.uint8)
    touched[1, 2, 3] = 1  # the last 48 of a line's 240 elements
    voxel_adam_step(*state, **CONSTANTS, step=3, tv_weights=WEIGHTS, tv_dense=tv_dense, touched=touched)
    moved = (state[0] != 0).view(2, 3, 240)
    assert moved[1, 2, 192:].any() and int(moved.sum()) == int(moved[1, 2, 192:].sum())


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("has_rates", [True, False])
@pytest.mark.parametrize("skip_zero", [True, False])
@pytest.mark.parametrize("tv", ["dense", "sparse", "off"])
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[5], (0, 2, 3, 1)])
def test_native_step_equals_float64_reference(shape, tv, skip_zero, has_rates, n_threads):
    require_native("voxel_adam_step")
    state, exact = make_state(shape), [tensor.double() for tensor in make_state(shape)]
    rates = torch.rand(shape, generator=torch.Generator().manual_seed(5)) if has_rates else None
    options = {"skip_zero": skip_zero, "tv_weights": None if tv == "off" else WEIGHTS, "tv_dense": tv == "dense"}
    with threads(n_threads):
        voxel_adam_step(*state, **CONSTANTS, step=3, rates=rates, **options)
    reference.voxel_adam_step(*exact, **CONSTANTS, step=3, rates=rates.double() if has_rates else None, **options)
    for actual, expected in zip(state, exact, strict=True):
        torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_an_update_is_its_formula(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    state = [torch.tensor([value]) for value in (1.0, 0.5, 0.2, 0.04)]
    voxel_adam_step(*state, **CONSTANTS, step=2, rates=torch.tensor([0.25]))
    first, second = 0.9 * 0.2 + 0.1 * 0.5, 0.99 * 0.04 + 0.01 * 0.25
    rate = 0.25 * 0.1 * math.sqrt(1 - 0.99**2) / (1 - 0.9**2)
    assert float(state[0]) == pytest.approx(1.0 - rate * first / (math.sqrt(second) + 1e-8), rel=1e-6)
    assert [float(m) for m in state[1:]] == pytest.approx([0.0, first, second], rel=1e-6)


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_elements_without_gradient_keep_everything_unless_asked(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    for skip_zero in (True, False):
        state = make_state((4, 5, 6, 12), share=0.2)
        before, is_idle = [tensor.clone() for tensor in state], state[1] == 0
        voxel_adam_step(*state, **CONSTANTS, step=4, skip_zero=skip_zero, tv_weights=WEIGHTS, tv_dense=False)
        for index in (0, 2, 3):
            is_same = state[index] == before[index]
            assert is_same[is_idle].all() == skip_zero and not is_same[~is_idle].all()


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_non_contiguous_and_double_tensors_are_updated_alike(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    plain = make_state((4, 5, 6, 2))
    strided = [tensor.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0) for tensor in plain]
    double = [tensor.double() for tensor in plain]
    for state in (plain, strided, double):
        voxel_adam_step(*state, **CONSTANTS, step=3, tv_weights=WEIGHTS)
    for variant in (strided, double):
        for actual, expected in zip(variant, plain, strict=True):
            torch.testing.assert_close(actual.float(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_native_operators_pass_opcheck():
    require_native("voxel_adam_step")
    state = make_state((3, 4, 5, 2))
    touched = torch.ones(3, 4, 1, dtype=torch.uint8)
    arguments = (*state, 0.1, 0.9, 0.99, 1e-8, 3, True, list(WEIGHTS), True, None, touched)
    torch.library.opcheck(torch.ops.nerf_ssim.voxel_adam_step.default, arguments)


@pytest.mark.parametrize("wrong", WRONG_FLAGS.values(), ids=WRONG_FLAGS)
def test_flags_that_do_not_fit_the_grid_are_refused(wrong):
    """The kernels of every device would read past them."""
    require_native("voxel_adam_step")
    state = make_state((3, 4, 70, 2))
    with pytest.raises(RuntimeError, match="touched: "):
        voxel_adam_step(*state, **CONSTANTS, step=1, touched=wrong)


def test_what_does_not_fit_is_refused():
    state = make_state((3, 4, 5, 2))
    with pytest.raises(ValueError, match="one shape"):
        voxel_adam_step(*state[:3], state[3][:1], **CONSTANTS, step=1)
    with pytest.raises(ValueError, match="one shape"):
        voxel_adam_step(*state, **CONSTANTS, step=1, rates=torch.ones(3))
    with pytest.raises(ValueError, match="from 1"):
        voxel_adam_step(*state, **CONSTANTS, step=0)
    with pytest.raises(ValueError, match="three"):
        voxel_adam_step(*state, **CONSTANTS, step=1, tv_weights=(1.0, 1.0))
    with pytest.raises(ValueError, match="total variation wants"):
        voxel_adam_step(*(torch.ones(3) for _ in range(4)), **CONSTANTS, step=1, tv_weights=WEIGHTS)
    with pytest.raises(ValueError, match="three"):
        voxel_adam_step(*state, **CONSTANTS, step=1, tv_weights=(1.0, -1.0, 0.0))
