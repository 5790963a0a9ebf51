"""Adam in one pass: against torch.optim.Adam."""

from __future__ import annotations

import pytest
import torch

from nerf_ssim.ops import adam as ops
from nerf_ssim.ops import backend
from nerf_ssim.ops.adam import FusedAdam, adam_step
from nerf_ssim.ops.reference import adam as reference

needs_native = pytest.mark.skipif(
    backend.implementation("adam_step") != "native", reason="the native extension has no Adam kernel here"
)
CONSTANTS = {"lr": 0.02, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
SIZES = (0, 1, 7, 63, 64, 65, 255, 256, 257, 1000, 40_001)


@pytest.fixture(params=[1, 2], ids=["1_thread", "2_threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(params=["native", "reference"])
def each_backend(request, monkeypatch):
    if request.param == "native" and backend.implementation("adam_step") != "native":
        pytest.skip("the native extension has no Adam kernel here")
    monkeypatch.setenv("NERF_SSIM_BACKEND", request.param)


def gradients(count, steps, seed=3, share=1.0):
    """Gradients over many orders of magnitude; all but a `share` of the elements zero."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        size = 10.0 ** torch.randn(count, generator=generator).mul_(2)
        yield torch.randn(count, generator=generator) * size * (torch.rand(count, generator=generator) < share)


@pytest.mark.parametrize("size", SIZES)
def test_a_hundred_steps_agree_with_torch(size, threads, each_backend):
    start = torch.randn(size, generator=torch.Generator().manual_seed(1))
    theirs = torch.nn.Parameter(start.clone())
    ours = torch.nn.Parameter(start.clone())
    adam = torch.optim.Adam([theirs], lr=0.02, betas=(0.9, 0.99), foreach=False)
    fused = FusedAdam([ours], lr=0.02, betas=(0.9, 0.99))
    for gradient in gradients(size, 100):
        theirs.grad, ours.grad = gradient, gradient.clone()
        adam.step()
        fused.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)  # after 100 moves of up to 0.02
    for name in ("exp_avg", "exp_avg_sq"):
        expected = adam.state[theirs][name]
        largest = expected.abs().max().item() if size else 0.0  # moments cancel: without fused multiply-add they differ
        torch.testing.assert_close(fused.state[ours][name], expected, rtol=1e-5, atol=1e-6 * largest)


def test_checkpoints_interchange_with_torch_adam(each_backend):
    def parameter():
        return torch.nn.Parameter(torch.linspace(-1, 1, 70))

    whole, first, second = parameter(), parameter(), parameter()
    reference_run = torch.optim.Adam([whole], lr=0.02, betas=(0.9, 0.99), foreach=False)
    before = FusedAdam([first], lr=0.02, betas=(0.9, 0.99))
    after = torch.optim.Adam([second], lr=0.5, foreach=False)
    for number, gradient in enumerate(gradients(70, 20)):
        whole.grad = gradient
        reference_run.step()
        optimizer, current = (before, first) if number < 10 else (after, second)
        if number == 10:
            after.load_state_dict(
                {
                    "state": before.state_dict()["state"],
                    "param_groups": [{**after.state_dict()["param_groups"][0], "lr": 0.02, "betas": (0.9, 0.99)}],
                }
            )
            second.data.copy_(first.data)
        current.grad = gradient
        optimizer.step()
    torch.testing.assert_close(second, whole, rtol=0, atol=1e-6)
    assert set(before.state[first]) == {"step", "exp_avg", "exp_avg_sq"} == set(reference_run.state[whole])
    assert before.state[first]["step"].dtype == reference_run.state[whole]["step"].dtype


@pytest.mark.parametrize("update", [adam_step])
def test_non_contiguous_tensors_are_updated_alike(update, each_backend):
    plain = [torch.rand(31, 17) for _ in range(4)]
    strided = [tensor.t().contiguous().t() for tensor in plain]
    mixed = [plain[0].clone(), strided[1], plain[2].clone(), plain[3].clone()]
    for param, gradient, first, second in (plain, strided, mixed):
        update(param, gradient, first, second, **CONSTANTS, step=3)
    for variant in (strided, mixed):
        torch.testing.assert_close(variant[0], plain[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(variant[3], plain[3], rtol=1e-6, atol=0)


@pytest.mark.parametrize("update", [adam_step])
def test_float64_falls_to_the_reference(update):
    ours, theirs = ([torch.rand(50, dtype=torch.float64) for _ in range(4)] for _ in range(2))
    for mine, other in zip(ours, theirs, strict=True):
        other.copy_(mine)
    update(*ours, **CONSTANTS, step=2)
    getattr(reference, update.__name__)(*theirs, **CONSTANTS, step=2)
    assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))


@needs_native
def test_the_number_of_threads_changes_no_bit():
    results = []
    for count in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        generator = torch.Generator().manual_seed(2)
        tensors = [torch.rand(100_003, generator=generator) for _ in range(4)]
        adam_step(*tensors, **CONSTANTS, step=4)
        torch.set_num_threads(before)
        results.append(tensors)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@needs_native
@pytest.mark.parametrize("name", ["adam_step"])
def test_opcheck(name):
    tensors = [torch.rand(40) for _ in range(4)]
    torch.library.opcheck(getattr(torch.ops.nerf_ssim, name).default, (*tensors, 0.02, 0.9, 0.99, 1e-8, 3))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="one shape"):
        adam_step(torch.zeros(3), torch.zeros(4), torch.zeros(3), torch.zeros(3), **CONSTANTS, step=1)
    with pytest.raises(ValueError, match="from 1"):
        adam_step(*(torch.zeros(3) for _ in range(4)), **CONSTANTS, step=0)
    with pytest.raises(ValueError, match="betas"):
        ops.FusedAdam([torch.zeros(3)], betas=(0.9, 1.0))
    sparse = torch.nn.Parameter(torch.zeros(3))
    sparse.grad = torch.ones(3).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        FusedAdam([sparse]).step()
