"""The sdfstudio layout, in which S3IM's Replica scenes come: `meta_data.json` beside its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.camera_models import LENS_KEYS, lens_of_keys
from nerf_ssim.datasets.cameras import check_intrinsics, check_pose, principal_point_centres, read_matrix
from nerf_ssim.datasets.depths import PATH_KEYS, UNIT_KEY, DepthFile, depth_file, depth_unit, without_depth
from nerf_ssim.datasets.json_files import member, note_unknown, pixels, read_object
from nerf_ssim.datasets.paths import find_image
from nerf_ssim.datasets.scene_file import Frame, Reading, SceneFile, read_bounds
from nerf_ssim.errors import SceneError

METADATA = "meta_data.json"
FILES = METADATA

# What sdfstudio and its converters write. Priors of depth and normals and the scale to the ground truth are for other
# losses and tools; they change nothing of how images and cameras are read.
_KNOWN = {
    "scene": (
        *("camera_model", "height", "width", "scene_box", "frames", "label", "pairs", "worldtogt", "has_mono_prior"),
        *("has_sensor_depth", "has_foreground_mask", "has_sparse_sfm_points", "sparse_sfm_points"),
        *("pixel_centres", "white_bg", UNIT_KEY, *LENS_KEYS),
    ),
    "scene_box": ("aabb", "near", "far", "radius", "collider_type", "estimated"),
    "frame": (
        *("rgb_path", "camtoworld", "intrinsics", "height", "width", "camera_model", "split", "mask_path"),
        *("foreground_mask", "mono_depth_path", "mono_normal_path", "sfm_sparse_points_view", *PATH_KEYS),
        *LENS_KEYS,
    ),
}
_SPLITS = {"train": False, "test": True}


def detect(folder: Path) -> bool:
    """Whether `folder` has this layout's metadata."""
    return (folder / METADATA).exists()


def read(folder: Path, how: Reading) -> SceneFile:
    """Read and check `folder/meta_data.json`; no image is opened.

    The file has `height`, `width` (pixels), `scene_box {aabb [2, 3], near, far}`, `frames [{rgb_path, camtoworld
    (4x4 or 3x4, OpenCV), intrinsics (4x4 or 3x3)}]`, and perhaps `camera_model` with lens coefficients, frames with a
    size, a lens, a mask (`mask_path` or `foreground_mask`), a depth map (see `datasets.depths`) or a `split` of their
    own, and a `label`.

    The layout's own scenes count pixel centres at integers; half a pixel is added here. A file whose principal points
    are all exactly half the image's size was made from COLMAP's or nerfstudio's cameras, which count them at halves.

    Raises:
        SceneError: anything missing or wrong, naming the file and the frame.
    """
    path = folder / METADATA
    metadata = read_object(path, "the sdfstudio layout", "height, width, scene_box and frames")
    size = pixels(metadata, "height", str(path)), pixels(metadata, "width", str(path))
    box = member(metadata, "scene_box", dict, str(path))
    bounds = read_bounds(box, path)
    label = metadata.get("label")
    if label is not None and not isinstance(label, str):
        raise SceneError(f"{path}: label must be text, got {type(label).__name__}")
    entries = member(metadata, "frames", list, str(path))
    unit = depth_unit(metadata, str(path))
    stored = [_read_frame(entry, index, path, size, unit, how) for index, entry in enumerate(entries)]
    centres, said = _pixel_centres(metadata.get("pixel_centres"), stored, path)
    shift = 0.5 if centres == "integers" and not how.as_published else 0.0
    return SceneFile(
        path,
        folder.resolve().name,
        label,
        [one.frame(shift, metadata) for one in stored],
        bounds,
        pixel_centres="left as stored, as published" if how.as_published else said,
        is_test=_split(stored),
        white_bg=metadata.get("white_bg") is True,
        notes=_unknown_entries(metadata, box, entries),
        identity=without_depth(path.read_bytes()),
    )


@dataclass(frozen=True)
class _Stored:
    """A frame as its entry has it, before it is known where its pixel centres are."""

    entry: Mapping[str, Any]
    path: Path
    mask: Path | None
    where: str
    size: tuple[int, int]
    c2w: NDArray[np.float64]
    K: NDArray[np.float64]
    depth: DepthFile | None

    def frame(self, shift: float, metadata: Mapping[str, Any]) -> Frame:
        """The frame whose stored principal point is moved by `shift` pixels."""
        K = self.K.copy()
        K[:2, 2] += shift
        model = self.entry.get("camera_model", metadata.get("camera_model"))
        lens = lens_of_keys(model, (self.entry, metadata), self.where)
        K = check_intrinsics(K, *self.size, self.where)
        return Frame(self.path, self.where, self.c2w, K, self.size, lens, self.mask, self.depth)


def _read_frame(entry: Any, index: int, path: Path, size: tuple[int, int], unit: float | None, how: Reading) -> _Stored:
    folder = path.parent
    where = f"{path}: frame {index}"
    if not isinstance(entry, dict):
        raise SceneError(f"{where}: must be an object, got {type(entry).__name__}")
    rgb_path = member(entry, "rgb_path", str, where)
    where = f"{where} ({rgb_path!r})" if not rgb_path.isprintable() or not rgb_path else f"{where} ({rgb_path})"
    image = find_image(folder, rgb_path, where, key="rgb_path", follow_links=how.follow_links)
    mask_key = next((key for key in ("mask_path", "foreground_mask") if entry.get(key) is not None), None)
    mask = None
    if mask_key is not None:
        given = member(entry, mask_key, str, where)
        mask = find_image(folder, given, where, key=mask_key, follow_links=how.follow_links)
    pose = read_matrix(member(entry, "camtoworld", list, where), [(4, 4), (3, 4)], where, "camtoworld")
    K = read_matrix(member(entry, "intrinsics", list, where), [(4, 4), (3, 3)], where, "intrinsics")
    height = pixels(entry, "height", where) if "height" in entry else size[0]
    width = pixels(entry, "width", where) if "width" in entry else size[1]
    depth = depth_file(entry, folder, where, unit, follow_links=how.follow_links)
    return _Stored(entry, image, mask, where, (height, width), how.pose(check_pose(pose, where)), K, depth)


def _pixel_centres(given: Any, stored: Sequence[_Stored], path: Path) -> tuple[str, str]:
    """`halves` or `integers`, and why, in words."""
    if given is not None:
        if given not in ("halves", "integers"):
            raise SceneError(f"{path}: pixel_centres must be 'halves' or 'integers', got {str(given)[:40]!r}")
        return given, f"at {given}, as the file says"
    found = principal_point_centres([(one.K, one.size) for one in stored])
    if found == "halves":
        return found, "at halves: every principal point is half the size, as COLMAP and nerfstudio write it"
    if found == "integers":
        return found, "at integers: every principal point is half of the size less one"
    return "integers", "at integers, the layout's convention; the principal points do not show it"


def _split(stored: Sequence[_Stored]) -> list[bool] | None:
    """Test views as the frames say; None where not every frame says to which split it belongs."""
    splits = [one.entry.get("split") for one in stored]
    if not splits or not all(isinstance(split, str) and split in _SPLITS for split in splits):
        return None
    return [_SPLITS[str(split)] for split in splits]


def _unknown_entries(metadata: Mapping[str, Any], box: Mapping[str, Any], entries: Sequence[Any]) -> list[str]:
    keys = {key for entry in entries for key in entry}
    return [
        *note_unknown(metadata, _KNOWN["scene"], METADATA),
        *note_unknown(box, _KNOWN["scene_box"], "scene_box"),
        *note_unknown(keys, _KNOWN["frame"], "a frame"),
    ]
