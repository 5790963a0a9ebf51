"""Camera paths in files: of nerfstudio's viewers, of instant-ngp, and our own.

What a file has is turned into OpenCV camera-to-world (x right, y down, z forward) in the scene's world. A matrix that
is no rotation is an error, never a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.config.options import shown
from nerf_ssim.errors import SceneError
from nerf_ssim.evaluation.camera_json import (
    ROTATION_TOLERANCE,
    aspect_ratio,
    entries,
    field_of_view,
    frame_rate,
    load_object,
    matrix,
    number,
    picture_size,
    rigid,
    rotation_in,
    vector,
)
from nerf_ssim.evaluation.camera_paths import camera_path
from nerf_ssim.files import write_json

__all__ = ["CameraFile", "read_camera_file", "read_viewer_frame", "write_camera_file"]

FORMAT = "nerf_ssim cameras"
NGP_SCALE, NGP_OFFSET = 0.33, 0.5  # of a scene in instant-ngp's unit cube, where its file does not say
OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))


@dataclass(frozen=True)
class CameraFile:
    """A camera path as a file has it.

    Attributes:
        c2w: `[frames, 3, 4]` float64, OpenCV camera-to-world.
        fov: vertical field of view of each frame, degrees `[frames]`; None where the file has `K`.
        K: `[frames, 3, 3]` for pictures of `size`; None where it has `fov`.
        size: width and height, pixels, where the file says. sizes: those of each frame, where they differ.
        aspect: their ratio where it says only that.
        fps: frames a second, where it says.
        are_keys: whether the frames are key frames, to be interpolated; `is_loop`: from the last back to the first.
        remarks: what the file asks for and is not done, or was mended; a line each.
    """

    c2w: Tensor
    fov: Tensor | None = None
    K: Tensor | None = None
    size: tuple[int, int] | None = None
    sizes: list[tuple[int, int]] | None = None
    aspect: float | None = None
    fps: float | None = None
    are_keys: bool = False
    is_loop: bool = False
    remarks: tuple[str, ...] = ()

    def of_length(self, frames: int | None, default: int) -> CameraFile:
        """A path of so many frames: between keys interpolated, else evenly chosen among the file's own.

        Args:
            frames: how many; None for all that the file has, or `default` between keys.
        """
        count = len(self.c2w)
        if not self.are_keys:
            if frames is None or frames == count:
                return self
            chosen = torch.linspace(0, count - 1, frames).round().long()
            return replace(
                self,
                c2w=self.c2w[chosen],
                fov=None if self.fov is None else self.fov[chosen],
                K=None if self.K is None else self.K[chosen],
                sizes=None if self.sizes is None else [self.sizes[index] for index in chosen.tolist()],
            )
        frames = frames or default
        assert self.fov is not None
        keys, fov = self.c2w, self.fov
        if self.is_loop:
            keys, fov = torch.cat([keys, keys[:1]]), torch.cat([fov, fov[:1]])
        along = camera_path("interpolate", keys, frames + self.is_loop, near=0.0, far=1.0)[:frames].double()
        places = torch.linspace(0, len(keys) - 1, frames + self.is_loop, dtype=torch.float64)[:frames]
        before = places.long().clamp(max=max(len(keys) - 2, 0))
        after = (before + 1).clamp(max=len(keys) - 1)
        share = places - before
        return replace(self, c2w=along, fov=fov[before] * (1 - share) + fov[after] * share, are_keys=False)

    def lenses(self, size: tuple[int, int]) -> Tensor:
        """Intrinsics `[frames, 3, 3]` float32 for pictures of `size` (width, height) of a file that has `fov`."""
        assert self.fov is not None
        focal = size[1] / 2 / torch.tan(torch.deg2rad(self.fov) / 2)
        K = torch.zeros(len(self.fov), 3, 3, dtype=torch.float64)
        K[:, 0, 0] = K[:, 1, 1] = focal
        K[:, 0, 2], K[:, 1, 2], K[:, 2, 2] = size[0] / 2, size[1] / 2, 1.0
        return K.float()


@dataclass(frozen=True)
class ViewerFrame:
    """How a viewer's coordinates come from the scene's: `scale * (rotation @ x + shift)`, or instant-ngp's cube."""

    rotation: Tensor = field(default_factory=lambda: torch.eye(3, dtype=torch.float64))
    shift: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))
    scale: float = 1.0

    def undone(self, c2w: Tensor) -> Tensor:
        """Cameras `[frames, 3, 4]` of the viewer in the scene's coordinates."""
        back = self.rotation.T
        positions = (c2w[:, :, 3] / self.scale - self.shift) @ back.T
        return torch.cat([back @ c2w[:, :, :3], positions[:, :, None]], dim=2)


def read_camera_file(path: Path, frame: ViewerFrame | None = None) -> CameraFile:
    """The camera path in a JSON file of nerfstudio (any version), instant-ngp (`base_cam.json`) or our own.

    Args:
        frame: the coordinates that the file is in, where they are not the scene's (`read_viewer_frame`).
    Raises:
        SceneError: no such file, none of these kinds, or a camera that cannot be; it names the frame.
    """
    record = load_object(path)
    if record.get("format") == FORMAT:
        return _read_own(path, record)
    if record.get("camera_path") or ("camera_path" in record and not record.get("keyframes")):
        return _read_nerfstudio(path, record, frame or ViewerFrame())
    if isinstance(record.get("path"), list):
        return _read_ngp(path, record, frame)
    if record.get("keyframes"):
        raise SceneError(
            f"{path}: has key frames and no camera_path between them; let nerfstudio's viewer write the path again"
        )
    raise SceneError(
        f"{path}: is no camera path: nerfstudio's have camera_path, instant-ngp's have path, ours have "
        f'"format": "{FORMAT}"'
    )


def read_viewer_frame(path: Path) -> ViewerFrame:
    """The coordinates of a viewer: nerfstudio's `dataparser_transforms.json`, or instant-ngp's `transforms.json`.

    Raises:
        SceneError: no such file, or neither of them.
    """
    record = load_object(path)
    if "transform" in record:
        transform = matrix(record["transform"], f"{path}: transform")
        rotation, factor = rotation_in(transform, f"{path}: transform")
        return ViewerFrame(rotation, transform[:, 3] / factor, factor * number(record, "scale", path, 1.0))
    if "scale" in record or "offset" in record or "frames" in record:
        offset = record.get("offset", [NGP_OFFSET] * 3)
        return _ngp_frame(number(record, "scale", path, NGP_SCALE), vector(offset, 3, f"{path}: offset"))
    raise SceneError(f"{path}: is neither nerfstudio's dataparser_transforms.json nor instant-ngp's transforms.json")


def write_camera_file(
    path: Path, c2w: Tensor, K: Tensor, sizes: Sequence[tuple[int, int]], fps: float, **remarks: float | str
) -> None:
    """Writes a path that `read_camera_file` reads: `c2w [frames, 3, 4]`, OpenCV, and `K [frames, 3, 3]` in pixels.

    Args:
        sizes: width and height of each frame, pixels; those that are smaller than the largest have their own in the
            file.

    Raises:
        OSError: the file cannot be written.
    """
    width, height = (max(size[axis] for size in sizes) for axis in (0, 1))
    own = [{} if size == (width, height) else {"width": size[0], "height": size[1]} for size in sizes]
    frames = [{"c2w": pose.tolist(), "K": lens.tolist(), **size} for pose, lens, size in zip(c2w, K, own, strict=True)]
    write_json(path, {"format": FORMAT, "width": width, "height": height, "fps": fps, **remarks, "frames": frames})


def _read_own(path: Path, record: Mapping[str, Any]) -> CameraFile:
    frames = entries(record.get("frames"), f"{path}: frames")
    size = picture_size(path, record, "width", "height")
    if size is None:
        raise SceneError(f"{path}: width and height are missing; K is for pictures of some size")
    poses, lenses, sizes = [], [], []
    for index, entry in enumerate(frames):
        place = f"{path}: frame {index}"
        sizes.append(picture_size(place, entry, "width", "height") or size)
        poses.append(rigid(matrix(entry.get("c2w"), f"{place}: c2w"), f"{place}: c2w")[0])
        lens = torch.stack(
            [vector(row, 3, f"{place}: K") for row in entries(entry.get("K"), f"{place}: K", are_cameras=False)]
        )
        if lens.shape != (3, 3) or not (lens[0, 0] > 0 and lens[1, 1] > 0) or lens[2].tolist() != [0, 0, 1]:
            raise SceneError(f"{place}: K is no matrix of intrinsics")
        lenses.append(lens)
    own = sizes if len(set(sizes)) > 1 else None
    return CameraFile(
        torch.stack(poses),
        K=torch.stack(lenses).float(),
        size=size if own else sizes[0],
        sizes=own,
        fps=frame_rate(path, record),
    )


def _read_nerfstudio(path: Path, record: Mapping[str, Any], frame: ViewerFrame) -> CameraFile:
    kind = record.get("camera_type", "perspective")
    if kind not in ("perspective", None):
        raise SceneError(f"{path}: camera_type {shown(kind)} is not rendered; perspective is")
    frames = entries(record["camera_path"], f"{path}: camera_path")
    poses, fields, factors = [], [], []
    for index, entry in enumerate(frames):
        place = f"{path}: frame {index}: camera_to_world"
        pose, factor = rigid(matrix(entry.get("camera_to_world"), place), place)
        poses.append(pose)
        factors.append(factor)
        own = entry.get("fov")
        fields.append(field_of_view(record.get("default_fov") if own is None else own, f"{path}: frame {index}"))
    c2w = torch.stack(poses)
    c2w[:, :, :3] = c2w[:, :, :3] @ OPENGL
    remarks = []
    if max(abs(factor - 1) for factor in factors) > ROTATION_TOLERANCE:
        remarks.append(f"rotations carried a scale of {factors[0]:.4g}, which was taken out")
    if record.get("crop") is not None:
        remarks.append("its crop is not applied: the whole scene is rendered")
    size = picture_size(path, record, "render_width", "render_height")
    fov, fps = torch.tensor(fields, dtype=torch.float64), frame_rate(path, record)
    aspect = aspect_ratio(frames[0].get("aspect"), f"{path}: frame 0")
    return CameraFile(frame.undone(c2w), fov, size=size, aspect=aspect, fps=fps, remarks=tuple(remarks))


def _read_ngp(path: Path, record: Mapping[str, Any], frame: ViewerFrame | None) -> CameraFile:
    keys = entries(record["path"], f"{path}: path")
    poses, fields, has_blur = [], [], False
    for index, key in enumerate(keys):
        place = f"{path}: key {index}"
        quaternion = vector(key.get("R"), 4, f"{place}: R")
        if not abs(float(quaternion.norm()) - 1) < 1e-2:
            raise SceneError(f"{place}: R is no rotation (a quaternion of length {float(quaternion.norm()):.4g})")
        rotation = _from_quaternion(quaternion / quaternion.norm())
        poses.append(torch.cat([rotation, vector(key.get("T"), 3, f"{place}: T")[:, None]], dim=1))
        fields.append(field_of_view(key.get("fov"), place))
        has_blur = has_blur or key.get("aperture_size") not in (None, 0, 0.0)
    remarks = ["its aperture is not applied: everything is in focus"] if has_blur else []
    cube = frame or _ngp_frame(NGP_SCALE, torch.full((3,), NGP_OFFSET, dtype=torch.float64))
    return CameraFile(
        cube.undone(torch.stack(poses)),
        torch.tensor(fields, dtype=torch.float64),
        are_keys=True,
        is_loop=bool(record.get("loop", False)),
        remarks=tuple(remarks),
    )


def _ngp_frame(scale: float, offset: Tensor) -> ViewerFrame:
    """instant-ngp's cube: the axes (y, z, x) of the scene, scaled and moved; its cameras look along z, as OpenCV's."""
    cycled = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    # Its own order is: scale, move, then exchange the axes.
    return ViewerFrame(cycled, cycled @ (offset / scale), scale)


def _from_quaternion(q: Tensor) -> Tensor:
    """The rotation of a unit quaternion (x, y, z, w)."""
    x, y, z, w = q.tolist()
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
    )
