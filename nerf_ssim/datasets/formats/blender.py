"""NeRF's synthetic scenes, as Blender exports them: `transforms_train.json` and its fellows, images on white."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from nerf_ssim.datasets.json_files import note_unknown, read_object
from nerf_ssim.datasets.scene_file import Bounds, Frame, Reading, SceneFile
from nerf_ssim.datasets.transforms import CAMERA_KEYS, FRAME_KEYS, read_frames

TRAIN, TEST, VALIDATION = (f"transforms_{split}.json" for split in ("train", "test", "val"))
FILES = TRAIN

_AABB = ((-1.5, -1.5, -1.5), (1.5, 1.5, 1.5))
_NEAR, _FAR = 2.0, 6.0
_PUBLISHED_DISTANCES = (3.0, 5.0)  # of the synthetic scenes' cameras from the origin


def detect(folder: Path) -> bool:
    """Whether `folder` has this layout's metadata."""
    return (folder / TRAIN).exists()


def read(folder: Path, how: Reading) -> SceneFile:
    """Read `transforms_train.json` for training, and `transforms_test.json` (else `transforms_val.json`) for tests.

    Image names may lack `.png`; transparency is composited on white; pixel centres are at halves and the principal
    point is the image's middle. The published scenes have no bounds of their own: the box is ±1.5, near 2 and far 6
    where the cameras stand as far from the origin as theirs do, and is estimated elsewhere.

    Raises:
        SceneError: anything missing or wrong, naming the file and the frame.
    """
    file = read_split_files(folder, how)
    distances = np.linalg.norm([frame.c2w[:, 3] for frame in file.frames], axis=1)
    low, high = _PUBLISHED_DISTANCES
    if len(distances) and low <= distances.min() and distances.max() <= high:
        bounds = Bounds(np.array(_AABB), _NEAR, _FAR, "the layout, as the synthetic scenes are published")
        return replace(file, bounds=bounds)
    return file


def read_split_files(folder: Path, how: Reading) -> SceneFile:
    """The frames of both splits, training first, without bounds; frames whose image is missing are left out.

    Raises:
        SceneError: anything missing or wrong, naming the file and the frame.
    """
    train = folder / TRAIN
    test = next((folder / name for name in (TEST, VALIDATION) if (folder / name).exists()), None)
    frames: list[Frame] = []
    notes: list[str] = []
    is_test: list[bool] = []
    for path in (train, test) if test else (train,):
        metadata = read_object(path, "Blender's layout", "camera_angle_x and frames")
        found = read_frames(metadata, path, how)
        frames += found.frames
        is_test += [path == test] * len(found.frames)
        notes += note_unknown(metadata, ("frames", "aabb_scale", *CAMERA_KEYS), path.name)
        notes += note_unknown({key for entry in metadata["frames"] for key in entry}, FRAME_KEYS, "a frame")
        if found.missing:
            notes.append(f"{path.name}: {len(found.missing)} of its images are missing and left out")
    return SceneFile(
        train,
        folder.resolve().name,
        None,
        frames,
        None,
        pose_axes="opengl",
        pixel_centres="at halves, the layout's convention",
        is_test=is_test if test else None,
        split=f"the images of {test.name}" if test else "",
        sources=(train, test) if test else (train,),
        white_bg=True,
        notes=notes,
    )
