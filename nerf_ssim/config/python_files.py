"""Configurations written in Python, in mmcv's manner, read without running them.

A file may build on others (`_base_`), whose settings it changes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nerf_ssim.config.options import shown
from nerf_ssim.config.python_syntax import read_assignments
from nerf_ssim.errors import ConfigError

__all__ = ["PythonSettings", "read_python"]

MOST_FILES = 16


@dataclass
class PythonSettings:
    """What a configuration and those that it builds on set.

    Attributes:
        values: by name; groups are dicts.
        origins: by `name` or `group.name`, the file that set it.
        missing: the names of files to build on that were not there, and were replaced.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def read_python(path: Path, *, stand_ins: Mapping[str, Mapping[str, Any]] | None = None) -> PythonSettings:
    """The settings of a Python configuration, merged over those of the files that its `_base_` names.

    A group is merged key by key with that of the file below it, and replaces it where it holds `_delete_=True`.

    Args:
        path: the file.
        stand_ins: by file name, settings to take for a file named by `_base_` that is not there.
    Raises:
        ConfigError: a file that cannot be read, a form that is not read, or files that build on each other in a circle.
    Source: the merging rules of mmcv's `Config.fromfile`.
    """
    return _Files(dict(stand_ins or {})).read(path, above=())


class _Files:
    """The files of one configuration, counted."""

    def __init__(self, stand_ins: Mapping[str, Mapping[str, Any]]) -> None:
        self._stand_ins = stand_ins
        self._count = 0

    def read(self, path: Path, above: tuple[Path, ...]) -> PythonSettings:
        """Settings of `path`; the files in `above` build on it."""
        resolved = Path(os.path.realpath(path))  # which a link to itself does not end, unlike Path.resolve
        if resolved in above:
            raise ConfigError(f"{above[-1]}: _base_: {path} builds on this file in turn; one of them must not")
        self._count += 1
        if self._count > MOST_FILES:
            raise ConfigError(f"{path}: _base_: more than {MOST_FILES} files build on each other")
        own = read_assignments(path)
        bases = own.pop("_base_", [])
        names = [bases] if isinstance(bases, str) else bases
        if not isinstance(names, list) or not all(isinstance(name, str) and name.endswith(".py") for name in names):
            raise ConfigError(f"{path}: _base_: {shown(bases)} is not the name of a Python file, nor a list of such")
        merged = PythonSettings()
        for name in names:
            below = self._base(path, path.parent / name, (*above, resolved))
            if twice := sorted(merged.values.keys() & below.values.keys()):
                raise ConfigError(f"{path}: _base_: two of its files set {twice[0]}; one only may")
            merged.values |= below.values
            merged.origins |= below.origins
            merged.missing += below.missing
        _merge(merged, own, str(path))
        return merged

    def _base(self, path: Path, base: Path, above: tuple[Path, ...]) -> PythonSettings:
        stand_in = self._stand_ins.get(base.name)
        if base.exists():
            return self.read(base, above)
        if stand_in is None:
            raise ConfigError(f"{path}: _base_: {base} is not there; copy it from where this file comes from")
        settings = PythonSettings(missing=[str(base)])
        _merge(settings, stand_in, base.name)
        return settings


def _merge(below: PythonSettings, own: Mapping[str, Any], origin: str) -> None:
    """Puts a file's own settings over those of the files below it."""
    for name, value in own.items():
        if isinstance(value, dict):
            under = below.values.get(name, {})
            if not isinstance(under, dict) and not value.get("_delete_"):
                raise ConfigError(
                    f"{origin}: {name}: is a dict here and {shown(under)} in the file below; for that, give _delete_"
                )
            for key in value:
                below.origins[f"{name}.{key}"] = origin
            below.values[name] = _merged(under if isinstance(under, dict) else {}, value, f"{origin}: {name}")
        else:
            below.values[name] = value
        below.origins[name] = origin


def _merged(under: Mapping[Any, Any], over: Mapping[Any, Any], place: str) -> dict[Any, Any]:
    merged = {} if over.get("_delete_") else dict(under)
    for key, value in over.items():
        if key == "_delete_":
            continue
        if isinstance(value, dict):
            former = merged.get(key, {})
            if not isinstance(former, dict) and not value.get("_delete_"):
                raise ConfigError(
                    f"{place}.{key}: is a dict here and {shown(former)} in the file below; for that, give _delete_"
                )
            value = _merged(former if isinstance(former, dict) else {}, value, f"{place}.{key}")
        merged[key] = value
    return merged
