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


def masked_adam_step(
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
    """DVGO's update: elements whose gradient is zero keep value and moments; `eps` joins the uncorrected root."""
    touched = grad != 0
    touched_grad = grad[touched]
    first = exp_avg[touched].mul_(beta1).add_(touched_grad, alpha=1.0 - beta1)
    second = exp_avg_sq[touched].mul_(beta2).addcmul_(touched_grad, touched_grad, value=1.0 - beta2)
    step_size = lr * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step)
    exp_avg[touched] = first
    exp_avg_sq[touched] = second
    param[touched] = param[touched].addcdiv_(first, second.sqrt().add_(eps), value=-step_size)
