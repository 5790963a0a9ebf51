"""Boxes: how the scene's box becomes the field's."""

from __future__ import annotations

from torch import Tensor

__all__ = ["inside_box", "scaled_box", "share_inside", "share_kept"]


def scaled_box(aabb: Tensor, factor: float, about: str = "centre") -> Tensor:
    """The box `aabb [2, 3]` grown by `factor`.

    Args:
        about: `centre` keeps the box's centre where it is. `origin` multiplies the coordinates, as the published
            TensoRF does; a box that is not centred on the origin is moved by that.
    Returns:
        `[2, 3]`. Both ways agree bit for bit for a box whose corners are each other's negatives.
    """
    if about == "origin":
        return aabb * factor
    centre = (aabb[0] + aabb[1]) / 2
    return centre + (aabb - centre) * factor


def inside_box(points: Tensor, box: Tensor) -> Tensor:
    """Whether each of the points `[n, 3]` is in `box [2, 3]`: bool `[n]`."""
    return ((points >= box[0]) & (points <= box[1])).all(dim=1)


def share_inside(points: Tensor, box: Tensor) -> float:
    """The share of `points [n, 3]` that is inside `box [2, 3]`."""
    return float(inside_box(points, box).double().mean())


def share_kept(aabb: Tensor, box: Tensor) -> float:
    """The share of the volume of `aabb [2, 3]` that is inside `box [2, 3]`."""
    overlap = (aabb[1].minimum(box[1]) - aabb[0].maximum(box[0])).clamp(min=0)
    return float((overlap / (aabb[1] - aabb[0])).double().prod())
