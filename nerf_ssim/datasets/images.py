"""Read an image file of any common kind as 8-bit RGB, and shrink it by area."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.image_damage import complaints, structural_damage
from nerf_ssim.datasets.image_headers import read_header
from nerf_ssim.errors import SceneError
from nerf_ssim.files import read_bytes as read_file


def read_image(path: Path, *, white_bg: bool = False) -> NDArray[np.uint8]:
    """One image file as RGB.

    Grey is repeated over three channels, palettes are looked up, 16-bit values v become round(v / 257), and
    transparency is blended over black (over white with `white_bg`).

    Returns:
        `[height, width, 3]`, uint8.
    Raises:
        SceneError: missing, not an image, damaged, of more than `image_headers.MAX_PIXELS`, of a sample type other than
            8- and 16-bit integers, or of 10 or 12 bits in a 16-bit file.
    """
    read_header(path, str(path))  # refuses what is too large before any of it is decoded
    return decode_image(read_bytes(path, str(path)), str(path), white_bg=white_bg)


def decode_image(encoded: bytes, where: str, *, white_bg: bool = False) -> NDArray[np.uint8]:
    """As `read_image`, from the bytes of a file; `where` opens the message of an error."""
    if damage := structural_damage(encoded):
        raise SceneError(f"{where}: image is damaged ({damage}); fetch or write it again")
    with complaints(encoded) as heard:
        try:
            pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED) if encoded else None
        except cv2.error:
            pixels = None
    if pixels is not None and heard.text:
        raise SceneError(f"{where}: image is damaged ({heard.text}); fetch or write it again")
    if pixels is None:
        raise SceneError(f"{where}: not an image that OpenCV can read ({len(encoded)} bytes); convert it to PNG")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise SceneError(f"{where}: samples are {pixels.dtype}; convert it to an 8-bit or 16-bit image")
    if pixels.dtype == np.uint16:
        _refuse_few_bits(pixels, where)
    return _to_rgb8(pixels, white_bg)


def _refuse_few_bits(pixels: NDArray[Any], where: str) -> None:
    """Raises `SceneError` for 16-bit samples that a camera of 10 or 12 bits seems to have written unscaled."""
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    largest = int((pixels[:, :, :-1] if has_alpha else pixels).max())
    bits = largest.bit_length()
    if bits in (10, 12):  # a picture that is as dark all over is rarer
        raise SceneError(
            f"{where}: its largest sample is {largest}, so it seems to hold {bits} bits in a 16-bit file and would be "
            f"read as nearly black; multiply it by {1 << (16 - bits)}"
        )


def shrink_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """`image` `[h, w, 3]` averaged over areas to `[height, width, 3]`, neither side larger than it was."""
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def shrunk_size(height: int, width: int, factor: float) -> tuple[int, int]:
    """Height and width, in pixels, after downsampling by `factor` (>= 1): rounded, halves up, at least 1."""
    return max(1, int(height / factor + 0.5)), max(1, int(width / factor + 0.5))


def read_bytes(path: Path, where: str) -> bytes:
    """The bytes of an image file; raises SceneError, which opens with `where`, where they cannot be had."""
    try:
        return read_file(path)
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
