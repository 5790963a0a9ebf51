"""Sizes that no machine has memory for end in one line before anything is made, and memory that is full in another."""

from __future__ import annotations

import resource
from pathlib import Path

import cv2
import forked
import numpy as np
import pytest

TRAIN = "train", "--config", "room.txt"
FIT = "fit-image", "--config", "siren_small.txt"
TOO_MUCH = {
    "TensoRF's last grid": (*TRAIN, "--N_voxel_final", 2**40),
    "voxels": (*TRAIN, "--grid", "dense", "--N_voxel_init", 2**40, "--N_voxel_final", 2**40),
    "contracted voxels": ("train", "--config", "dvgo_room.txt", "--num_voxels", 2**36),
    "bounded voxels": ("train", "--config", "dvgo_bounded_room.txt", "--num_voxels", 2**36),
    "a network": (*FIT, "--hidden", 8192, "--hidden_layers", 64),
    "a picture": (*FIT, "--size", 10**7),
}


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "noise.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    return path


@pytest.mark.parametrize("what", TOO_MUCH)
def test_a_size_beyond_any_memory_is_refused_before_anything_is_made(what, picture, tmp_path):
    words = TOO_MUCH[what]
    extra = ("--image", picture) if words[0] == "fit-image" else ()
    ended = forked.run([*words, *extra, "--basedir", tmp_path / "runs"])
    assert ended.problem() is None
    assert "GiB of memory and this machine has" in ended.line and "; lower --" in ended.line
    assert not (tmp_path / "runs").exists() and ended.megabytes < 1000


def test_a_run_that_would_be_overwritten_stays(tmp_path):
    kept = tmp_path / "runs" / "room" / "checkpoints" / "000010.pt"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"all that there is")
    ended = forked.run([*TRAIN, "--N_voxel_final", 2**40, "--overwrite", "--basedir", tmp_path / "runs"])
    assert ended.problem() is None and kept.exists()


def test_memory_that_is_full_all_the_same_is_one_line(picture, tmp_path):
    def with_little_memory() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (used + (100 << 20), resource.RLIM_INFINITY))

    words = (*FIT, "--image", picture, "--size", 0, "--hidden", 8192, "--hidden_layers", 2, "--basedir", tmp_path)
    ended = forked.run(words, prepare=with_little_memory)
    assert ended.problem() is None and "the machine's memory is full (256.00 MiB more" in ended.line
