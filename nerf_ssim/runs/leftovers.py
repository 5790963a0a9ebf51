"""Temporary files that a killed process left: found and removed when the next one starts."""

from __future__ import annotations

import os
import re
from pathlib import Path

from nerf_ssim.files import TEMPORARY_SUFFIX

__all__ = ["remove_abandoned"]

_PARTIAL = re.compile(rf"\..+\.([0-9]{{1,10}}){re.escape(TEMPORARY_SUFFIX)}")
_CLOCK_STEP = 2.0  # seconds: boot time and file times are rounded


def remove_abandoned(folder: str | os.PathLike[str], *, nested: bool = True) -> list[Path]:
    """Remove the temporary files of `atomic_file` whose process is gone, and return them.

    A file in progress stays: its process runs, and has run since before the file was last written to. (A process number
    is given again after a while, in a container at every start.)

    Args:
        folder: where to look; it may be missing.
        nested: whether to look in its subfolders too.
    """
    folder = Path(folder)
    pattern = f".*{TEMPORARY_SUFFIX}"
    found = sorted(folder.rglob(pattern) if nested else folder.glob(pattern))
    abandoned = [path for path in found if _is_abandoned(path)]
    for path in abandoned:
        path.unlink(missing_ok=True)
    return abandoned


def _is_abandoned(path: Path) -> bool:
    match = _PARTIAL.fullmatch(path.name)
    if match is None:
        return False
    process = int(match[1])
    if not _is_running(process):
        return True
    started = _started_at(process)
    try:
        return started is not None and path.stat().st_mtime < started - _CLOCK_STEP
    except OSError:  # it took its name, or was removed, in the meantime
        return False


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _started_at(process: int) -> float | None:
    """When a process started, in seconds since the epoch; None where the system does not say (no /proc)."""
    try:
        # The command's name, in parentheses, may hold spaces; the start is the 20th field behind it, in clock ticks.
        ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None
