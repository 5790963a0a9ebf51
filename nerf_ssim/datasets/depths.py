"""Depth maps beside a scene's images: which file each frame has, and its values in scene units.

Depth is measured along the camera's optical axis. A file is an array of floating point in scene units (`.npy`) or a
16-bit PNG whose values times the scene's `depth_unit` are scene units. Zero, negative and not finite mean unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.image_damage import complaints, structural_damage
from nerf_ssim.datasets.image_headers import read_header
from nerf_ssim.datasets.images import read_bytes
from nerf_ssim.datasets.paths import find_image
from nerf_ssim.errors import SceneError
from nerf_ssim.files import require_regular

__all__ = [
    "PATH_KEYS",
    "UNIT_KEY",
    "DepthFile",
    "depth_file",
    "depth_unit",
    "load_depth",
    "without_depth",
    "write_depth",
]

PATH_KEYS = ("depth_path", "sensor_depth_path")
"""Of a frame: ours, and sdfstudio's own for measured depth. Its `mono_depth_path` is a guess without a scale."""
UNIT_KEY = "depth_unit"
_VALUE = rb'\s*:\s*(?:"(?:[^"\\]|\\.)*"|null|[-+0-9.eE]+)'
_MEMBER = rb'"(?:' + "|".join((*PATH_KEYS, UNIT_KEY)).encode() + rb')"' + _VALUE
_MEMBERS = re.compile(rb"\s*,\s*" + _MEMBER + rb"|" + _MEMBER + rb"\s*,\s*")
_LARGEST_STEP = 2**16 - 1


@dataclass(frozen=True)
class DepthFile:
    """A frame's depth map: its file, how an error names the frame, and scene units a step of a PNG."""

    path: Path
    where: str
    unit: float | None


def depth_unit(metadata: Mapping[str, Any], where: str) -> float | None:
    """Scene units a step of the scene's 16-bit depth maps, None where it is not said.

    Raises:
        SceneError: not a number above 0.
    """
    unit = metadata.get(UNIT_KEY)
    if unit is None:
        return None
    if isinstance(unit, bool) or not isinstance(unit, (int, float)) or not 0 < unit < float("inf"):
        raise SceneError(f"{where}: {UNIT_KEY} must be scene units a step of a depth map, above 0, got {unit!r}")
    return float(unit)


def depth_file(
    frame: Mapping[str, Any], folder: Path, where: str, unit: float | None, *, follow_links: bool = False
) -> DepthFile | None:
    """The depth map that a frame's entry names, None where it names none; no file is opened.

    Raises:
        SceneError: two of them, a name that is no text or leaves the folder, or of a kind that cannot be read.
    """
    named = [key for key in PATH_KEYS if frame.get(key) is not None]
    if not named:
        return None
    if len(named) > 1:
        raise SceneError(f"{where}: has both {' and '.join(named)}; keep the one that holds depth in scene units")
    key = named[0]
    relative = frame[key]
    if not isinstance(relative, str):
        raise SceneError(f"{where}: {key} must be text, got {type(relative).__name__}")
    path = find_image(folder, relative, where, key=key, follow_links=follow_links)
    if path.suffix.lower() not in (".npy", ".png"):
        raise SceneError(f"{where}: {key} is {path.name}; depth maps are .npy or 16-bit .png")
    if path.suffix.lower() == ".png" and unit is None:
        raise SceneError(f"{where}: {path.name} needs the scene's {UNIT_KEY}, scene units a step; add it to the file")
    return DepthFile(path, where, unit)


def load_depth(file: DepthFile, size: tuple[int, int], shrunk: tuple[int, int]) -> NDArray[np.float32]:
    """The depth map in scene units, 0 where unknown, at the size of the shrunk image.

    A shrunk map has the value nearest to each pixel's centre: a mean over an edge would be the depth of nothing.

    Args:
        size: height and width that the file must have.
        shrunk: height and width of the result, neither larger.
    Raises:
        SceneError: missing, damaged, of another size or of another kind of number.
    """
    values = _array(file, size) if file.path.suffix.lower() == ".npy" else _png(file, size)
    values = np.where(np.isfinite(values) & (values > 0), values, 0).astype(np.float32)
    rows, columns = ((np.arange(n) * 2 + 1) * whole // (2 * n) for n, whole in zip(shrunk, size, strict=True))
    return values[np.ix_(rows, columns)]


def _array(file: DepthFile, size: tuple[int, int]) -> NDArray[np.floating]:
    try:
        require_regular(file.path)
        values = np.load(file.path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise SceneError(f"{file.where}: depth map missing: {file.path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise SceneError(f"{file.where}: depth map {file.path.name} cannot be read ({error})") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        kind = values.dtype if isinstance(values, np.ndarray) else "an archive"
        raise SceneError(f"{file.where}: depth map {file.path.name} holds {kind}; store floating point in scene units")
    if values.shape not in (size, (*size, 1)):
        found, wanted = ("x".join(map(str, each)) for each in (values.shape, size))
        raise SceneError(f"{file.where}: depth map {file.path.name} is {found}, the scene's images are {wanted}")
    return np.asarray(values).reshape(size)


def _png(file: DepthFile, size: tuple[int, int]) -> NDArray[np.float64]:
    where = f"{file.where}: depth map {file.path.name}"
    encoded = read_bytes(file.path, where)
    if damage := structural_damage(encoded):
        raise SceneError(f"{where}: damaged ({damage}); fetch or write it again")
    header = read_header(file.path, where)
    if header is not None and header.size != size:
        found, wanted = (f"{width}x{height}" for height, width in (header.size, size))
        raise SceneError(f"{where}: {found} (width x height), the scene says {wanted}")
    with complaints(encoded) as heard:
        steps = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED) if header is not None else None
    if steps is None or heard.text or steps.shape != size or steps.dtype != np.uint16:
        raise SceneError(f"{where}: not a 16-bit grey PNG; convert it to one")
    assert file.unit is not None
    return steps.astype(np.float64) * file.unit


def write_depth(path: Path, depth: NDArray[np.floating], unit: float) -> None:
    """Write `depth [height, width]` in scene units as a 16-bit PNG of steps of `unit`; beyond the last step is 0.

    Raises:
        OSError: the file cannot be written.
    """
    steps = np.floor(depth / unit + 0.5)
    steps = np.where(steps <= _LARGEST_STEP, steps, 0).astype(np.uint16)
    _, encoded = cv2.imencode(".png", steps, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    path.write_bytes(encoded.tobytes())


def without_depth(metadata: bytes) -> bytes:
    """The text of a scene's file without what it says of depth, which is no part of the scene's identity.

    A scene that gets depth maps by adding members to its file is still the one that runs were trained on.
    """
    return _MEMBERS.sub(b"", metadata)
