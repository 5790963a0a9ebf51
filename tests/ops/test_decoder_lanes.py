"""The decoder's text for registers of 16 floats, as AVX-512 has them, on any processor and under a sanitizer."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

LANES = Path(__file__).resolve().parent / "lanes"
FLAGS = ["-std=c++20", "-O1", "-g1", "-w", "-fwrapv", "-fsanitize=address", "-fno-omit-frame-pointer"]


def has_fma() -> bool:
    """Whether this processor multiplies and adds in one operation, as the vectorised sine needs."""
    information = Path("/proc/cpuinfo")
    return information.exists() and " fma " in information.read_text() and platform.machine() == "x86_64"


@pytest.mark.release  # compiling takes more than a minute
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_sixteen_lanes_agree_with_four_and_read_and_write_nothing_beyond_their_arrays(tmp_path):
    program = tmp_path / "lanes"
    flags = [*FLAGS, "-mavx2", "-mfma"] if has_fma() else FLAGS
    builds = [
        subprocess.Popen(
            ["g++", *flags, f"-DNERF_SSIM_LANES={lanes}", "-c", LANES / "unit.cpp", "-o", tmp_path / f"{lanes}.o"]
        )
        for lanes in (4, 16)
    ]
    assert [build.wait() for build in builds] == [0, 0]
    objects = [tmp_path / "4.o", tmp_path / "16.o"]
    subprocess.run(["g++", *flags, LANES / "main.cpp", *objects, "-o", program], check=True)
    ran = subprocess.run([program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
