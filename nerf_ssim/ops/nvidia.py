"""What is known of an NVIDIA driver without PyTorch, and why PyTorch cannot use it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import torch

DRIVER_FILE = Path("/proc/driver/nvidia/version")
OLDEST_DRIVER = {13: 580, 12: 525, 11: 450}
"""The oldest Linux driver for each CUDA that PyTorch may be built with."""


def driver_version() -> str:
    """The version of the NVIDIA driver, such as "580.65.06"; "unknown" where it does not tell, "" where none is."""
    try:
        text = DRIVER_FILE.read_text()
    except OSError:
        text = _ask_nvidia_smi()
        if not text:
            return ""
    found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return found.group(1) if found else "unknown"


def why_unusable() -> str:
    """Why PyTorch does not use the NVIDIA GPU whose driver is there; "" where it does, or where there is no driver."""
    if torch.cuda.is_available():
        return ""
    driver = driver_version()
    if not driver:
        return ""
    there = f"an NVIDIA driver ({driver}) is there, but"
    if torch.version.cuda is None:
        return f"{there} PyTorch {torch.__version__} is a build without CUDA; install one with it from pytorch.org"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return f"{there} CUDA_VISIBLE_DEVICES hides its GPUs"
    needed = OLDEST_DRIVER.get(int(torch.version.cuda.split(".")[0]), 0)
    is_old = driver != "unknown" and int(driver.split(".")[0]) < needed
    reason = f"finds no GPU: it needs driver {needed}; update the driver, or install a build for an older CUDA"
    return f"{there} PyTorch {torch.__version__} for CUDA {torch.version.cuda} {reason if is_old else 'finds no GPU'}"


def _ask_nvidia_smi() -> str:
    """What `nvidia-smi` says of the driver, "" where it is not there or fails."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
