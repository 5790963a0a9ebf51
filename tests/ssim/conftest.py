"""These tests are made of small tensors: one thread is the fastest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from nerf_ssim.ops import backend


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["native", "reference"])
def each_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kernels, then plain PyTorch."""
    if request.param == "native":
        how, reason = backend.describe()["ssim_mean"]
        if how != "native":
            pytest.skip(f"no kernels: {reason}")
    monkeypatch.setenv("NERF_SSIM_BACKEND", "auto" if request.param == "native" else "reference")
    return request.param
