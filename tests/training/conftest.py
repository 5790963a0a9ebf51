"""What the training tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def without_tensorboard(request, monkeypatch):
    """Its import takes seconds and nothing here looks at its events (test_logging has tests of its own for it)."""
    if request.node.path.name != "test_logging.py":
        monkeypatch.setattr("nerf_ssim.training.logging._open_events", lambda folder, resume_iteration: None)
