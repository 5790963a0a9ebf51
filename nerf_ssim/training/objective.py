"""The loss of a step as named terms, and the gradient norm of each."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from nerf_ssim.ops.ssim import SsimStatistics
from nerf_ssim.ssim.losses import S3IM

__all__ = ["gradient_norms", "photometric_terms"]


def photometric_terms(
    rendered: Tensor, target: Tensor, s3im: S3IM | None, ssim_weight: float
) -> tuple[dict[str, Tensor], SsimStatistics | None]:
    """MSE and, where its weight is above 0, the weighted S3IM loss: `{"mse": …, "ssim": …}`.

    Args:
        rendered, target: colours `[rays, 3]` in [0, 1].
        s3im: the loss; None for a run that never has it.
        ssim_weight: 0 means that SSIM is not computed (no term, no statistics, no random numbers drawn).
    """
    terms = {"mse": torch.mean((rendered - target) ** 2)}
    if ssim_weight == 0 or s3im is None:
        return terms, None
    result = s3im.evaluate(rendered, target)
    terms["ssim"] = ssim_weight * result.loss
    return terms, result.statistics


def gradient_norms(terms: dict[str, Tensor], parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """The Euclidean norm over all parameters of each weighted term's own gradient, as `{"grad_mse": …}`."""
    parameters = list(parameters)
    norms: dict[str, Tensor] = {}
    for name, term in terms.items():
        squared = torch.zeros((), device=term.device)
        if term.requires_grad:
            for gradient in torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True):
                if gradient is not None:
                    squared = squared + gradient.square().sum()
        norms[f"grad_{name}"] = squared.sqrt()
    return norms
