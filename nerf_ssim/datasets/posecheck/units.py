"""Are camera positions, box, near and far in the same units? Points that the cameras place on surfaces answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Units", "judge_units"]

_FEWEST = 60  # points
_PERCENT = (2.0, 98.0)  # of the points along an axis; those outside may be wrong
_BOX_MARGIN, _DISTANCE_MARGIN = 1.2, 1.1  # by which points may be outside
_TOO_FEW_FIT, _TOO_FEW_BETWEEN = 0.6, 0.8  # shares, for positions that are too large
_WELL_INSIDE = 0.9
_TOO_EMPTY = 0.35  # of the box's extent along any axis, for positions that are too small
_EMPTY = 0.6
_FILLED = 0.9  # of the box's extent, what points of a right scene fill about
_ROUND = (1e-3, 1e-2, 0.1, 0.25, 0.5, 2.0, 4.0, 10.0, 100.0, 1e3)
_ROUNDED = 0.25


@dataclass(frozen=True)
class Units:
    """How points on surfaces lie in the scene's bounds.

    Args:
        inside: the share of points in the box.
        between: the share of points between near and far, seen from the cameras.
        filled: what the points fill of the box, along the axis where they fill most.
        scale: what positions are to be multiplied by to fit the bounds; 1 where they do, or where nothing does.
        is_sure: whether that is beyond doubt.
    """

    inside: float
    between: float
    filled: float
    scale: float = 1.0
    is_sure: bool = False


def judge_units(
    points: NDArray[np.float64], distances: NDArray[np.float64], box: NDArray[np.float64], near: float, far: float
) -> Units | None:
    """How points `[n, 3]`, at `distances [n]` from the cameras that see them, lie in a scene's bounds.

    Too large positions leave the box and go beyond far. Too small ones fill little of the box. A box that is ample by
    itself looks like the latter, so that a factor of two is not beyond doubt there.

    Returns:
        None where there are too few points to tell.
    """
    if len(points) < _FEWEST:
        return None
    low, high = np.percentile(points, _PERCENT, axis=0)
    filled = float(((high - low) / (box[1] - box[0])).max())

    def shares(scale: float) -> tuple[float, float, float]:
        middle, half = (box[0] + box[1]) / 2, (box[1] - box[0]) / 2
        inside = (np.abs(points * scale - middle) < _BOX_MARGIN * half).all(axis=1)
        between = (distances * scale > near / _DISTANCE_MARGIN) & (distances * scale < far * _DISTANCE_MARGIN)
        return float(inside.mean()), float(between.mean()), float((inside & between).mean())

    inside, between, both = shares(1.0)
    is_large = both < _TOO_FEW_FIT and between < _TOO_FEW_BETWEEN
    is_small = filled < _EMPTY
    scale = _rounded(_FILLED / filled) if filled > 0 else 1.0
    if not (is_large or is_small) or shares(scale)[2] < _WELL_INSIDE:
        return Units(inside, between, filled)
    return Units(inside, between, filled, scale, is_sure=is_large or filled < _TOO_EMPTY)


def _rounded(scale: float) -> float:
    near = [value for value in _ROUND if abs(scale / value - 1) < _ROUNDED]
    return near[0] if near else float(f"{scale:.2g}")
