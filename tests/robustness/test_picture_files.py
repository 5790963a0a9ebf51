"""Pictures that are cut, damaged, huge, or of other bits: refused in one line, before anything large is decoded."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import forked
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from nerf_ssim.datasets.image_headers import MAX_PIXELS
from nerf_ssim.datasets.images import decode_image, read_image
from nerf_ssim.errors import SceneError

KINDS = ("png", "jpg", "bmp", "tiff", "webp")
PICTURE = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 255, (24, 40, 3), dtype=np.uint8), (5, 5), 2)


def encoded(kind: str, picture: np.ndarray = PICTURE) -> bytes:
    return cv2.imencode(f".{kind}", picture)[1].tobytes()


WHOLE = {kind: encoded(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_picture_is_read(kind):
    assert decode_image(WHOLE[kind], "x").shape == (24, 40, 3)


@pytest.mark.parametrize("kind", KINDS)
@examples(40)
@given(share=st.floats(0.0, 0.9))
def test_a_picture_cut_anywhere_is_refused(kind, share):
    with pytest.raises(SceneError) as caught:
        decode_image(WHOLE[kind][: int(share * len(WHOLE[kind]))], "x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@examples(40)
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_picture_is_refused_or_read(kind, changes):
    damaged = bytearray(WHOLE[kind])
    for share, value in changes:
        damaged[int(share * (len(damaged) - 1))] = value
    try:
        decode_image(bytes(damaged), "x")
    except SceneError as error:
        assert "\n" not in str(error)


@examples(40)
@given(st.binary(max_size=600))
def test_bytes_that_are_no_picture_are_refused(contents):
    with pytest.raises(SceneError):
        decode_image(contents, "x")


def huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(65000, 65000), (MAX_PIXELS, 2), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_header_of_more_pixels_than_are_read_is_refused(tmp_path, size, recwarn):
    (tmp_path / "a.png").write_bytes(huge_png(*size))
    with pytest.raises(SceneError):
        read_image(tmp_path / "a.png")
    assert not recwarn.list


def test_a_huge_picture_costs_no_memory(tmp_path):
    (tmp_path / "huge.png").write_bytes(huge_png(60_000, 60_000))
    small = forked.run(["--version"]).megabytes
    ended = forked.run(["fit-image", "--image", tmp_path / "huge.png", "--size", "0", "--basedir", tmp_path / "runs"])
    assert ended.problem() is None and "shrink it" in ended.line
    assert ended.megabytes < small + 300 and not (tmp_path / "runs" / "run").exists()


@pytest.mark.parametrize("bits", [10, 12])
def test_few_bits_in_a_16_bit_file_are_named(tmp_path, bits):
    samples = (PICTURE.astype(np.uint16) << (bits - 8)).clip(0, (1 << bits) - 1)
    samples[0, 0] = (1 << bits) - 1
    cv2.imwrite(str(tmp_path / "a.png"), samples)
    with pytest.raises(SceneError, match=f"{bits} bits in a 16-bit file.*multiply it by {1 << (16 - bits)}"):
        read_image(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "b.png"), samples << (16 - bits))
    assert abs(int(read_image(tmp_path / "b.png").max()) - 255) <= 1


@pytest.mark.parametrize("what", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_opened(tmp_path, what):
    path = tmp_path / "a.png"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    ended = forked.run(["fit-image", "--image", path, "--basedir", tmp_path / "runs"], seconds=20)
    assert ended.problem() is None and "not a file" in ended.line
    ended = forked.run(["train", "--config", path], seconds=20)
    assert ended.problem() is None and "not a file" in ended.line


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jpg", "tiff", "webp", "bmp"])
def test_a_scene_of_any_format_with_a_damaged_picture_is_refused_by_name(tmp_path, scene, kind):
    import json
    import shutil

    folder = Path(shutil.copytree(scene, tmp_path / "scene"))
    metadata = json.loads((folder / "meta_data.json").read_text())
    for frame in metadata["frames"]:
        path = folder / frame["rgb_path"]
        frame["rgb_path"] = path.with_suffix(f".{kind}").name
        cv2.imwrite(str(path.with_suffix(f".{kind}")), cv2.imread(str(path)))
    (folder / "meta_data.json").write_text(json.dumps(metadata))
    assert forked.run(["data", "check", folder, "--out", tmp_path]).code == 0
    victim = folder / metadata["frames"][4]["rgb_path"]
    victim.write_bytes(victim.read_bytes()[: -len(victim.read_bytes()) // 3])
    ended = forked.run(["data", "check", folder, "--out", tmp_path])
    assert ended.problem() is None and victim.name in ended.line
