"""Lenses that bend rays: the images they take are made a pinhole camera's when they are loaded."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf_ssim.errors import SceneError

__all__ = ["Lens", "pinhole_of", "undistort"]

_BORDER_POINTS = 64  # a side
_NEWTON_STEPS, _SMALL = 20, 1e-5
_WIDEST = 20.0  # tangent of the widest half angle that is kept: 87 degrees


@dataclass(frozen=True)
class Lens:
    """A lens in OpenCV's words.

    Args:
        kind: `opencv` (radial k1 k2 k3 and tangential p1 p2, rational with k4 k5 k6) or `fisheye` (k1 to k4).
        coefficients: in OpenCV's order: `k1 k2 p1 p2 k3 k4 k5 k6`, or `k1 k2 k3 k4`.
    """

    kind: str
    coefficients: tuple[float, ...]

    def __str__(self) -> str:
        names = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6") if self.kind == "opencv" else ("k1", "k2", "k3", "k4")
        named = (f"{name} {value:.4g}" for name, value in zip(names, self.coefficients, strict=False) if value)
        return f"{'OpenCV' if self.kind == 'opencv' else 'fisheye'} ({', '.join(named) or 'all coefficients 0'})"

    @property
    def is_pinhole(self) -> bool:
        """Whether this lens bends nothing."""
        return self.kind == "opencv" and not any(self.coefficients)


def pinhole_of(lens: Lens, K: NDArray[np.float64], size: tuple[int, int], where: str) -> NDArray[np.float64]:
    """Intrinsics of the pinhole camera that sees as much as can be of the lens's image and nothing outside it.

    Args:
        K: `[3, 3]` of the distorted image, pixel centres at halves.
        size: its height and width, which the pinhole's image has too.
        where: how an error names the frame.
    Returns:
        `[3, 3]`, pixel centres at halves. Pixels keep their shape; the view is that of the largest frame inside the
        undistorted image's border.
    Raises:
        SceneError: a lens whose image does not fit into a pinhole camera's, or coefficients that fold the image.
    """
    height, width = size
    along = np.linspace(0.0, 1.0, _BORDER_POINTS)
    sides = {
        "left": np.stack([np.zeros_like(along), along * height], axis=1),
        "right": np.stack([np.full_like(along, width), along * height], axis=1),
        "top": np.stack([along * width, np.zeros_like(along)], axis=1),
        "bottom": np.stack([along * width, np.full_like(along, height)], axis=1),
    }
    places = {name: _in_camera(lens, K, points) for name, points in sides.items()}
    for name, points in sides.items():
        back = _in_image(lens, K, places[name])
        if not np.isfinite(places[name]).all() or np.abs(back - points).max() > 0.5:
            raise SceneError(
                f"{where}: the lens {lens} cannot be undone at the image's {name} border; its coefficients are of "
                "another camera, or it sees more than a pinhole camera can: crop the images or undistort them first"
            )
    low = np.array([places["left"][:, 0].max(), places["top"][:, 1].max()])
    high = np.array([places["right"][:, 0].min(), places["bottom"][:, 1].min()])
    if (low >= high).any() or max(-low.min(), high.max()) > _WIDEST:
        raise SceneError(
            f"{where}: the lens {lens} sees more than a pinhole camera can (its border is at "
            f"{np.degrees(np.arctan(max(-low.min(), high.max(), 0.0))):.0f} degrees); crop the images or undistort them"
        )
    zoom = max(width / ((high[0] - low[0]) * K[0, 0]), height / ((high[1] - low[1]) * K[1, 1]))
    pinhole = np.eye(3)
    for axis, extent in ((0, width), (1, height)):
        focal = K[axis, axis] * zoom
        # The frame lies within the border, as near to where it was as that allows.
        pinhole[axis, axis] = focal
        pinhole[axis, 2] = np.clip(K[axis, 2], extent - high[axis] * focal, -low[axis] * focal)
    return pinhole


def undistort(
    image: NDArray[np.uint8], lens: Lens, K: NDArray[np.float64], pinhole: NDArray[np.float64], *, smooth: bool = True
) -> NDArray[np.uint8]:
    """The image `[height, width, ...]` that the pinhole camera takes, of the same size.

    Args:
        K, pinhole: `[3, 3]`, pixel centres at halves, before and after.
        smooth: interpolate between pixels; False takes the nearest one, as a mask needs.
    """
    height, width = image.shape[:2]
    old, new = _integer_centres(K), _integer_centres(pinhole)
    coefficients = np.array(lens.coefficients, np.float64)
    if lens.kind == "fisheye":
        maps = cv2.fisheye.initUndistortRectifyMap(old, coefficients, np.eye(3), new, (width, height), cv2.CV_32FC1)
    else:
        maps = cv2.initUndistortRectifyMap(old, coefficients, np.eye(3), new, (width, height), cv2.CV_32FC1)
    mode = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    return np.asarray(cv2.remap(image, *maps, mode, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _in_camera(lens: Lens, K: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the undistorted rays of image points `[n, 2]` meet the plane at distance 1: `[n, 2]`."""
    if lens.kind == "fisheye":
        coefficients = np.array(lens.coefficients, np.float64)
        return np.asarray(cv2.fisheye.undistortPoints(pixels[:, None], K, coefficients)[:, 0], np.float64)
    # Newton's method, because OpenCV's own few steps do not reach the border of a strong lens.
    places = np.stack([(pixels[:, axis] - K[axis, 2]) / K[axis, axis] for axis in (0, 1)], axis=1)
    for _ in range(_NEWTON_STEPS):
        error = _in_image(lens, K, places) - pixels
        slopes = [
            (_in_image(lens, K, places + step) - _in_image(lens, K, places - step)) / (2 * _SMALL)
            for step in _SMALL * np.eye(2)
        ]
        jacobian = np.stack(slopes, axis=2)
        is_regular = np.abs(np.linalg.det(jacobian)) > 1e-9
        jacobian[~is_regular] = np.eye(2) * K[0, 0]
        places = places - np.linalg.solve(jacobian, error[:, :, None])[:, :, 0]
    return places


def _in_image(lens: Lens, K: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The image points `[n, 2]` of points on the plane at distance 1."""
    coefficients = np.array(lens.coefficients, np.float64)
    if lens.kind == "fisheye":
        return np.asarray(cv2.fisheye.distortPoints(places[:, None], K, coefficients)[:, 0], np.float64)
    points = np.concatenate([places, np.ones((len(places), 1))], axis=1)
    projected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, coefficients)
    return np.asarray(projected[:, 0], np.float64)


def _integer_centres(K: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = K.copy()
    moved[:2, 2] -= 0.5  # OpenCV counts pixel centres at integers
    return moved
