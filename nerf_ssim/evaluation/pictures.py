"""Pictures of a score: renders, error maps, depth, and the contact sheet that lays them side by side.

Pictures are uint8 RGB arrays `[height, width, 3]` inside; OpenCV's BGR is met only where a file is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from nerf_ssim.files import atomic_file

ERROR_FULL_SCALE = 0.2
TILE_LONGEST = 256
MARGIN = 6
CAPTION = 20
BACKGROUND = 24
INK = (230, 230, 230)


def to_bytes(image: Tensor) -> np.ndarray:
    """A float image `[height, width, 3]` as uint8, clamped to [0, 1] and rounded to the nearest level; NaN is black."""
    return torch.nan_to_num(image.detach().float().cpu(), nan=0.0).clamp(0.0, 1.0).mul(255.0).round().byte().numpy()


def save_png(path: str | Path, picture: np.ndarray | Tensor) -> None:
    """Write a picture as PNG: uint8 as it is, a float tensor rounded by `to_bytes`; whole or not at all.

    Raises:
        OSError: the folder cannot be written to.
    """
    pixels = to_bytes(picture) if isinstance(picture, Tensor) else picture
    encoded, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))
    if not encoded:
        raise OSError(f"{path}: the picture could not be encoded as PNG")
    with atomic_file(path) as file:
        file.write(data.tobytes())


def error_map(rendered: Tensor, truth: Tensor, full_scale: float = ERROR_FULL_SCALE) -> np.ndarray:
    """Mean absolute error over the channels in the Inferno colours, black at 0, pale yellow at `full_scale` and above.

    The scale is the same for every picture, so that maps of different views and runs can be compared.
    A NaN in the render is shown as the largest error.
    """
    error = (rendered.detach().float().clamp(0.0, 1.0) - truth.detach().to(rendered.device).float()).abs().mean(-1)
    level = torch.nan_to_num(error / full_scale, nan=1.0).clamp(0.0, 1.0)
    return _coloured(level, cv2.COLORMAP_INFERNO)


def depth_map(depth: Tensor, depth_range: tuple[float, float], opacity: Tensor | None = None) -> np.ndarray:
    """Depth in the Turbo colours, red at the near end of `depth_range` and blue at the far end.

    Args:
        depth: distance along the ray, `[height, width]`, scene units.
        depth_range: `(near, far)`; values outside are shown as the end they passed.
        opacity: `[height, width]` in [0, 1]; what the ray passed through unstopped fades to black.
    """
    near, far = depth_range
    level = 1.0 - (depth.detach().float() - near) / max(far - near, 1e-8)
    is_missing = ~torch.isfinite(level)
    picture = _coloured(torch.nan_to_num(level, nan=0.0).clamp(0.0, 1.0), cv2.COLORMAP_TURBO)
    shown = torch.ones_like(level) if opacity is None else opacity.detach().float().clamp(0.0, 1.0)
    shown = torch.nan_to_num(shown, nan=0.0).masked_fill(is_missing, 0.0)
    return np.rint(picture * shown[..., None].cpu().numpy()).astype(np.uint8)


def depth_extent(depth: Tensor, opacity: Tensor | None = None) -> tuple[float, float]:
    """The 1st and 99th percentile of depth where something stopped the ray (opacity > 0.5), (0, 1) where nothing."""
    depth = depth.detach().float()
    is_seen = torch.isfinite(depth) if opacity is None else torch.isfinite(depth) & (opacity.detach() > 0.5)
    seen = depth[is_seen].cpu().numpy()
    if seen.size == 0:
        return 0.0, 1.0
    near, far = np.percentile(seen, (1.0, 99.0))
    return float(near), float(far)


def _coloured(level: Tensor, colormap: int) -> np.ndarray:
    grey = level.mul(255.0).round().byte().cpu().numpy()
    return np.ascontiguousarray(cv2.applyColorMap(grey, colormap)[..., ::-1])


@dataclass(frozen=True)
class SheetRow:
    """One view on the contact sheet, already reduced to tile size: four pictures and their captions."""

    tiles: tuple[np.ndarray, ...]
    captions: tuple[str, ...]


def sheet_row(
    name: str,
    psnr: float | None,
    truth: Tensor,
    rendered: Tensor,
    depth: Tensor,
    opacity: Tensor | None,
    depth_range: tuple[float, float] | None = None,
) -> SheetRow:
    """Truth, render, error and depth of one view, with its name, its PSNR and the depth range that the colours span."""
    extent = depth_extent(depth, opacity) if depth_range is None else depth_range
    pictures = (to_bytes(truth), to_bytes(rendered), error_map(rendered, truth), depth_map(depth, extent, opacity))
    measured = "PSNR undefined" if psnr is None else f"{psnr:.2f} dB"
    near, far = extent
    captions = (
        f"truth {name}",
        f"render {measured}",
        f"error 0 to {ERROR_FULL_SCALE:g}",
        f"depth {near:.3g} to {far:.3g}",
    )
    return SheetRow(tuple(_tile(picture) for picture in pictures), captions)


def contact_sheet(rows: list[SheetRow], title: str) -> np.ndarray:
    """The rows under one another with a title, a caption over every tile, and a legend of the two colour scales.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one row")
    tile_height = max(tile.shape[0] for row in rows for tile in row.tiles)
    tile_width = max(max(tile.shape[1] for row in rows for tile in row.tiles), 150)
    columns = len(rows[0].tiles)
    width = columns * (tile_width + MARGIN) + MARGIN
    row_height = CAPTION + tile_height + MARGIN
    header = CAPTION + 2 * MARGIN
    sheet = np.full((header + len(rows) * row_height + header, width, 3), BACKGROUND, dtype=np.uint8)
    _write(sheet, title, MARGIN, header - MARGIN - 4, width - 2 * MARGIN, scale=0.5)
    for index, row in enumerate(rows):
        top = header + index * row_height
        for column, (tile, caption) in enumerate(zip(row.tiles, row.captions, strict=True)):
            left = MARGIN + column * (tile_width + MARGIN)
            _write(sheet, caption, left, top + CAPTION - 6, tile_width)
            sheet[top + CAPTION : top + CAPTION + tile.shape[0], left : left + tile.shape[1]] = tile
    _draw_legend(sheet, header + len(rows) * row_height)
    return sheet


def _draw_legend(sheet: np.ndarray, top: int) -> None:
    half = sheet.shape[1] // 2
    ramp = torch.linspace(0.0, 1.0, 100).expand(10, 100)
    scales = (
        (MARGIN, "error 0", cv2.COLORMAP_INFERNO, f"{ERROR_FULL_SCALE:g} or more"),
        (half, "depth near", cv2.COLORMAP_TURBO, "far"),
    )
    for left, low, colormap, high in scales:
        bar = _coloured(1.0 - ramp if colormap == cv2.COLORMAP_TURBO else ramp, colormap)
        sheet[top + 9 : top + 19, left + 80 : left + 180] = bar
        _write(sheet, low, left, top + 18, 78)
        _write(sheet, high, left + 186, top + 18, half - 190)


def _tile(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    factor = TILE_LONGEST / max(height, width)
    if 0.75 < factor <= 1.0:
        return picture  # a slight change of size would only blur
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1.0 else cv2.INTER_NEAREST)


def _write(sheet: np.ndarray, text: str, left: int, baseline: int, room: int, scale: float = 0.42) -> None:
    def width_of(candidate: str) -> int:
        return cv2.getTextSize(candidate, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]

    text = text.encode("ascii", "replace").decode()  # the built-in font has no other letters
    while text and width_of(text) > room:
        text = text[:-1]
    cv2.putText(sheet, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, INK, 1, cv2.LINE_AA)
