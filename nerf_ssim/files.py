"""Files that appear whole or not at all (temporary file, fsync, rename), and plain values in them as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY_SUFFIX = ".partial"


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file that takes its name only when it is complete and on the disk.

    The bytes go to `.<name>.<pid>.partial` in the same folder (made if missing). When the block ends well they are
    flushed, fsynced and renamed over `path`, and the folder is fsynced, so that a power cut leaves either the old
    file or the new one. When it raises, the temporary file is removed and the old file is untouched.

    Args:
        path: the final name.
    Yields:
        A binary file open for writing.
    Raises:
        OSError: the disk is full, the folder can't be written, ...
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: str | os.PathLike[str], name: str = "*") -> list[Path]:
    """Remove the temporary files that killed writers of `name` (a glob pattern) left in `folder`; returns them.

    Call it only from the one process that writes there: another writer's file in progress looks the same.
    """
    leftovers = sorted(Path(folder).glob(f".{name}.*{TEMPORARY_SUFFIX}"))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return leftovers


def sync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` durable; does nothing where folders can't be opened (Windows)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        # Some network file systems refuse to sync a folder; the rename itself has already happened.
        pass
    finally:
        os.close(descriptor)


def write_json(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Write a record of plain values as indented JSON, whole or not at all.

    Raises:
        TypeError: a value that JSON cannot hold; the message names where.
        OSError: the file cannot be written.
    """
    text = json.dumps(plain_value(record), indent=2, allow_nan=False) + "\n"
    with atomic_file(path) as file:
        file.write(text.encode())


def plain_value(value: Any, where: str = "") -> Any:
    """`value` in JSON's own kinds: lists for tuples, text for paths, and null for a number that is not finite.

    Args:
        where: how a message names the value.
    Raises:
        TypeError: a value of another kind.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return [plain_value(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): plain_value(item, f"{where}.{key}" if where else str(key)) for key, item in value.items()}
    raise TypeError(f"{where or 'value'}: {type(value).__name__} is not a plain value")
