"""What every test folder shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_path() -> Path:
    """The folder of real scenes, pictures and weights (`data/…`, `weights/…`) named by `NERF_SSIM_SHARED`."""
    value = os.environ.get("NERF_SSIM_SHARED", "")
    if not value:
        pytest.skip("needs real data: set NERF_SSIM_SHARED to the folder that holds data/ and weights/")
    folder = Path(value)
    if not folder.is_dir():
        pytest.skip(f"needs real data: NERF_SSIM_SHARED={value} is not a folder")
    return folder
