"""The orders in which S3IM reads a batch of rays, drawn from a state that is a tensor.

A state that is a tensor can be saved, copied and, unlike a `torch.Generator`, changed by a compiled program.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["draw_orders", "drawn_orders"]


def drawn_orders(generator: torch.Generator, repeat: int, rays: int) -> Tensor:
    """`[repeat, rays]` int64 on the CPU: the batch's own order, then random permutations."""
    orders = torch.empty(repeat, rays, dtype=torch.int64)
    torch.arange(rays, out=orders[0])
    for order in orders[1:]:
        torch.randperm(rays, generator=generator, out=order)
    return orders


def draw_orders(state: Tensor, repeat: int, rays: int) -> Tensor:
    """`drawn_orders` of a generator with this state, which becomes the one after.

    Args:
        state: uint8 on the CPU, as `torch.Generator.get_state` has it; it is changed in place.
    """
    if torch.compiler.is_compiling():
        return _compiled_draw(state, repeat, rays)
    return _draw(state, repeat, rays)


def _draw(state: Tensor, repeat: int, rays: int) -> Tensor:
    generator = torch.Generator()
    generator.set_state(state)
    orders = drawn_orders(generator, repeat, rays)
    state.copy_(generator.get_state())
    return orders


_compiled_draw = torch.library.custom_op("nerf_ssim_compiled::draw_orders", _draw, mutates_args=("state",))


@_compiled_draw.register_fake
def _(state: Tensor, repeat: int, rays: int) -> Tensor:
    return torch.empty(repeat, rays, dtype=torch.int64)
