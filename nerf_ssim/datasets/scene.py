"""The scene that every loader returns: posed views in two splits, bounds, and what identifies the data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Views:
    """The views of one split, all of one size.

    Args:
        images: `[views, height, width, 3]`, uint8 RGB (they stay bytes; a batch is converted when it is drawn).
        c2w: `[views, 3, 4]`, float32, OpenCV camera-to-world (x right, y down, z forward), scene units.
        K: `[views, 3, 3]`, float32, intrinsics in pixels; pixel (0, 0) has its centre at (0.5, 0.5).
        names: the image files' names, in the order of the scene's own list.
    """

    images: Tensor
    c2w: Tensor
    K: Tensor
    names: tuple[str, ...]

    @property
    def height(self) -> int:
        """The height of every image, in pixels."""
        return self.images.shape[1]

    @property
    def width(self) -> int:
        """The width of every image, in pixels."""
        return self.images.shape[2]

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
        aabb: `[2, 3]`, float32, lowest and highest corner as the scene's file says them (unscaled).
        near: distance along a ray at which sampling may begin, scene units.
        far: distance that sampling never begins beyond, scene units.
        content_hash: sha256 (hex) over the metadata file and every image file's bytes.
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
    has_images: bool = True
