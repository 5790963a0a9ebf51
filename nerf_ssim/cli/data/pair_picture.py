"""A picture of two images of a scene, with matched points and the lines on which its cameras say that they lie."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf_ssim.cli.data.picture import write_words
from nerf_ssim.datasets.listed_views import ListedViews
from nerf_ssim.datasets.posecheck.epipolar import CamerasOfPairs

_PANEL, _HEADER, _GAP = 690, 50, 20  # pixels
_LINES = 14  # matches that are drawn; more hide the images
_SUBPIXEL = 4  # bits; OpenCV draws between pixels in fixed point


def draw_worst_pair(views: ListedViews, cameras: CamerasOfPairs) -> NDArray[np.uint8]:
    """The pair whose cameras explain its matches worst, as `[height, width, 3]` RGB.

    Each match has a colour: its points in both images, and in each image the epipolar line of its point in the other.
    With right cameras every line goes through the point of its colour.
    """
    worst = int(np.nanargmax(cameras.by_pair))
    pair, F = cameras.matches.pairs[worst], cameras.fundamental[worst]
    chosen = np.unique(np.linspace(0, len(pair.here) - 1, _LINES).round().astype(int))
    colours = [_hue(place / len(chosen)) for place in range(len(chosen))]
    panels = []
    for index, size, points, others, matrix in (
        (pair.first, pair.sizes[0], pair.here, pair.there, F.T),
        (pair.second, pair.sizes[1], pair.there, pair.here, F),
    ):
        zoom = _PANEL / max(size)
        shown = max(1, round(size[0] * zoom)), max(1, round(size[1] * zoom))
        small = cv2.resize(views.image_of(index).cpu().numpy(), shown, interpolation=cv2.INTER_AREA)
        panel = np.asarray(cv2.addWeighted(small, 0.75, np.full_like(small, 255), 0.25, 0), np.uint8)
        lines = np.concatenate([others[chosen], np.ones((len(chosen), 1))], axis=1) @ matrix.T
        for line, point, colour in zip(lines, points[chosen], colours, strict=True):
            _draw_line(panel, line, zoom, colour)
            cv2.circle(panel, _fixed(point * zoom), 5 << _SUBPIXEL, colour, 2, cv2.LINE_AA, _SUBPIXEL)
        panels.append(panel)
    height = max(panel.shape[0] for panel in panels)
    picture = np.full((_HEADER + height, 2 * _PANEL + _GAP, 3), 255, np.uint8)
    for x, panel, index in zip((0, _PANEL + _GAP), panels, (pair.first, pair.second), strict=True):
        picture[_HEADER : _HEADER + panel.shape[0], x : x + panel.shape[1]] = panel
        distance = f"; points lie {cameras.by_pair[worst]:.2f} pixels from their lines" if x == 0 else ""
        write_words(picture, f"{views.names[index]}{distance}", x + 10, 32)
    return picture


def _draw_line(panel: NDArray[np.uint8], line: NDArray[np.float64], zoom: float, colour: tuple[int, int, int]) -> None:
    """Draws a x + b y + c = 0, of pixels before `zoom`, from one side of the panel to the other."""
    a, b, c = line
    reach = 2.0 * max(panel.shape[:2]) / zoom
    length = float(np.hypot(a, b))
    if not length > 0:
        return
    middle = np.array([panel.shape[1], panel.shape[0]]) / 2 / zoom
    foot = middle - (a * middle[0] + b * middle[1] + c) / length**2 * np.array([a, b])
    if np.linalg.norm(foot - middle) > reach:
        return  # it does not cross the image
    along = reach * np.array([-b, a]) / length
    ends = (_fixed((foot - along) * zoom), _fixed((foot + along) * zoom))
    cv2.line(panel, *ends, colour, 1, cv2.LINE_AA, _SUBPIXEL)


def _fixed(point: NDArray[np.float64]) -> list[int]:
    """A point, pixel centres at halves, in OpenCV's fixed-point pixels with centres at integers."""
    return np.round((point - 0.5) * 2**_SUBPIXEL).astype(int).tolist()


def _hue(share: float) -> tuple[int, int, int]:
    """A strong colour, RGB; `share` goes once around the circle from 0 to 1."""
    rgb = cv2.cvtColor(np.array([[[round(179 * share), 255, 200]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(rgb[0]), int(rgb[1]), int(rgb[2])
