"""What the robustness tests share."""

from __future__ import annotations

import pytest
from tiny_scene import write_tiny_scene


@pytest.fixture(autouse=True)
def nothing_from_the_network(monkeypatch):
    """LPIPS's weights would be looked for on the network for seconds."""
    for place in ("evaluation.perceptual", "training.scoring"):
        monkeypatch.setattr(f"nerf_ssim.{place}.lpips_scorers", lambda weights: ())


@pytest.fixture(autouse=True)
def without_tensorboard(request, monkeypatch):
    """Its import takes seconds; a test that is marked so keeps it."""
    if "events" not in request.fixturenames:
        monkeypatch.setattr("nerf_ssim.runs.metrics_log._open_events", lambda *args: None)


@pytest.fixture()
def events():
    """Asks for TensorBoard's events, and skips without it."""
    pytest.importorskip("tensorboard", reason="TensorBoard isn't installed")


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """The tiny scene's folder."""
    return write_tiny_scene(tmp_path_factory.mktemp("scenes") / "scene")
