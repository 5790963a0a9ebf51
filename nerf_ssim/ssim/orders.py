"""The orders in which S3IM reads a batch of rays, drawn from a state that is a tensor.

A state that is a tensor can be saved, copied and, unlike a `torch.Generator`, changed by a compiled program.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["draw_orders", "drawn_orders"]


def drawn_orders(generator: torch.Generator, repeat: int, rays: int) -> Tensor:
    """`[repeat, rays]` int64 on the CPU: the batch's own order, then random permutations."""
    own = torch.arange(rays, device="cpu")
    return torch.stack([own, *(torch.randperm(rays, generator=generator, device="cpu") for _ in range(repeat - 1))])


def draw_orders(state: Tensor, repeat: int, rays: int) -> tuple[Tensor, Tensor]:
    """`drawn_orders` of a generator with this state, and the state after.

    Args:
        state: uint8 on the CPU, as `torch.Generator.get_state` has it. A compiled program changes it in place, any
            other leaves it as it is, because a function that PyTorch transforms must not write to what it captures.
    """
    if torch.compiler.is_compiling():
        return _compiled_draw(state, repeat, rays), state
    with torch.inference_mode(False):  # orders that are drawn ahead may be for a call that wants a gradient
        generator = torch.Generator()
        generator.set_state(state)
        return drawn_orders(generator, repeat, rays), generator.get_state()


@torch.library.custom_op("nerf_ssim_compiled::draw_orders", mutates_args=("state",))
def _compiled_draw(state: Tensor, repeat: int, rays: int) -> Tensor:
    generator = torch.Generator()
    generator.set_state(state)
    orders = drawn_orders(generator, repeat, rays)
    state.copy_(generator.get_state())
    return orders


@_compiled_draw.register_fake
def _(state: Tensor, repeat: int, rays: int) -> Tensor:
    return torch.empty(repeat, rays, dtype=torch.int64, device="cpu")
