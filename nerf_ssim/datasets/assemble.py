"""From what a format's reader found (frames, bounds) to a Scene: splits, downsampling, images in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from nerf_ssim.datasets.depths import load_depth
from nerf_ssim.datasets.estimate import estimate_bounds
from nerf_ssim.datasets.frame_images import Destination, Picture, in_order, load_pictures, plan_picture
from nerf_ssim.datasets.scene import Scene, Views
from nerf_ssim.datasets.scene_file import Bounds, Frame, SceneFile, check_bounds, refuse_farther
from nerf_ssim.datasets.split import split_frames
from nerf_ssim.errors import SceneError
from nerf_ssim.memory import machine_memory

if TYPE_CHECKING:
    from nerf_ssim.datasets.options import DataConfig

__all__ = ["assemble"]


def assemble(file: SceneFile, data: DataConfig, layout: str = "") -> Scene:
    """Split the frames, load their images, scale their intrinsics, and estimate bounds that the layout lacks.

    Args:
        file: the scene's checked metadata.
        data: split, downsampling, background and bounds as the options have them.
        layout: the format's name.
    Raises:
        SceneError: too few frames for a split, an image listed twice, or one that cannot be used.
    """
    _refuse_repeats(file.frames)
    for frame in file.frames:
        refuse_farther(float(np.abs(frame.c2w[:, 3]).max()), f"{frame.where}: the camera's coordinates")
    split = split_frames(file, data.test_every, data.frame_step)
    train_factor = data.downsample_train
    test_factor = train_factor if data.downsample_test is None else data.downsample_test
    white_bg = data.white_bg or file.white_bg
    # The order of the scene's own list, whatever the split: an error names the first bad frame, and so does the hash.
    factors = [test_factor if test else train_factor for test in split.is_test]
    pictures = in_order(lambda pair: plan_picture(*pair), list(zip(split.frames, factors, strict=True)))
    _refuse_too_much(pictures, file.path)
    parts = {
        test: _Part([one for one, other in zip(pictures, split.is_test, strict=True) if other == test])
        for test in (False, True)
    }
    places = {test: iter(part.destinations) for test, part in parts.items()}
    digests = load_pictures(pictures, [next(places[test]) for test in split.is_test], white_bg=white_bg)
    train, test = (parts[is_test].views() for is_test in (False, True))
    bounds, points = _chosen_bounds(file, data, train, test)
    return Scene(
        name=file.name,
        label=data.label or file.label,
        train=train,
        test=test,
        aabb=torch.from_numpy(bounds.aabb).float(),
        near=bounds.near,
        far=bounds.far,
        content_hash=_content_hash(file, digests),
        pixels_hash=_pixels_hash(train, test),
        layout=layout,
        white_bg=white_bg,
        bounds_source=bounds.source,
        are_bounds_estimated=bounds.are_estimated,
        split=split.rule,
        listed=tuple(split.is_test),
        pose_axes=file.pose_axes,
        pixel_centres=file.pixel_centres,
        points=None if points is None else torch.from_numpy(points).float(),
        notes=(*file.notes, *_notes_of(pictures)),
    )


class _Part:
    """The memory of one split: a frame as large as its largest image for each."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures
        sizes = [picture.shrunk for picture in pictures]
        height, width = (max((size[axis] for size in sizes), default=1) for axis in (0, 1))
        self.are_equal = all(size == (height, width) for size in sizes)
        has_masks = any(picture.frame.mask is not None for picture in pictures)
        make = torch.empty if self.are_equal else torch.zeros
        self.images = make(len(pictures), height, width, 3, dtype=torch.uint8)
        self.valid: torch.Tensor | None = None
        if has_masks or not self.are_equal:
            self.valid = torch.zeros(len(pictures), height, width, dtype=torch.bool)
            for index, (rows, columns) in enumerate(sizes):
                self.valid[index, :rows, :columns] = True

    @property
    def destinations(self) -> list[Destination]:
        """Where each picture's pixels go."""
        images, valid = self.images.numpy(), None if self.valid is None else self.valid.numpy()
        return [
            Destination(
                images[index, : picture.shrunk[0], : picture.shrunk[1]],
                None if valid is None else valid[index, : picture.shrunk[0], : picture.shrunk[1]],
            )
            for index, picture in enumerate(self.pictures)
        ]

    def views(self) -> Views:
        """The split, once its pictures are loaded."""
        c2w = np.array([picture.frame.c2w for picture in self.pictures]).reshape(-1, 3, 4)
        K = np.array([picture.K for picture in self.pictures]).reshape(-1, 3, 3)
        return Views(
            self.images,
            torch.from_numpy(c2w).float(),
            torch.from_numpy(K).float(),
            tuple(picture.frame.path.name for picture in self.pictures),
            None if self.are_equal else tuple(picture.shrunk for picture in self.pictures),
            self.valid,
            self._depths(),
        )

    def _depths(self) -> torch.Tensor | None:
        """The frames' depth maps, 0 for a frame without one; None where no frame has one."""
        if all(picture.frame.depth is None for picture in self.pictures):
            return None
        depths = torch.zeros(self.images.shape[:3])
        for depth, picture in zip(depths.numpy(), self.pictures, strict=True):
            if picture.frame.depth is not None:
                _refuse_bent_depth(picture)
                rows, columns = picture.shrunk
                depth[:rows, :columns] = load_depth(picture.frame.depth, picture.size, picture.shrunk)
        return depths


def _refuse_bent_depth(picture: Picture) -> None:
    """Raises SceneError for a depth map of an image that is turned or undistorted on loading, which the map is not."""
    lens = picture.frame.lens
    if picture.orientation != 1 or (lens is not None and not lens.is_pinhole):
        raise SceneError(
            f"{picture.frame.where}: has a depth map, but its image is turned or undistorted on loading; write upright "
            "pinhole images with their maps, or leave the map out"
        )


def _chosen_bounds(
    file: SceneFile, data: DataConfig, train: Views, test: Views
) -> tuple[Bounds, NDArray[np.float64] | None]:
    """The layout's bounds, or estimated ones, with what the options say in their place; and points on surfaces."""
    bounds, points = file.bounds, file.points
    given = [f"--{name}" for name in ("scene_box", "near", "far") if getattr(data, name) is not None]
    if len(given) == 3:
        bounds = Bounds(_given_box(data.scene_box, str(file.path)), data.near or 0.0, data.far or 0.0)
    elif bounds is None:
        bounds, points = estimate_bounds(train, test, file.points, str(file.path))
    if not given:
        return bounds, points
    box = bounds.aabb if data.scene_box is None else _given_box(data.scene_box, str(file.path))
    near = bounds.near if data.near is None else data.near
    far = bounds.far if data.far is None else data.far
    check_bounds(box, near, far, f"{file.path} with {', '.join(given)}")
    source = "options" if len(given) == 3 else f"{bounds.source}, but for {', '.join(given)}"
    return Bounds(box, near, far, source, bounds.are_estimated), points


def _given_box(text: str | None, where: str) -> NDArray[np.float64]:
    try:
        corners = np.array([float(number) for number in (text or "").replace(",", " ").split()]).reshape(2, 3)
    except ValueError:
        raise SceneError(f"{where}: --scene_box {text!r} is not six numbers x,y,z,x,y,z") from None
    return corners


def _content_hash(file: SceneFile, digests: Sequence[bytes]) -> str:
    metadata = file.identity
    if metadata is None:
        metadata = b"".join(source.read_bytes() for source in file.sources or (file.path,))
    return hashlib.sha256(metadata + b"".join(digests)).hexdigest()


def _pixels_hash(*splits: Views) -> str:
    digest = hashlib.sha256()
    for views in splits:
        digest.update(repr((tuple(views.images.shape), views.sizes)).encode())
        digest.update(views.images.numpy().data)
        if views.valid is not None:
            digest.update(views.valid.numpy().data)
    return digest.hexdigest()


def _notes_of(pictures: Sequence[Picture]) -> list[str]:
    """What was done to images on the way, in words."""
    notes = []
    if turned := sum(picture.orientation != 1 for picture in pictures):
        notes.append(f"{turned} images are turned upright as their EXIF orientation says; the cameras are of those")
    lenses = dict.fromkeys(str(p.frame.lens) for p in pictures if p.frame.lens and not p.frame.lens.is_pinhole)
    if lenses:
        shown = next(iter(lenses)) + (f" and {len(lenses) - 1} others" if len(lenses) > 1 else "")
        notes.append(f"lens distortion is undone when images are loaded: {shown}")
    if masked := sum(picture.frame.mask is not None for picture in pictures):
        notes.append(f"{masked} images have masks; what these rule out is neither fitted nor scored")
    if len({picture.shrunk for picture in pictures}) > 1:
        notes.append("images differ in size")
    return notes


def _refuse_too_much(pictures: Sequence[Picture], path: Path) -> None:
    """Raises SceneError where the images cannot be in memory together."""
    needed = 3 * sum(picture.shrunk[0] * picture.shrunk[1] for picture in pictures)
    memory = machine_memory()
    if memory is not None and needed > memory:
        raise SceneError(
            f"{path}: the images need {needed / 2**30:.1f} GiB of memory and this machine has {memory / 2**30:.1f}; "
            "shrink them with --downsample_train, or take fewer with --frame_step"
        )


def _refuse_repeats(frames: Sequence[Frame]) -> None:
    seen: dict[str, str] = {}
    for frame in frames:
        resolved = os.path.realpath(frame.path)  # which a link to itself does not end, unlike Path.resolve
        if resolved in seen:
            raise SceneError(f"{frame.where}: the same image as {seen[resolved]}; each image may be listed once")
        seen[resolved] = frame.where
