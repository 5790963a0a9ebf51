"""A forward-facing scene in LLFF's layout: three boards before a wall, photographed from a small grid of places."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH, FOCAL, FRAMES = 32, 40, 36.0, 20
NEAREST, WALL = 2.0, 12.0  # depths before the middle camera
BOARDS = ((-1.0, -0.5, 2.4, 0.7), (0.9, 0.3, 3.5, 0.9), (0.0, 1.2, 6.0, 1.6))  # middle x and y, depth, half side
ORIGIN = np.array([5.0, -3.0, 2.0])


def axes() -> np.ndarray:
    """`[3, 3]`, columns right, down and forward of all cameras before each turns a little."""
    return cv2.Rodrigues(np.array([0.4, 0.9, -0.3]))[0]


def poses() -> np.ndarray:
    """OpenCV camera-to-world `[frames, 3, 4]`."""
    cameras = []
    for index in range(FRAMES):
        place = np.array([0.12 * (index % 5 - 2), 0.12 * (index // 5 - 1.5), 0.05 * np.sin(index)])
        turn = cv2.Rodrigues(np.array([0.05 * np.sin(2 * index), 0.06 * np.cos(index), 0.03 * np.sin(5 * index)]))[0]
        cameras.append(np.concatenate([axes() @ turn, (ORIGIN + axes() @ place)[:, None]], axis=1))
    return np.stack(cameras)


def photograph(c2w: np.ndarray) -> np.ndarray:
    """What a camera sees, float RGB `[height, width, 3]` in [0, 1]."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5 - WIDTH / 2, np.arange(HEIGHT) + 0.5 - HEIGHT / 2)
    along = np.stack([x / FOCAL, y / FOCAL, np.ones_like(x)], axis=-1) @ c2w[:, :3].T @ axes()
    start = axes().T @ (c2w[:, 3] - ORIGIN)
    picture = pattern(start, along, WALL, 0.5)
    for middle_x, middle_y, depth, half in sorted(BOARDS, key=lambda board: -board[2]):
        hit = start + along * ((depth - start[2]) / along[..., 2:])
        inside = (np.abs(hit[..., 0] - middle_x) < half) & (np.abs(hit[..., 1] - middle_y) < half)
        picture = np.where(inside[..., None], pattern(start, along, depth, 2.0), picture)
    return picture


def pattern(start: np.ndarray, along: np.ndarray, depth: float, pitch: float) -> np.ndarray:
    """Colours of the plane at a depth."""
    hit = start + along * ((depth - start[2]) / along[..., 2:])
    waves = [np.sin(pitch * (hit[..., 0] + k) * 2 + depth) * np.cos(pitch * (hit[..., 1] - k) * 1.5) for k in range(3)]
    return 0.5 + 0.4 * np.stack(waves, axis=-1)


def write_forward_scene(folder: Path) -> Path:
    rows = []
    (folder / "images").mkdir(parents=True)
    for index, c2w in enumerate(poses()):
        bgr = (photograph(c2w)[..., ::-1] * 255).round().astype(np.uint8)
        assert cv2.imwrite(str(folder / "images" / f"IMG_{index:04d}.png"), bgr)
        right, down, forward, position = c2w.T
        matrix = np.stack([down, right, -forward, position, np.array([HEIGHT, WIDTH, FOCAL])], axis=1)
        rows.append([*matrix.ravel(), NEAREST, 1.2 * WALL])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return folder
