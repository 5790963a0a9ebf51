"""How DVGO is trained: losses and gradients of a step, rates, thresholds, milestones and their order, both stages."""

from __future__ import annotations

import math

import pytest
import torch
from explicit_dvgo import (
    Explicit,
    adam,
    boxed_places,
    contracted_places,
    distortion,
    entropy,
    opacity,
    parameters_of,
    point_error,
    render,
    variation_pull,
)
from explicit_tensorf import s3im_loss
from tiny_scene import FRAMES, HEIGHT, WIDTH, tiny_config, train_session, write_tiny_scene

from nerf_ssim.config import Config
from nerf_ssim.errors import TrainingError
from nerf_ssim.fields.dvgo import VoxelField
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.training.dvgo_coarse import view_counts
from nerf_ssim.training.objective import photometric_terms
from nerf_ssim.training.session import Session
from nerf_ssim.training.step import take_step

PIXELS = (FRAMES - 2) * HEIGHT * WIDTH  # two of twelve frames are the test split


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_tiny_scene(tmp_path_factory.mktemp("dvgo") / "scene")


def canonical(scene, tmp_path, **options: object) -> Session:
    """The canonical schedule (30000 iterations), with grids small enough to make at once."""
    small = {"model": "dvgo", "num_voxels": 128 * 64, "num_voxels_base": 128 * 64, "rgbnet_dim": 2, "rgbnet_width": 4}
    small |= {"batch_size": 64, "s3im_patch_height": 8, "s3im_patch_width": 8}
    return Session(Config().replace(datadir=str(scene), basedir=str(tmp_path / "never"), **(small | options)))


def random_session(scene, tmp_path, kind: str, **options: object) -> Session:
    """The tiny run's first stage with random grids, so that every part of the loss has a say."""
    session = Session(tiny_config(scene, tmp_path, kind, **options))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for grid, scale in ((session.recipe.field.density.values, 2.0), (session.recipe.field.k0.values, 1.0)):
            grid.copy_(scale * torch.randn(grid.shape, generator=generator))
    return session


def explicit(session: Session, threshold: float) -> Explicit:
    """The session's field by the formulas."""
    field, dvgo = session.recipe.field, session.config.dvgo
    aabb, margins = field.aabb.double(), []
    if dvgo.unbounded_inward:
        side = int(field.num_voxels ** (1 / 3) + 1e-9)
        centre, radius = (aabb[0] + aabb[1]) / 2, float(aabb[1, 0] - aabb[0, 0]) / 2
        places = contracted_places(centre, radius, side, dvgo.bg_len, 0.5, margins)
        base, alpha = dvgo.num_voxels_base, dvgo.alpha_init
    else:
        step = 0.5 * float(((aabb[1] - aabb[0]).prod() / field.num_voxels) ** (1 / 3))
        places = boxed_places(aabb, session.scene.near, step, margins)
        base, alpha = dvgo.coarse_num_voxels, dvgo.coarse_alpha_init
    length = 0.5 * (base / field.num_voxels) ** (1 / 3)
    shift = math.log(1 / (1 - alpha) - 1)
    return Explicit(parameters_of(field), shift, length, threshold, field.mask, places, dvgo.viewbase_pe, margins)


@pytest.mark.parametrize("kind", ["dvgo", "bounded dvgo"])
def test_every_gradient_of_a_whole_step_is_the_formulas(scene, tmp_path, kind):
    weights = {"weight_distortion": 0.3} if kind == "dvgo" else {}
    weights |= {"weight_entropy_last": 0.2, "weight_rgbper": 0.4, "rand_bkgd": kind == "dvgo"}
    weights |= {"coarse_weight_entropy_last": 0.2, "coarse_weight_rgbper": 0.4}
    sizes = {"batch_size": 16, "s3im_patch_height": 4, "s3im_patch_width": 4, "s3im_repeat_time": 2, "s3im_weight": 1.5}
    session = random_session(scene, tmp_path, kind, num_voxels=1728, **weights, **sizes)
    recipe = session.recipe
    batch = session.batches.next()
    recipe.before_step(0)
    state = session.generators["background"].get_state()
    orders_state = session.s3im.generator.get_state()
    rendered = recipe.render(batch.rays, 0)
    terms, _ = photometric_terms(rendered.rgb, batch.rgb, session.s3im, 1.5)
    terms |= recipe.regularizers(0, rendered, batch.rgb)
    sum(terms.values()).backward()

    generator = torch.Generator()
    generator.set_state(state)
    background = torch.rand(16, 3, generator=generator) if kind == "dvgo" else torch.zeros(16, 3)
    generator.set_state(orders_state)
    orders = [list(range(16)), torch.randperm(16, generator=generator).tolist()]
    formula = explicit(session, recipe.threshold)
    rgb, light, _ = render(formula, batch.rays.origins, batch.rays.directions, background)
    assert len(formula.coloured) > 100 and min(formula.margins) > 1e-6
    target = batch.rgb.double()
    expected = {
        "mse": ((rgb - target) ** 2).sum() / 48,
        "ssim": 1.5 * s3im_loss(rgb, target, orders, height=4),
        "entropy_last": 0.2 * entropy(light),
        "rgbper": 0.4 * point_error(formula, target),
    }
    if kind == "dvgo":
        n_places = 2 * (int(2 / 2.4 * recipe.field.resolution[0] / 0.5) + 1)
        expected["distortion"] = 0.3 * distortion(formula, n_places)
    assert set(terms) == set(expected)
    for name, term in terms.items():
        assert term.item() == pytest.approx(expected[name].item(), rel=2e-4), name
    sum(expected.values()).backward()
    for name, parameter in recipe.field.named_parameters():
        theirs = formula.parameters[name].grad
        scale = theirs.abs().max().item()
        assert scale > 0
        torch.testing.assert_close(
            parameter.grad.double(), theirs, rtol=2e-3, atol=2e-4 * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_updates_are_masked_adam_with_total_variation_on_the_grids_and_adam_on_the_network(scene, tmp_path):
    session = random_session(scene, tmp_path, "dvgo", tv_dense_before=1, weight_tv_density=40.0, weight_tv_k0=20.0)
    recipe = session.recipe
    values, gradients = [], []
    original = recipe.optimizer.step

    def spy():
        values.append({name: p.detach().double().clone() for name, p in recipe.field.named_parameters()})
        gradients.append({name: p.grad.double().clone() for name, p in recipe.field.named_parameters()})
        original()

    recipe.optimizer.step = spy
    for iteration in range(2):  # the moments of the first tell whether idle voxels stand still in the second
        take_step(recipe, session.batches, session.s3im, 1.0, iteration)
    scale = max(recipe.field.resolution) / 128 / 64 / 6
    for name, parameter in recipe.field.named_parameters():
        steps, is_grid = [], name.endswith("values")
        for before, gradient in zip(values, (g[name] for g in gradients), strict=True):
            if is_grid:
                weight = {"density.values": 40.0, "k0.values": 20.0}[name] * scale
                for node in map(tuple, gradient.abs().sum(3).nonzero().tolist()):
                    pull = variation_pull(before[name], node, weight)
                    gradient[node] += torch.where(gradient[node] != 0, pull, 0)
            steps.append(gradient)
        rates = [0.001 if name.startswith("rgbnet") else 0.1] * 2
        rates[1] *= 0.1 ** (1 / 20000)
        expected = adam(values[0][name], steps, rates, skips_zero=is_grid)
        if is_grid:
            assert ((steps[0] != 0) & (steps[1] == 0)).sum() > 3, "some voxels must become idle"
        near_zero = sum((g != 0) & (g.abs() < 1e-6) for g in steps) > 0  # rounding may turn the sign of such a step
        torch.testing.assert_close(
            parameter.detach().double()[~near_zero], expected[~near_zero], rtol=1e-4, atol=3e-5
        )


def test_total_variation_pulls_planes_and_lines_along_their_own_axes(scene, tmp_path):
    session = Session(tiny_config(scene, tmp_path, "vm dvgo", weight_tv_density=40.0, weight_tv_k0=20.0))
    recipe, before, moments = session.recipe, {}, {}
    scale = max(recipe.field.resolution) / 128 / 64 / 6
    original = recipe.optimizer.step

    def spy():
        before.update({name: (p.detach().clone(), p.grad.clone()) for name, p in recipe.field.named_parameters()})
        original()

    recipe.optimizer.step = spy
    take_step(recipe, session.batches, session.s3im, 1.0, 0)
    moments = {name: recipe.optimizer.state[p]["exp_avg"] for name, p in recipe.field.named_parameters()}
    for name, (values, gradient) in before.items():
        weight = {"density": 40.0, "k0": 20.0}.get(name.partition(".")[0], 0.0) * scale
        pull = torch.zeros_like(values)
        for axis in range(values.dim() - 1 if weight else 0):
            difference = values.diff(dim=axis).clamp(-1, 1) * weight
            pull.narrow(axis, 0, values.shape[axis] - 1).sub_(difference)
            pull.narrow(axis, 1, values.shape[axis] - 1).add_(difference)
        assert not weight or pull.abs().max() > 1e-5, name
        torch.testing.assert_close(moments[name], 0.1 * (gradient + pull), rtol=1e-4, atol=1e-9, msg=name)


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


def test_the_box_is_the_cube_around_the_cameras_and_points_just_before_them(scene, tmp_path):
    session = canonical(scene, tmp_path)
    points = []
    for c2w, K in zip(session.scene.train.c2w.double(), session.scene.train.K.double(), strict=True):
        points.append(c2w[:, 3])
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

    def record(self, rays, *, threshold, background):
        seen.append(torch.as_tensor(background))
        raise StopIteration

    monkeypatch.setattr(VoxelField, "render", record)
    rays = Rays(torch.zeros(500, 3), torch.ones(500, 3))
    for call in (lambda: recipe.render(rays, 0), lambda: recipe.render_test(rays, final=True)):
        with pytest.raises(StopIteration):
            call()
    assert seen[0].shape == (500, 3) and seen[0].unique().numel() > 1400 and 0.4 < seen[0].mean() < 0.6
    assert seen[1] == 1.0


# The bounded model's two stages.


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
    rows = [line.split(",") for line in (session.folder / "metrics.csv").read_text().splitlines()]
    weight = rows[0].index("ssim_weight")
    assert [int(row[0]) for row in rows[1:] if float(row[weight]) > 0] == [6, 7, 8]
    sides = rows[0].index("lr_density")
    starts = [int(row[0]) for row in rows[1:] if float(row[sides]) == 0.1]
    assert starts == [0, 4, 5, 9], "coarse, fine, and before its steps 2 and 6"


def test_an_empty_coarse_stage_is_an_error_for_people(scene, tmp_path):
    session = Session(tiny_config(scene, tmp_path, "bounded dvgo", bbox_thres=0.9))
    with pytest.raises(TrainingError, match="iteration 4: no coarse voxel is more opaque than --bbox_thres 0.9"):
        session.recipe.before_batch(4, session.batches)


def test_batches_with_replacement_come_from_all_pixels_until_a_filter(scene, tmp_path):
    views = Session(tiny_config(scene, tmp_path, "dvgo")).scene.train
    batches = PixelBatches(views, 1000, torch.Generator().manual_seed(1))
    batches.draw_with_replacement()
    drawn = torch.cat([batches._random_pixels() for _ in range(3)])
    assert drawn.unique().numel() < 2000 and drawn.min() < 30 and drawn.max() > PIXELS - 30
    state = batches.state_dict()
    other = PixelBatches(views, 1000, torch.Generator().manual_seed(2))
    other.load_state_dict(state)
    assert other.has_replacement
    batches.keep_where(lambda rays: torch.ones(len(rays), dtype=torch.bool))
    assert not batches.has_replacement and batches._next_pixels().unique().numel() == 1000
