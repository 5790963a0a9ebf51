"""Parts of camera files, checked: numbers, matrices, rotations, angles and sizes. Errors name file and frame."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.config.options import shown
from nerf_ssim.errors import SceneError
from nerf_ssim.files import open_regular

LARGEST_FILE = 1 << 28  # bytes
LARGEST_SIDE = 16384
MOST_FRAMES = 100_000
ROTATION_TOLERANCE = 2e-3


def rigid(matrix: Tensor, place: str) -> tuple[Tensor, float]:
    """A camera `[3, 4]` with an exact rotation, and the scale that its rotation carried."""
    rotation, factor = rotation_in(matrix, place)
    return torch.cat([rotation, matrix[:, 3:]], dim=1), factor


def rotation_in(matrix: Tensor, place: str) -> tuple[Tensor, float]:
    """The rotation in `matrix [3, 4]` and the scale of its columns; an error where it is none."""
    part = matrix[:, :3]
    factor = float(part.norm(dim=0).mean())
    unit = part / max(factor, 1e-12)
    error = float((unit.T @ unit - torch.eye(3, dtype=unit.dtype)).abs().max())
    if not (factor > 1e-9 and error < ROTATION_TOLERANCE):
        raise SceneError(f"{place} is no rotation, even with a scale taken out (columns are off by {error:.2g})")
    if torch.linalg.det(unit) < 0:
        raise SceneError(f"{place} is no rotation but a mirror image (its determinant is negative)")
    left, _, right = torch.linalg.svd(unit)
    return left @ right, factor


def matrix(value: Any, place: str) -> Tensor:
    """`[3, 4]` of 12 or 16 numbers, flat or in rows; of 16, those by columns too."""
    flat = [item for row in value for item in row] if isinstance(value, list) and _is_nested(value) else value
    if not isinstance(flat, list) or len(flat) not in (12, 16):
        raise SceneError(f"{place} is no matrix of 3x4 or 4x4 numbers")
    numbers = vector(flat, len(flat), place)
    if len(flat) == 12:
        return numbers.view(3, 4)
    matrix = numbers.view(4, 4)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    for candidate in (matrix, matrix.T):
        if torch.allclose(candidate[3], last, atol=1e-6):
            return candidate[:3].clone()
    raise SceneError(f"{place} has no row 0 0 0 1, so it is no camera's matrix")


def _is_nested(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(row, list) for row in value)


def vector(value: Any, length: int, place: str) -> Tensor:
    """`length` finite numbers as float64."""
    is_list = isinstance(value, list) and len(value) == length
    if not is_list or not all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in value):
        raise SceneError(f"{place} is " + (f"not {length} numbers" if length > 1 else "no number"))
    vector = torch.tensor([float(x) if abs(x) < 1e30 else math.inf for x in value], dtype=torch.float64)
    if not vector.isfinite().all():
        raise SceneError(f"{place} has a number that is not finite")
    return vector


def entries(value: Any, place: str, *, are_cameras: bool = True) -> list[Any]:
    """A list of entries, objects where `are_cameras`."""
    if not isinstance(value, list) or not 0 < len(value) <= MOST_FRAMES:
        raise SceneError(f"{place} is no list of 1 to {MOST_FRAMES} entries")
    if are_cameras and not all(isinstance(entry, dict) for entry in value):
        raise SceneError(f"{place}: an entry is no camera")
    return value


def field_of_view(value: Any, place: str) -> float:
    """An angle in degrees, between 0 and 180."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 180:
        raise SceneError(f"{place}: fov {shown(value)} is no angle between 0 and 180 degrees")
    return float(value)


def aspect_ratio(value: Any, place: str) -> float | None:
    """Width over height, None where the file does not say."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 / LARGEST_SIDE <= value <= LARGEST_SIDE:
        raise SceneError(f"{place}: aspect {shown(value)} is no ratio of width to height")
    return float(value)


def picture_size(path: Path | str, record: Mapping[str, Any], width: str, height: str) -> tuple[int, int] | None:
    """Width and height in pixels under those names, None where one is missing."""
    if record.get(width) is None or record.get(height) is None:
        return None
    sides = [round(number(record, name, path, 0.0)) for name in (width, height)]
    if not all(1 <= side <= LARGEST_SIDE for side in sides):
        raise SceneError(
            f"{path}: {width} x {height} is {sides[0]}x{sides[1]}; 1 to {LARGEST_SIDE} pixels a side are had"
        )
    return sides[0], sides[1]


def frame_rate(path: Path, record: Mapping[str, Any]) -> float | None:
    """Frames a second, None where the file does not say."""
    if record.get("fps") is None:
        return None
    fps = number(record, "fps", path, 0.0)
    if not 0 < fps <= 1000:
        raise SceneError(f"{path}: fps {fps:g} is not between 0 and 1000")
    return fps


def number(record: Mapping[str, Any], name: str, path: Path | str, default: float) -> float:
    """A finite number."""
    return float(vector([record.get(name, default)], 1, f"{path}: {name}"))


def load_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        with open_regular(path) as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > LARGEST_FILE:
        raise SceneError(f"{path}: is no camera file (it is too large)")
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SceneError(f"{path}: is no camera file ({error})") from error
    if not isinstance(record, dict):
        raise SceneError(f"{path}: is no camera file (a JSON object is expected)")
    return record
