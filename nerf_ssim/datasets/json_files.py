"""Scene metadata in JSON: read as an object, its entries checked, errors that name the file and the entry."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nerf_ssim.datasets.text_files import read_scene_text
from nerf_ssim.errors import SceneError

__all__ = ["given_number", "member", "note_unknown", "number", "pixels", "read_object"]

_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "text"}


def read_object(path: Path, layout: str, holds: str) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        layout, holds: how errors name the layout, and what the object should hold.
    Raises:
        SceneError: missing, unreadable, not JSON, not an object, an entry that stands twice in one object, or text that
            no file can have.
    """
    text = read_scene_text(path, f"is {path.parent} a scene in {layout}?")

    def without_repeats(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(entries)
        if len(found) < len(entries):
            names = [name for name, _ in entries]
            repeated = next(name for name in names if names.count(name) > 1)
            raise SceneError(f"{path}: {repeated!r} stands twice in one object; keep the one that is right")
        return found

    try:
        metadata = json.loads(text, object_pairs_hook=without_repeats)
    except json.JSONDecodeError as error:
        raise SceneError(f"{path}: not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    except (RecursionError, ValueError):
        raise SceneError(f"{path}: not JSON that can be read (nested too deeply, or a number too long)") from None
    if "\\ud" in text.lower():  # escapes of halves of characters, which need each other
        try:
            json.dumps(metadata, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):x}"
            raise SceneError(f"{path}: {half} is half a character, which no file's name can hold") from None
    if not isinstance(metadata, dict):
        raise SceneError(f"{path}: must hold an object with {holds}")
    return metadata


def member(parent: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    """The entry `key`, of the kind `dict`, `list` or `str`; raises SceneError where it is missing or of another."""
    if key not in parent:
        raise SceneError(f"{where}: has no {key!r}")
    value = parent[key]
    if not isinstance(value, kind):
        raise SceneError(f"{where}: {key} must be {_KINDS[kind]}, got {type(value).__name__}")
    return value


def number(parent: Mapping[str, Any], key: str, where: str) -> float:
    """The entry `key` as a number, perhaps not finite; raises SceneError where it is missing or no number."""
    if key not in parent:
        raise SceneError(f"{where}: has no {key!r}")
    value = parent[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SceneError(f"{where}: {key} must be a number, got {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def given_number(parents: Iterable[Mapping[str, Any]], key: str, where: str) -> float | None:
    """The finite number `key` of the first of `parents` that has it; None where none has it, or it is null."""
    parent = next((one for one in parents if one.get(key) is not None), None)
    if parent is None:
        return None
    value = number(parent, key, where)
    if not math.isfinite(value):
        raise SceneError(f"{where}: {key} is {value}, it must be finite")
    return value


def pixels(parent: Mapping[str, Any], key: str, where: str) -> int:
    """The entry `key` as a whole number of pixels, at least 1; raises SceneError where it is none."""
    value = number(parent, key, where)
    if not (math.isfinite(value) and value >= 1 and value == int(value)):
        raise SceneError(f"{where}: {key} must be a whole number of pixels, at least 1, got {value:g}")
    return int(value)


def note_unknown(found: Iterable[str], known: Iterable[str], what: str) -> list[str]:
    """A warning that names entries which are not known, or nothing."""
    unknown = sorted(set(map(str, found)) - set(known))
    if not unknown:
        return []
    shown = ", ".join(name if name.isprintable() else repr(name) for name in unknown[:6])
    more = f" and {len(unknown) - 6} more" if len(unknown) > 6 else ""
    return [f"warning: {what} has entries that are not known here and change nothing: {shown}{more}"]
