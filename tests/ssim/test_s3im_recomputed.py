"""S3IM where torch.utils.checkpoint calls it again in the backward pass."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from nerf_ssim.errors import ConfigError
from nerf_ssim.ssim import S3IM

KINDS = [pytest.param(True, id="reentrant"), pytest.param(False, id="not reentrant")]


def batches(count: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(64, 3, generator=generator), [torch.rand(64, 3, generator=generator) for _ in range(count)]


def loss_of(**options) -> S3IM:
    return S3IM(patch_height=8, patch_width=8, repeat=3, **options)


def gradients(s3im: S3IM, wraps, count: int, *, at_once: bool) -> tuple[list[float], list[torch.Tensor], torch.Tensor]:
    """Losses, gradients and the state after `count` calls, each `wraps` around a render and the loss."""
    start, targets = batches(count)
    weights = [start.clone().requires_grad_() for _ in targets]

    def step(weight: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return s3im(weight.sigmoid(), target)

    losses = [wraps(step, *pair) for pair in zip(weights, targets, strict=True)] if at_once else []
    for pair in [] if at_once else zip(weights, targets, strict=True):
        losses.append(wraps(step, *pair))
        losses[-1].backward()
    if at_once:
        torch.stack(losses).sum().backward()
    return [float(loss.detach()) for loss in losses], [weight.grad for weight in weights], s3im.get_state()


@pytest.mark.parametrize("at_once", [True, False], ids=["one backward", "a backward each"])
@pytest.mark.parametrize("reentrant", KINDS)
def test_a_call_that_is_made_again_has_the_orders_of_the_first_time(reentrant, at_once):
    def again(step, *given):
        return checkpoint(step, *given, use_reentrant=reentrant)

    losses, wanted, state = gradients(loss_of(), lambda step, *given: step(*given), 3, at_once=at_once)
    losses_again, ours, state_again = gradients(loss_of(), again, 3, at_once=at_once)
    assert losses == losses_again
    assert all(torch.equal(*pair) for pair in zip(wanted, ours, strict=True))
    assert torch.equal(state, state_again)  # what comes next is not moved by what was computed again


def test_equal_targets_are_told_apart_by_their_renders():
    start, (target,) = batches(1)
    s3im, plain = loss_of(), loss_of()
    weights = [(start + 0.1 * number).requires_grad_() for number in range(3)]
    total = sum(checkpoint(s3im, weight, target, use_reentrant=False) for weight in weights)
    wanted = torch.autograd.grad(sum(plain(weight, target) for weight in weights), weights)
    for ours, theirs in zip(torch.autograd.grad(total, weights), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_colours_that_differ_when_they_are_computed_again_are_refused():
    start, (target,) = batches(1)
    noise = torch.Generator().manual_seed(1)  # which no checkpoint puts back

    def step(weight: torch.Tensor) -> torch.Tensor:
        return s3im(weight * torch.rand(64, 3, generator=noise), target)

    s3im = loss_of()
    value = checkpoint(step, start.requires_grad_(), use_reentrant=False)
    with pytest.raises(ConfigError, match="outside of torch.utils.checkpoint"):
        value.backward()


def test_a_loss_with_calls_behind_it_is_copied_and_pickled(tmp_path):
    s3im, (start, (target,)) = loss_of(), batches(1)
    s3im(start, target)
    torch.save(s3im, tmp_path / "loss.pt")
    read = torch.load(tmp_path / "loss.pt", weights_only=False)
    values = [float(each(start, target)) for each in (copy.deepcopy(s3im), read, s3im)]
    assert values[0] == values[1] == values[2]


def test_calls_of_a_transform_leave_nothing_behind():
    s3im, (start, (target,)) = loss_of(), batches(1)
    torch.func.grad(lambda weight: s3im(weight, target))(start)
    checkpoint(s3im, start.requires_grad_(), target, use_reentrant=False).backward()
    assert torch.isfinite(start.grad).all()
