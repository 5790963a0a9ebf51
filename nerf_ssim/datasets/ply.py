"""The positions of the points in a PLY file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.errors import SceneError
from nerf_ssim.files import read_bytes

__all__ = ["read_points"]

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}


def read_points(path: Path) -> NDArray[np.float64]:
    """The finite points `[n, 3]` of a PLY file, ASCII or binary, whose first element is `vertex`.

    Raises:
        SceneError: missing, cut, or of another structure.
    """
    try:
        encoded = read_bytes(path)
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror})") from None
    head, mark, body = encoded.partition(b"end_header\n")
    if not mark:
        head, mark, body = encoded.partition(b"end_header\r\n")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines()]
    try:
        order = _ORDERS[next(line[1] for line in lines if line[:1] == ["format"])]
        start = next(index for index, line in enumerate(lines) if line[:1] == ["element"])
        if lines[start][1] != "vertex":
            raise ValueError("its first element is not vertex")
        count = int(lines[start][2])
        names, types = [], []
        for line in lines[start + 1 :]:
            if line[:1] != ["property"]:
                break
            types.append((line[2], order + _TYPES[line[1]]))
            names.append(line[2])
        columns = [names.index(axis) for axis in "xyz"]
        if order:
            vertices = np.frombuffer(body, np.dtype(types), count)
            points = np.stack([vertices[axis] for axis in "xyz"], axis=1).astype(np.float64)
        else:
            rows = body.decode("ascii").splitlines()[:count]
            points = np.array([[float(row.split()[column]) for column in columns] for row in rows]).reshape(-1, 3)
            if len(points) != count:
                raise ValueError("it ends early")
    except (StopIteration, KeyError, IndexError, ValueError) as error:
        raise SceneError(
            f"{path}: not a PLY file of points that can be read ({error or 'its header is cut'})"
        ) from None
    return points[np.isfinite(points).all(axis=1)]
