"""The loss of a step as named terms, and how strong each one's gradient is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from nerf_ssim.ssim.losses import S3IM, S3imResult

__all__ = ["PART_FIGURES", "gradient_norms", "part_figures", "photometric_terms"]

PARTS = ("luminance", "structure")
PART_FIGURES = (
    *(f"grad_{part}" for part in PARTS),
    *(f"cosine_{part}" for part in PARTS),
    *(f"colour_grad_{name}" for name in ("mse", *PARTS)),
    *(f"colour_cosine_{part}" for part in PARTS),
)
"""What `part_figures` measures: norms and cosines with respect to the parameters, then to the rendered colours."""


Averaged = Callable[[list[Tensor]], list[Tensor]]


def photometric_terms(
    rendered: Tensor, target: Tensor, s3im: S3IM | None, ssim_weight: float, *, measures_parts: bool = False
) -> tuple[dict[str, Tensor], S3imResult | None]:
    """MSE and, where its weight is above 0, the weighted S3IM loss: `{"mse": …, "ssim": …}`, and S3IM's own result.

    Args:
        rendered, target: colours `[rays, 3]` in [0, 1].
        ssim_weight: 0 means that SSIM is not computed (no term, no result, no random numbers drawn).
        measures_parts: whether the result is to hold the two parts of SSIM's gradient, for `part_figures`.
    """
    terms = {"mse": torch.mean((rendered - target) ** 2)}
    if ssim_weight == 0 or s3im is None:
        return terms, None
    result = s3im.evaluate(rendered, target, measures_parts=measures_parts)
    terms["ssim"] = ssim_weight * result.loss
    return terms, result


def gradient_norms(
    terms: dict[str, Tensor], parameters: Iterable[Tensor], averaged: Averaged = list
) -> dict[str, Tensor]:
    """The Euclidean norm over all parameters of each weighted term's own gradient, as `{"grad_mse": …}`.

    Args:
        averaged: makes a gradient by the parameters that of the whole batch, where other processes have part of it.
    """
    parameters = list(parameters)
    return {f"grad_{name}": _norm(averaged(_gradient(term, parameters))) for name, term in terms.items()}


def part_figures(
    mse: Tensor,
    parts: tuple[Tensor, Tensor],
    weight: float,
    rendered: Tensor,
    parameters: Iterable[Tensor],
    averaged: Averaged = list,
) -> dict[str, Tensor]:
    """How strong the two parts of SSIM's gradient are, and how they lie to the MSE's: `PART_FIGURES` by name.

    The part "luminance" goes through S1 alone and "structure" through S2 alone; together they are the gradient of the
    weighted SSIM term. A norm is Euclidean, over all parameters or over all rendered colours. A cosine is that of a
    part's gradient with the MSE's, NaN where one of the two is 0.

    Args:
        mse: the MSE term, 0-dim.
        parts: as `S3imResult` has them, of the same step.
        weight: of the SSIM term.
        rendered: the colours that the terms are functions of; the graph behind them is kept.
        averaged: as in `gradient_norms`.
    """
    parameters = list(parameters)
    by_colour = _gradient(mse, [rendered])
    by_parameter = averaged(_gradient(mse, parameters))
    figures = {"colour_grad_mse": _norm(by_colour)}
    for name, part in zip(PARTS, parts, strict=True):
        of_colour = _gradient(weight * part, [rendered])
        figures[f"colour_grad_{name}"] = _norm(of_colour)
        figures[f"colour_cosine_{name}"] = _cosine(of_colour, by_colour)
        of_parameter = averaged(_gradient(rendered, parameters, of_colour[0]))
        figures[f"grad_{name}"] = _norm(of_parameter)
        figures[f"cosine_{name}"] = _cosine(of_parameter, by_parameter)
    return {name: figures[name] for name in PART_FIGURES}


def _gradient(value: Tensor, leaves: Sequence[Tensor], upstream: Tensor | None = None) -> list[Tensor]:
    """The gradient of `value` in each leaf, 0 for one that it does not depend on; the graph is kept."""
    if not value.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    return list(torch.autograd.grad(value, leaves, upstream, retain_graph=True, materialize_grads=True))


def _norm(gradient: Sequence[Tensor]) -> Tensor:
    return _dot(gradient, gradient).sqrt()


def _cosine(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    return _dot(a, b) / (_norm(a) * _norm(b))


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    total = torch.zeros((), device=a[0].device)
    for ours, theirs in zip(a, b, strict=True):
        total = total + (ours * theirs).sum().to(total.dtype)
    return total
