"""A shuffled order of `count` numbers that is computed where it is needed and never stored.

A balanced Feistel network is a bijection of `[0, 2^bits)` whatever its round function is; numbers that land outside
`[0, count)` are sent through again until they land inside ("cycle walking", Black and Rogaway 2002), which keeps it a
bijection of `[0, count)`. Half a gigabyte of pixel order thus becomes six integers, and resuming needs only a cursor.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["KeyedPermutation"]

ROUNDS = 6
MIX_BITS = 0x7FFFFFFF  # keep products of two 31-bit numbers inside int64


class KeyedPermutation:
    """The bijection of `range(count)` that belongs to `keys` (`ROUNDS` integers in `[0, 2^31)`)."""

    def __init__(self, count: int, keys: list[int]) -> None:
        if len(keys) != ROUNDS:
            raise ValueError(f"{ROUNDS} round keys expected, got {len(keys)}")
        self.count = count
        self.keys = keys
        self.half_bits = max(1, ((max(count, 2) - 1).bit_length() + 1) // 2)

    @classmethod
    def draw(cls, count: int, generator: torch.Generator) -> KeyedPermutation:
        """A permutation of `range(count)` with keys from `generator`."""
        keys = torch.randint(0, MIX_BITS, (ROUNDS,), generator=generator, device=generator.device)
        return cls(count, keys.tolist())

    def __call__(self, positions: Tensor) -> Tensor:
        """The numbers at `positions` (int64, any shape, in `[0, count)`) of the shuffled order."""
        values = self._encrypt(positions)
        while (outside := values >= self.count).any():
            values = torch.where(outside, self._encrypt(values), values)
        return values

    def _encrypt(self, values: Tensor) -> Tensor:
        mask = (1 << self.half_bits) - 1
        left, right = values >> self.half_bits, values & mask
        for key in self.keys:
            mixed = ((right ^ key) * 0x45D9F3B) & MIX_BITS
            mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & MIX_BITS
            left, right = right, left ^ ((mixed ^ (mixed >> 13)) & mask)
        return (left << self.half_bits) | right
