"""Scene metadata as numbers in text files, one row a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.errors import SceneError
from nerf_ssim.files import read_text

__all__ = ["read_matrix_file", "read_rows", "read_scene_text"]

_MAX_BYTES = 1 << 28  # no metadata is longer; what is larger is another file


def read_scene_text(path: Path, advice: str = "") -> str:
    """The text of a scene's metadata file, in UTF-8 or UTF-16.

    Args:
        advice: what the error of a missing file adds.
    Raises:
        SceneError: missing, no file, unreadable, or not text.
    """
    try:
        return read_text(path, at_most=_MAX_BYTES)
    except FileNotFoundError:
        raise SceneError(f"{path}: missing{f'; {advice}' if advice else ''}") from None
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise SceneError(f"{path}: {error}") from None


def read_rows(path: Path, advice: str = "") -> list[list[float]]:
    """The numbers of each line that has any, separated by white space or commas; `#` begins a comment.

    Args:
        advice: what the error of a missing file adds.
    Raises:
        SceneError: missing, unreadable, not text, or something that is no number, with its line.
    """
    rows = []
    for place, line in enumerate(read_scene_text(path, advice).splitlines(), start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        try:
            if words:
                rows.append([float(word) for word in words])
        except ValueError:
            raise SceneError(f"{path}: line {place}: {line.strip()[:40]!r} is not a row of numbers") from None
    return rows


def read_trajectory(path: Path, advice: str = "") -> list[list[float]]:
    """The 16 numbers of each 4x4 matrix of a trajectory: a line each, or four lines of four; 3x4 gets its last row.

    A line of any other length is returned as it is, so that the frame that it is for can be named.

    Args:
        advice: what the error of a missing file adds.
    Raises:
        SceneError: as `read_rows`, or lines of four numbers that are no whole matrices.
    """
    rows = read_rows(path, advice)
    if rows and all(len(row) == 4 for row in rows):
        if len(rows) % 4:
            raise SceneError(f"{path}: its {len(rows)} lines of four numbers are no whole number of 4x4 matrices")
        return [[number for row in rows[place : place + 4] for number in row] for place in range(0, len(rows), 4)]
    return [[*row, 0.0, 0.0, 0.0, 1.0] if len(row) == 12 else row for row in rows]


def read_matrix_file(path: Path, shapes: tuple[tuple[int, int], ...], where: str) -> NDArray[np.float64]:
    """The matrix in a text file, of one of `shapes`; its numbers may also stand on one line.

    Raises:
        SceneError: as `read_rows`, or another number of numbers. Values may be infinite: some data sets mark so a
            camera that was lost.
    """
    numbers = [number for row in read_rows(path) for number in row]
    for rows, columns in shapes:
        if len(numbers) == rows * columns:
            return np.array(numbers).reshape(rows, columns)
    wanted = " or ".join(f"{rows}x{columns}" for rows, columns in shapes)
    raise SceneError(f"{where}: {path.name} has {len(numbers)} numbers, not those of a {wanted} matrix")
