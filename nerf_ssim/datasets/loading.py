"""Scenes from disk: `load_scene(config.data)` reads any supported layout into a `Scene`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from nerf_ssim.datasets.assemble import assemble
from nerf_ssim.datasets.formats import load_format
from nerf_ssim.datasets.scene import Scene
from nerf_ssim.errors import SceneError
from nerf_ssim.files import user_path

if TYPE_CHECKING:
    from nerf_ssim.datasets.options import DataConfig

__all__ = ["load_scene", "scene_folder"]

_BUNDLED = "bundled:"
_PUBLISHED = re.compile(r"(^|/)Replica/scan[1-8]/?$")  # where the configurations of the published scenes look


def load_scene(data: DataConfig) -> Scene:
    """The scene that the data options name, with its images in memory as bytes.

    Args:
        data: `datadir` (a folder, or `bundled:room`), `dataset_name` (its layout), the split and downsampling.
    Raises:
        SceneError: whatever is wrong with the scene, in one line that names the file and the frame.
    """
    folder = scene_folder(data.datadir)
    return assemble(load_format(data.dataset_name).read(folder, as_published=data.as_published), data)


def scene_folder(datadir: str) -> Path:
    """The folder that `datadir` names; `bundled:NAME` is a scene that comes with the package.

    Raises:
        SceneError: no such folder.
    """
    if datadir.startswith(_BUNDLED):
        from nerf_ssim.resources import find_resource

        return find_resource("data", datadir.removeprefix(_BUNDLED))
    if not datadir:
        raise SceneError("datadir is not set; give the scene's folder, or bundled:room for the scene that comes along")
    folder = user_path(datadir)
    if not os.path.exists(folder):
        advice = "check datadir"
        if _PUBLISHED.search(folder.as_posix()):
            advice = "nerf-ssim data download replica fetches the published scenes and puts them in data/Replica"
        raise SceneError(f"{folder}: no such scene folder; {advice}")
    if not os.path.isdir(folder):
        raise SceneError(f"{folder}: not a folder; datadir must name the folder that holds the scene")
    return folder
