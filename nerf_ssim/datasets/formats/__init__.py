"""The layouts of scenes that can be read: one file each, with `detect(folder)` and `read(folder, as_published=…)`.

This list is light: a format's file is imported when a scene is read.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from nerf_ssim.datasets.assemble import SceneFile

FORMATS = ("replica", "monosdf")
"""By name, in the order in which a folder is tried."""


class Format(Protocol):
    """What a format's file offers."""

    def detect(self, folder: Path) -> bool:
        """Whether `folder` holds a scene in this layout, judged by its files' names."""

    def read(self, folder: Path, *, as_published: bool = False) -> SceneFile:
        """Read and check the scene's metadata; raises `SceneError`, which names the file and the frame."""


def load_format(name: str) -> Format:
    """The format of that name, one of `FORMATS`."""
    return cast(Format, importlib.import_module(f"nerf_ssim.datasets.formats.{name}"))


def detect_format(folder: Path) -> str | None:
    """The name of the first format that `folder` is in, or None."""
    return next((name for name in FORMATS if load_format(name).detect(folder)), None)
