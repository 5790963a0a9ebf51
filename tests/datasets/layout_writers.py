"""One small scene written in each layout: the same cameras, images and split, as each layout has them."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH, FRAMES = 24, 32, 9
FOCAL = 16.0  # 90 degrees across, which is all that Semantic-NeRF's layout knows


def intrinsics() -> np.ndarray:
    """`[3, 3]`, pixel centres at halves; the principal point is the image's middle."""
    return np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])


def poses() -> np.ndarray:
    """OpenCV camera-to-world `[frames, 4, 4]`: a walk about (3, 2, 1), away from the origin."""
    matrices = np.tile(np.eye(4), (FRAMES, 1, 1))
    for index in range(FRAMES):
        azimuth, elevation = 0.7 * index, 0.2 * math.sin(1.7 * index)
        forward = np.array(
            [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
        )
        right = np.array([math.sin(azimuth), -math.cos(azimuth), 0.0])
        position = np.array([3 + 0.4 * math.sin(index), 2 + 0.4 * math.cos(2 * index), 1 + 0.1 * index])
        matrices[index, :3] = np.stack([right, np.cross(forward, right), forward, position], axis=1)
    return matrices


def image(index: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """RGB `[height, width, 3]`, another for each frame."""
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)


def write_image(path: Path, rgb: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def opengl(c2w: np.ndarray) -> list[list[float]]:
    return (c2w * np.array([1.0, -1.0, -1.0, 1.0])).tolist()


def is_test(index: int) -> bool:
    return index % 3 == 0


def write_replica(folder: Path) -> None:
    K = np.eye(4)
    K[:3, :3] = intrinsics()
    K[:2, 2] -= 0.5
    frames = []
    for index, c2w in enumerate(poses()):
        write_image(folder / f"{index:06d}_rgb.png", image(index))
        frames.append({"rgb_path": f"{index:06d}_rgb.png", "camtoworld": c2w.tolist(), "intrinsics": K.tolist()})
    box = {"aabb": [[1, 0, -1], [5, 4, 3]], "near": 0.1, "far": 6.0}
    contents = {"height": HEIGHT, "width": WIDTH, "scene_box": box, "frames": frames}
    (folder / "meta_data.json").write_text(json.dumps(contents))


def write_monosdf(folder: Path) -> None:
    K = intrinsics()
    K[:2, 2] -= 0.5
    arrays = {}
    for index, c2w in enumerate(poses()):
        world = np.eye(4)
        world[:3] = K @ np.linalg.inv(c2w)[:3]
        arrays |= {f"world_mat_{index}": world, f"scale_mat_{index}": np.eye(4)}
        write_image(folder / f"{index:06d}_rgb.png", image(index))
    np.savez(folder / "cameras.npz", **arrays)


def write_nerfstudio(folder: Path) -> None:
    frames = []
    for index, c2w in enumerate(poses()):
        write_image(folder / "images" / f"frame_{index:05d}.png", image(index))
        frames.append({"file_path": f"images/frame_{index:05d}.png", "transform_matrix": opengl(c2w)})
    camera = {"w": WIDTH, "h": HEIGHT, "fl_x": FOCAL, "fl_y": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2}
    (folder / "transforms.json").write_text(json.dumps({"camera_model": "OPENCV", **camera, "frames": frames}))


def write_blender(folder: Path, extra: dict[str, float] | None = None) -> None:
    for split, wanted in (("train", False), ("test", True)):
        frames = []
        for index, c2w in enumerate(poses()):
            if is_test(index) == wanted:
                write_image(folder / split / f"r_{index}.png", image(index))
                frames.append({"file_path": f"./{split}/r_{index}", "rotation": 0.1, "transform_matrix": opengl(c2w)})
        contents = {"camera_angle_x": math.pi / 2, **(extra or {}), "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(contents))


def write_own_data(folder: Path) -> None:
    write_blender(folder, {"w": WIDTH, "h": HEIGHT, "fl_x": FOCAL, "fl_y": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2})


def write_nsvf(folder: Path, matrix: bool = False) -> None:
    (folder / "pose").mkdir(parents=True)
    for index, c2w in enumerate(poses()):
        name = f"{2 if is_test(index) else 0}_{index:04d}"
        write_image(folder / "rgb" / f"{name}.png", image(index))
        np.savetxt(folder / "pose" / f"{name}.txt", c2w, fmt="%.17g")
    rows = f"{FOCAL} {WIDTH / 2} {HEIGHT / 2} 0.\n0. 0. 0.\n0.\n1.\n{HEIGHT} {WIDTH}\n"
    if matrix:
        rows = f"{FOCAL} 0 {WIDTH / 2} 0\n0 {FOCAL} {HEIGHT / 2} 0\n0 0 1 0\n0 0 0 1\n"
    (folder / "intrinsics.txt").write_text(rows)
    (folder / "bbox.txt").write_text("1 0 -1 5 4 3 0.4\n")


def write_tankstemple(folder: Path) -> None:
    write_nsvf(folder, matrix=True)


def write_niceslam(folder: Path) -> None:
    for index in range(FRAMES):
        write_image(folder / "results" / f"frame{index:06d}.png", image(index))
    (folder / "traj.txt").write_text("\n".join(" ".join(f"{v:.17g}" for v in c2w.ravel()) for c2w in poses()))
    camera = {"w": WIDTH, "h": HEIGHT, "fx": FOCAL, "fy": FOCAL, "cx": WIDTH / 2 - 0.5, "cy": HEIGHT / 2 - 0.5}
    (folder.parent / "cam_params.json").write_text(json.dumps({"camera": {**camera, "scale": 1000.0}}))


def write_semantic_nerf(folder: Path) -> None:
    for index in range(FRAMES):
        write_image(folder / "rgb" / f"rgb_{index}.png", image(index))
    np.savetxt(folder / "traj_w_c.txt", poses().reshape(FRAMES, 16), fmt="%.17g")


def write_scannet(folder: Path) -> None:
    (folder / "pose").mkdir(parents=True)
    (folder / "intrinsic").mkdir()
    for index, c2w in enumerate(poses()):
        write_image(folder / "color" / f"{index}.png", image(index))
        np.savetxt(folder / "pose" / f"{index}.txt", c2w, fmt="%.17g")
    K = np.eye(4)
    K[:3, :3] = intrinsics()
    K[:2, 2] -= 0.5
    np.savetxt(folder / "intrinsic" / "intrinsic_color.txt", K, fmt="%.17g")


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """w x y z, by the eigenvector of the symmetric matrix that belongs to a rotation (Bar-Itzhack 2000)."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    system = np.array(
        [
            [a - e - i, d + b, g + c, h - f],
            [d + b, e - a - i, h + f, c - g],
            [g + c, h + f, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    x, y, z, w = np.linalg.eigh(system)[1][:, -1]
    return np.array([w, x, y, z])


def world_to_camera(c2w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    w2c = np.linalg.inv(c2w)
    return quaternion(w2c[:3, :3]), w2c[:3, 3]


def write_colmap(folder: Path) -> None:
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    cameras = struct.pack("<QiiQQ4d", 1, 1, 1, WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2)
    (model / "cameras.bin").write_bytes(cameras)
    images = struct.pack("<Q", FRAMES)
    for index, c2w in reversed(list(enumerate(poses()))):  # COLMAP's order is that of registration
        write_image(folder / "images" / f"{index:03d}.png", image(index))
        q, t = world_to_camera(c2w)
        observation = struct.pack("<Qddq", 1, 1.5, 2.5, -1)
        images += struct.pack("<I7dI", index + 1, *q, *t, 1) + f"{index:03d}.png".encode() + b"\0" + observation
    (model / "images.bin").write_bytes(images)
    points = np.random.default_rng(0).uniform((1, 0, -1), (5, 4, 3), (200, 3))
    records = b"".join(struct.pack("<Q3d3BdQ4i", n, *p, 9, 9, 9, 0.5, 2, 1, 0, 2, 0) for n, p in enumerate(points))
    (model / "points3D.bin").write_bytes(struct.pack("<Q", len(points)) + records)


def write_colmap_text(folder: Path) -> None:
    model = folder / "sparse"
    model.mkdir(parents=True)
    camera = f"7 SIMPLE_PINHOLE {WIDTH} {HEIGHT} {FOCAL} {WIDTH / 2} {HEIGHT / 2}"
    (model / "cameras.txt").write_text(f"# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n{camera}\n")
    lines = ["# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME", "#   POINTS2D[] as (X, Y, POINT3D_ID)"]
    for index, c2w in enumerate(poses()):
        write_image(folder / "images" / f"view {index}.png", image(index))
        numbers = " ".join(f"{value:.17g}" for part in world_to_camera(c2w) for value in part)
        lines += [f"{index + 1} {numbers} 7 view {index}.png", "" if index % 2 else "1.5 2.5 -1"]
    (model / "images.txt").write_text("\n".join(lines) + "\n")


def write_llff(folder: Path) -> None:
    rows = []
    for index, c2w in enumerate(poses()):
        write_image(folder / "images" / f"IMG_{index:04d}.png", image(index))
        right, down, forward, position = c2w[:3].T
        matrix = np.stack([down, right, -forward, position, np.array([HEIGHT, WIDTH, FOCAL])], axis=1)
        rows.append([*matrix.ravel(), 0.5, 5.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "replica": ("replica", write_replica),
    "monosdf": ("monosdf", write_monosdf),
    "nerfstudio": ("nerfstudio", write_nerfstudio),
    "blender": ("blender", write_blender),
    "own_data": ("own_data", write_own_data),
    "nsvf": ("nsvf", write_nsvf),
    "tankstemple": ("nsvf", write_tankstemple),
    "niceslam": ("niceslam", write_niceslam),
    "semantic_nerf": ("semantic_nerf", write_semantic_nerf),
    "scannet": ("scannet", write_scannet),
    "colmap": ("colmap", write_colmap),
    "colmap_text": ("colmap", write_colmap_text),
    "llff": ("llff", write_llff),
}
"""By the name of a test's case, the layout that is found and what writes it."""
