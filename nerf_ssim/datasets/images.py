"""Read an image file of any common kind as 8-bit RGB, shrink it by area, and load many without a second copy."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf_ssim.errors import SceneError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_READERS = 4  # decoding releases the interpreter lock; more readers would only hold more decoded images at once


def read_image(path: Path, *, white_bg: bool = False) -> NDArray[np.uint8]:
    """One image file as RGB.

    Grey is repeated over three channels, palettes are looked up, 16-bit values v become round(v / 257), and
    transparency is blended over black (over white with `white_bg`).

    Returns:
        `[height, width, 3]`, uint8.
    Raises:
        SceneError: missing, not an image, damaged, or of a sample type other than 8- and 16-bit integers.
    """
    return decode_image(_read_bytes(path, str(path)), str(path), white_bg=white_bg)


def decode_image(encoded: bytes, where: str, *, white_bg: bool = False) -> NDArray[np.uint8]:
    """As `read_image`, from the bytes of a file; `where` opens the message of an error."""
    if encoded.startswith(_PNG_SIGNATURE) and (damage := _png_damage(encoded)):
        raise SceneError(f"{where}: image is damaged ({damage}); fetch or write it again")
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED) if encoded else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise SceneError(f"{where}: not an image that OpenCV can read ({len(encoded)} bytes); convert it to PNG")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise SceneError(f"{where}: samples are {pixels.dtype}; convert it to an 8-bit or 16-bit image")
    return _to_rgb8(pixels, white_bg)


def shrink_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """`image` `[h, w, 3]` averaged over areas to `[height, width, 3]`, neither side larger than it was."""
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def shrunk_size(height: int, width: int, factor: float) -> tuple[int, int]:
    """Height and width, in pixels, after downsampling by `factor` (>= 1): rounded, halves up, at least 1."""
    return max(1, int(height / factor + 0.5)), max(1, int(width / factor + 0.5))


@dataclass(frozen=True)
class ImageFile:
    """An image to load: its path, and how an error names it (scene file, frame, image)."""

    path: Path
    where: str


def load_images(
    files: Sequence[ImageFile],
    destinations: Sequence[NDArray[np.uint8]],
    *,
    size: tuple[int, int],
    white_bg: bool = False,
) -> list[bytes]:
    """Read images of one size straight into memory that the caller owns, so that they are held once.

    Args:
        files: the images.
        destinations: for each file a writable `[height, width, 3]` uint8 array, no larger than `size`; the image is
            shrunk by area to it.
        size: the height and width, in pixels, that every file must have.
        white_bg: blend transparency over white, not black.
    Returns:
        The sha256 digest of each file's bytes.
    Raises:
        SceneError: an image that is missing, cannot be read, or is of another size; the first in order.
    """

    def load(file: ImageFile, destination: NDArray[np.uint8]) -> bytes:
        encoded = _read_bytes(file.path, file.where)
        image = decode_image(encoded, file.where, white_bg=white_bg)
        if image.shape[:2] != size:
            found, wanted = (f"{width}x{height}" for height, width in (image.shape[:2], size))
            raise SceneError(f"{file.where}: image is {found} (width x height), the scene says {wanted}")
        destination[...] = shrink_image(image, *destination.shape[:2])
        return hashlib.sha256(encoded).digest()

    with ThreadPoolExecutor(_READERS) as readers:
        pending = [readers.submit(load, *pair) for pair in zip(files, destinations, strict=True)]
        try:
            return [result.result() for result in pending]
        finally:  # one failed image ends the loading: the others are not waited for
            for result in pending:
                result.cancel()


def _read_bytes(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SceneError(f"{where}: image missing: {path}") from None
    except OSError as error:
        raise SceneError(f"{where}: image cannot be read ({error.strerror}): {path}") from None


def _to_rgb8(pixels: NDArray, white_bg: bool) -> NDArray[np.uint8]:
    """OpenCV's grey, grey+alpha, BGR or BGRA, 8- or 16-bit, as RGB, 8-bit."""
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    channels = pixels.shape[2]
    has_alpha = channels in (2, 4)
    colour = pixels[:, :, : channels - 1] if has_alpha else pixels
    colour = np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour[:, :, ::-1]
    if has_alpha:
        full = np.iinfo(pixels.dtype).max
        alpha = pixels[:, :, -1:].astype(np.float64) / full
        background = 255.0 if white_bg else 0.0
        blended = colour * (255.0 / full) * alpha + background * (1.0 - alpha)
        return np.floor(blended + 0.5).astype(np.uint8)
    if pixels.dtype == np.uint16:
        return ((colour.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(colour)


def _png_damage(encoded: bytes) -> str | None:
    """What is wrong with a PNG's chunks, or None. OpenCV returns the undamaged part of a torn PNG without a word."""
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(encoded):
        (length,) = struct.unpack_from(">I", encoded, position)
        kind = encoded[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(encoded):
            break
        (checksum,) = struct.unpack_from(">I", encoded, end - 4)
        if zlib.crc32(memoryview(encoded)[position + 4 : end - 4]) != checksum:
            return f"checksum of chunk {kind.decode('ascii', 'replace')!r} is wrong"
        if kind == b"IEND":
            return None
        position = end
    return f"it ends early, after {len(encoded)} bytes"


def image_in_folder(folder: Path, relative: str, where: str) -> Path:
    """`folder/relative`, if it stays inside the folder once links are followed.

    Raises:
        SceneError: an absolute path, a `..` or a link that leaves the folder, or no file name at all.
    """
    if not relative or "\0" in relative:
        raise SceneError(f"{where}: rgb_path is not a file name")
    image = folder / relative
    # Judged once with Windows' separators too: a scene that works on one system should be refused on none.
    if Path(relative).is_absolute() or relative.startswith("\\") or not _is_inside(image, folder):
        raise SceneError(f"{where}: rgb_path leaves the scene folder {folder}; put the image inside it")
    return image


def _is_inside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False
