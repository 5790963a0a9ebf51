"""From train to render through the commands alone, for each model and on either grid."""

from __future__ import annotations

import json

import cv2
import pytest
from tiny_scene import FRAMES, HEIGHT, MODELS, WIDTH, command_line, folder_of, tiny_config, write_tiny_scene

from nerf_ssim.cli.main import main

TEST_VIEWS = {f"{frame:03d}" for frame in range(0, FRAMES, 10)}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_tiny_scene(tmp_path_factory.mktemp("scenes") / "scene")


@pytest.fixture(autouse=True)
def nothing_from_the_network(monkeypatch):
    for place in ("evaluation.perceptual", "training.scoring"):
        monkeypatch.setattr(f"nerf_ssim.{place}.lpips_scorers", lambda weights: ())
    monkeypatch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})


@pytest.mark.parametrize("kind", MODELS)
def test_a_run_trains_resumes_is_scored_again_and_rendered(scene, tmp_path, kind, capsys):
    config = tiny_config(scene, tmp_path, kind)
    run = folder_of(config)
    assert main([*command_line(config), "--stop_at", "7"]) == 0
    first = json.loads((run / "results.json").read_text())
    assert main([*command_line(config), "--resume"]) == 0
    results = json.loads((run / "results.json").read_text())
    assert (first["stopped_at"], results["stopped_at"]) == (7, 14) and first["psnr"] != results["psnr"]
    assert results["model"] == config.model.model and results["psnr"] > 3
    assert {path.stem for path in (run / "test").glob("[0-9]*.png")} == TEST_VIEWS

    capsys.readouterr()
    assert main(["evaluate", str(run), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["per_image"] == results["per_image"] and again["schedule"] == results["schedule"]

    assert main(["report", str(run)]) == 0
    assert f"{results['psnr']:.2f}" in capsys.readouterr().out

    assert main(["render", str(run), "--path", "orbit", "--frames", "2"]) == 0
    frame = cv2.imread(str(run / "render_orbit" / "0001.png"))
    assert frame.shape == (HEIGHT, WIDTH, 3) and frame.std() > 0.5, "a blank picture shows nothing"
