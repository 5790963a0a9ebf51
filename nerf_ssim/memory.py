"""How much memory there is, and a refusal of what cannot fit into it, before any of it is taken."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nerf_ssim.errors import ConfigError

__all__ = ["BYTES_OF_WEIGHT", "Need", "machine_memory", "physical_memory", "refuse_beyond"]

BYTES_OF_WEIGHT = 16  # in training, float32: the weight, its gradient and Adam's two moments

GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says how much the processes of a container may have together."""


@dataclass(frozen=True)
class Need:
    """Memory that a run has to have at one time.

    Attributes:
        what: takes it, in words.
        size: bytes, at the least: an estimate that is too high would refuse what can run.
        lower: the options of which lower values need less.
    """

    what: str
    size: float
    lower: tuple[str, ...]


def physical_memory() -> int | None:
    """Bytes of memory that the machine has; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def machine_memory() -> int | None:
    """Bytes of memory that this process could have at most; None where the system does not say.

    That is the machine's, or less where a container or a limit of this process (`ulimit -v`) allows less.
    """
    sizes = physical_memory(), _limit_of_process(), *map(_limit_in, GROUP_LIMITS)
    return min((size for size in sizes if size is not None), default=None)


def refuse_beyond(needs: Sequence[Need], there_is: int | None, place: str = "this machine") -> None:
    """Does nothing where `needs` fit together.

    Args:
        there_is: bytes of memory; None where that is not known, which refuses nothing.
        place: that has it, in words.
    Raises:
        ConfigError: they do not; the line names the largest of them.
    """
    total = sum(need.size for need in needs)
    if there_is is None or total <= there_is:
        return
    largest = max(needs, key=lambda need: need.size)
    options = " or ".join(f"--{name}" for name in largest.lower)
    raise ConfigError(
        f"{largest.what}: the run needs at least {_gib(total)} GiB of memory and {place} has {_gib(there_is)}; "
        f"lower {options}"
    )


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f}"


def _limit_of_process() -> int | None:
    try:
        import resource
    except ImportError:  # not Unix
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _limit_in(path: str) -> int | None:
    """The number in a file; None where there is no such file or no limit."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
