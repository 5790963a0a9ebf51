"""Adam over many tensors: on the CPU PyTorch's own update, to the last bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nerf_ssim.models.parts.optimizers import FusedAdam
from nerf_ssim.ops.adam import adam_steps
from nerf_ssim.ops.voxel_adam import voxel_adam_step
from tests.ops.native_parity import require_native

SHAPES = ((17, 5, 16), (128, 150), (3,), (1,), (40_000,))


def parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def groups_of(params):
    return [{"params": params[:2], "lr": 0.02}, {"params": params[2:], "lr": 0.001}]


def run(optimizer, params, steps, seed=3):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for each in params:
            each.grad = torch.randn(each.shape, generator=generator)
        optimizer.step()


def test_steps_are_those_of_pytorch_to_the_last_bit():
    ours, theirs = parameters(), parameters()
    run(FusedAdam(groups_of(ours), betas=(0.9, 0.99)), ours, 5)
    run(torch.optim.Adam(groups_of(theirs), betas=(0.9, 0.99), fused=True), theirs, 5)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)


def test_a_state_of_pytorch_s_own_optimiser_goes_on():
    ours, theirs = parameters(), parameters()
    first = torch.optim.Adam(groups_of(ours), betas=(0.9, 0.99), fused=True)
    second = torch.optim.Adam(groups_of(theirs), betas=(0.9, 0.99), fused=True)
    run(first, ours, 2)
    run(second, theirs, 2)
    successor = FusedAdam(groups_of(ours), betas=(0.9, 0.99))
    successor.load_state_dict(copy.deepcopy(first.state_dict()))
    run(successor, ours, 3, seed=9)
    run(second, theirs, 3, seed=9)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)


def test_a_parameter_without_a_gradient_keeps_all_it_has():
    params = parameters()
    optimizer = FusedAdam(groups_of(params))
    for each in params[1:]:
        each.grad = torch.ones_like(each)
    before = params[0].detach().clone()
    optimizer.step()
    assert torch.equal(params[0], before) and params[0] not in optimizer.state
    assert all(float(optimizer.state[each]["step"]) == 1 for each in params[1:])


def test_dvgo_s_form_is_the_voxels_update_to_the_last_bit():
    require_native("adam_steps")

    def tensors():
        generator = torch.Generator().manual_seed(5)
        return [[torch.rand(shape, generator=generator) for shape in SHAPES] for _ in range(4)]

    together, alone = tensors(), tensors()
    rates, steps = [0.1, 0.2, 0.3, 0.4, 0.5], [1, 2, 3, 4, 5]
    constants = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
    adam_steps(*together, rates=rates, steps=steps, corrects_root=False, **constants)
    for place, state in enumerate(zip(*alone, strict=True)):
        voxel_adam_step(*state, lr=rates[place], step=steps[place], skip_zero=False, **constants)
    for ours, theirs in zip(together, alone, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a, b)


def test_lists_that_do_not_go_together_are_refused():
    require_native("adam_steps")
    ones = [torch.ones(3)]
    with pytest.raises(RuntimeError, match="as many"):
        adam_steps(ones, ones, ones, ones, rates=[0.1, 0.1], steps=[1], beta1=0.9, beta2=0.99, eps=1e-8)
    with pytest.raises(RuntimeError, match="count from 1"):
        adam_steps(ones, ones, ones, ones, rates=[0.1], steps=[0], beta1=0.9, beta2=0.99, eps=1e-8)
