"""Tests that need a GPU are skipped, and counted as skipped, where there is none."""

from __future__ import annotations

import os

import pytest
import torch

from nerf_ssim.ops import backend

DEVICE = os.environ.get("NERF_SSIM_TEST_DEVICE", "cuda")
"""Where whole runs are tested; `cpu` rehearses them."""


@pytest.fixture
def device() -> str:
    """The device that the tests of whole runs use."""
    return DEVICE


@pytest.fixture(autouse=True)
def needs_a_gpu_and_its_kernels(request) -> None:
    """Skip with the reason."""
    if DEVICE == "cpu" and "device" in request.fixturenames:
        return
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    probe = torch.zeros(1, device="cuda")
    if backend.implementation("ssim_mean", probe) != "native":
        pytest.skip("needs the CUDA kernels: NERF_SSIM_CUDA=1 python setup.py build_ext --inplace")


@pytest.fixture
def nothing_waits_for_the_device():
    """Any call that makes the CPU wait for the GPU is an error while the test runs."""
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.fixture(params=[False, True], ids=["atomics", "deterministic"])
def deterministic(request):
    """Whether results must be the same bits at every call."""
    torch.use_deterministic_algorithms(request.param)
    yield request.param
    torch.use_deterministic_algorithms(False)
