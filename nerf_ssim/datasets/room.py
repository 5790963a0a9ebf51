"""A procedural room, rendered and written as a scene: something to train on with no data set at hand.

Walls with patterns, a wooden floor, boxes and a ball under soft light. Every surface is matt, so that a point has one
colour from everywhere, and the same seed gives the same room.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.depths import UNIT_KEY, write_depth
from nerf_ssim.datasets.formats.replica import METADATA
from nerf_ssim.datasets.room_geometry import Array, Box, Hits, Solids, Sphere
from nerf_ssim.datasets.room_textures import Finish, Panel, Pattern, random_pattern
from nerf_ssim.errors import SceneError
from nerf_ssim.files import file_errors

LABEL = "synthetic room"
HALF_ROOM = np.array([1.0, 0.82, 0.6])
# Brightness, field of view and the cameras' distance from everything are like those of the Replica scenes that the
# protocol was made for: a room with bright walls and cameras anywhere collapses even where SSIM is removed at 70.
FIELD_OF_VIEW = np.deg2rad(60.0)  # horizontal
_EXPOSURE = 1.0
_AIR_AROUND_CAMERA = 0.3  # from every surface: nothing fills the picture
_DEPTH_AHEAD = 0.3  # of the nearest twentieth of a view
_WALK = 0.3  # radius of the cameras' path, as a share of the room's half size
_SUPERSAMPLES = 2  # a side: four rays a pixel
DEPTH_UNIT = 5e-5  # scene units a step of the depth maps, of which 16 bits reach 3.3: farther than the room is wide
_RAYS_AT_ONCE = 1 << 14  # their temporaries stay in the cache, and a large view needs little memory


@dataclass(frozen=True)
class Room:
    """Solids and how each is covered, in one order."""

    solids: Solids
    finishes: tuple[Finish, ...]
    lamp: Array

    def colour(self, hits: Hits) -> Array:
        """RGB `[n, 3]` in [0, 1] of surface points, the same from every side."""
        colour = np.empty((len(hits.points), 3))
        for index in np.unique(hits.solid):
            on = hits.solid == index
            points = hits.points[on]
            normals, coordinates, face = self.solids.members[index].surface(points)
            to_lamp = self.lamp - points
            distance = np.linalg.norm(to_lamp, axis=1)
            facing = np.clip((normals * to_lamp).sum(axis=1) / distance, 0, 1)
            direct = 0.75 * facing / (1 + 0.8 * distance**2)
            light = (0.35 + direct) * (0.25 + 0.75 * self.solids.openness(points, normals))
            colour[on] = self.finishes[index].colour(coordinates, face) * (_EXPOSURE * light)[:, None]
        return np.clip(colour, 0, 1)


def build_room(seed: int) -> Room:
    """The room of a seed: the same walls' size, other patterns, colours and furniture."""
    random = np.random.default_rng(seed)
    hue = random.random()

    def pattern(kind: str, cell: float, brightness: float, turn: float) -> Pattern:
        return random_pattern(random, kind, cell, hue + turn, brightness)

    kinds = random.permutation(["checks", "stripes", "noise", "plain"])
    cells = {"checks": 0.16, "stripes": 0.11, "noise": 0.22, "plain": 0.4}
    walls = [pattern(kind, cells[kind], random.uniform(0.6, 0.95), 0.23 * i) for i, kind in enumerate(kinds)]
    floor = Pattern("planks", *_wood(random), cell=0.13, lattice=random.random((64, 64)), mottle=0.1)
    ceiling = Pattern("plain", _off_white(random, 0.85), np.zeros(3), cell=0.5, lattice=random.random((64, 64)))
    panels = []
    for face, kind, brightness in zip(
        range(4),
        random.permutation(["noise", "checks", "plain", "noise"]),
        random.permutation([0.25, 0.9, 0.55, 0.8]),
        strict=True,
    ):
        width = HALF_ROOM[1] if face < 2 else HALF_ROOM[0]
        half = np.array([random.uniform(0.18, 0.34), random.uniform(0.13, 0.2)])
        centre = np.array([random.uniform(-0.5, 0.5) * width, random.uniform(0.08, 0.22)])
        cell = {"noise": 0.09, "checks": 0.07, "plain": 0.3}[kind]
        frame = np.full(3, random.uniform(0.1, 0.3))
        panels.append(Panel(face, centre, half, pattern(kind, cell, brightness, random.random()), frame))
    lamp = Pattern("plain", _off_white(random, 1.0), np.zeros(3), 0.5, random.random((64, 64)), mottle=0.0, grain=0.0)
    panels.append(Panel(5, np.zeros(2), np.array([0.3, 0.16]), lamp, np.full(3, 0.35)))
    members: list[Box | Sphere] = [Box(np.zeros(3), HALF_ROOM, is_room=True)]
    finishes = [Finish([*walls, floor, ceiling], panels)]
    furniture: list[Box] = []
    for index, box in enumerate(_furniture(random)):
        kind = ("stripes", "checks", "noise", "plain", "noise")[index % 5]
        faces = [pattern(kind, random.uniform(0.06, 0.1), random.uniform(0.4, 0.95), 0.31 * index + 0.5)]
        furniture.append(box)
        finishes.append(Finish(faces))
    members += furniture
    table = furniture[0]  # the low one
    radius = random.uniform(0.12, 0.15)
    members.append(Sphere(table.centre + [0.0, 0.0, table.half[2] + radius], radius))
    finishes.append(Finish([pattern("checks", radius * np.pi / 8, 0.9, random.random())]))
    return Room(Solids(tuple(members)), tuple(finishes), lamp=np.array([0.1, -0.05, HALF_ROOM[2] - 0.05]))


def _off_white(random: np.random.Generator, brightness: float) -> Array:
    return np.array([1.0, 0.97, 0.92]) * brightness * random.uniform(0.95, 1.0, 3)


def _wood(random: np.random.Generator) -> tuple[Array, Array]:
    tone = random.uniform(0.75, 1.0)
    return np.array([0.72, 0.5, 0.3]) * tone, np.array([0.4, 0.24, 0.13]) * tone


def _furniture(random: np.random.Generator) -> Iterator[Box]:
    """Boxes on the floor, along the walls and in the corners, so that the middle stays free; one upon another."""
    corners = random.permutation([(-1, -1), (-1, 1), (1, -1), (1, 1)])
    heights = (0.2, 0.34, 0.14, 0.24)  # the first is low: the ball lies on it
    for corner, height in zip(corners, heights, strict=True):
        half = np.array([random.uniform(0.15, 0.24), random.uniform(0.13, 0.2), height])
        yaw = random.uniform(-0.5, 0.5)
        reach = np.hypot(half[0], half[1])  # turned, it still stays clear of the walls
        place = corner * (HALF_ROOM[:2] - reach - random.uniform(0.02, 0.08, 2))
        yield Box(np.array([*place, half[2] - HALF_ROOM[2]]), half, yaw)
        if height == heights[2]:
            small = half * [0.55, 0.6, 0.75]
            yield Box(np.array([*place, 2 * half[2] + small[2] - HALF_ROOM[2]]), small, yaw + 0.6)


def camera_rays(K: Array, c2w: Array, height: int, width: int, supersamples: int = 1) -> tuple[Array, Array]:
    """Origins and unit directions `[height*s * width*s, 3]` of a view, `s` rays a pixel's side, row by row.

    `K` `[3, 3]` has pixel centres at halves, `c2w` `[3, 4]` is OpenCV's.
    """
    x = (np.arange(width * supersamples) + 0.5) / supersamples
    y = (np.arange(height * supersamples) + 0.5) / supersamples
    grid_x, grid_y = np.meshgrid(x, y)
    camera = np.stack([(grid_x - K[0, 2]) / K[0, 0], (grid_y - K[1, 2]) / K[1, 1], np.ones_like(grid_x)], axis=-1)
    directions = camera.reshape(-1, 3) @ c2w[:, :3].T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.broadcast_to(c2w[:, 3], directions.shape), directions


def render_view(room: Room, K: Array, c2w: Array, size: int) -> NDArray[np.uint8]:
    """The room from one camera: `[size, size, 3]` uint8 RGB, each pixel the mean of four rays."""
    origins, directions = camera_rays(K, c2w, size, size, _SUPERSAMPLES)
    colour = np.empty(directions.shape)
    for start in range(0, len(directions), _RAYS_AT_ONCE):
        chunk = slice(start, start + _RAYS_AT_ONCE)
        colour[chunk] = room.colour(room.solids.cast(origins[chunk], directions[chunk]))
    colour = colour.reshape(size, _SUPERSAMPLES, size, _SUPERSAMPLES, 3).mean(axis=(1, 3))
    return np.floor(colour * 255 + 0.5).astype(np.uint8)


def intrinsics(size: int) -> Array:
    """`[3, 3]` of a `size` x `size` view, pixel centres at halves."""
    focal = size / 2 / np.tan(FIELD_OF_VIEW / 2)
    return np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])


def place_cameras(room: Room, views: int, seed: int) -> list[Array]:
    """Camera-to-worlds `[3, 4]` of a hand-held walk: once around the middle of the room while turning twice.

    Neighbours overlap, as frames of a video do; the two turns look at the same walls from different places, a little
    lower and a little higher. None is close to a surface.
    """
    random = np.random.default_rng([seed, 1])
    start = random.uniform(0, 2 * np.pi)
    cameras: list[Array] = []
    for index in range(views):
        way = 2 * np.pi * index / views
        for _ in range(1000):
            offset = [_WALK * np.cos(way + start), _WALK * np.sin(way + start), 0.2 * np.sin(3 * way)]
            position = (np.array(offset) + random.normal(0, 0.05, 3)) * HALF_ROOM
            azimuth = 2 * way + start + random.normal(0, 0.05)
            elevation = -0.15 + 0.25 * np.sin(5 * way) + random.normal(0, 0.05)
            c2w = np.round(_look(position, azimuth, elevation), 9)
            if room.solids.distance(c2w[None, :, 3])[0] < _AIR_AROUND_CAMERA:
                continue
            depth = room.solids.cast(*camera_rays(intrinsics(16), c2w, 16, 16)).distance
            if np.quantile(depth, 0.05) > _DEPTH_AHEAD:
                break
        else:
            raise AssertionError("no free place for a camera")  # the furniture leaves the middle free, by construction
        cameras.append(c2w)
    return cameras


def _look(position: Array, azimuth: float, elevation: float) -> Array:
    forward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    return np.stack([right, np.cross(forward, right), forward, position], axis=1)


def write_room(folder: Path, *, size: int = 128, views: int = 60, seed: int = 0, progress: bool = False) -> Path:
    """Render a room and write it as a scene in the sdfstudio layout.

    Args:
        folder: new or empty; made where missing.
        size: width and height of every image, pixels.
        views: how many.
        seed: which room, and which cameras.
        progress: show a bar.
    Returns:
        The folder.
    Raises:
        SceneError: a folder that already holds something, or that cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SceneError(f"{folder}: not an empty folder; name a new one for the room")
    room, K = build_room(seed), intrinsics(size)
    stored_K = np.eye(4)
    stored_K[:3, :3] = K
    stored_K[:2, 2] -= 0.5  # the layout counts pixel centres at integers
    frames, nearest, farthest = [], np.inf, 0.0
    with file_errors(folder, kind=SceneError, then="remove what is in the folder and make the room again"):
        folder.mkdir(parents=True, exist_ok=True)
        for index, c2w in enumerate(_bar(place_cameras(room, views, seed), progress)):
            name = f"{index:06d}_rgb.png"
            origins, directions = camera_rays(K, c2w, size, size)
            distance = room.solids.cast(origins, directions).distance
            nearest, farthest = min(nearest, distance.min()), max(farthest, distance.max())
            _write_png(folder / name, render_view(room, K, c2w, size))
            depth_name = f"{index:06d}_depth.png"
            write_depth(folder / depth_name, (distance * (directions @ c2w[:, 2])).reshape(size, size), DEPTH_UNIT)
            pose = np.vstack([c2w, [0, 0, 0, 1]])
            frames.append({"rgb_path": name, "camtoworld": pose.tolist(), "intrinsics": stored_K.tolist()})
            frames[-1]["depth_path"] = depth_name
        half_box = HALF_ROOM * 1.02
        metadata = {
            "camera_model": "OPENCV",
            "height": size,
            "width": size,
            "label": LABEL,
            "scene_box": {
                "aabb": np.round([-half_box, half_box], 6).tolist(),
                "near": round(0.95 * nearest, 4),
                "far": round(1.1 * farthest, 4),
            },
            "frames": frames,
            UNIT_KEY: DEPTH_UNIT,
        }
        (folder / METADATA).write_text(json.dumps(metadata) + "\n", encoding="utf-8")
    return folder


def _bar(cameras: list[Array], progress: bool) -> Iterable[Array]:
    from tqdm import tqdm

    return tqdm(cameras, unit="view", disable=not progress)


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    path.write_bytes(encoded.tobytes())
