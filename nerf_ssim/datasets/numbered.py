"""Files whose names carry a number are paired by it, not by the order in which text is sorted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nerf_ssim.errors import SceneError

__all__ = ["number_of", "paired_by_number", "sorted_by_number"]

_DIGITS = re.compile(r"\d+")


def number_of(name: str) -> int | None:
    """The last number in a file's name, its suffix left out; None where there is none."""
    found = _DIGITS.findall(Path(name).stem)
    return int(found[-1]) if found else None


def sorted_by_number(paths: Sequence[Path]) -> list[Path]:
    """Files in the order of their numbers, where every name has one of its own; else by name."""
    numbers = [number_of(path.name) for path in paths]
    if any(number is None for number in numbers) or len(set(numbers)) != len(numbers):
        return sorted(paths)
    return sorted(paths, key=lambda path: number_of(path.name) or 0)


def paired_by_number(
    names: Sequence[str], indices: Sequence[int], where: str
) -> tuple[list[tuple[str, int]], list[str]]:
    """Which file belongs to which camera.

    Args:
        names: the files, sorted by name.
        indices: the cameras' numbers, in order; as many as there are files.
        where: how an error names the cameras' file.
    Returns:
        Pairs in the order of the cameras, and what a person should know of how they came about.
    Raises:
        SceneError: most numbers are cameras' but some are missing: pairing in order would shift images.
    """
    numbers = [number_of(Path(name).stem.split("_rgb")[0]) for name in names]
    wanted = sorted(indices)
    given = sorted(number for number in numbers if number is not None)
    if given == wanted:
        by_number = {number: name for number, name in zip(numbers, names, strict=True)}
        return [(by_number[index], index) for index in wanted], []
    if given == [index + 1 for index in wanted]:
        by_number = {number: name for number, name in zip(numbers, names, strict=True)}
        return [(by_number[index + 1], index) for index in wanted], ["images are numbered from 1, cameras from 0"]
    if len(set(given)) == len(names) and 2 * len(set(given) & set(wanted)) > len(wanted):
        missing = sorted(set(wanted) - set(given))[:3]
        raise SceneError(
            f"{where}: cameras are numbered {wanted[0]} to {wanted[-1]}, but the images' numbers lack "
            f"{', '.join(map(str, missing))}; pairing them in order would shift images against their cameras: restore "
            "the missing images, or renumber those that are there from 0"
        )
    return list(zip(names, wanted, strict=True)), ["images and cameras are paired in the order of the images' names"]
