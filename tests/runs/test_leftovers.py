"""Temporary files of a process that is gone are removed, wherever they lie; those of one that writes stay."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nerf_ssim.files import atomic_file
from nerf_ssim.images.options import ImageConfig
from nerf_ssim.runs.folder import RunFolder
from nerf_ssim.runs.leftovers import remove_abandoned


@pytest.fixture(scope="module")
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    return path


def test_what_a_gone_process_left_is_removed_from_every_subfolder(tmp_path, gone):
    left = [touch(tmp_path / place / f".a.png.{gone}.partial") for place in ("", "test", "evaluation_000010/test")]
    kept = [touch(tmp_path / name) for name in ("a.png", ".hidden", "a.partial", ".a.png.partial", "test/.x.y.partial")]
    assert sorted(remove_abandoned(tmp_path)) == sorted(left)
    assert all(path.exists() for path in kept) and not any(path.exists() for path in left)
    assert remove_abandoned(tmp_path / "missing") == []


def test_one_folder_alone_is_looked_at_where_asked(tmp_path, gone):
    inner, outer = (touch(tmp_path / place / f".a.{gone}.partial") for place in ("test", ""))
    assert remove_abandoned(tmp_path, nested=False) == [outer] and inner.exists()


def test_a_file_in_progress_stays(tmp_path):
    with atomic_file(tmp_path / "a.png") as file:
        file.write(b"half")
        file.flush()
        assert remove_abandoned(tmp_path) == []
    assert (tmp_path / "a.png").read_bytes() == b"half"
    other = touch(tmp_path / f".b.png.{os.getppid()}.partial")
    assert remove_abandoned(tmp_path) == [] and other.exists()


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="when a process started is read from /proc")
def test_a_number_that_another_process_has_now_protects_nothing(tmp_path):
    """In a container every start has the same process number."""
    left = touch(tmp_path / f".a.png.{os.getpid()}.partial")
    os.utime(left, (1e9, 1e9))
    assert remove_abandoned(tmp_path) == [left]


def test_the_next_start_of_a_run_removes_them(tmp_path, gone):
    left = [touch(tmp_path / "run" / place / f".000010.png.{gone}.partial") for place in ("progress", "test", "")]
    RunFolder(ImageConfig().replace(basedir=str(tmp_path), expname="run"), model="siren", required=()).close()
    assert not any(path.exists() for path in left)
