"""Adam's update in plain PyTorch: the specification of `nerf_ssim.ops.adam`. All functions work in place."""

from __future__ import annotations

import math

from torch import Tensor


def adam_step(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
) -> None:
    """The update of `torch.optim.Adam(foreach=False)`, operation by operation, so that it rounds alike."""
    exp_avg.lerp_(grad, 1.0 - beta1)
    exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1.0 - beta2)
    denominator = (exp_avg_sq.sqrt() / math.sqrt(1.0 - beta2**step)).add_(eps)
    param.addcdiv_(exp_avg, denominator, value=-lr / (1.0 - beta1**step))
