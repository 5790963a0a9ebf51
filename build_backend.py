"""The build backend: setuptools', which also sees the PyTorch of the environment that is being installed into.

pip builds in an environment of its own, in which the PyTorch that the kernels must be built against is not. That one's
folder is still known: it is where pip is about to install. With it on the path, at its end, so that what pip
provides for the build comes first, `setup.py` finds the same PyTorch that will load the extension.
"""

from __future__ import annotations

import site
import sys
import sysconfig
from collections.abc import Mapping
from typing import Any

from setuptools import build_meta

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = Mapping[str, Any] | None

build_sdist = build_meta.build_sdist
get_requires_for_build_sdist = build_meta.get_requires_for_build_sdist
get_requires_for_build_wheel = build_meta.get_requires_for_build_wheel
get_requires_for_build_editable = build_meta.get_requires_for_build_editable
prepare_metadata_for_build_wheel = build_meta.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable


def build_wheel(folder: str, settings: Settings = None, metadata: str | None = None) -> str:
    """Build a wheel into `folder`, with kernels for the PyTorch of the environment; returns the wheel's file name."""
    see_the_environment()
    return build_meta.build_wheel(folder, settings, metadata)


def build_editable(folder: str, settings: Settings = None, metadata: str | None = None) -> str:
    """Build a wheel of links into this checkout; returns the wheel's file name."""
    see_the_environment()
    return build_meta.build_editable(folder, settings, metadata)


def see_the_environment() -> None:
    """Put the packages of the environment that is installed into at the end of the path."""
    folders = [sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"], *site.getsitepackages()]
    if sys.prefix == sys.base_prefix:  # no virtual environment, where `pip install --user` may have put PyTorch
        folders.append(site.getusersitepackages())
    sys.path += [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
