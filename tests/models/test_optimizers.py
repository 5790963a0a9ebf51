"""Adam as the fields use it: PyTorch's, with a state that says nothing of how a step is computed."""

from __future__ import annotations

import io

import pytest
import torch

from nerf_ssim.models.parts import optimizers
from nerf_ssim.models.parts.optimizers import FusedAdam, make_adam


def parameters(device="cpu"):
    generator = torch.Generator().manual_seed(0)
    sizes = ((40, 30, 4), (3,), (1,))
    return [torch.nn.Parameter(torch.randn(size, generator=generator).to(device)) for size in sizes]


def take_steps(optimizer, values, count, start=0):
    for step in range(start, start + count):
        optimizer.zero_grad()
        sum(((value + step) ** 3).sum() for value in values).backward()
        optimizer.step()


def test_steps_are_those_of_adam():
    ours, theirs = parameters(), parameters()
    take_steps(FusedAdam(ours, lr=0.01, betas=(0.9, 0.99)), ours, 5)
    take_steps(torch.optim.Adam(theirs, lr=0.01, betas=(0.9, 0.99), foreach=False), theirs, 5)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_a_step_of_all_groups_is_one_call(monkeypatch):
    calls = []
    monkeypatch.setattr(optimizers, "adam_steps", lambda *tensors, **constants: calls.append(constants["rates"]))
    values = parameters()
    take_steps(make_adam(named_groups(values)), values, 1)
    assert calls == [[0.02, 0.001, 0.001]]


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def named_groups(values):
    return [("grids", values[:1], 0.02), ("decoder", values[1:], 0.001)]


def test_a_state_holds_what_the_optimiser_was_given_and_continues_bit_for_bit():
    whole, stopped = parameters(), parameters()
    take_steps(make_adam(named_groups(whole)), whole, 6)
    first = make_adam(named_groups(stopped))
    take_steps(first, stopped, 3)
    state = through_a_file(first.state_dict())
    assert set(state["param_groups"][0]) == {"lr", "betas", "eps", "initial_lr", "name", "params"}
    assert {name for each in state["state"].values() for name in each} == {"step", "exp_avg", "exp_avg_sq"}
    second = make_adam(named_groups(stopped))
    second.load_state_dict(state)
    take_steps(second, stopped, 3, start=3)
    assert all(torch.equal(a, b) for a, b in zip(whole, stopped, strict=True))


def test_a_state_of_the_version_with_an_adam_of_its_own_is_continued():
    values = parameters()
    moments = {
        index: {"step": torch.tensor(4.0), "exp_avg": torch.ones_like(value), "exp_avg_sq": torch.ones_like(value)}
        for index, value in enumerate(values)
    }
    group = {"lr": 0.5, "betas": (0.9, 0.99), "eps": 1e-8}
    groups = [
        {**group, "initial_lr": 0.02, "name": "grids", "params": [0]},
        {**group, "initial_lr": 0.001, "name": "decoder", "params": [1, 2]},
    ]
    optimizer = make_adam(named_groups(values))
    optimizer.load_state_dict(through_a_file({"state": moments, "param_groups": groups}))
    expected = [value.detach().clone() for value in values]
    for value, before in zip(values, expected, strict=True):
        value.grad = torch.zeros_like(value)
        correction = (1 - 0.99**5) ** 0.5 / (1 - 0.9**5)
        before.sub_(0.5 * correction * 0.9 / 0.99**0.5)
    optimizer.step()
    assert [int(state["step"]) for state in optimizer.state.values()] == [5, 5, 5]
    for value, wanted in zip(values, expected, strict=True):
        torch.testing.assert_close(value.detach(), wanted, rtol=1e-5, atol=1e-5)


def test_a_state_of_other_groups_is_refused():
    state = make_adam(named_groups(parameters())).state_dict()
    with pytest.raises(ValueError):
        FusedAdam(parameters()).load_state_dict(state)
