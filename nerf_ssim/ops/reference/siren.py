"""The sine network in plain PyTorch: the specification that native code is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def siren(inputs: Tensor, layers: Sequence[Tensor], omega: float) -> Tensor:
    """`[n, outputs]` of `inputs [n, d]`; `layers` are weight, bias, weight, bias …, the last one linear."""
    hidden = inputs
    for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        hidden = torch.sin(omega * F.linear(hidden, weight, bias))
    return F.linear(hidden, layers[-2], layers[-1])


def squared_error(outputs: Tensor, target: Tensor) -> Tensor:
    """Mean of the squared errors (0-dim), in the target's precision."""
    return torch.mean((outputs.to(target.dtype) - target) ** 2)
