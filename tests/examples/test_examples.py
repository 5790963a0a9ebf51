"""The examples do what they say; those of libraries that are not here are read only."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_scene import OPTIONS

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.slow
def test_the_loop_removes_ssim_by_itself_and_fits(capsys):
    example = runpy.run_path(str(EXAMPLES / "loop.py"))
    schedule = example["main"](iterations=300)
    error = float(capsys.readouterr().out.split()[1])
    assert error < 0.03 and 20 < schedule.removed_at < 300
    body = next(
        node for node in ast.parse((EXAMPLES / "loop.py").read_text()).body if getattr(node, "name", "") == "main"
    )
    assert body.end_lineno - body.lineno < 40


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gsplat_loop", "nerfstudio_method", "lightning_callback"])
def test_an_example_without_its_library_says_which_one_it_needs(name):
    library = name.split("_")[0]
    program = f"import sys; sys.modules['{library}'] = None; import runpy; runpy.run_path('{EXAMPLES / name}.py')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"pip install {library}" in done.stderr


def test_the_callback_adds_ssim_for_part_of_the_way_and_continues(monkeypatch):
    callbacks = SimpleNamespace(Callback=object)
    monkeypatch.setitem(sys.modules, "lightning", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "lightning.pytorch", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "lightning.pytorch.callbacks", callbacks)
    from nerf_ssim import S3IM, SsimSchedule

    make = runpy.run_path(str(EXAMPLES / "lightning_callback.py"))["SsimCallback"]
    trainer, module = SimpleNamespace(global_step=0), SimpleNamespace(log=lambda name, value: None)

    def started():
        callback = make(S3IM(patch_height=8, patch_width=8), SsimSchedule(2.0, remove_at=2))
        callback.on_fit_start(trainer, module)
        return callback

    colours = torch.rand(2, 64, 3, generator=torch.Generator().manual_seed(0))
    callback = started()
    first = module.ssim_term(*colours)
    assert float(first) == pytest.approx(2 * float(S3IM(patch_height=8, patch_width=8)(*colours)))
    saved = callback.state_dict()
    following = float(module.ssim_term(*colours))
    started().load_state_dict(saved)
    assert float(module.ssim_term(*colours)) == following != float(first)
    trainer.global_step = 2
    assert float(module.ssim_term(*colours)) == 0


def rasterization(means, quats, scales, opacities, colors, viewmats, Ks, width, height):
    """gsplat's call, for round splats and one camera: colour and opacity `[1, height, width, channels]`, and a dict."""
    assert viewmats.shape == (1, 4, 4) and Ks.shape == (1, 3, 3) and quats.shape == (len(means), 4)
    in_camera = means @ viewmats[0, :3, :3].T + viewmats[0, :3, 3]
    order = in_camera[:, 2].argsort()
    in_camera, scales, opacities, colors = (each[order] for each in (in_camera, scales, opacities, colors))
    on_image = in_camera @ Ks[0].T
    centres, sizes = on_image[:, :2] / on_image[:, 2:], Ks[0, 0, 0] * scales.mean(1) / in_camera[:, 2]
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    distances = (torch.stack([columns, rows], -1)[:, :, None] - centres).square().sum(-1)
    alphas = opacities * (-distances / (2 * sizes.square())).exp()
    left = torch.cat([torch.ones(height, width, 1), (1 - alphas).cumprod(-1)], -1)
    weights = alphas * left[..., :-1]
    return (weights @ colors)[None], weights.sum(-1, keepdim=True)[None], {}


@pytest.mark.slow
def test_the_loop_of_gsplat_fits_a_picture_and_removes_ssim(monkeypatch, capsys, tmp_path):
    import imageio.v3 as imageio

    picture = np.full((14, 16, 3), (200, 120, 40), np.uint8)
    imageio.imwrite(tmp_path / "picture.png", picture)
    monkeypatch.setitem(sys.modules, "gsplat", SimpleNamespace(rasterization=rasterization))
    options = ["--iterations", "101", "--remove_at", "50", "--splats", "300", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["gsplat_loop.py", str(tmp_path / "picture.png"), *options])
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the fastest for tensors as small as these
    runpy.run_path(str(EXAMPLES / "gsplat_loop.py"), run_name="__main__")
    torch.set_num_threads(threads)
    first, last = capsys.readouterr().out.splitlines()
    assert first.endswith("weight of SSIM 0.2") and last.endswith("weight of SSIM 0.0")
    assert float(last.split()[3].rstrip(",")) < 0.7 * float(first.split()[3].rstrip(","))


class Cameras:
    """As nerfbaselines has them: OpenCV poses, `fx fy cx cy`, sizes as width and height."""

    def __init__(self, poses: np.ndarray, intrinsics: np.ndarray, image_sizes: np.ndarray) -> None:
        self.poses, self.intrinsics, self.image_sizes = poses, intrinsics, image_sizes

    def __len__(self) -> int:
        return 1 if self.poses.ndim == 2 else len(self.poses)

    def __getitem__(self, index: int) -> Cameras:
        return Cameras(self.poses[index], self.intrinsics[index], self.image_sizes[index])

    def item(self) -> Cameras:
        return self if self.poses.ndim == 2 else self[0]


def photographs(count: int = 6, height: int = 12, width: int = 14) -> dict:
    """Cameras on an arc that look at the origin, and pictures of a gradient."""
    poses = np.zeros((count, 3, 4))
    for index, angle in enumerate(np.linspace(-0.5, 0.5, count)):
        eye = 3 * np.array([np.sin(angle), 0.2, -np.cos(angle)])
        forward = -eye / np.linalg.norm(eye)
        right = np.cross([0, 1, 0], forward)
        right /= np.linalg.norm(right)
        poses[index] = np.stack([right, np.cross(forward, right), forward, eye], axis=1)
    ramp = np.linspace(40, 220, width)[None, :, None] * np.array([1.0, 0.7, 0.4])
    images = [np.broadcast_to(ramp, (height, width, 3)).round().astype(np.uint8) for _ in range(count)]
    lens = np.tile([16.0, 16.0, width / 2, height / 2], (count, 1))
    cameras = Cameras(poses, lens, np.tile([width, height], (count, 1)))
    points = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    return {"cameras": cameras, "images": images, "points3D_xyz": points}


def test_the_method_of_nerfbaselines_trains_renders_saves_and_goes_on(tmp_path):
    example = runpy.run_path(str(EXAMPLES / "nerfbaselines_method.py"))
    Method, data = example["NerfSsimMethod"], photographs()
    options = {name: value for name, value in OPTIONS.items() if name not in ("N_vis", "update_AlphaMask_list")}
    options |= {"config": "fast.txt", "n_iters": 12, "ssim_remove_at": 3, "update_AlphaMask_list": [9]}
    method = Method(train_dataset=data, config_overrides={**options, "device": "cpu"})
    info = method.get_info()
    assert info["num_iterations"] == 12 and info["loaded_step"] is None and info["method_id"] == "nerf-ssim"
    views = method.session.scene.train
    torch.testing.assert_close(views.c2w, torch.tensor(data["cameras"].poses, dtype=torch.float32))
    assert torch.equal(views.images[2], torch.tensor(data["images"][2].copy()))

    terms = [method.train_iteration(step) for step in range(6)]
    assert ["ssim" in each for each in terms] == [True] * 3 + [False] * 3
    method.save(str(tmp_path / "saved"))
    camera = data["cameras"][1:2]
    before = method.render(camera)
    assert before["color"].shape == (12, 14, 3) and before["depth"].shape == (12, 14)

    continued = Method(checkpoint=str(tmp_path / "saved"))
    assert continued.get_info()["loaded_step"] == 6
    np.testing.assert_array_equal(continued.render(camera)["color"], before["color"])
    assert continued.train_iteration(6) == method.train_iteration(6)
    with pytest.raises(ValueError, match="checkpoint"):
        Method()
