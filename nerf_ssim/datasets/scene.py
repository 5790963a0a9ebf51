"""The scene that every loader returns: posed views in two splits, bounds, and what identifies the data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SAME_NUMBER = 1e-5  # of a camera that was written down and read again


@dataclass(frozen=True)
class Views:
    """The views of one split.

    Args:
        images: `[views, height, width, 3]`, uint8 RGB (they stay bytes; a batch is converted when it is drawn). Images
            of different sizes lie at the upper left of the largest one's frame.
        c2w: `[views, 3, 4]`, float32, OpenCV camera-to-world (x right, y down, z forward), scene units.
        K: `[views, 3, 3]`, float32, intrinsics in pixels; pixel (0, 0) has its centre at (0.5, 0.5).
        names: the image files' names, in the order of the scene's own list.
        sizes: height and width of each image, where they differ; None where every image fills the frame.
        valid: `[views, height, width]`, bool, which pixels are photographs of the scene: those inside an image that no
            mask rules out. None where all are. Only these are fitted and scored.
        depths: `[views, height, width]`, float32, depth along the optical axis in scene units, 0 where it is unknown;
            None where the scene has no depth. It is for scores only and no part of the scene's identity.
    """

    images: Tensor
    c2w: Tensor
    K: Tensor
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...] | None = None
    valid: Tensor | None = None
    depths: Tensor | None = None

    @property
    def height(self) -> int:
        """The height of the tallest image, in pixels."""
        return self.images.shape[1]

    @property
    def width(self) -> int:
        """The width of the widest image, in pixels."""
        return self.images.shape[2]

    def size_of(self, index: int) -> tuple[int, int]:
        """Height and width of one image, in pixels."""
        return (self.height, self.width) if self.sizes is None else self.sizes[index]

    def image_of(self, index: int) -> Tensor:
        """One image, `[height, width, 3]` uint8, without what surrounds it in the frame."""
        height, width = self.size_of(index)
        return self.images[index, :height, :width]

    def mask_of(self, index: int) -> Tensor | None:
        """Which of one image's pixels count, bool `[height, width]`; None where all do."""
        height, width = self.size_of(index)
        mask = None if self.valid is None else self.valid[index, :height, :width]
        return None if mask is None or bool(mask.all()) else mask

    def depth_of(self, index: int) -> Tensor | None:
        """One image's depth, `[height, width]` in scene units, 0 where it is unknown or does not count."""
        if self.depths is None:
            return None
        height, width = self.size_of(index)
        depth, mask = self.depths[index, :height, :width], self.mask_of(index)
        return depth if mask is None else depth * mask.to(depth.device)

    def __len__(self) -> int:
        return self.images.shape[0]


@dataclass(frozen=True)
class Scene:
    """Two splits of views and the bounds that contain what they see.

    Args:
        name: the scene folder's name.
        label: a remark that must accompany every score of this scene (e.g. "recovered poses"), or None.
        train: the views to fit.
        test: the views to score.
        aabb: `[2, 3]`, float32, lowest and highest corner as the scene's file says them or as estimated (unscaled).
        near: distance along a ray at which sampling may begin, scene units.
        far: distance that sampling never begins beyond, scene units.
        content_hash: sha256 (hex) over the metadata files and every image file's bytes.
        pixels_hash: sha256 (hex) over the views' pixels as they were loaded; empty where they are not there.
        layout: the format that it was read with.
        white_bg: images are composited on white, because an option or the layout says so.
        bounds_source: where the box, near and far come from, in words.
        are_bounds_estimated: the layout has none, so that images of another size or split give others.
        split: how the test views were chosen, in words.
        listed: for each view in the order of the scene's own list, whether it is a test view; empty where that is not
            known.
        pose_axes: `opencv` or `opengl`, the axes that the layout's matrices have.
        pixel_centres: where the scene's file puts the centre of pixel (0, 0), in words.
        points: `[n, 3]`, float32, points on the scene's surfaces, of the layout or found for its bounds; None without.
        notes: what else a person should know of how the scene was read.
        has_images: False where the pictures are not there and black ones stand in for them.
    """

    name: str
    label: str | None
    train: Views
    test: Views
    aabb: Tensor
    near: float
    far: float
    content_hash: str
    pixels_hash: str = ""
    layout: str = ""
    white_bg: bool = False
    bounds_source: str = "the scene's file"
    are_bounds_estimated: bool = False
    split: str = ""
    listed: tuple[bool, ...] = ()
    pose_axes: str = "opencv"
    pixel_centres: str = "at halves"
    points: Tensor | None = None
    notes: tuple[str, ...] = ()
    has_images: bool = True


def data_difference(one: Scene, other: Scene) -> str:
    """What tells the data of two scenes apart, in words; empty where they are one scene.

    They are one by their files or, as after a conversion, by pixels, cameras and bounds. Bounds that were estimated do
    not count, because they are no part of the data: images of another size give others.
    """
    if one.content_hash == other.content_hash:
        return ""
    if not one.pixels_hash or not other.pixels_hash:
        return "their contents differ"
    for what, are_same in (
        ("numbers of views", _counts(one) == _counts(other)),
        ("sizes of images", _sizes(one) == _sizes(other)),
        ("pixels", one.pixels_hash == other.pixels_hash),
        ("cameras", _are_near(_cameras(one), _cameras(other))),
    ):
        if not are_same:
            return f"their {what} differ"
    if one.are_bounds_estimated or other.are_bounds_estimated or _are_near(_bounds(one), _bounds(other)):
        return ""
    return "their bounds differ"


def _counts(scene: Scene) -> tuple[int, int]:
    return len(scene.train), len(scene.test)


def _sizes(scene: Scene) -> list[tuple[int, int]]:
    return [views.size_of(index) for views in (scene.train, scene.test) for index in range(len(views))]


def _cameras(scene: Scene) -> list[Tensor]:
    cameras = [tensor for views in (scene.train, scene.test) for tensor in (views.c2w, views.K)]
    return [tensor.cpu().double() for tensor in cameras]


def _bounds(scene: Scene) -> list[Tensor]:
    return [torch.tensor([scene.near, scene.far]).double(), scene.aabb.cpu().double()]


def _are_near(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=SAME_NUMBER, atol=SAME_NUMBER)
        for a, b in zip(some, others, strict=True)
    )


def reading_lines(scene: Scene) -> list[str]:
    """How a scene was read, in lines for people: its layout, its split, its bounds, and what else they should know."""
    splits = f"{len(scene.train)} training and {len(scene.test)} test views ({scene.split})"
    return [f"scene {scene.name}: layout {scene.layout}, {splits}; bounds: {scene.bounds_source}", *scene.notes]
