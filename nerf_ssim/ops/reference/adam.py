"""Specification of Adam's updates of many tensors: the published form, as PyTorch has it, and DVGO's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nerf_ssim.ops.reference.voxel_adam import voxel_adam_step


@torch.no_grad()
def adam_steps(
    params: Sequence[Tensor], grads: Sequence[Tensor], exp_avgs: Sequence[Tensor], exp_avg_sqs: Sequence[Tensor],
    rates: Sequence[float], steps: Sequence[int], beta1: float, beta2: float, eps: float, corrects_root: bool,
) -> None:  # fmt: skip
    """`ops.adam.adam_steps` one tensor after the other."""
    for tensors in zip(params, grads, exp_avgs, exp_avg_sqs, rates, steps, strict=True):
        param, grad, exp_avg, exp_avg_sq, rate, step = tensors
        if not corrects_root:
            voxel_adam_step(
                param, grad, exp_avg, exp_avg_sq, lr=rate, beta1=beta1, beta2=beta2, eps=eps, step=step,
                skip_zero=False, tv_weights=None, tv_dense=True, rates=None,
            )  # fmt: skip
            continue
        number = torch.tensor(float(step), device=param.device)
        torch._fused_adam_(
            [param], [grad], [exp_avg], [exp_avg_sq], [], [number], lr=rate, beta1=beta1, beta2=beta2,
            weight_decay=0.0, eps=eps, amsgrad=False, maximize=False,
        )  # fmt: skip
