"""How bounded DVGO is trained: its coarse stage, and what the fine one takes over from it."""

from __future__ import annotations

import math

import pytest
import torch
from dvgo_sessions import random_session
from explicit_dvgo import (
    opacity,
)
from tiny_scene import FRAMES, HEIGHT, WIDTH, tiny_config, train_session

from nerf_ssim.errors import TrainingError
from nerf_ssim.models.dvgo.coarse import view_counts
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.rays.cameras import Rays, camera_rays
from nerf_ssim.training.session import Session
from nerf_ssim.training.step import take_step

PIXELS = (FRAMES - 2) * HEIGHT * WIDTH  # two of twelve frames are the test split


def test_the_coarse_stage_learns_by_how_many_views_see_a_voxel(scene, tmp_path):
    session = Session(tiny_config(scene, tmp_path, "bounded dvgo"))
    field = session.recipe.field
    counts = view_counts(field, session.scene.train)
    rates = session.recipe.optimizer.state[field.density.values]["rates"]
    assert torch.equal(rates[..., 0], counts / counts.max()) and 0 <= counts.min() < 3 <= counts.max() <= 10
    assert torch.equal(field.mask, counts > 2)
    assert session.batches.has_replacement
    centres = session.scene.train.c2w[:, :, 3]
    assert (field.density.values == -100).any() == (
        (torch.cdist(grid_points(field), centres) <= session.scene.near).any()
    )
    before = field.density.values.detach().clone()
    take_step(session.recipe, session.batches, None, 0.0, 0)
    moved = (field.density.values - before).abs()
    assert moved.max() > 0
    step = 0.1 * rates  # the first step of Adam is the rate, up to eps
    assert (moved <= step * 1.001 + 1e-6).all() and (moved > step * 0.5)[moved > 1e-5].float().mean() > 0.5


def grid_points(field) -> torch.Tensor:
    axes = [torch.linspace(float(field.aabb[0, a]), float(field.aabb[1, a]), field.resolution[a]) for a in range(3)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).view(-1, 3)


def test_the_coarse_box_holds_all_points_between_near_and_far(scene, tmp_path):
    session = Session(tiny_config(scene, tmp_path, "bounded dvgo"))
    rays = session.batches.rays_of(torch.arange(PIXELS))
    points = torch.cat([rays.origins + t * rays.directions for t in (session.scene.near, session.scene.far)])
    expected = torch.stack([points.amin(0), points.amax(0)])
    torch.testing.assert_close(session.recipe.field.aabb, expected, rtol=1e-5, atol=1e-5)


def test_the_fine_stage_begins_with_the_box_and_the_rays_of_the_coarse_one(scene, tmp_path):
    session = random_session(scene, tmp_path, "bounded dvgo")
    recipe = session.recipe
    coarse = recipe.field
    alpha = opacity(coarse.density.values[..., 0].detach().double(), coarse.shift, 1.0)
    occupied = grid_points(coarse)[(alpha > 0.02).view(-1)]
    low, high = occupied.amin(0), occupied.amax(0)
    events = recipe.before_batch(4, session.batches)
    assert len(events) == 1 and "fine stage of" in events[0]
    margin = 0.025 * (high - low)
    torch.testing.assert_close(recipe.field.aabb, torch.stack([low - margin, high + margin]), rtol=1e-5, atol=1e-5)
    assert recipe.field.num_voxels == 1728 // 4 and recipe.field.k0.values.shape[3] == 4
    assert recipe.field.shift == pytest.approx(math.log(1 / 0.95 - 1))
    assert not session.batches.has_replacement and "rates" not in recipe.optimizer.state[recipe.field.density.values]
    rays = session.batches.rays_of(torch.arange(PIXELS))
    assert session.batches.kept == int(recipe.field.meets_mask(rays).sum())
    assert recipe.before_step(4)["lr_density"] == 0.1, "rates start anew"


def test_ssim_enters_in_the_fine_stage_and_its_schedule_counts_from_there(scene, tmp_path):
    config = tiny_config(scene, tmp_path, "bounded dvgo", ssim_add_at=2, ssim_remove_at=5, log_every=1)
    session = train_session(config)
    rows = [line.split(",") for line in (session.folder.path / "metrics.csv").read_text().splitlines()]
    weight = rows[0].index("ssim_weight")
    assert [int(row[0]) for row in rows[1:] if float(row[weight]) > 0] == [6, 7, 8]
    sides = rows[0].index("lr_density")
    starts = [int(row[0]) for row in rows[1:] if float(row[sides]) == 0.1]
    assert starts == [0, 4, 5, 9], "coarse, fine, and before its steps 2 and 6"


def test_an_empty_coarse_stage_is_an_error_for_people(scene, tmp_path):
    session = Session(tiny_config(scene, tmp_path, "bounded dvgo", bbox_thres=0.9))
    with pytest.raises(TrainingError, match="iteration 4: no coarse voxel is more opaque than bbox_thres 0.9"):
        session.recipe.before_batch(4, session.batches)


def test_batches_with_replacement_come_from_all_pixels_until_a_filter(scene, tmp_path):
    views = Session(tiny_config(scene, tmp_path, "dvgo")).scene.train
    batches = PixelBatches(views, 1000, torch.Generator().manual_seed(1))
    batches.draw_with_replacement()
    drawn = torch.cat([batches.next_pixels() for _ in range(3)])
    assert drawn.unique().numel() < 2000 and drawn.min() < 30 and drawn.max() > PIXELS - 30
    state = batches.state_dict()
    other = PixelBatches(views, 1000, torch.Generator().manual_seed(2))
    other.load_state_dict(state)
    assert other.has_replacement
    batches.keep_where(lambda rays: torch.ones(len(rays), dtype=torch.bool))
    assert not batches.has_replacement and batches.next_pixels().unique().numel() == 1000


def test_views_are_counted_by_every_second_row_and_column_where_asked(scene, tmp_path):
    session = Session(tiny_config(scene, tmp_path, "bounded dvgo", pervoxel_lr_downrate=2))
    field, views = session.recipe.field, session.scene.train
    counts = torch.zeros(field.resolution)
    for c2w, K in zip(views.c2w, views.K, strict=True):
        rays = camera_rays(c2w, K, HEIGHT, WIDTH)
        chosen = [y * WIDTH + x for y in range(0, HEIGHT, 2) for x in range(0, WIDTH, 2)]
        counts += field.weight_of_samples(Rays(rays.origins[chosen], rays.directions[chosen])) > 1
    assert torch.equal(view_counts(field, views, 2), counts)
    rates = session.recipe.optimizer.state[field.density.values]["rates"]
    assert torch.equal(rates[..., 0], counts / counts.max())


def test_the_coarse_stage_may_have_rates_of_its_own(scene, tmp_path):
    options = {"coarse_lrate_density": 0.3, "lrate_k0": 0.2}
    recipe = random_session(scene, tmp_path, "bounded dvgo", **options).recipe
    first = recipe.before_step(0)
    assert (first["lr_density"], first["lr_k0"]) == (0.3, 0.2)
    recipe.stage = recipe.stages[-1]
    assert recipe.stage.rates == (0.1, 0.2)
