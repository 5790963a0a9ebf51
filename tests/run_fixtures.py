"""Fixtures of the tests that train: a folder's conftest.py imports those of `__all__`."""

from __future__ import annotations

import pytest
import torch
from tiny_scene import NO_MILESTONES, tiny_config, write_tiny_scene

__all__ = ["config", "kind", "one_thread", "scene", "without_tensorboard"]


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch):
    """Its import takes seconds, and nothing in these folders looks at its events."""
    monkeypatch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Runs of a few small rays: a second thread only waits for the first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The tiny scene's folder."""
    return write_tiny_scene(tmp_path_factory.mktemp("scenes") / "scene")


@pytest.fixture(params=NO_MILESTONES)
def kind(request):
    """The model."""
    return request.param


@pytest.fixture()
def config(scene, tmp_path, kind):
    """A short run of each model, without milestones."""
    return tiny_config(scene, tmp_path, kind, n_iters=8, **NO_MILESTONES[kind])
