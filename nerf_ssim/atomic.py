"""Files that appear whole or not at all: temporary file, fsync, rename."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY_SUFFIX = ".partial"


@contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
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


def remove_leftovers(folder: str | os.PathLike, name: str = "*") -> list[Path]:
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
