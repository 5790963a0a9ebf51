"""What the robustness tests share."""

from __future__ import annotations

import pytest
from tiny_scene import command_line, tiny_config, write_tiny_scene

from nerf_ssim.cli.main import main


@pytest.fixture(autouse=True)
def nothing_from_the_network(monkeypatch):
    """LPIPS's weights would be looked for on the network for seconds."""
    for place in ("evaluation.perceptual", "training.scoring"):
        monkeypatch.setattr(f"nerf_ssim.{place}.lpips_scorers", lambda weights: ())


@pytest.fixture(autouse=True)
def without_tensorboard(request, monkeypatch):
    """Its import takes seconds; a test that is marked so keeps it."""
    if "events" not in request.fixturenames:
        monkeypatch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})


@pytest.fixture()
def events():
    """Asks for TensorBoard's events, and skips without it."""
    pytest.importorskip("tensorboard", reason="TensorBoard isn't installed")


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """The tiny scene's folder. One training and one fit have been run, so that forked children import nothing more."""
    folder = write_tiny_scene(tmp_path_factory.mktemp("scenes") / "scene")
    runs = tmp_path_factory.mktemp("warm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nerf_ssim.training.scoring.lpips_scorers", lambda weights: ())
        patch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})
        config = tiny_config(folder, runs, n_iters=1, upsamp_list=[], update_AlphaMask_list=[])
        fit = ["fit-image", "--image", str(folder / "000.png"), "--size", "0", "--n_iters", "1", "--hidden", "8"]
        assert main(command_line(config)) == 0
        assert main([*fit, "--ssim_weight", "0", "--basedir", str(runs), "--expname", "fit"]) == 0
    return folder
