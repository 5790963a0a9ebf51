"""What may be wrong with a scene's cameras, as functions that put it right: `--pose_convention` and its fellows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.conventions import LAYOUT, LISTED
from nerf_ssim.datasets.numbered import number_of
from nerf_ssim.datasets.scene_file import SceneFile

if TYPE_CHECKING:
    from nerf_ssim.datasets.options import DataConfig

__all__ = ["Correction", "corrected", "correction_of", "image_sources", "scaled_intrinsics"]


@dataclass(frozen=True)
class Correction:
    """How a scene's cameras are read, where its files are not believed.

    Args:
        pose_convention: what its matrices are, one of `POSE_CONVENTIONS`.
        image_order: how its images are put in order before they are given to its poses, one of `IMAGE_ORDERS`.
        image_shift: a pose takes the image of the frame that comes so many later, around the end.
        focal_scale: focal lengths are multiplied by this.
        principal_scale: principal points are multiplied by this.
        position_scale: camera positions are multiplied by this.
    """

    pose_convention: str = LAYOUT
    image_order: str = LISTED
    image_shift: int = 0
    focal_scale: float = 1.0
    principal_scale: float = 1.0
    position_scale: float = 1.0

    @property
    def options(self) -> str:
        """The options that ask for this, as on a command line; empty where nothing is corrected."""
        values = ((one.name, getattr(self, one.name), one.default) for one in fields(self))
        changed = [(name, value) for name, value, default in values if value != default]
        return " ".join(f"--{name} {f'{value:.4g}' if isinstance(value, float) else value}" for name, value in changed)


def correction_of(data: DataConfig) -> Correction:
    """The correction that options ask for."""
    return Correction(**{one.name: getattr(data, one.name) for one in fields(Correction)})


def corrected(file: SceneFile, correction: Correction) -> SceneFile:
    """The scene with its images and intrinsics as the correction has them (poses are corrected where they are read).

    Points that were placed by the cameras as they were are left out.
    """
    frames = list(file.frames)
    sources = image_sources([frame.path.name for frame in frames], correction.image_order, correction.image_shift)
    scales = correction.focal_scale, correction.principal_scale
    if scales == (1.0, 1.0) and sources == list(range(len(frames))):
        return file
    frames = [replace(frames[source], c2w=frame.c2w) for frame, source in zip(frames, sources, strict=True)]
    frames = [replace(frame, K=scaled_intrinsics(frame.K, *scales)) for frame in frames]
    return replace(file, frames=frames, points=None)


def image_sources(names: Sequence[str], order: str, shift: int) -> list[int]:
    """For each pose, the place in the list of the image that belongs to it.

    Args:
        names: the images' names, in the order of the poses that they are listed with.
        order: `listed`; `number`, by the numbers in their names; `text`, by these numbers as text (1, 10, 2), and
            `text_undone`, the order that sorting as text turns into the listed one. Where names have no numbers of
            their own, their places are the numbers.
        shift: what is added to each pose's place.
    """
    count = len(names)
    found = [number_of(name) for name in names]
    numbers = [number for number in found if number is not None]
    if len(set(numbers)) != count:
        numbers = list(range(count))
    places = list(range(count))
    if order == "number":
        places = sorted(places, key=lambda place: numbers[place])
    elif order != LISTED:
        places = sorted(places, key=lambda place: str(numbers[place]))
        if order == "text_undone":
            places = [int(place) for place in np.argsort(places)]
    return [places[(place + shift) % count] for place in range(count)]


def scaled_intrinsics(K: NDArray[np.float64], focal: float, principal: float) -> NDArray[np.float64]:
    """Intrinsics `[..., 3, 3]` with focal lengths (and skew) and the principal point multiplied."""
    return K * np.array([[focal, focal, principal], [1.0, focal, principal], [1.0, 1.0, 1.0]])
