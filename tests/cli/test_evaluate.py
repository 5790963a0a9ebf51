from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from nerf_ssim.cli import evaluate, render
from nerf_ssim.datasets.scene import Scene, Views
from nerf_ssim.errors import UserError
from nerf_ssim.evaluation import video
from nerf_ssim.evaluation.protocol import RenderedView


def make_views(count: int, width: int = 32, height: int = 24) -> Views:
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)
    c2w = torch.eye(4)[:3].repeat(count, 1, 1)
    c2w[:, 0, 3] = torch.linspace(-0.5, 0.5, count)
    K = torch.tensor([[30.0, 0.0, width / 2], [0.0, 30.0, height / 2], [0.0, 0.0, 1.0]]).repeat(count, 1, 1)
    return Views(images, c2w, K, tuple(f"{index:06d}_rgb.png" for index in range(count)))


@dataclass
class FakeTrained:
    """As much of a trained run as the commands may use, with a constant grey for a field."""

    scene: Scene
    config: Any
    requests: list
    stop_after: int | None = None
    iteration: int = 70
    seconds: float = 12.5
    difference: str = ""
    depth_range: tuple[float, float] = (0.5, 2.0)

    def __post_init__(self) -> None:
        self.manifest = {"backend": {"ssim": {"implementation": "reference", "reason": "a test"}}}
        self.schedule_summary = {"weight": 1.0, "add_at": 0, "remove_at": "end", "removed_at": None}

    def render_view(self, views, index) -> RenderedView:
        return self.render_camera(views.c2w[index], views.K[index], views.height, views.width)

    def render_camera(self, c2w, K, height, width) -> RenderedView:
        if self.stop_after is not None and len(self.requests) >= self.stop_after:
            raise KeyboardInterrupt
        self.requests.append((c2w, K, height, width))
        return RenderedView(torch.full((height, width, 3), 0.5), torch.ones(height, width), torch.ones(height, width))


@pytest.fixture
def trained(monkeypatch, tmp_path) -> FakeTrained:
    scene = Scene(
        "room", "recovered poses", make_views(4), make_views(3), torch.tensor([[-1.0] * 3, [1.0] * 3]), 0.1, 4.0, "hash"
    )
    config = SimpleNamespace(
        run=SimpleNamespace(n_iters=500, seed=7, expname="room"),
        data=SimpleNamespace(label=None),
        model=SimpleNamespace(model="tensorf"),
        evaluation=SimpleNamespace(lpips_weights=str(tmp_path / "none"), ssim_variant="tensorf"),
    )
    fake = FakeTrained(scene, config, [])
    fake.loaded = []

    def load(folder, *, datadir=None, checkpoint=None, needs_images=True):
        fake.loaded.append((folder, datadir, checkpoint))
        return fake

    monkeypatch.setattr("nerf_ssim.training.trained.load_trained", load)
    monkeypatch.setattr("nerf_ssim.evaluation.perceptual.lpips_scorers", lambda weights: ())
    return fake


def pngs(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.png")}


def test_evaluate_prints_each_view_and_leaves_results_and_pictures(trained, tmp_path, capsys):
    assert evaluate.run([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    assert "contact_sheet.png" in pngs(tmp_path / "test")
    assert "recovered poses" in printed and "70 of 500 iterations" in printed
    for image in results["per_image"]:
        assert f"{image['name']}  {image['psnr']:10.2f}" in printed
    assert f"{'mean':14}  {results['psnr']:10.2f}" in printed
    assert (results["stopped_at"], results["seed"], results["label"]) == (70, 7, "recovered poses")
    assert results["seconds_train"] == 12.5


def test_evaluate_json_is_one_line_equal_to_the_file(trained, tmp_path, capsys):
    assert evaluate.run([str(tmp_path), "--json", "--ssim_variant", "s3im"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0]) == json.loads((tmp_path / "results.json").read_text())
    assert json.loads(lines[0])["ssim_variant"] == "s3im"


def test_another_split_or_checkpoint_does_not_touch_the_runs_results(trained, tmp_path):
    (tmp_path / "results.json").write_text("the run's own")
    assert evaluate.run([str(tmp_path), "--split", "train"]) == 0
    assert evaluate.run([str(tmp_path), "--checkpoint", "elsewhere/000030.pt", "--datadir", "moved"]) == 0
    assert (tmp_path / "results.json").read_text() == "the run's own"
    assert len(json.loads((tmp_path / "results_train.json").read_text())["per_image"]) == 4
    assert (tmp_path / "evaluation_000030" / "results.json").is_file()
    assert trained.loaded[1] == (tmp_path, "moved", Path("elsewhere/000030.pt"))


def test_an_interrupted_evaluation_keeps_pictures_and_earlier_results(trained, tmp_path, capsys):
    (tmp_path / "results.json").write_text("earlier")
    trained.stop_after = 2
    assert evaluate.run([str(tmp_path)]) == 130
    assert (tmp_path / "results.json").read_text() == "earlier"
    assert {"000000_rgb.png", "000001_rgb.png", "contact_sheet.png"} <= pngs(tmp_path / "test")
    assert capsys.readouterr().out.startswith("interrupted")


def test_render_writes_the_split_with_depth(trained, tmp_path):
    assert render.run([str(tmp_path), "--split", "train"]) == 0
    names = {f"{kind}{index:06d}_rgb.png" for kind in ("", "depth_") for index in range(4)}
    assert pngs(tmp_path / "render_train") == names
    for (c2w, K, height, width), index in zip(trained.requests, range(4), strict=True):
        assert torch.equal(c2w, trained.scene.train.c2w[index])
        assert torch.equal(K, trained.scene.train.K[index])
        assert (height, width) == (24, 32)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["spiral", "orbit", "interpolate"])
def test_render_follows_a_path_at_the_size_asked_for(trained, tmp_path, kind):
    where = ["--size", "64x48", "--out", str(tmp_path / "o")]
    assert render.run([str(tmp_path), "--path", kind, "--frames", "5", *where]) == 0
    assert pngs(tmp_path / "o") == {f"{mark}{index:04d}.png" for mark in ("", "depth_") for index in range(5)}
    assert cv2.imread(str(tmp_path / "o" / "0000.png")).shape == (48, 64, 3)
    assert trained.requests[0][1][0, 0] == 60.0  # twice the size, twice the focal length
    assert trained.requests[0][1][1, 2] == 24.0


def test_a_shorter_path_leaves_no_frame_of_a_longer_one_and_nothing_else_is_removed(trained, tmp_path):
    folder = tmp_path / "o"
    render.run([str(tmp_path), "--path", "orbit", "--frames", "7", "--out", str(folder)])
    others = {"0099.png", "depth_map.png", "000006_rgb.png", "depth_000006_rgb.png"}
    for name in others:
        (folder / name).touch()
    render.run([str(tmp_path), "--path", "orbit", "--frames", "5", "--out", str(folder)])
    assert pngs(folder) == others | {f"{mark}{index:04d}.png" for mark in ("", "depth_") for index in range(5)}


def test_a_path_leaves_depth_as_data_and_its_cameras(trained, tmp_path):
    assert render.run([str(tmp_path), "--path", "spiral", "--frames", "2", "--no_video"]) == 0
    folder = tmp_path / "render_spiral"
    assert not list(folder.glob("*.mp4"))
    assert np.load(folder / "depth" / "0001.npy").tolist() == [[1.0] * 32] * 24
    record = json.loads((folder / "cameras.json").read_text())
    levels = cv2.imread(str(folder / "depth" / "0001.png"), cv2.IMREAD_UNCHANGED)
    assert levels.dtype == np.uint16 and levels[0, 0] * record["depth_unit"] == pytest.approx(1.0)
    assert len(record["frames"]) == 2 and (record["width"], record["height"]) == (32, 24)


def test_the_test_views_are_a_path_too(trained, tmp_path):
    assert render.run([str(tmp_path), "--path", "test", "--no_video"]) == 0
    assert [request[0][0, 3] for request in trained.requests] == [-0.5, 0.0, 0.5]


def test_a_path_that_was_rendered_is_rendered_again_from_its_file(trained, tmp_path):
    render.run([str(tmp_path), "--path", "orbit", "--frames", "3", "--no_video"])
    first = list(trained.requests)
    cameras = tmp_path / "render_orbit" / "cameras.json"
    assert render.run([str(tmp_path), "--path", str(cameras), "--no_video", "--out", str(tmp_path / "again")]) == 0
    for (c2w, K, *size), (c2w_again, K_again, *size_again) in zip(first, trained.requests[3:], strict=True):
        torch.testing.assert_close(c2w_again, c2w, atol=1e-6, rtol=0)
        assert torch.allclose(K_again, K) and size == size_again


def test_views_of_mixed_sizes_are_rendered_each_at_its_own(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("nerf_ssim.evaluation.video.has_mp4", lambda: False)
    sizes = ((24, 32), (24, 20), (12, 32))
    trained.scene = replace(trained.scene, test=replace(trained.scene.test, sizes=sizes))
    assert render.run([str(tmp_path), "--split", "test", "--video"]) == 0
    assert tuple(request[2:] for request in trained.requests) == sizes
    assert torch.equal(trained.requests[1][1], trained.scene.test.K[1])
    assert "3 frames of 32x24 and less" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "render_test" / "000001_rgb.png")).shape == (24, 20, 3)
    assert imageio.imread(tmp_path / "render_test" / "test.gif").shape == (3, 24, 32, 3)
    for words in (["--path", "test"], ["--path", str(tmp_path / "render_test" / "cameras.json")]):
        trained.requests.clear()
        assert render.run([str(tmp_path), *words, "--no_video", "--out", str(tmp_path / "again")]) == 0
        assert tuple(request[2:] for request in trained.requests) == sizes
    trained.requests.clear()
    assert render.run([str(tmp_path), "--size", "40x40"]) == 0
    assert [request[2:] for request in trained.requests] == [(40, 40)] * 3
    # Nothing that was in view is cut off: 20x24 pixels are enlarged by 40/24, and 32x12 by 40/32.
    assert [float(request[1][0, 0]) for request in trained.requests] == pytest.approx([37.5, 50.0, 37.5])


def test_a_viewers_file_has_its_size_and_its_lens_and_cameras_far_away_are_said(trained, tmp_path, capsys):
    flat = [1, 0, 0, 40, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    record = {"render_height": 10, "render_width": 20, "camera_path": [{"camera_to_world": flat, "fov": 90}] * 2}
    (tmp_path / "walk.json").write_text(json.dumps(record))
    assert render.run([str(tmp_path), "--path", str(tmp_path / "walk.json"), "--no_video"]) == 0
    _, K, height, width = trained.requests[0]
    assert (height, width) == (10, 20) and K[0, 0] == pytest.approx(5.0) and K[:2, 2].tolist() == [10, 5]
    assert "walk.json: 2 of 2 cameras are far outside the scene's box; if" in capsys.readouterr().out
    assert pngs(tmp_path / "render_walk") >= {"0000.png", "0001.png"}


def test_a_viewers_file_without_a_size_has_its_aspect(trained, tmp_path):
    flat = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    record = {"camera_path": [{"camera_to_world": flat, "fov": 90, "aspect": 0.5}]}
    (tmp_path / "walk.json").write_text(json.dumps(record))
    assert render.run([str(tmp_path), "--path", str(tmp_path / "walk.json"), "--no_video"]) == 0
    assert trained.requests[0][2:] == (24, 12)


def test_a_viewers_file_of_huge_pictures_is_refused_unless_another_size_is_given(trained, tmp_path):
    flat = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    record = {"render_height": 9000, "render_width": 9000, "camera_path": [{"camera_to_world": flat, "fov": 90}]}
    (tmp_path / "walk.json").write_text(json.dumps(record))
    words = [str(tmp_path), "--path", str(tmp_path / "walk.json"), "--no_video"]
    with pytest.raises(UserError, match=r"9000x9000 is more than .* give a smaller --size"):
        render.run(words)
    assert render.run([*words, "--size", "9x9"]) == 0


def test_render_makes_a_video_of_every_frame(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(video, "has_mp4", lambda: False)
    shades = iter((0.1, 0.5, 0.9))
    whole = trained.render_camera

    def shaded(*camera):
        view = whole(*camera)
        return RenderedView(torch.full_like(view.rgb, next(shades)), view.depth, view.opacity)

    trained.render_camera = shaded
    assert render.run([str(tmp_path), "--path", "orbit", "--frames", "3", "--video"]) == 0
    frames = imageio.imread(tmp_path / "render_orbit" / "orbit.gif")
    assert [frame.mean() for frame in frames] == pytest.approx([25.5, 127.5, 229.5], abs=4)
    assert "pip install 'nerf_ssim[video]'" in capsys.readouterr().out


def test_an_interrupted_render_keeps_its_frames_and_a_video_that_plays(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(video, "has_mp4", lambda: False)
    trained.stop_after = 2
    assert render.run([str(tmp_path), "--path", "orbit", "--frames", "9", "--video"]) == 130
    assert pngs(tmp_path / "render_orbit") == {"0000.png", "0001.png", "depth_0000.png", "depth_0001.png"}
    assert imageio.imread(tmp_path / "render_orbit" / "orbit.gif").shape[-3:] == (24, 32, 3)
    assert "interrupted: 2 of 9 frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "arguments", "says"),
    [
        (evaluate, [], "RUN"),
        (evaluate, ["RUN", "--splitt", "test"], "--splitt"),
        (evaluate, ["RUN", "--split", "validation"], "validation"),
        (evaluate, ["RUN", "--ssim_variant", "matlab"], "matlab"),
        (evaluate, ["RUN", "--lpips_weights", "no/such"], "no/such"),
        (render, ["RUN", "--frames", "10"], "--path"),
        (render, ["RUN", "--path", "orbit", "--frames", "0"], "'0'"),
        (render, ["RUN", "--path", "orbit", "--split", "test"], "one of the two"),
        (render, ["RUN", "--path", "loop"], "is neither spiral, orbit, interpolate, test nor a camera file"),
        (render, ["RUN", "--path_frame", "a.json"], "give --path FILE"),
        (render, ["RUN", "--path", "orbit", "--path_frame", "a.json"], "made from the scene's cameras"),
        (render, ["RUN", "--path", "orbit", "--video", "--no_video"], "contradict"),
        (render, ["RUN", "--size", "640"], "640x480"),
        (render, ["RUN", "--size", "0x10"], "0x10"),
        (render, ["RUN", "--out", "{file}/x"], "cannot be written"),
    ],
)
def test_a_bad_request_is_one_line_that_names_it(trained, tmp_path, command, arguments, says):
    (tmp_path / "file").write_text("")
    arguments = [word.replace("RUN", str(tmp_path)).replace("{file}", str(tmp_path / "file")) for word in arguments]
    with pytest.raises(UserError, match=".") as caught:
        command.run(arguments)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", [evaluate, render])
def test_a_folder_without_a_run_is_one_line_that_names_it(command, tmp_path):
    with pytest.raises(UserError) as caught:
        command.run([str(tmp_path / "never")])
    assert "never" in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        command.run([str(tmp_path / "empty")])
    assert "checkpoint" in str(caught.value) and "\n" not in str(caught.value)
