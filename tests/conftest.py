"""What every test folder shares."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def interrupts_are_not_ignored() -> Iterator[None]:
    """A background job ignores SIGINT, or SIGHUP where nohup started it, and so would every child of a test."""
    usual = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        usual[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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
