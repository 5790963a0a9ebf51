"""The sdfstudio layout, in which S3IM's Replica scenes come: `meta_data.json` beside its images."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from nerf_ssim.datasets.assemble import Frame, SceneFile, check_bounds
from nerf_ssim.datasets.cameras import check_intrinsics, check_pose, read_matrix
from nerf_ssim.datasets.images import image_in_folder
from nerf_ssim.errors import SceneError

METADATA = "meta_data.json"


def detect(folder: Path) -> bool:
    """Whether `folder` has this layout's metadata."""
    return (folder / METADATA).exists()


def read(folder: Path, *, as_published: bool = False) -> SceneFile:
    """Read and check `folder/meta_data.json`; no image is opened.

    The file has `height`, `width` (pixels), `scene_box {aabb [2, 3], near, far}`, `frames [{rgb_path, camtoworld
    (4x4 or 3x4, OpenCV), intrinsics (4x4 or 3x3)}]` and, for us, an optional `label`. Its intrinsics count pixel
    centres at integers; half a pixel is added here.

    Args:
        folder: the scene folder.
        as_published: leave the half pixel out, as the published code does (a bias of half a pixel).
    Raises:
        SceneError: anything missing or wrong, naming the file and the frame.
    """
    path = folder / METADATA
    metadata = _read_json(path)
    size = _pixels(metadata, "height", path), _pixels(metadata, "width", path)
    box = _member(metadata, "scene_box", dict, str(path))
    where = f"{path}: scene_box"
    aabb = read_matrix(_member(box, "aabb", list, where), [(2, 3)], where, "aabb")
    near, far = _number(box, "near", where), _number(box, "far", where)
    check_bounds(aabb, near, far, str(path))
    label = metadata.get("label")
    if label is not None and not isinstance(label, str):
        raise SceneError(f"{path}: label must be text, got {type(label).__name__}")
    entries = _member(metadata, "frames", list, str(path))
    frames = [_read_frame(entry, index, folder, path, size, as_published) for index, entry in enumerate(entries)]
    return SceneFile(path, folder.resolve().name, label, frames, size, aabb, near, far)


def _read_frame(entry: Any, index: int, folder: Path, path: Path, size: tuple[int, int], as_published: bool) -> Frame:
    where = f"{path}: frame {index}"
    if not isinstance(entry, dict):
        raise SceneError(f"{where}: must be an object, got {type(entry).__name__}")
    rgb_path = _member(entry, "rgb_path", str, where)
    where = f"{where} ({rgb_path!r})" if not rgb_path.isprintable() or not rgb_path else f"{where} ({rgb_path})"
    image = image_in_folder(folder, rgb_path, where)
    pose = read_matrix(_member(entry, "camtoworld", list, where), [(4, 4), (3, 4)], where, "camtoworld")
    K = read_matrix(_member(entry, "intrinsics", list, where), [(4, 4), (3, 3)], where, "intrinsics")
    if not as_published:
        K[:2, 2] += 0.5
    return Frame(image, where, check_pose(pose, where), check_intrinsics(K, *size, where))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        metadata = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise SceneError(f"{path}: missing; is {path.parent} a scene in the sdfstudio layout?") from None
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SceneError(f"{path}: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise SceneError(f"{path}: not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    except (RecursionError, ValueError):
        raise SceneError(f"{path}: not JSON that can be read (nested too deeply, or a number too long)") from None
    if not isinstance(metadata, dict):
        raise SceneError(f"{path}: must hold an object with height, width, scene_box and frames")
    return metadata


def _member(parent: dict[str, Any], key: str, kind: type[dict] | type[list] | type[str], where: str) -> Any:
    if key not in parent:
        raise SceneError(f"{where}: has no {key!r}")
    value = parent[key]
    if not isinstance(value, kind):
        wanted = {dict: "an object", list: "a list", str: "text"}[kind]
        raise SceneError(f"{where}: {key} must be {wanted}, got {type(value).__name__}")
    return value


def _number(parent: dict[str, Any], key: str, where: str) -> float:
    if key not in parent:
        raise SceneError(f"{where}: has no {key!r}")
    value = parent[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SceneError(f"{where}: {key} must be a number, got {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _pixels(metadata: dict[str, Any], key: str, path: Path) -> int:
    value = _number(metadata, key, str(path))
    if not (math.isfinite(value) and value >= 1 and value == int(value)):
        raise SceneError(f"{path}: {key} must be a whole number of pixels, at least 1, got {value:g}")
    return int(value)
