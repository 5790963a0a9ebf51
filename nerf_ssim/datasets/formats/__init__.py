"""The layouts of scenes that can be read: one file each, with `detect(folder)` and `read(folder, how)`.

This list is light: a format's file is imported when a scene is read.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from nerf_ssim.datasets.scene_file import Reading, SceneFile

FORMATS = (
    "replica",
    "monosdf",
    "own_data",
    "blender",
    "nerfstudio",
    "nsvf",
    "niceslam",
    "semantic_nerf",
    "scannet",
    "colmap",
    "llff",
)
"""By name, in the order in which a folder is tried: what says most of its scene comes first."""

SYNONYMS = {
    "tankstemple": "nsvf",
    "sdfstudio": "replica",
    "instant_ngp": "nerfstudio",
    "mipnerf360": "colmap",
    "3dgs": "colmap",
}
"""Other names of layouts: of data sets and programs that use them."""


class Format(Protocol):
    """What a format's file offers."""

    FILES: str
    """By which files a folder is known to be in this layout, in words."""

    def detect(self, folder: Path) -> bool:
        """Whether `folder` holds a scene in this layout, judged by its files' names."""

    def read(self, folder: Path, how: Reading) -> SceneFile:
        """Read and check the scene's metadata; raises `SceneError`, which names the file and the frame."""


def load_format(name: str) -> Format:
    """The format of that name, one of `FORMATS`."""
    return cast(Format, importlib.import_module(f"nerf_ssim.datasets.formats.{name}"))


def detect_format(folder: Path) -> str | None:
    """The name of the first format that `folder` is in, or None."""
    return next((name for name in FORMATS if load_format(name).detect(folder)), None)


def what_is_looked_for(folder: Path) -> str:
    """What a folder that is in no known layout lacks, and where inside it a scene is, if one is."""
    children = _folders(folder)
    for nested in (children, [grandchild for child in children[:100] for grandchild in _folders(child)]):
        inside = [child for child in nested if detect_format(child)]
        if inside:
            more = f" and {len(inside) - 3} more" if len(inside) > 3 else ""
            return f"but {', '.join(str(child) for child in inside[:3])}{more} is one"
    return "a folder is known by " + ", ".join(f"{load_format(name).FILES} ({name})" for name in FORMATS)


def _folders(folder: Path) -> list[Path]:
    try:
        return [child for child in sorted(folder.iterdir())[:1000] if child.is_dir()]
    except OSError:
        return []
