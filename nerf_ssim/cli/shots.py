"""What `nerf-ssim render` renders: the views of a split, or the cameras of a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nerf_ssim.errors import ConfigError
from nerf_ssim.evaluation.camera_files import CameraFile, read_camera_file, read_viewer_frame
from nerf_ssim.evaluation.camera_paths import PATHS, camera_path, resize_intrinsics
from nerf_ssim.files import user_path

if TYPE_CHECKING:
    from nerf_ssim.datasets.scene import Scene, Views

DEFAULT_FRAMES = 120
DEFAULT_SIZE = (800, 800)
LARGEST_PICTURE = 1 << 25  # pixels: 7680x4320 is under it, and its rays take 0.8 GB
FRAMES_PER_SECOND = 24.0
FAR_OUTSIDE = 10  # half sides of the box from its middle
NAMED_PATHS = (*PATHS, "test")


@dataclass(frozen=True)
class Shots:
    """What is to be rendered.

    Attributes:
        names: of the pictures, without suffix.
        c2w: `[n, 3, 4]`, OpenCV camera-to-world.
        K: `[n, 3, 3]`, intrinsics for a picture of each one's size.
        sizes: width and height of each picture, pixels.
        fps: of a video of them.
        remarks: lines for people.
    """

    names: Sequence[str]
    c2w: Tensor
    K: Tensor
    sizes: Sequence[tuple[int, int]]
    fps: float = FRAMES_PER_SECOND
    remarks: tuple[str, ...] = ()

    @property
    def frame(self) -> tuple[int, int]:
        """Width and height of a frame that holds every picture."""
        return max(width for width, _ in self.sizes), max(height for _, height in self.sizes)

    def resized(self, width: int, height: int) -> Shots:
        """The same cameras with pictures of one other size."""
        lenses = [resize_intrinsics(K, size, (width, height)) for K, size in zip(self.K, self.sizes, strict=True)]
        return replace(self, K=torch.stack(lenses), sizes=[(width, height)] * len(self.sizes))


def shots_of_split(scene: Scene, split: str) -> Shots:
    """The views of `train` or `test`.

    Raises:
        ConfigError: the scene has no views.
    """
    from nerf_ssim.evaluation.protocol import picture_names

    views = _views(scene, split, f"--split {split}")
    return Shots(picture_names(views.names), views.c2w, views.K, _sizes_of(views))


def shots_along(
    scene: Scene,
    path: str,
    *,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    viewer: Path | None = None,
) -> Shots:
    """The cameras of a path: a named one, made from the scene's own cameras, or that of a file.

    Args:
        path: one of `NAMED_PATHS`, or a file's name.
        frames: how many; None for a path's own number.
        size: width and height of the pictures; None for the file's, else the scene's.
        viewer: the file that says which coordinates a camera file is in; None for the scene's.
    Raises:
        UserError: a scene without views where the path is made from them, or a file that cannot be read.
    """
    if path not in NAMED_PATHS:
        return _of_file(scene, user_path(path), frames, size, viewer)
    if viewer is not None:
        raise ConfigError(f"--path_frame is for camera files, and --path {path} is made from the scene's cameras")
    views = _views(scene, "test" if path == "test" else "train", f"--path {path}")
    if path == "test":
        count = frames or len(views)
        chosen = torch.linspace(0, len(views) - 1, count).round().long()
        sizes = _sizes_of(views)
        shots = _numbered(views.c2w[chosen], views.K[chosen], [sizes[index] for index in chosen.tolist()])
    else:
        poses = camera_path(path, views.c2w, frames or DEFAULT_FRAMES, near=scene.near, far=scene.far)
        frame = views.width, views.height
        lenses = [resize_intrinsics(K, own, frame) for K, own in zip(views.K, _sizes_of(views), strict=True)]
        # One lens for the whole path; a median ignores a frame with an odd calibration.
        lens = torch.stack(lenses).median(0).values
        shots = _numbered(poses, lens.expand(len(poses), 3, 3), [frame] * len(poses))
    return shots if size is None else shots.resized(*size)


def _of_file(scene: Scene, path: Path, frames: int | None, size: tuple[int, int] | None, viewer: Path | None) -> Shots:
    if not path.exists():
        raise ConfigError(f"--path {path}: is neither {', '.join(NAMED_PATHS)} nor a camera file that is there")
    file = read_camera_file(path, None if viewer is None else read_viewer_frame(viewer))
    file = file.of_length(frames, DEFAULT_FRAMES)
    width, height = _size_of(scene)
    own = file.size or (width if file.aspect is None else max(1, round(height * file.aspect)), height)
    shown = size or own
    sizes = [shown] * len(file.c2w) if size or file.sizes is None else file.sizes
    largest = max(sizes, key=lambda one: one[0] * one[1])
    if largest[0] * largest[1] > LARGEST_PICTURE:
        raise ConfigError(
            f"--path {path}: {largest[0]}x{largest[1]} is more than the {LARGEST_PICTURE} pixels that are rendered at "
            "once; give a smaller --size"
        )
    if file.K is None:
        shots = _numbered(file.c2w.float(), file.lenses(shown), sizes)
    else:
        shots = _numbered(file.c2w.float(), file.K, file.sizes or [own] * len(file.c2w))
        shots = shots if size is None else shots.resized(*size)
    remarks = (*file.remarks, *_outside(scene, file, viewer))
    return replace(shots, fps=file.fps or FRAMES_PER_SECOND, remarks=tuple(f"{path.name}: {line}" for line in remarks))


def _outside(scene: Scene, file: CameraFile, viewer: Path | None) -> list[str]:
    """A line where cameras are far from the scene: viewers have coordinates of their own."""
    middle, half = (scene.aabb[0] + scene.aabb[1]) / 2, (scene.aabb[1] - scene.aabb[0]) / 2
    distance = ((file.c2w[:, :, 3] - middle.cpu()) / half.cpu()).abs().amax(1)
    count = int((distance > FAR_OUTSIDE).sum())
    if count == 0:
        return []
    hint = "" if viewer else "; if the file is in a viewer's coordinates, give its transforms with --path_frame"
    return [f"{count} of {len(distance)} cameras are far outside the scene's box{hint}"]


def _numbered(c2w: Tensor, K: Tensor, sizes: Sequence[tuple[int, int]]) -> Shots:
    return Shots([f"{frame:04d}" for frame in range(len(c2w))], c2w, K, sizes)


def _sizes_of(views: Views) -> list[tuple[int, int]]:
    """Width and height of each view's image."""
    return [(width, height) for height, width in map(views.size_of, range(len(views)))]


def _size_of(scene: Scene) -> tuple[int, int]:
    views = scene.test if len(scene.test) else scene.train
    return (views.width, views.height) if len(views) else DEFAULT_SIZE


def _views(scene: Scene, split: str, asked: str) -> Views:
    views: Views = getattr(scene, split)
    if len(views) == 0:
        raise ConfigError(f"{asked}: the run has no {split} views; render along a camera file with --path FILE")
    return views
