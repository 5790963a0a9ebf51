"""How DVGO is trained: rates, thresholds, milestones and their order."""

from __future__ import annotations

import pytest
import torch
from dvgo_sessions import canonical, random_session
from tiny_scene import HEIGHT, WIDTH, tiny_config

from nerf_ssim.models.dvgo.field import VoxelField
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.training.session import Session
from nerf_ssim.training.step import take_step


def test_dense_total_variation_reaches_idle_voxels_until_its_last_step(scene, tmp_path):
    session = canonical(scene, tmp_path, tv_dense_before=3, tv_every=2, tv_after=1, tv_before=7)
    groups = {group["name"]: group for group in session.recipe.optimizer.param_groups}
    seen = []
    for iteration in range(8):
        session.recipe.before_step(iteration)
        seen.append((groups["density"]["tv_weight"] > 0, groups["density"]["tv_dense"]))
    assert [on for on, _ in seen] == [False, True, False, True, False, True, False, False]  # steps 2, 4 and 6
    assert [dense for _, dense in seen] == [True, True] + [False] * 6
    session.recipe.before_step(1)
    side = session.recipe.field.resolution[0]
    assert groups["density"]["tv_weight"] == pytest.approx(1e-6 / 6 * side / 128 / 64)
    assert groups["k0"]["tv_weight"] == pytest.approx(1e-7 / 6 * side / 128 / 64)
    assert groups["rgbnet"]["tv_weight"] == 0


def test_rates_decay_by_a_tenth_in_20000_steps_and_start_anew_with_each_scaling(scene, tmp_path):
    recipe = canonical(scene, tmp_path).recipe
    rate, expected = 1.0, {}
    for iteration in range(30000):  # multiply after each step, and reset where a scaling rebuilds the optimiser
        if iteration + 1 in range(1000, 7001, 1000):
            rate = 1.0
        expected[iteration] = rate
        rate *= 0.1 ** (1 / 20000)
    seen = {}
    for iteration in (0, 1, 998, 999, 1000, 2500, 6998, 6999, 7000, 29999):
        while recipe.stage.scalings[recipe.scalings_done :] and iteration + 1 >= (
            scaling := recipe.stage.scalings[recipe.scalings_done]
        ):
            recipe.before_batch(scaling - 1, None)
        seen[iteration] = recipe.before_step(iteration)
    for iteration, rates in seen.items():
        assert rates["lr_density"] == rates["lr_k0"] == pytest.approx(0.1 * expected[iteration], rel=1e-9), iteration
        assert rates["lr_rgbnet"] == pytest.approx(1e-3 * expected[iteration], rel=1e-9), iteration
    assert recipe.field.num_voxels == 128 * 64 and recipe.field.shift == pytest.approx(-9.21 - 7, abs=0.01)


def test_a_scaling_rebuilds_the_optimizer_and_lowers_the_shift_after_the_mask(scene, tmp_path, monkeypatch):
    session = random_session(scene, tmp_path, "dvgo")
    recipe = session.recipe
    take_step(recipe, session.batches, session.s3im, 1.0, 0)
    shift, network = recipe.field.shift, recipe.field.rgbnet.layers[0].weight
    shifts = []
    original = VoxelField.refresh_mask
    monkeypatch.setattr(
        VoxelField, "refresh_mask", lambda self, value: (shifts.append((self.shift, value)), original(self, value))
    )
    events = recipe.before_batch(5, session.batches)  # step 6
    assert len(events) == 1 and "scaled to 9x9x9" in events[0]
    assert recipe.field.num_voxels == 1728 // 2 and len(recipe.optimizer.state) == 0
    assert shifts == [(shift, 1e-4)] and recipe.field.shift == shift - 1
    assert recipe.field.rgbnet.layers[0].weight is network
    ids = {id(p) for group in recipe.optimizer.param_groups for p in group["params"]}
    assert ids == {id(p) for p in recipe.field.parameters()}


def test_the_mask_is_refreshed_before_steps_500_1500_with_the_threshold_of_the_step_before(
    scene, tmp_path, monkeypatch
):
    recipe = canonical(scene, tmp_path, pg_scale=[]).recipe
    thresholds, refreshed = {}, {}
    iteration = 0
    monkeypatch.setattr(VoxelField, "refresh_mask", lambda self, value: refreshed.update({iteration: value}))
    for iteration in range(6501):
        recipe.before_batch(iteration, None)
        if iteration % 100 > 97 or iteration % 100 < 2 or iteration == 0:
            recipe.before_step(iteration)
            thresholds[iteration] = recipe.threshold
    assert refreshed == {
        499: 5e-6, 1499: 5e-6, 2499: 1e-5, 3499: 2.5e-5, 4499: pytest.approx(1e-4 / 3), 5499: 5e-5, 6499: 1e-4
    }  # fmt: skip
    assert thresholds[1498] == 5e-6 and thresholds[1499] == 1e-5, "step 1500 is iteration 1499"
    assert thresholds[5498] == 5e-5 and thresholds[5499] == thresholds[6500] == 1e-4


def test_the_box_is_the_cube_around_the_points_just_before_the_cameras_and_not_around_their_centres(scene, tmp_path):
    session = canonical(scene, tmp_path)
    points = []
    for c2w, K in zip(session.scene.train.c2w.double(), session.scene.train.K.double(), strict=True):
        for row in range(HEIGHT):
            for column in range(WIDTH):
                x, y = (column + 0.5 - K[0, 2]) / K[0, 0], (row + 0.5 - K[1, 2]) / K[1, 1]
                points.append(c2w[:, 3] + 0.05 * (c2w[:, :3] @ torch.tensor([x, y, 1.0], dtype=torch.float64)))
    low, high = torch.stack(points).amin(0), torch.stack(points).amax(0)
    centre, radius = (low + high) / 2, float((high - low).max()) / 2
    expected = torch.stack([centre - radius, centre + radius])
    torch.testing.assert_close(session.recipe.field.aabb.double(), expected, rtol=1e-5, atol=1e-6)


def test_training_has_random_backgrounds_and_tests_a_white_one(scene, tmp_path, monkeypatch):
    recipe = Session(tiny_config(scene, tmp_path, "dvgo")).recipe
    seen = []

    def record(self, rays, *, threshold, background, with_depth=True):
        seen.append(torch.as_tensor(background))
        raise StopIteration

    monkeypatch.setattr(VoxelField, "render", record)
    rays = Rays(torch.zeros(500, 3), torch.ones(500, 3))
    for call in (lambda: recipe.render(rays, 0), lambda: recipe.render_test(rays, final=True)):
        with pytest.raises(StopIteration):
            call()
    assert seen[0].shape == (500, 3) and seen[0].unique().numel() > 1400 and 0.4 < seen[0].mean() < 0.6
    assert seen[1] == 1.0
