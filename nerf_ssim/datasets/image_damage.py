"""Damage that a decoder passes over: OpenCV returns what is left of a torn or overwritten image without an error."""

from __future__ import annotations

import os
import re
import struct
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Complaints", "complaints", "structural_damage"]

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DAMAGE = re.compile(r"Corrupt JPEG data[^\n]*|Premature end of JPEG[^\n]*|TIFF_Error[^\n]*")
_STDERR = 2
_one_at_a_time = threading.Lock()


def structural_damage(encoded: bytes) -> str | None:
    """What is wrong with a file's outer structure, or None: checksums of PNG, ends of JPEG and WebP, blocks of TIFF."""
    if encoded.startswith(_PNG):
        return _png_damage(encoded)
    if encoded.startswith(_JPEG):
        return None if b"\xff\xd9" in encoded[2:] else _early_end(encoded)
    if encoded.startswith(b"RIFF") and encoded[8:12] == b"WEBP":
        (announced,) = struct.unpack_from("<I", encoded, 4)
        return _early_end(encoded) if announced + 8 > len(encoded) else None
    return None


@dataclass
class Complaints:
    """What a decoder wrote to standard error; empty where it was content."""

    text: str = ""


@contextmanager
def complaints(encoded: bytes) -> Iterator[Complaints]:
    """Listens to what libjpeg and libtiff write to standard error while `encoded` is decoded in the block.

    They report spoilt data nowhere else, and OpenCV then returns an image as if nothing had been. Other kinds of
    image have checksums or fail to decode, and are decoded without listening, several at once.
    """
    heard = Complaints()
    if not encoded.startswith((_JPEG, *_TIFF)):
        yield heard
        return
    with _one_at_a_time:
        try:
            kept = os.dup(_STDERR)
        except OSError:  # standard error is closed: nothing can be heard, and nothing would be seen
            yield heard
            return
        with tempfile.TemporaryFile() as file:
            try:
                if sys.stderr is not None:
                    sys.stderr.flush()
                os.dup2(file.fileno(), _STDERR)
                yield heard
            finally:
                os.dup2(kept, _STDERR)
                os.close(kept)
            file.seek(0)
            said = file.read()
        if damage := _DAMAGE.search(said.decode("utf-8", "replace")):
            heard.text = " ".join(damage[0].split())[:160]
        elif said:
            os.write(_STDERR, said)


def _png_damage(encoded: bytes) -> str | None:
    position = len(_PNG)
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
    return _early_end(encoded)


def _early_end(encoded: bytes) -> str:
    return f"it ends early, after {len(encoded)} bytes"
