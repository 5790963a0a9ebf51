"""Published checkpoints answer here as the published classes do: at points, and in whole renders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nerf_ssim.datasets.scene import Scene
from nerf_ssim.models.config import Config
from nerf_ssim.models.imported import ForeignModel, foreign_model
from nerf_ssim.models.recipe import Recipe, make_recipe
from nerf_ssim.ops.alpha_compositing import voxel_alpha
from nerf_ssim.ops.voxels import nearest_occupied
from nerf_ssim.rays.cameras import camera_rays
from nerf_ssim.runs.foreign import read_foreign
from nerf_ssim.runs.generators import Generators


@pytest.fixture(scope="module")
def folder(shared_path: Path) -> Path:
    found = shared_path / "data" / "checkpoints"
    if not found.is_dir():
        pytest.skip(f"needs published checkpoints in {found}")
    return found


def checkpoints(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.glob(f"*{suffix}"))


def installed(path: Path) -> tuple[ForeignModel, Recipe]:
    model = foreign_model(path, read_foreign(path))
    words: dict[str, object] = {"model": model.options["model"], "device": "cpu"}
    if model.bundled_config:
        words |= {"unbounded_inward": False, "weight_distortion": 0.0}
    config = model.fitted(Config.from_dict(words))
    scene: Scene = model.scene()
    recipe = make_recipe(config, scene, Generators(0, config.model.streams))
    model.install(recipe, None, model.iteration(config) or config.run.n_iters)
    return model, recipe


def assert_near(ours: torch.Tensor, theirs: np.ndarray) -> None:
    """Within 1e-5 of the largest value: sums of many products are rounded by their order."""
    expected = torch.from_numpy(np.asarray(theirs)).reshape(ours.shape)
    error = (ours.detach() - expected).abs().max() / max(1.0, float(expected.abs().max()))
    assert error < 1e-5


def test_tensorf_answers_at_points(folder):
    for path in checkpoints(folder, ".th"):
        reference, field = np.load(path.with_suffix(".reference.npz")), installed(path)[1].field
        points, directions = torch.from_numpy(reference["xyz"]), torch.from_numpy(reference["viewdirs"])
        coords = (points - field.aabb[0]) * (2.0 / (field.aabb[1] - field.aabb[0])) - 1.0
        features = field.appearance_grid.features_in(field.basis.weight, coords)
        assert_near(field.density_grid.density(coords), reference["sigma_feature"])
        assert_near(field.density(coords), reference["sigma"])
        assert_near(features, reference["app_features"])
        assert_near(field.decoder(coords, directions, features), reference["rgb"])
        assert field.step_size == pytest.approx(float(reference["step_size"]), rel=1e-6)
        if "alpha_mask_value" in reference:
            inside = field.occupancy.occupied(points).numpy()
            assert 0 < inside.sum() < inside.size
            assert (inside == (reference["alpha_mask_value"] > 0)).all()


def nsvf_camera(layout: Path, name: str, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    focal = float((layout / "intrinsics.txt").read_text().split()[0]) * side / 800
    K = torch.tensor([[focal, 0.0, side / 2], [0.0, focal, side / 2], [0.0, 0.0, 1.0]])
    return torch.from_numpy(np.loadtxt(layout / "pose" / f"{name}.txt")[:3]).float(), K


def test_tensorf_renders_whole_views(folder, shared_path):
    for path in checkpoints(folder, ".th"):
        reference, field = np.load(path.with_suffix(".reference.npz")), installed(path)[1].field
        views = [name.removeprefix("render_") for name in reference if name.startswith("render_")]
        assert len(views) == 2
        for view in views:
            rays = camera_rays(*nsvf_camera(shared_path / "data/layouts/nsvf_lego", view, 50), 50, 50)
            with torch.no_grad():
                render = field.render(rays, n_samples=int(reference["n_samples"]), background=1.0)
            expected = torch.from_numpy(reference[f"render_{view}"]).view(-1, 3)
            assert (expected < 0.9).float().mean() > 0.2
            # A sample whose weight is the threshold to the last bit may be coloured on one side only.
            error = (render.rgb - expected).abs().amax(1)
            assert error.quantile(0.99) < 1e-5 and error.max() < 1e-3
            # The published depth adds the ray's own z to the part of a ray that goes through.
            depth = render.depth + (1 - render.opacity) * rays.directions[:, 2]
            error = (depth - torch.from_numpy(reference[f"depth_{view}"]).view(-1)).abs()
            assert error.quantile(0.99) < 1e-4 and error.max() < 1e-2


def test_dvgo_answers_at_points(folder):
    for path in checkpoints(folder, ".tar"):
        reference, (_, recipe) = np.load(path.with_suffix(".reference.npz")), installed(path)
        field = recipe.field
        points, directions = torch.from_numpy(reference["xyz"]), torch.from_numpy(reference["viewdirs"])
        is_contracted = hasattr(field, "bg_len")
        ends = torch.tensor([[-1.0] * 3, [1.0] * 3]) * (1 + field.bg_len) if is_contracted else field.aabb
        coords = (points - ends[0]) / (ends[1] - ends[0]) * 2 - 1
        density = field.density.density(coords)
        assert_near(density, reference["density"])
        assert_near(field.k0.features(coords), reference["k0"])
        assert_near(field.color(coords, directions), reference["rgb"])
        alpha = voxel_alpha(density, shift=field.shift, interval=0.5 * field.voxel_size_ratio)
        assert_near(alpha, reference["alpha_stepsize_0p5"])
        assert (nearest_occupied(field.mask, coords).numpy() == reference["mask_cache"]).all()


def test_dvgos_moments_and_place_in_the_schedule_are_taken_over(folder):
    path = folder / "dvgo_fine_direct.tar"
    model, recipe = installed(path)
    record = read_foreign(path)
    assert model.iteration(recipe.config) == recipe.config.model.coarse_iters + record["global_step"]
    state = recipe.optimizer.state[recipe.field.k0.values]
    theirs = record["optimizer_state_dict"]["state"][0]
    assert torch.equal(state["exp_avg"], theirs["exp_avg"][0].permute(1, 2, 3, 0)) and state["step"] == 100
    bias = recipe.optimizer.state[recipe.field.rgbnet.layers[2].bias]
    assert torch.equal(bias["exp_avg_sq"], record["optimizer_state_dict"]["state"][6]["exp_avg_sq"])
    assert recipe.threshold == record["model_kwargs"]["fast_color_thres"]
