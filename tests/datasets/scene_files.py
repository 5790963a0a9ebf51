"""A tiny good scene in each layout, from which the tests make bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nerf_ssim.datasets.loading import load_scene
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.datasets.scene import Scene

HEIGHT, WIDTH = 12, 18


def rotation(seed: int) -> np.ndarray:
    """A random proper rotation."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def pose(seed: int) -> np.ndarray:
    c2w = np.eye(4)
    c2w[:3, :3] = rotation(seed)
    c2w[:3, 3] = np.random.default_rng(seed + 100).uniform(-0.5, 0.5, 3)
    return c2w


def image(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed + 200).integers(0, 256, (height, width, 3), np.uint8)


def write_rgb(path: Path, rgb: np.ndarray) -> None:
    assert cv2.imwrite(str(path), rgb[:, :, ::-1])


def metadata(frames: int = 5, height: int = HEIGHT, width: int = WIDTH) -> dict[str, Any]:
    K = np.eye(4)
    K[0, 0], K[1, 1], K[0, 2], K[1, 2] = 15.0, 16.0, width / 2 - 0.5, height / 2 - 0.5
    return {
        "height": height,
        "width": width,
        "scene_box": {"aabb": [[-1.0, -0.9, -0.8], [1.0, 0.9, 0.8]], "near": 0.1, "far": 2.0},
        "frames": [
            {"rgb_path": f"{i:06d}_rgb.png", "camtoworld": pose(i).tolist(), "intrinsics": K.tolist()}
            for i in range(frames)
        ],
    }


def write_scene(folder: Path, contents: dict[str, Any] | None = None) -> Path:
    """The scene of `contents` (by default `metadata()`), with an image for each frame of a good scene."""
    contents = metadata() if contents is None else contents
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(5):
        write_rgb(folder / f"{i:06d}_rgb.png", image(i))
    (folder / "meta_data.json").write_text(json.dumps(contents))
    return folder


def write_monosdf(
    folder: Path, K: np.ndarray | None = None, size: tuple[int, int] = (HEIGHT, WIDTH), dtype: type = np.float64
) -> Path:
    """Five cameras in another world, which `scale_mat` maps onto ours: scaled by 2.5, shifted, one negated."""
    if K is None:
        K = np.array([[15.0, 0.3, 8.0], [0, 16.0, 6.0], [0, 0, 1]])
    folder.mkdir()
    scale = np.diag([2.5, 2.5, 2.5, 1.0])
    scale[:3, 3] = 0.3, -0.2, 1.1
    arrays = {}
    for i in range(5):
        c2w = pose(i)
        P = np.eye(4)
        P[:3] = K @ np.linalg.inv(c2w)[:3]
        world = P @ np.linalg.inv(scale)
        world[:3] *= -3.0 if i == 1 else 1.0
        arrays[f"world_mat_{i}"] = world.astype(dtype)
        arrays[f"scale_mat_{i}"] = scale.astype(dtype)
        write_rgb(folder / f"{i:06d}_rgb.png", image(i, *size))
    np.savez(folder / "cameras.npz", **arrays)
    return folder


def load(folder: Path, **options: Any) -> Scene:
    return load_scene(DataConfig(datadir=str(folder), **{"test_every": 3, **options}))
