"""The shapes of the procedural room: where rays meet its surfaces, and how far a point is from them.

z is up, the room is centred at the origin, lengths are scene units (the room is about two long).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A box turned by `yaw` (radians) about its vertical axis; `is_room` = seen from inside."""

    centre: Array
    half: Array
    yaw: float = 0.0
    is_room: bool = False

    @property
    def rotation(self) -> Array:
        """`[3, 3]`, box axes to world axes."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])

    def intersect(self, origins: Array, directions: Array) -> Array:
        """Distance `[n]` along unit rays to the surface, infinity where it is missed (or is behind)."""
        origin, direction = (origins - self.centre) @ self.rotation, directions @ self.rotation
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1.0 / direction
            first, second = (-self.half - origin) * inverse, (self.half - origin) * inverse
        entry = _largest(np.fmin(first, second))
        leave = -_largest(-np.fmax(first, second))
        if self.is_room:
            return leave
        return np.where((entry < leave) & (entry > 0), entry, np.inf)

    def distance(self, points: Array) -> Array:
        """Signed distance `[n]`, positive where there is air."""
        excess = np.abs((points - self.centre) @ self.rotation) - self.half
        outside = _length(np.maximum(excess, 0)) + np.minimum(_largest(excess), 0)
        return -outside if self.is_room else outside

    def surface(self, points: Array) -> tuple[Array, Array, NDArray[np.int64]]:
        """For points on it: the normal into the air `[n, 3]`, texture coordinates `[n, 2]` and face `[n]` (0 … 5).

        Faces are -x, +x, -y, +y, -z, +z; the texture's second coordinate is up on the upright ones.
        """
        local = (points - self.centre) @ self.rotation
        axis = (np.abs(local) - self.half).argmax(axis=1)
        rows = np.arange(len(local))
        sign = np.where(local[rows, axis] >= 0, 1.0, -1.0)
        normal = np.zeros_like(local)
        normal[rows, axis] = -sign if self.is_room else sign
        across = np.array([1, 0, 0])[axis]
        up = np.array([2, 2, 1])[axis]
        coordinates = np.stack([local[rows, across], local[rows, up]], axis=1)
        return normal @ self.rotation.T, coordinates, 2 * axis + (sign > 0)


@dataclass(frozen=True)
class Sphere:
    """A ball."""

    centre: Array
    radius: float

    def intersect(self, origins: Array, directions: Array) -> Array:
        """As `Box.intersect`."""
        offset = origins - self.centre
        half_b = (offset * directions).sum(axis=1)
        discriminant = half_b**2 - (offset**2).sum(axis=1) + self.radius**2
        entry = -half_b - np.sqrt(np.maximum(discriminant, 0))
        return np.where((discriminant > 0) & (entry > 0), entry, np.inf)

    def distance(self, points: Array) -> Array:
        """As `Box.distance`."""
        return _length(points - self.centre) - self.radius

    def surface(self, points: Array) -> tuple[Array, Array, NDArray[np.int64]]:
        """As `Box.surface`; texture coordinates are lengths along the equator and along a meridian, face 0."""
        normal = (points - self.centre) / self.radius
        longitude = np.arctan2(normal[:, 1], normal[:, 0])
        latitude = np.arcsin(np.clip(normal[:, 2], -1, 1))
        return normal, np.stack([longitude, latitude], axis=1) * self.radius, np.zeros(len(points), np.int64)


def _largest(vectors: Array) -> Array:
    """Largest of the three components `[n]`; several times faster than a reduction over so short an axis."""
    return np.maximum(np.maximum(vectors[:, 0], vectors[:, 1]), vectors[:, 2])


def _length(vectors: Array) -> Array:
    return np.sqrt(vectors[:, 0] ** 2 + vectors[:, 1] ** 2 + vectors[:, 2] ** 2)


class Hits(NamedTuple):
    """Where rays end: distance `[n]`, the point `[n, 3]`, which solid `[n]` (index into the list)."""

    distance: Array
    points: Array
    solid: NDArray[np.int64]


@dataclass(frozen=True)
class Solids:
    """Everything that rays can meet; the first is the room itself, so that every ray from inside ends somewhere."""

    members: Sequence[Box | Sphere] = field(default_factory=tuple)

    def cast(self, origins: Array, directions: Array) -> Hits:
        """Nearest surface of unit rays from inside the room, `[n, 3]` each."""
        distances = np.stack([solid.intersect(origins, directions) for solid in self.members])
        solid = distances.argmin(axis=0)
        distance = distances[solid, np.arange(len(solid))]
        return Hits(distance, origins + directions * distance[:, None], solid)

    def distance(self, points: Array) -> Array:
        """Distance `[n]` from points `[n, 3]` to the nearest surface, negative inside a solid."""
        return reduce(np.minimum, (solid.distance(points) for solid in self.members))

    def openness(self, points: Array, normals: Array, reach: float = 0.32, steps: int = 4) -> Array:
        """How open the air in front of a surface is, `[n]` in [0, 1]: a stand-in for ambient occlusion.

        In the open, the distance to the nearest surface grows as fast as one walks off along the normal; in a corner
        or beside an object it lags behind, and the lag, near steps counting more, is the occlusion.
        """
        walked = reach * (np.arange(steps) + 1) / steps
        share = 0.6 ** np.arange(steps)
        lag = sum(
            weight * np.clip(1 - self.distance(points + normals * step) / step, 0, 1)
            for step, weight in zip(walked, share, strict=True)
        )
        return 1 - lag / share.sum()
