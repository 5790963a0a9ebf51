"""A shuffled order of `count` numbers that is computed where it is needed and never stored.

A Feistel network is a bijection whatever its round function is. Here its two halves are the digits of a number in mixed
radix, about sqrt(count) each, so that its domain is barely larger than `count`; the few numbers that land outside are
sent through again until they land inside ("cycle walking", Black and Rogaway 2002), which keeps it a bijection of
`range(count)`. Half a gigabyte of pixel order thus becomes six integers, and resuming needs only a cursor.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["KeyedPermutation"]

ROUNDS = 6  # even: the halves take turns
MIX_BITS = 0x7FFFFFFF  # keeps the product of two 31-bit numbers inside int64


class KeyedPermutation:
    """The bijection of `range(count)` that belongs to `keys` (`ROUNDS` integers in `[0, 2^31)`)."""

    def __init__(self, count: int, keys: list[int]) -> None:
        if len(keys) != ROUNDS:
            raise ValueError(f"{ROUNDS} round keys expected, got {len(keys)}")
        self.count = count
        self.keys = keys
        self.low_radix = math.isqrt(max(count - 1, 0)) + 1
        self.high_radix = -(-count // self.low_radix)

    @classmethod
    def draw(cls, count: int, generator: torch.Generator) -> KeyedPermutation:
        """A permutation of `range(count)` with keys from `generator`."""
        keys = torch.randint(0, MIX_BITS, (ROUNDS,), generator=generator)
        return cls(count, keys.tolist())

    def __call__(self, positions: Tensor) -> Tensor:
        """The numbers at `positions` (int64 `[n]`, in `[0, count)`) of the shuffled order."""
        values = self._encrypt(positions)
        while (outside := (values >= self.count).nonzero()[:, 0]).numel():
            values[outside] = self._encrypt(values[outside])
        return values

    def _encrypt(self, values: Tensor) -> Tensor:
        high, low = values // self.low_radix, values % self.low_radix
        for high_key, low_key in zip(self.keys[::2], self.keys[1::2], strict=True):
            high = (high + mix(low, high_key)) % self.high_radix
            low = (low + mix(high, low_key)) % self.low_radix
        return high * self.low_radix + low


def mix(values: Tensor, key: int) -> Tensor:
    """31 well-stirred bits of each value (below 2^31) under `key`: multiply and xor-shift, as in murmur hashes."""
    mixed = ((values ^ key) * 0x45D9F3B) & MIX_BITS
    mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & MIX_BITS
    return mixed ^ (mixed >> 13)
