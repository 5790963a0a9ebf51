"""From a frame's image file to the pixels of a pinhole camera: checked, turned, undistorted, masked and shrunk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.cameras import resized_intrinsics
from nerf_ssim.datasets.image_headers import ImageHeader, read_header
from nerf_ssim.datasets.images import decode_image, read_bytes, shrink_image, shrunk_size
from nerf_ssim.datasets.lenses import pinhole_of, undistort
from nerf_ssim.datasets.scene_file import Frame
from nerf_ssim.errors import SceneError

__all__ = ["Picture", "load_pictures", "plan_picture"]

READERS = 4  # decoding releases the interpreter lock; more readers would only hold more decoded images at once

# How EXIF's orientations become upright: axes swapped, rows reversed, columns reversed.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True)
class Picture:
    """What is to become of a frame's image file.

    Args:
        size: height and width that the file must have once it is turned, pixels.
        orientation: EXIF's, 1 where nothing is turned.
        pinhole: `[3, 3]`, intrinsics at `size` once the lens is undone.
        shrunk: height and width in the end.
        K: `[3, 3]`, intrinsics in the end.
    """

    frame: Frame
    size: tuple[int, int]
    orientation: int
    pinhole: NDArray[np.float64]
    shrunk: tuple[int, int]
    K: NDArray[np.float64]


def plan_picture(frame: Frame, factor: float) -> Picture:
    """Reads the header of the frame's image and plans what is to be done with it; no pixel is decoded.

    Args:
        factor: the image is shrunk by this, at least 1.
    Raises:
        SceneError: missing, too large, or of another size than the scene says; or a lens that cannot be undone.
    """
    header = read_header(frame.path, frame.where)
    if header is None:
        # The kind is unknown here; decoding says whether OpenCV knows it.
        pixels = decode_image(read_bytes(frame.path, frame.where), frame.where)
        header = ImageHeader(*pixels.shape[:2])
    size, orientation = _upright(header, frame)
    has_lens = frame.lens is not None and not frame.lens.is_pinhole
    pinhole = pinhole_of(frame.lens, frame.K, size, frame.where) if has_lens and frame.lens else frame.K
    shrunk = shrunk_size(*size, factor)
    return Picture(frame, size, orientation, pinhole, shrunk, resized_intrinsics(pinhole, size, shrunk))


def _upright(header: ImageHeader, frame: Frame) -> tuple[tuple[int, int], int]:
    """The size that the scene's cameras are of, and the EXIF orientation that leads there."""
    wanted = header.size if frame.size is None else frame.size
    if header.size == wanted:
        return wanted, 1
    if header.turned_size == wanted:
        return wanted, header.orientation
    found, said = (f"{width}x{height}" for height, width in (header.size, wanted))
    turn = ""
    if header.size == wanted[::-1]:
        turn = "; it lies on its side, and no EXIF orientation says how to turn it"
    raise SceneError(f"{frame.where}: image is {found} (width x height), the scene says {said}{turn}")


@dataclass(frozen=True)
class Destination:
    """Where a picture's pixels go: arrays `[height, width, 3]` and `[height, width]` that the caller owns."""

    image: NDArray[np.uint8]
    valid: NDArray[np.bool_] | None = None


def load_pictures(
    pictures: Sequence[Picture], destinations: Sequence[Destination], *, white_bg: bool = False
) -> list[bytes]:
    """Decodes images straight into memory that the caller owns, so that they are held once.

    Args:
        pictures: as planned.
        destinations: for each picture arrays of its `shrunk` size; `valid` is written where the frame has a mask.
        white_bg: blend transparency over white, not black.
    Returns:
        The sha256 digest of each image file's bytes, and of its mask's where there is one.
    Raises:
        SceneError: an image that cannot be read, or of another size than its header says; the first in order.
    """

    def load(pair: tuple[Picture, Destination]) -> bytes:
        picture, destination = pair
        frame = picture.frame
        encoded = read_bytes(frame.path, frame.where)
        digest = hashlib.sha256(encoded)
        image = _turned(decode_image(encoded, frame.where, white_bg=white_bg), picture)
        if image.shape[:2] != picture.size:
            found, wanted = (f"{width}x{height}" for height, width in (image.shape[:2], picture.size))
            raise SceneError(f"{frame.where}: image is {found} (width x height), its header says {wanted}")
        if frame.lens is not None and not frame.lens.is_pinhole:
            image = undistort(image, frame.lens, frame.K, picture.pinhole)
        destination.image[...] = shrink_image(image, *picture.shrunk)
        if frame.mask is not None and destination.valid is not None:
            mask_bytes = read_bytes(frame.mask, f"{frame.where}: mask")
            digest.update(mask_bytes)
            destination.valid[...] = _valid(mask_bytes, picture)
        return digest.digest()

    return in_order(load, list(zip(pictures, destinations, strict=True)))


T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` of every item, several at once; where some fail, the first in order is the one that is raised."""
    with ThreadPoolExecutor(READERS) as readers:
        pending = [readers.submit(work, item) for item in items]
        try:
            return [result.result() for result in pending]
        finally:  # one failed image ends the loading: the others are not waited for
            for result in pending:
                result.cancel()


def _turned(image: NDArray[np.uint8], picture: Picture) -> NDArray[np.uint8]:
    if picture.orientation == 1:
        return image
    swaps, reverses_rows, reverses_columns = _TURNS[picture.orientation]
    image = image.swapaxes(0, 1) if swaps else image
    image = image[::-1] if reverses_rows else image
    return np.ascontiguousarray(image[:, ::-1] if reverses_columns else image)


def _valid(encoded: bytes, picture: Picture) -> NDArray[np.bool_]:
    """Where the photograph counts: pixels of the shrunk image whose mask is white everywhere under them."""
    frame = picture.frame
    where = f"{frame.where}: mask {frame.mask}"
    mask = _turned(decode_image(encoded, where), picture)
    if mask.shape[:2] != picture.size:
        found, wanted = (f"{width}x{height}" for height, width in (mask.shape[:2], picture.size))
        raise SceneError(f"{where}: it is {found} (width x height), its image is {wanted}")
    if frame.lens is not None and not frame.lens.is_pinhole:
        mask = undistort(mask, frame.lens, frame.K, picture.pinhole, smooth=False)
    counts = (mask.max(axis=2) >= 128).astype(np.float32)
    height, width = picture.shrunk
    if counts.shape != (height, width):
        counts = np.asarray(cv2.resize(counts, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    return counts > 0.999
