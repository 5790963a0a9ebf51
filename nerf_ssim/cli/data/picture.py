"""A picture of a scene's cameras and box, from above and from the side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nerf_ssim.datasets.scene import Scene, Views
from nerf_ssim.evaluation.pictures import save_png
from nerf_ssim.files import file_errors

_PANEL, _MARGIN, _HEADER = 700, 60, 50  # pixels
_BACKGROUND, _INK, _GREY = (255, 255, 255), (40, 40, 40), (170, 170, 170)  # RGB, as all colours here
_TRAIN, _TEST, _DOT, _REACH = (40, 90, 200), (225, 110, 0), (60, 150, 90), (190, 60, 160)
_MOST_DOTS = 5000
_FRUSTUM = 0.045  # depth of a drawn camera, of the picture's extent
_SUBPIXEL = 4  # bits; OpenCV draws between pixels in fixed point


def draw_scene(scene: Scene, field_box: Tensor, note: str, points: Tensor) -> NDArray[np.uint8]:
    """Two panels, x-y and x-z, as `[height, width, 3]` RGB: both boxes, each camera as a small pyramid, and
    how far the first camera's middle ray is sampled.

    Args:
        field_box: `[2, 3]`, the scene's box as training scales it.
        note: what the picture's legend calls it.
        points: `[n, 3]`, on surfaces, drawn as dots.
    """
    drawn_box, dots = field_box.double().numpy(), points.double().numpy()[:: max(1, len(points) // _MOST_DOTS)]
    panels = [_panel(scene, drawn_box, dots, axes, title) for axes, title in (((0, 1), "top"), ((0, 2), "side"))]
    picture = np.full((_HEADER + _PANEL, 2 * _PANEL, 3), _BACKGROUND, np.uint8)
    picture[_HEADER:] = np.hstack(panels)
    x = 20
    for text, colour in (
        (f"{scene.name}: {len(scene.train)} training views", _TRAIN),
        (f"{len(scene.test)} test views", _TEST),
        ("box", _INK),
        (note, _GREY),
        ("near to far of a camera", _REACH),
        *([("points on surfaces", _DOT)] if len(dots) else []),
    ):
        cv2.circle(picture, (x + 6, 28), 6, colour, -1, cv2.LINE_AA)
        x = write_words(picture, text, x + 20, 34) + 30
    return picture


def write_picture(picture: NDArray[np.uint8], path: Path) -> Path:
    """Write an RGB picture as PNG; raises FileError where that is not possible."""
    with file_errors(path, then="choose a folder with --out"):
        save_png(path, picture)
    return path


def _panel(
    scene: Scene, field_box: NDArray[np.float64], dots: NDArray[np.float64], axes: tuple[int, int], title: str
) -> NDArray[np.uint8]:
    box = scene.aabb.double().numpy()
    positions = np.concatenate([views.c2w[:, :, 3].numpy() for views in (scene.train, scene.test)]).astype(np.float64)
    corners = np.concatenate([box, field_box, positions])
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    extent = float((corners.max(axis=0) - corners.min(axis=0)).max())
    zoom = (_PANEL - 2 * _MARGIN) / extent
    canvas = np.full((_PANEL, _PANEL, 3), _BACKGROUND, np.uint8)

    def pixels(points: NDArray[np.float64]) -> NDArray[np.int32]:
        """Fixed-point pixels `[n, 2]` of world points `[n, 3]`; the second axis points up."""
        flat = (points - middle)[:, list(axes)] * [zoom, -zoom] + _PANEL / 2
        return np.round(flat * 2**_SUBPIXEL).astype(np.int32)

    for x, y in pixels(dots) >> _SUBPIXEL:
        if 0 <= x < _PANEL and 0 <= y < _PANEL:
            canvas[y, x] = _DOT
    for corners, colour, thickness in ((field_box, _GREY, 1), (box, _INK, 2)):
        low, high = pixels(corners)
        cv2.rectangle(canvas, low.tolist(), high.tolist(), colour, thickness, cv2.LINE_AA, _SUBPIXEL)
    first = scene.train.c2w[0].double().numpy()
    near, far = pixels(first[:, 3] + np.array([[scene.near], [scene.far]]) * first[:, 2]).tolist()
    cv2.line(canvas, near, far, _REACH, 2, cv2.LINE_AA, _SUBPIXEL)
    for views, colour in ((scene.train, _TRAIN), (scene.test, _TEST)):
        for pyramid in _pyramids(views, _FRUSTUM * extent):
            points = pixels(pyramid)
            sides = [np.stack([points[0], corner]) for corner in points[1:]]
            cv2.polylines(canvas, [*sides, points[1:]], True, colour, 1, cv2.LINE_AA, _SUBPIXEL)
            cv2.circle(canvas, points[0].tolist(), 3 << _SUBPIXEL, colour, -1, cv2.LINE_AA, _SUBPIXEL)
    names = ["xyz"[axis] for axis in axes]
    write_words(canvas, f"{title}: {names[0]} to the right, {names[1]} up; {extent:.3g} across", 20, 24)
    return canvas


def _pyramids(views: Views, depth: float) -> NDArray[np.float64]:
    """Per view `[views, 5, 3]`: the camera's position and its image's corners at `depth`."""
    width, height = views.width, views.height
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], np.float64)
    c2w = views.c2w.double().numpy()
    in_camera = np.linalg.inv(views.K.double().numpy()) @ corners.T * depth
    position = c2w[:, None, :, 3]
    return np.concatenate([position, (c2w[:, :, :3] @ in_camera).swapaxes(1, 2) + position], axis=1)


def write_words(picture: NDArray[np.uint8], text: str, x: int, y: int) -> int:
    """Write `text` from `x` on the line `y`; returns where it ends. OpenCV's letters are ASCII only."""
    shown = text.encode("ascii", "replace").decode("ascii")
    cv2.putText(picture, shown, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.55, _INK, 1, cv2.LINE_AA)
    return x + cv2.getTextSize(shown, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)[0][0]
