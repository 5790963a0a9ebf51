"""What an image file says of itself before its pixels are decoded: its size, and which way up it is."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from nerf_ssim.errors import SceneError
from nerf_ssim.files import open_regular

__all__ = ["MAX_PIXELS", "ImageHeader", "read_header"]

MAX_PIXELS = 2**27
"""An image of more pixels than this (134 million) is refused before it is decoded."""

_ORIENTATION = 0x0112  # EXIF
_USUAL_HEADER = 1 << 16  # bytes; a header that ends later is read from the whole file


@dataclass(frozen=True)
class ImageHeader:
    """An image's height and width as stored, in pixels, and its EXIF orientation (1 is upright)."""

    height: int
    width: int
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as stored."""
        return self.height, self.width

    @property
    def turned_size(self) -> tuple[int, int]:
        """Height and width of the picture as viewers show it."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


def read_header(path: Path, where: str) -> ImageHeader | None:
    """The header of an image file; None where it is of no kind whose headers are known.

    Raises:
        SceneError: missing, cannot be read, or larger than `MAX_PIXELS`.
    """
    try:
        with open_regular(path) as file:
            start = file.read(_USUAL_HEADER)
            header = parse_header(start)
            if header is None and len(start) == _USUAL_HEADER:
                header = parse_header(start + file.read())
    except FileNotFoundError:
        raise SceneError(f"{where}: image missing: {path}") from None
    except OSError as error:
        raise SceneError(f"{where}: image cannot be read ({error.strerror}): {path}") from None
    if header is not None and header.height * header.width > MAX_PIXELS:
        raise SceneError(
            f"{where}: the file says it holds {header.width}x{header.height} pixels, more than the limit of "
            f"{MAX_PIXELS} an image; shrink it, or fetch it again if that is not its size"
        )
    return header


def parse_header(encoded: bytes) -> ImageHeader | None:
    """The header at the start of a file's bytes; None where Pillow does not know the kind, or the start is damaged."""
    from PIL import Image, UnidentifiedImageError

    limit = Image.MAX_IMAGE_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the limit here is ours, and a damaged EXIF block only loses its turn
            Image.MAX_IMAGE_PIXELS = None
            with Image.open(io.BytesIO(encoded)) as image:
                width, height = image.size
                # Pillow decodes a whole PNG to look for EXIF behind its pixels; TIFF is turned when it is decoded.
                has_exif = "exif" in image.info and image.format != "TIFF"
                orientation = image.getexif().get(_ORIENTATION, 1) if has_exif else 1
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, KeyError, TypeError, IndexError, EOFError):
        return None
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    is_known = isinstance(orientation, int) and 1 <= orientation <= 8
    return ImageHeader(height, width, orientation if is_known else 1)
