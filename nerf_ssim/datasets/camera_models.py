"""Camera models by the names that data sets give them: which lens each is, and which are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nerf_ssim.datasets.json_files import given_number
from nerf_ssim.datasets.lenses import Lens
from nerf_ssim.errors import SceneError

__all__ = ["LENS_KEYS", "fisheye_lens", "lens_of_keys", "opencv_lens"]

LENS_KEYS = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
"""The entries of a JSON camera that describe its lens."""

_PERSPECTIVE = ("", "OPENCV", "FULL_OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "RADIAL", "SIMPLE_RADIAL")
_FISHEYE = ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
_OPENCV_ORDER = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")


def lens_of_keys(model: object, entries: Sequence[Mapping[str, Any]], where: str) -> Lens | None:
    """The lens that a camera's model and its `k1 … k6, p1, p2` describe; None for a pinhole.

    Args:
        model: the model's name, in COLMAP's and nerfstudio's words; None where the scene names none.
        entries: objects with the coefficients, the frame's own first.
        where: how an error names the frame.
    Raises:
        SceneError: a model that is neither a perspective nor a fisheye camera, or a coefficient that is no number.
    """
    name = "" if model is None else str(model).upper()
    coefficients = {key: given_number(entries, key, where) or 0.0 for key in LENS_KEYS}
    if name in _FISHEYE:
        return fisheye_lens(*(coefficients[key] for key in ("k1", "k2", "k3", "k4")))
    if name not in _PERSPECTIVE:
        raise SceneError(
            f"{where}: camera_model {str(model)[:40]!r} is not one that can be made a pinhole camera's here "
            f"({', '.join(_PERSPECTIVE[1:])}, {', '.join(_FISHEYE)}); undistort the images first"
        )
    if name in ("PINHOLE", "SIMPLE_PINHOLE") and any(coefficients.values()):
        raise SceneError(f"{where}: camera_model is {model}, but lens coefficients are given; one of them is wrong")
    return opencv_lens(*(coefficients[key] for key in _OPENCV_ORDER))


def opencv_lens(*coefficients: float) -> Lens | None:
    """OpenCV's lens with coefficients in its order, `k1 k2 p1 p2 k3 k4 k5 k6`; None where all are 0."""
    lens = Lens("opencv", tuple(coefficients) + (0.0,) * (8 - len(coefficients)))
    return None if lens.is_pinhole else lens


def fisheye_lens(*coefficients: float) -> Lens:
    """The fisheye lens with coefficients `k1 k2 k3 k4`; even where all are 0 it is no pinhole."""
    return Lens("fisheye", tuple(coefficients) + (0.0,) * (4 - len(coefficients)))
