"""From what a format's loader read (frames, bounds) to a Scene: splits, downsampling, images in memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from nerf_ssim.datasets.cameras import resized_intrinsics
from nerf_ssim.datasets.images import ImageFile, load_images, shrunk_size
from nerf_ssim.datasets.scene import Scene, Views
from nerf_ssim.errors import SceneError

if TYPE_CHECKING:
    from nerf_ssim.datasets.options import DataConfig

MIN_VIEWS = 2  # of a split: fewer cannot be fitted or scored


@dataclass(frozen=True)
class Frame:
    """One posed image of a scene file, checked.

    Args:
        path: the image file.
        where: how an error names this frame (scene file, frame number, image).
        c2w: `[3, 4]`, OpenCV camera-to-world.
        K: `[3, 3]`, pixel centres at halves, for the image as stored.
    """

    path: Path
    where: str
    c2w: NDArray[np.float64]
    K: NDArray[np.float64]


@dataclass(frozen=True)
class SceneFile:
    """What a format's loader hands over: everything but the pixels.

    Args:
        path: the metadata file, named in errors and part of the content hash.
        name: the scene's name.
        label: the scene's own remark for its scores, or None.
        frames: in the file's order, which decides the split.
        size: height and width of every image, pixels.
        aabb: `[2, 3]`, lowest and highest corner.
        near: scene units.
        far: scene units.
        is_test: for each frame, whether it is a test view; None lets the option test_every decide.
    """

    path: Path
    name: str
    label: str | None
    frames: Sequence[Frame]
    size: tuple[int, int]
    aabb: NDArray[np.float64]
    near: float
    far: float
    is_test: Sequence[bool] | None = None


def check_bounds(aabb: NDArray[np.float64], near: float, far: float, where: str) -> None:
    """Raises SceneError where the box is empty or inverted, or not `0 <= near < far`, all finite."""
    for axis, low, high in zip("xyz", *aabb, strict=True):
        if not low < high:
            state = "empty" if low == high else "inverted"
            raise SceneError(f"{where}: scene_box.aabb is {state} along {axis} ({low:.6g} to {high:.6g})")
    if not (math.isfinite(near) and math.isfinite(far)):
        raise SceneError(f"{where}: near and far must be finite, got {near} and {far}")
    if near < 0:
        raise SceneError(f"{where}: near is {near:.6g}, it cannot be negative")
    if near >= far:
        raise SceneError(f"{where}: near ({near:.6g}) must be below far ({far:.6g})")


def assemble(file: SceneFile, data: DataConfig) -> Scene:
    """Split the frames, load their images and scale their intrinsics.

    The test views are those that the format names, else every `data.test_every`-th frame, the first included.

    Raises:
        SceneError: too few frames for a split, an image listed twice, or one that cannot be used.
    """
    _refuse_repeats(file.frames)
    count = len(file.frames)
    is_test = [index % data.test_every == 0 for index in range(count)] if file.is_test is None else list(file.is_test)
    for split, size in (("test", sum(is_test)), ("training", count - sum(is_test))):
        if size < MIN_VIEWS:
            raise SceneError(
                f"{file.path}: {count} frames leave {size} for the {split} split ({split_rule(file, data)}); at least "
                f"{MIN_VIEWS} are needed: add frames or change {'the split' if file.is_test else 'test_every'}"
            )
    train_factor = data.downsample_train
    test_factor = train_factor if data.downsample_test is None else data.downsample_test
    sizes = [shrunk_size(*file.size, test_factor if test else train_factor) for test in is_test]
    train_images = _allocate([size for size, test in zip(sizes, is_test, strict=True) if not test])
    test_images = _allocate([size for size, test in zip(sizes, is_test, strict=True) if test])
    rows = {False: iter(train_images.numpy()), True: iter(test_images.numpy())}
    digests = load_images(
        [ImageFile(frame.path, frame.where) for frame in file.frames],
        [next(rows[test]) for test in is_test],
        size=file.size,
        white_bg=data.white_bg,
    )

    def views(images: torch.Tensor, test: bool) -> Views:
        frames = [frame for frame, other in zip(file.frames, is_test, strict=True) if other == test]
        K = resized_intrinsics(np.stack([frame.K for frame in frames]), file.size, (images.shape[1], images.shape[2]))
        c2w = np.stack([frame.c2w for frame in frames])
        names = tuple(frame.path.name for frame in frames)
        return Views(images, torch.from_numpy(c2w).float(), torch.from_numpy(K).float(), names)

    return Scene(
        name=file.name,
        label=data.label or file.label,
        train=views(train_images, False),
        test=views(test_images, True),
        aabb=torch.from_numpy(file.aabb).float(),
        near=file.near,
        far=file.far,
        content_hash=hashlib.sha256(file.path.read_bytes() + b"".join(digests)).hexdigest(),
    )


def split_rule(file: SceneFile, data: DataConfig) -> str:
    """How frames came to be test views, in words."""
    return f"every {data.test_every}th is a test frame" if file.is_test is None else "as the scene's file says"


def _allocate(sizes: Sequence[tuple[int, int]]) -> torch.Tensor:
    height, width = sizes[0]
    return torch.empty(len(sizes), height, width, 3, dtype=torch.uint8)


def _refuse_repeats(frames: Sequence[Frame]) -> None:
    seen: dict[Path, str] = {}
    for frame in frames:
        resolved = frame.path.resolve()
        if resolved in seen:
            raise SceneError(f"{frame.where}: the same image as {seen[resolved]}; each image may be listed once")
        seen[resolved] = frame.where
