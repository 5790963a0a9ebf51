"""Write a scene, however it was read, in sdfstudio's layout or nerfstudio's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.poses import opencv_from_opengl
from nerf_ssim.datasets.scene import Scene, Views
from nerf_ssim.errors import SceneError
from nerf_ssim.files import atomic_file, file_errors, write_json

__all__ = ["WRITERS", "convert_scene"]


def convert_scene(scene: Scene, folder: Path, layout: str) -> Path:
    """Write `scene` into a new or empty folder; reading it back gives the same rays, pixels, split and bounds.

    Images are written as they were loaded (upright, undistorted, shrunk, on their background), as PNG; what was read
    is not touched.

    Args:
        layout: one of `WRITERS`.
    Returns:
        The metadata file.
    Raises:
        SceneError: a folder that holds something, or that cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SceneError(f"{folder}: not an empty folder; name a new one for the converted scene")
    with file_errors(folder, kind=SceneError, then="remove what is in the folder and convert again"):
        frames = []
        views = _in_listed_order(scene)
        for number, (part, index) in enumerate(views):
            name = f"images/{number:06d}.png"
            _write_png(folder / name, part.image_of(index).cpu().numpy()[:, :, ::-1])
            mask = part.mask_of(index)
            mask_name = None if mask is None else f"masks/{number:06d}.png"
            if mask is not None and mask_name is not None:
                _write_png(folder / mask_name, mask.cpu().numpy().astype(np.uint8) * 255)
            frames.append(_Frame(part, index, name, mask_name, is_test=part is scene.test))
        file_name, describe = WRITERS[layout]
        box = {"aabb": scene.aabb.double().tolist(), "near": scene.near, "far": scene.far}
        estimated = {"estimated": True} if scene.are_bounds_estimated else {}
        shared = {"scene_box": {**box, **estimated}}
        label = {} if scene.label is None else {"label": scene.label}
        background = {"white_bg": True} if scene.white_bg else {}
        write_json(folder / file_name, {**describe(scene, frames), **shared, **label, **background})
    return folder / file_name


def _in_listed_order(scene: Scene) -> list[tuple[Views, int]]:
    """Each split's views with their numbers there, in the order of the scene's own list where that is known."""
    splits = {is_test: iter(range(len(part))) for is_test, part in ((False, scene.train), (True, scene.test))}
    listed = scene.listed or (False,) * len(scene.train) + (True,) * len(scene.test)
    return [(scene.test if is_test else scene.train, next(splits[is_test])) for is_test in listed]


class _Frame:
    """One view as both layouts need it."""

    def __init__(self, views: Views, index: int, name: str, mask: str | None, *, is_test: bool) -> None:
        self.name, self.mask, self.is_test = name, mask, is_test
        self.height, self.width = views.size_of(index)
        self.K: NDArray[np.float64] = views.K[index].double().cpu().numpy()
        self.c2w: NDArray[np.float64] = views.c2w[index].double().cpu().numpy()

    @property
    def mask_entry(self) -> dict[str, str]:
        """The frame's mask, where it has one."""
        return {} if self.mask is None else {"mask_path": self.mask}


def _sdfstudio(scene: Scene, frames: list[_Frame]) -> dict[str, Any]:
    """`meta_data.json`, which counts pixel centres at integers."""
    entries = []
    for frame in frames:
        K = np.eye(4)
        K[:3, :3] = frame.K
        K[:2, 2] -= 0.5
        entries.append(
            {
                "rgb_path": frame.name,
                "camtoworld": _square(frame.c2w),
                "intrinsics": K.tolist(),
                "height": frame.height,
                "width": frame.width,
                "split": "test" if frame.is_test else "train",
                **frame.mask_entry,
            }
        )
    size = {"height": scene.train.height, "width": scene.train.width}
    return {"camera_model": "PINHOLE", **size, "pixel_centres": "integers", "frames": entries}


def _nerfstudio(scene: Scene, frames: list[_Frame]) -> dict[str, Any]:
    """`transforms.json`, whose cameras look along -z."""
    entries = [
        {
            "file_path": frame.name,
            "transform_matrix": _square(opencv_from_opengl(frame.c2w)),  # the same flip leads both ways
            "w": frame.width,
            "h": frame.height,
            "fl_x": float(frame.K[0, 0]),
            "fl_y": float(frame.K[1, 1]),
            "cx": float(frame.K[0, 2]),
            "cy": float(frame.K[1, 2]),
            **frame.mask_entry,
        }
        for frame in frames
    ]
    training = [frame.name for frame in frames if not frame.is_test]
    tests = [frame.name for frame in frames if frame.is_test]
    split = {"train_filenames": training, "val_filenames": tests, "test_filenames": tests}
    return {"camera_model": "PINHOLE", **split, "frames": entries}


WRITERS: dict[str, tuple[str, Callable[[Scene, list[_Frame]], dict[str, Any]]]] = {
    "sdfstudio": ("meta_data.json", _sdfstudio),
    "nerfstudio": ("transforms.json", _nerfstudio),
}
"""By layout, the metadata file's name and what makes its contents."""


def _square(c2w: NDArray[np.float64]) -> list[list[float]]:
    return [*c2w.tolist(), [0.0, 0.0, 0.0, 1.0]]


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels))
    with atomic_file(path) as file:
        file.write(encoded.tobytes())
