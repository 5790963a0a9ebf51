"""One process a run folder: two that write the same checkpoints would ruin both."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from nerf_ssim.errors import TrainingError
from nerf_ssim.files import file_errors

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing is locked there
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


def lock_folder(folder: Path, name: str = NAME) -> TextIO:
    """Takes the folder for this process until the returned file is closed (or the process ends, however it does).

    Args:
        folder: made where missing.
        name: of the file in it that is locked.
    Raises:
        TrainingError: another process trains there.
        FileError: the folder cannot be made or written to.
    """
    with file_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / name, "a", encoding="utf-8")  # noqa: SIM115 - stays open while the lock is held
    if fcntl is not None:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise TrainingError(
                f"{folder}: another process is training there; wait for it, or give another --expname"
            ) from error
    return file
