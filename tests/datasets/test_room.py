"""The procedural room is the same each time, and its views agree about where its surfaces are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scene_files import load

from nerf_ssim.datasets.formats.replica import METADATA
from nerf_ssim.datasets.room import build_room, camera_rays, intrinsics, place_cameras, render_view, write_room
from nerf_ssim.datasets.room_geometry import Box, Sphere
from nerf_ssim.errors import SceneError
from nerf_ssim.resources import find_resource


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_seed_makes_the_same_room_and_another_seed_another(tmp_path: Path) -> None:
    rooms = [
        files(write_room(tmp_path / str(index), size=16, views=11, seed=seed)) for index, seed in enumerate((3, 3, 4))
    ]
    assert rooms[0] == rooms[1]
    assert all(rooms[0][name] != rooms[2][name] for name in rooms[0])


@pytest.mark.slow
def test_the_bundled_room_is_what_its_seed_makes() -> None:
    """Rounding may differ by a level between machines, not more."""
    folder = find_resource("data", "room")
    stored = load(folder, test_every=10)
    room = build_room(0)
    cameras = place_cameras(room, 60, 0)
    again = render_view(room, intrinsics(128), cameras[20], 128).astype(int)
    difference = np.abs(again - stored.test.images[2].numpy())
    assert np.allclose(stored.test.K[2], intrinsics(128))
    assert np.allclose(cameras[20], stored.test.c2w[2], atol=1e-6)
    assert np.quantile(difference, 0.99) <= 1


@pytest.mark.slow
def test_a_surface_point_has_one_colour_and_one_depth_from_two_views(tmp_path: Path) -> None:
    """Reprojects through the written cameras and pixels alone; depth comes from the geometry."""
    size = 64
    scene = load(write_room(tmp_path / "room", size=size, views=24, seed=1), test_every=10)
    room = build_room(1)
    images, c2w, K = (part.numpy().astype(np.float64) for part in (scene.train.images, scene.train.c2w, scene.train.K))
    compared = 0
    for a in range(0, 20, 4):
        hits = room.solids.cast(*camera_rays(K[a], c2w[a], size, size))
        for b in range(len(images)):
            in_b = (hits.points - c2w[b, :, 3]) @ c2w[b, :, :3]
            x, y = (K[b] @ in_b.T)[:2] / np.where(in_b[:, 2] > 1e-3, in_b[:, 2], np.nan)
            with np.errstate(invalid="ignore"):
                is_seen = (x > 1) & (x < size - 1) & (y > 1) & (y < size - 1)
            to_point = hits.points[is_seen] - c2w[b, :, 3]
            distance = np.linalg.norm(to_point, axis=1)
            origins = np.broadcast_to(c2w[b, :, 3], to_point.shape)
            is_visible = room.solids.cast(origins, to_point / distance[:, None]).distance > distance - 1e-6
            if b == a or is_visible.sum() < 200:
                continue
            pixels = images[a].reshape(-1, 3)[is_seen][is_visible]
            seen = images[b][y[is_seen][is_visible].astype(int), x[is_seen][is_visible].astype(int)]
            error = np.abs(pixels - seen).mean(axis=1)
            # Edges of patterns fall on other pixels; the rest agrees, which shuffled pairs do not.
            assert np.median(error) < 8
            assert np.median(error) < 0.3 * np.median(np.abs(pixels - np.roll(seen, len(seen) // 2, axis=0)).mean(1))
            compared += 1
    assert compared >= 10


def test_nearly_every_surface_is_seen_from_several_training_views() -> None:
    scene = load(find_resource("data", "room"), test_every=10)
    room = build_room(0)
    c2w, K = scene.train.c2w.double().numpy(), scene.train.K.double().numpy()
    test_c2w = scene.test.c2w.double().numpy()
    points = np.concatenate([room.solids.cast(*camera_rays(intrinsics(24), c, 24, 24)).points for c in test_c2w])
    seen = np.zeros(len(points), int)
    for camera, k in zip(c2w, K, strict=True):
        local = (points - camera[:, 3]) @ camera[:, :3]
        pixel = local @ k.T
        with np.errstate(divide="ignore", invalid="ignore"):
            pixel = pixel[:, :2] / pixel[:, 2:]
        is_inside = (local[:, 2] > 0) & (pixel > 0).all(axis=1) & (pixel < 128).all(axis=1)
        to_point = points - camera[:, 3]
        distance = np.linalg.norm(to_point, axis=1)
        hit = room.solids.cast(np.broadcast_to(camera[:, 3], points.shape), to_point / distance[:, None]).distance
        seen += is_inside & (hit > distance - 1e-6)
    assert (seen >= 3).mean() > 0.9


@pytest.mark.slow
def test_cameras_and_surfaces_lie_in_the_box_and_between_near_and_far(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        folder = write_room(tmp_path / str(seed), size=16, views=12, seed=seed)
        box = json.loads((folder / METADATA).read_text())["scene_box"]
        low, high = np.array(box["aabb"])
        room = build_room(seed)
        for c2w in place_cameras(room, 12, seed):
            hits = room.solids.cast(*camera_rays(intrinsics(16), c2w, 16, 16))
            assert (hits.points > low).all() and (hits.points < high).all()
            assert (c2w[:, 3] > low).all() and (c2w[:, 3] < high).all()
            assert box["near"] < hits.distance.min() and hits.distance.max() < box["far"]
            assert room.solids.distance(c2w[None, :, 3])[0] > 0.29


def test_the_room_has_bright_dark_flat_and_textured_parts() -> None:
    grey = load(find_resource("data", "room"), test_every=10).train.images.float().mean(dim=-1) / 255
    assert 0.2 < grey.mean() < 0.6
    assert (grey < 0.15).float().mean() > 0.03 and (grey > 0.45).float().mean() > 0.03
    blocks = grey.unfold(1, 8, 8).unfold(2, 8, 8).flatten(3).std(dim=-1)
    assert (blocks < 0.02).float().mean() > 0.1 and (blocks > 0.08).float().mean() > 0.15


@pytest.mark.parametrize(
    "solid", [Box(np.array([0.1, 0.2, 0.0]), np.array([0.3, 0.2, 0.1]), 0.4), Sphere(np.ones(3), 0.4)]
)
def test_rays_end_where_the_distance_is_zero_and_normals_are_its_gradient(solid: Box | Sphere) -> None:
    random = np.random.default_rng(0)
    origins = random.normal(size=(500, 3)) * 2
    origins = origins[solid.distance(origins) > 0.1]
    directions = solid.centre + random.normal(size=origins.shape) * 0.1 - origins
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    distance = solid.intersect(origins, directions)
    hit = np.isfinite(distance)
    assert hit.mean() > 0.8
    points = origins[hit] + directions[hit] * distance[hit, None]
    assert np.abs(solid.distance(points)).max() < 1e-12
    normals, _, _ = solid.surface(points)
    step = 1e-6
    gradient = np.stack([(solid.distance(points + step * axis) - solid.distance(points)) / step for axis in np.eye(3)])
    is_smooth = np.abs(np.linalg.norm(gradient, axis=0) - 1) < 1e-3
    assert is_smooth.mean() > 0.95
    assert np.abs((gradient.T - normals)[is_smooth]).max() < 1e-3


def test_a_folder_in_use_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(SceneError, match="not an empty folder"):
        write_room(tmp_path, size=16, views=11)
