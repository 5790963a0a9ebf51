"""Specification of DVGO's losses of a render."""

from __future__ import annotations

from torch import Tensor

SURE = 1e-6  # probabilities are kept this far from 0 and 1


def light_entropy(light: Tensor) -> Tensor:
    """Mean entropy (nats) of "the ray goes through": its light left `[rays]` as a probability."""
    p = light.clamp(SURE, 1 - SURE)
    return -(p * p.log() + (1 - p) * (1 - p).log()).mean()


def point_error(rgb: Tensor, weights: Tensor, ray_index: Tensor, target: Tensor) -> Tensor:
    """Squared error of each sample's own colour against its ray's, by weight, over the number of rays."""
    error = (rgb - target[ray_index]).square().sum(-1)
    return (error * weights).sum() / len(target)
