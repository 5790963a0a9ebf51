"""Every common kind of image file is read as the 8-bit RGB that it shows."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from nerf_ssim.datasets.images import read_image

RANDOM = np.random.default_rng(0)
GREY, RGB, RGBA, PALETTE, GREY_ALPHA = 0, 2, 6, 3, 4  # PNG colour types


def png(samples: np.ndarray, colour: int, bits: int = 8, extra: bytes = b"") -> bytes:
    """A PNG by its specification, not by the library under test. `samples` `[height, width, channels]`."""
    height, width = samples.shape[:2]
    if bits == 1:
        rows = np.packbits(samples[:, :, 0].astype(bool), axis=1)
    else:
        rows = samples.astype(">u2" if bits == 16 else np.uint8).reshape(height, -1).view(np.uint8)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def samples(channels: int, largest: int = 255) -> np.ndarray:
    return RANDOM.integers(0, largest + 1, (6, 9, channels))


def read(tmp_path: Path, encoded: bytes, **options: bool) -> np.ndarray:
    (tmp_path / "image.png").write_bytes(encoded)
    image = read_image(tmp_path / "image.png", **options)
    assert image.dtype == np.uint8 and image.shape == (6, 9, 3) and image.flags.c_contiguous
    return image


def test_rgb(tmp_path: Path) -> None:
    values = samples(3)
    assert np.array_equal(read(tmp_path, png(values, RGB)), values)


def test_grey_is_repeated(tmp_path: Path) -> None:
    values = samples(1)
    assert np.array_equal(read(tmp_path, png(values, GREY)), values.repeat(3, axis=2))


def test_one_bit_grey_is_black_and_white(tmp_path: Path) -> None:
    values = samples(1, 1)
    assert np.array_equal(read(tmp_path, png(values, GREY, bits=1)), 255 * values.repeat(3, axis=2))


def test_palette_is_looked_up(tmp_path: Path) -> None:
    colours, values = RANDOM.integers(0, 256, (8, 3), np.uint8), samples(1, 7)
    encoded = png(values, PALETTE, extra=chunk(b"PLTE", colours.tobytes()))
    assert np.array_equal(read(tmp_path, encoded), colours[values[:, :, 0]])


def test_transparent_palette_entries_are_blended(tmp_path: Path) -> None:
    colours, values = RANDOM.integers(0, 256, (8, 3), np.uint8), samples(1, 7)
    encoded = png(values, PALETTE, extra=chunk(b"PLTE", colours.tobytes()) + chunk(b"tRNS", b"\xff\x00"))
    colours[1] = 0
    assert np.array_equal(read(tmp_path, encoded), colours[values[:, :, 0]])


@pytest.mark.parametrize("colour", [GREY, RGB])
def test_sixteen_bits_are_divided_by_257_and_rounded(tmp_path: Path, colour: int) -> None:
    values = samples(1 if colour == GREY else 3, 65535)
    values[0, :6, 0] = 0, 128, 129, 385, 386, 65535
    expected = np.broadcast_to(np.floor(values / 257 + 0.5), (6, 9, 3))
    assert np.array_equal(read(tmp_path, png(values, colour, bits=16)), expected)


@pytest.mark.parametrize("white_bg", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [GREY_ALPHA, RGBA])
def test_transparency_is_blended_over_black_or_white(tmp_path: Path, colour: int, bits: int, white_bg: bool) -> None:
    full = 2**bits - 1
    values = samples(2 if colour == GREY_ALPHA else 4, full)
    values[0, 0, -1], values[0, 1, -1] = 0, full
    alpha = values[:, :, -1:] / full
    expected = 255 * (values[:, :, :-1] / full * alpha + white_bg * (1 - alpha))
    # Within one: OpenCV itself may reduce 16-bit grey+alpha before we see it.
    tolerance = 0.5 + 1e-6 if (colour, bits) != (GREY_ALPHA, 16) else 1.0
    assert np.abs(read(tmp_path, png(values, colour, bits), white_bg=white_bg) - expected).max() <= tolerance


def test_jpeg_turned_by_exif_is_read_as_stored(tmp_path: Path) -> None:
    """The pose and intrinsics are of the stored pixels."""
    flat = np.full((6, 9, 3), 90, np.uint8)
    _, encoded = cv2.imencode(".jpg", flat)
    turned = struct.pack(">2sI", b"MM", 0)[:2] + struct.pack(">HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + turned
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    path = tmp_path / "image.jpg"
    path.write_bytes(encoded.tobytes()[:2] + segment + encoded.tobytes()[2:])
    assert read_image(path).shape == (6, 9, 3)
