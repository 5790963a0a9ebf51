"""S3IM where torch.utils.checkpoint calls it again in the backward pass."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from nerf_ssim.ssim import S3IM


def batches(count: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(64, 3, generator=generator), [torch.rand(64, 3, generator=generator) for _ in range(count)]


def gradients(
    wraps, count: int, *, at_once: bool, context=True
) -> tuple[list[float], list[torch.Tensor], torch.Tensor]:
    """Losses, gradients and the state after `count` calls, each in a checkpoint if `wraps`."""
    s3im = S3IM(patch_height=8, patch_width=8, repeat=3)
    start, targets = batches(count)
    weights = [start.clone().requires_grad_() for _ in targets]

    def step(weight: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return s3im(weight.sigmoid(), target)

    losses = []
    for pair in zip(weights, targets, strict=True):
        options = {"context_fn": s3im.recomputation} if context else {}
        losses.append(checkpoint(step, *pair, use_reentrant=False, **options) if wraps else step(*pair))
        if not at_once:
            losses[-1].backward()
    if at_once:
        torch.stack(losses).sum().backward()
    return [float(loss.detach()) for loss in losses], [weight.grad for weight in weights], s3im.get_state()


@pytest.mark.parametrize("at_once", [True, False], ids=["one backward", "a backward each"])
def test_a_call_that_is_made_again_has_the_orders_of_the_first_time(at_once):
    losses, wanted, state = gradients(False, 3, at_once=at_once)
    losses_again, ours, state_again = gradients(True, 3, at_once=at_once)
    assert losses == losses_again
    assert all(torch.equal(*pair) for pair in zip(wanted, ours, strict=True))
    assert torch.equal(state, state_again)  # what comes next is not moved by what was computed again


def test_without_its_contexts_the_orders_are_others():
    """So that the test above can tell."""
    _, wanted, _ = gradients(False, 1, at_once=True)
    _, ours, _ = gradients(True, 1, at_once=True, context=False)
    assert not torch.equal(wanted[0], ours[0])
