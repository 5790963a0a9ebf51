"""Scenes from disk: `load_scene(config.data)` reads any supported layout into a `Scene`."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nerf_ssim.datasets.assemble import assemble
from nerf_ssim.datasets.corrections import corrected, correction_of
from nerf_ssim.datasets.formats import FORMATS, load_format, what_is_looked_for
from nerf_ssim.datasets.options import AUTO
from nerf_ssim.datasets.paths import is_inside
from nerf_ssim.datasets.scene import Scene
from nerf_ssim.datasets.scene_file import Reading, SceneFile
from nerf_ssim.errors import SceneError
from nerf_ssim.files import user_path

if TYPE_CHECKING:
    from nerf_ssim.datasets.options import DataConfig

__all__ = ["load_scene", "read_scene_file", "scene_folder"]

_BUNDLED = "bundled:"
_PUBLISHED = re.compile(r"(^|/)Replica/scan[1-8]/?$")  # where the configurations of the published scenes look


def load_scene(data: DataConfig) -> Scene:
    """The scene that the data options name, with its images in memory as bytes.

    Args:
        data: `datadir` (a folder, or `bundled:room`), `dataset_name` (its layout), the split and downsampling.
    Raises:
        SceneError: whatever is wrong with the scene, in one line that names the file and the frame.
    """
    layout, file = read_scene_file(data)
    return assemble(file, data, layout)


def read_scene_file(data: DataConfig) -> tuple[str, SceneFile]:
    """The layout's name and what its reader found, without any pixel.

    Raises:
        SceneError: as `load_scene`; a folder in no known layout, or in another than the one asked for.
    """
    folder = scene_folder(data.datadir)
    found = [name for name in FORMATS if load_format(name).detect(folder)]
    layout = data.dataset_name
    if layout == AUTO:
        if not found:
            raise SceneError(f"{folder}: no scene in a known layout is here; {what_is_looked_for(folder)}")
        layout = found[0]
    elif found and layout not in found:
        raise SceneError(
            f"{folder}: not a scene in the layout {layout}; its files are those of --dataset_name {found[0]} "
            "(auto finds that by itself)"
        )
    how = Reading(data.as_published, data.follow_links, data.pose_convention, data.position_scale)
    file = corrected(load_format(layout).read(folder, how), correction_of(data))
    outside = sum(not is_inside(frame.path, folder) for frame in file.frames) if data.follow_links else 0
    if outside:
        note = f"{outside} images lie outside the scene's folder; training takes them with --follow_links 1"
        file = replace(file, notes=(*file.notes, note))
    if data.dataset_name == AUTO and len(found) > 1:
        others = " or ".join(f"--dataset_name {name}" for name in found[1:])
        file = replace(file, notes=(*file.notes, f"the folder can be read as {others} too"))
    return layout, file


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
