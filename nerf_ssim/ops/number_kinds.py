"""Numbers as callers have them, plain or of NumPy, as Python's own."""

from __future__ import annotations

import math
from numbers import Integral, Real

__all__ = ["real_number", "whole_number"]


def whole_number(value: object) -> int | None:
    """`value` as an int, None where it is no whole number; a bool is none."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def real_number(value: object) -> float | None:
    """`value` as a float, None where it is no finite number; a bool is none."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    number = float(value)
    return number if -math.inf < number < math.inf else None  # math.isfinite ends a program that torch.compile traces
