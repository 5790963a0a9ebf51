"""COLMAP's sparse models, binary and text: cameras, posed images and points."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.camera_models import fisheye_lens, opencv_lens
from nerf_ssim.datasets.lenses import Lens
from nerf_ssim.datasets.text_files import read_scene_text
from nerf_ssim.errors import SceneError
from nerf_ssim.files import read_bytes

__all__ = ["Camera", "Image", "find_model", "read_cameras", "read_images", "read_points"]

# COLMAP's models by number: name, and how many parameters each has.
_MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
}
_PARAMETERS = dict(_MODELS.values())
_ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
_UNSUPPORTED = ("FOV", "THIN_PRISM_FISHEYE")
_MIN_TRACK, _MAX_ERROR = 2, 4.0  # views that a point must have, and pixels that it may be off


@dataclass(frozen=True)
class Camera:
    """A camera of a model: its image's height and width, `K [3, 3]` with pixel centres at halves, and its lens."""

    size: tuple[int, int]
    K: NDArray[np.float64]
    lens: Lens | None


@dataclass(frozen=True)
class Image:
    """A posed image of a model: its name, its camera's number and its OpenCV camera-to-world `[3, 4]`."""

    name: str
    camera: int
    c2w: NDArray[np.float64]


def find_model(folder: Path) -> Path | None:
    """The folder inside `folder` that holds a model, as COLMAP, 3DGS and Mip-NeRF 360 lay it; None without one."""
    for place in ("sparse/0", "sparse", "colmap/sparse/0", "dense/0/sparse", "dense/sparse/0", "dense/sparse", "."):
        for suffix in (".bin", ".txt"):
            if all((folder / place / f"{name}{suffix}").exists() for name in ("cameras", "images")):
                return folder / place
    return None


def read_cameras(model: Path) -> dict[int, Camera]:
    """The cameras of a model by number; raises SceneError, which names the file and the camera."""
    path = _file(model, "cameras")
    cameras = {}
    for number, name, size, parameters in _text_cameras(path) if path.suffix == ".txt" else _binary_cameras(path):
        cameras[number] = _camera(name, size, parameters, f"{path}: camera {number}")
    return cameras


def read_images(model: Path) -> list[Image]:
    """The posed images of a model, by name; raises SceneError, which names the file and the image."""
    path = _file(model, "images")
    images = []
    for name, camera, quaternion, translation in _text_images(path) if path.suffix == ".txt" else _binary_images(path):
        images.append(Image(name, camera, _pose(quaternion, translation, f"{path}: image {name}")))
    return sorted(images, key=lambda image: image.name)


def read_points(model: Path) -> NDArray[np.float64]:
    """The points `[n, 3]` that at least two images see well; none where the model has no file of points."""
    path = _file(model, "points3D")
    if not path.exists():
        return np.zeros((0, 3))
    points = [
        place
        for place, error, track in (_text_points(path) if path.suffix == ".txt" else _binary_points(path))
        if track >= _MIN_TRACK and error <= _MAX_ERROR and all(map(math.isfinite, place))
    ]
    return np.array(points, np.float64).reshape(-1, 3)


def _file(model: Path, name: str) -> Path:
    """COLMAP's own choice: the binary file where there is one."""
    binary, text = model / f"{name}.bin", model / f"{name}.txt"
    return binary if binary.exists() or not text.exists() else text


def _camera(name: str, size: tuple[int, int], parameters: tuple[float, ...], where: str) -> Camera:
    if name in _UNSUPPORTED:
        raise SceneError(
            f"{where}: the model {name} cannot be made a pinhole camera's here; run colmap image_undistorter"
        )
    if min(size) < 1 or not all(map(math.isfinite, parameters)):
        raise SceneError(f"{where}: its size {size[1]}x{size[0]} or its parameters {parameters} are not a camera's")
    focal = parameters[:1] * 2 if name in _ONE_FOCAL else parameters[:2]
    centre, rest = (parameters[1:3], parameters[3:]) if name in _ONE_FOCAL else (parameters[2:4], parameters[4:])
    K = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]], np.float64)
    return Camera(size, K, fisheye_lens(*rest) if name.endswith("FISHEYE") else opencv_lens(*rest))


def _pose(quaternion: tuple[float, ...], translation: tuple[float, ...], where: str) -> NDArray[np.float64]:
    """Camera-to-world of COLMAP's world-to-camera: a quaternion w x y z, and a translation."""
    q, t = np.array(quaternion), np.array(translation)
    length = math.hypot(*quaternion)
    if not np.isfinite(t).all() or not 0.5 < length < 2:
        raise SceneError(f"{where}: its pose is not a unit quaternion and a translation")
    w, x, y, z = q / length
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return np.concatenate([rotation.T, -rotation.T @ t[:, None]], axis=1)


class _Cursor:
    """Little-endian values of a binary file, one after another; a file that ends early is a SceneError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.encoded = read_bytes(path)
        except OSError as error:
            raise SceneError(f"{path}: cannot be read ({error.strerror})") from None
        self.position = 0

    def take(self, layout: str) -> tuple:
        """The values of a `struct` layout."""
        size = struct.calcsize("<" + layout)
        self.skip(size)
        return struct.unpack_from("<" + layout, self.encoded, self.position - size)

    def skip(self, size: int) -> None:
        """Passes over `size` bytes."""
        if not 0 <= size <= len(self.encoded) - self.position:
            raise SceneError(f"{self.path}: it ends early, after {len(self.encoded)} bytes; copy it again")
        self.position += size

    def name(self) -> str:
        """Text up to a zero byte."""
        end = self.encoded.find(b"\0", self.position)
        if end < 0:
            raise SceneError(f"{self.path}: it ends early, in an image's name; copy it again")
        text = self.encoded[self.position : end].decode("utf-8", "replace")
        self.position = end + 1
        return text

    def count(self, smallest: int) -> int:
        """How many records follow, of at least `smallest` bytes each."""
        (count,) = self.take("Q")
        if count * smallest > len(self.encoded) - self.position:
            raise SceneError(f"{self.path}: it says {count} records follow and has no room for them; copy it again")
        return int(count)


def _binary_cameras(path: Path) -> Iterator[tuple[int, str, tuple[int, int], tuple[float, ...]]]:
    cursor = _Cursor(path)
    for _ in range(cursor.count(24)):
        number, model, width, height = cursor.take("iiQQ")
        if model not in _MODELS:
            raise SceneError(f"{path}: camera {number}: its model {model} is not one of COLMAP's")
        name, parameters = _MODELS[model]
        yield number, name, (height, width), cursor.take(f"{parameters}d")


def _binary_images(path: Path) -> Iterator[tuple[str, int, tuple[float, ...], tuple[float, ...]]]:
    cursor = _Cursor(path)
    for _ in range(cursor.count(73)):
        values = cursor.take("I7dI")
        name = cursor.name()
        cursor.skip(24 * cursor.take("Q")[0])
        yield name, values[8], values[1:5], values[5:8]


def _binary_points(path: Path) -> Iterator[tuple[tuple[float, ...], float, int]]:
    cursor = _Cursor(path)
    for _ in range(cursor.count(51)):
        values = cursor.take("Q3d3BdQ")
        cursor.skip(8 * values[8])
        yield values[1:4], values[7], values[8]


def _text_cameras(path: Path) -> Iterator[tuple[int, str, tuple[int, int], tuple[float, ...]]]:
    for line, words in _lines(path):
        where = f"{path}: line {line}"
        if len(words) < 4 or words[1] not in _PARAMETERS:
            raise SceneError(f"{where}: not a camera (CAMERA_ID MODEL WIDTH HEIGHT PARAMS) of a model of COLMAP's")
        numbers = _numbers([words[0], *words[2:]], where)
        if len(numbers) != 3 + _PARAMETERS[words[1]]:
            raise SceneError(f"{where}: {words[1]} has {_PARAMETERS[words[1]]} parameters, not {len(numbers) - 3}")
        yield int(numbers[0]), words[1], (int(numbers[2]), int(numbers[1])), tuple(numbers[3:])


def _text_images(path: Path) -> Iterator[tuple[str, int, tuple[float, ...], tuple[float, ...]]]:
    """Every image has two lines, the second of which, its observations, may be empty."""
    lines = [line.strip() for line in read_scene_text(path).splitlines() if not line.lstrip().startswith("#")]
    while lines and not lines[0]:
        del lines[0]
    for index in range(0, len(lines), 2):
        words = lines[index].split(maxsplit=9)
        if not words and not any(lines[index:]):
            return
        where = f"{path}: image {index // 2 + 1}"
        if len(words) != 10:
            raise SceneError(f"{where}: not IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME and a line of observations")
        numbers = _numbers(words[:9], where)
        observations = lines[index + 1].split() if index + 1 < len(lines) else []
        if len(observations) % 3 or not all(map(_is_number, observations[-1:])):
            raise SceneError(
                f"{where} ({words[9]}): the line after it is not its observations (X Y POINT3D_ID …); leave a line "
                "after each image, empty where there are none"
            )
        yield words[9], int(numbers[8]), tuple(numbers[1:5]), tuple(numbers[5:8])


def _text_points(path: Path) -> Iterator[tuple[tuple[float, ...], float, int]]:
    for line, words in _lines(path):
        if len(words) < 8:
            raise SceneError(f"{path}: line {line}: not a point (POINT3D_ID X Y Z R G B ERROR TRACK)")
        numbers = _numbers(words[1:8], f"{path}: line {line}")
        yield tuple(numbers[:3]), numbers[6], (len(words) - 8) // 2


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_scene_text(path).splitlines(), start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _numbers(words: list[str], where: str) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise SceneError(f"{where}: holds something that is no number") from None
    if not all(map(math.isfinite, numbers)):
        raise SceneError(f"{where}: holds NaN or infinity")
    return numbers
