"""How TensoRF is trained: rates, milestones and their order, by iteration."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_scene import FRAMES, HEIGHT, WIDTH, tiny_config, train_session, weights_of, write_tiny_scene

from nerf_ssim.errors import TrainingError
from nerf_ssim.models.config import Config
from nerf_ssim.models.tensorf.field import TensoRF
from nerf_ssim.models.tensorf.recipe import TensorfRecipe, upsampling_steps
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.training.session import Session

PIXELS = (FRAMES - 2) * HEIGHT * WIDTH  # two of twelve frames are the test split


def canonical(**options: object) -> Config:
    """The canonical schedule (30000 iterations), with grids small enough to make at once."""
    small = {"N_voxel_init": 64, "N_voxel_final": 100, "n_lamb_sigma": [1, 1, 1], "n_lamb_sh": [1, 1, 1], "featureC": 4}
    small |= {"batch_size": 64, "s3im_patch_height": 8, "s3im_patch_width": 8}
    rates = {"TV_weight_density": 0.1, "TV_weight_app": 0.01}
    return Config().replace(datadir="unused", **(small | rates | options))


def recipe_of(config: Config, scene_folder) -> Session:
    return Session(config.replace(datadir=str(scene_folder), basedir=str(scene_folder.parent / "never")))


def regularizers(recipe: TensorfRecipe, iteration: int) -> dict[str, torch.Tensor]:
    """TensoRF's terms, which look at the grids alone."""
    return recipe.regularizers(iteration, None, None)


def test_the_published_voxel_counts():
    assert upsampling_steps(2097156, 27000000, 5) == [3496047, 5828060, 9715614, 16196343, 26999994]
    assert upsampling_steps(64**3, 128**3, 3)[:2] == [524288, 1048576]
    assert upsampling_steps(1000, 5000, 0) == []


def test_rates_decay_every_iteration_and_start_anew_after_each_upsampling(scene):
    recipe = recipe_of(canonical(), scene).recipe
    expected, rate = {}, 1.0
    for iteration in range(30000):  # multiply, and reset where an upsampling rebuilt Adam: as published
        expected[iteration] = rate
        rate = 1.0 if iteration in (2000, 3000, 4000, 5500, 7000) else rate * 0.1 ** (1 / 30000)
    watched = [0, 1, 100, 1999, 2000, 2001, 2002, 3000, 3001, 4001, 5500, 5501, 7000, 7001, 7002, 29999]
    seen = {}
    for iteration in sorted({*watched, 2000, 3000, 4000, 5500, 7000}):
        seen[iteration] = recipe.before_step(iteration)
        if iteration in recipe.config.model.upsamp_list:
            recipe._upsample(iteration, 80)
    for iteration in watched:
        assert seen[iteration]["lr_grids"] == pytest.approx(0.02 * expected[iteration], rel=1e-9), iteration
        assert seen[iteration]["lr_decoder"] == pytest.approx(1e-3 * expected[iteration], rel=1e-9), iteration
    assert seen[29999]["lr_grids"] == pytest.approx(0.0034, abs=5e-5)
    assert [group["lr"] for group in recipe.optimizer.param_groups] == list(seen[29999].values())


def test_without_the_reset_rates_go_on_from_the_share_of_the_run(scene):
    recipe = recipe_of(canonical(lr_upsample_reset=False), scene).recipe
    recipe._upsample(3000, 80)
    assert recipe.before_step(3001)["lr_grids"] == pytest.approx(0.02 * 0.1 ** (3000 / 30000), rel=1e-9)
    assert recipe.before_step(3101)["lr_grids"] == pytest.approx(0.02 * 0.1 ** (3100 / 30000), rel=1e-9)


def test_rates_may_decay_over_another_number_of_iterations(scene):
    recipe = recipe_of(canonical(lr_decay_iters=1000, lr_decay_target_ratio=0.5), scene).recipe
    assert recipe.before_step(1000)["lr_grids"] == pytest.approx(0.01, rel=1e-9)


def test_the_optimizer_is_the_published_adam_and_an_upsampling_rebuilds_it(scene):
    session = recipe_of(canonical(), scene)
    recipe = session.recipe

    def step():
        recipe.optimizer.zero_grad()
        sum((p * p).sum() for p in recipe.field.parameters()).backward()
        recipe.optimizer.step()

    step()
    groups = {group["name"]: group for group in recipe.optimizer.param_groups}
    assert groups["grids"]["betas"] == groups["decoder"]["betas"] == (0.9, 0.99) and groups["grids"]["eps"] == 1e-8
    assert {id(p) for p in groups["grids"]["params"]} == {
        id(p) for n, p in recipe.field.named_parameters() if "grid" in n
    }
    assert {id(p) for p in groups["decoder"]["params"]} == {
        id(p) for n, p in recipe.field.named_parameters() if "grid" not in n
    }
    assert len(recipe.optimizer.state) == len(list(recipe.field.parameters()))
    decoder = recipe.field.decoder.layers[0].weight
    recipe._upsample(2000, 100)
    assert len(recipe.optimizer.state) == 0, "moments are gone, the decoder's too"
    assert recipe.field.decoder.layers[0].weight is decoder
    before = {name: p.detach().clone() for name, p in recipe.field.named_parameters()}
    step()
    assert all(not torch.equal(before[name], p) for name, p in recipe.field.named_parameters() if "bias" not in name)


def test_total_variation_decays_by_iteration_and_an_upsampling_does_not_reset_it(scene):
    recipe = recipe_of(canonical(), scene).recipe
    tv = {}
    for iteration in (0, 1999, 2001, 29999):
        tv[iteration] = regularizers(recipe, iteration)["tv_density"].item()
        if iteration == 1999:
            plain = recipe.field.density_grid.total_variation().item()
            assert tv[0] == pytest.approx(0.1 * 0.1 ** (1 / 30000) * plain, rel=1e-5)
            assert tv[1999] == pytest.approx(0.1 * 0.1 ** (2000 / 30000) * plain, rel=1e-5)
            recipe._upsample(2000, 100)
            plain = recipe.field.density_grid.total_variation().item()
    assert tv[2001] == pytest.approx(0.1 * 0.1 ** (2002 / 30000) * plain, rel=1e-5)
    assert tv[29999] == pytest.approx(0.1 * 0.1 * plain, rel=1e-5)


def test_regularisers_of_weight_zero_are_not_computed_and_l1_changes_after_the_first_mask(scene):
    recipe = recipe_of(canonical(TV_weight_density=0, TV_weight_app=0), scene).recipe
    assert regularizers(recipe, 5) == {}
    recipe = recipe_of(canonical(L1_weight_inital=8e-5, L1_weight_rest=4e-5, Ortho_weight=0.1), scene).recipe
    l1 = recipe.field.density_grid.l1().item()
    assert regularizers(recipe, 2000)["l1"].item() == pytest.approx(8e-5 * l1)
    assert regularizers(recipe, 2001)["l1"].item() == pytest.approx(4e-5 * l1)
    field = recipe.field
    both = field.density_grid.orthogonality().item() + field.appearance_grid.orthogonality().item()
    assert regularizers(recipe, 0)["ortho"].item() == pytest.approx(0.1 * both)


def test_milestones_come_in_the_canonical_order(scene, tmp_path, monkeypatch):
    """Mask, shrink (the first mask only), ray filter (the second only), upsampling."""
    calls: list[str] = []
    for owner, name in (
        (TensoRF, "refresh_occupancy"),
        (TensoRF, "shrink"),
        (PixelBatches, "keep_where"),
        (TensoRF, "upsample"),
    ):
        original = getattr(owner, name)

        def spy(self, *args, _original=original, _name=name):
            calls.append(_name)
            return _original(self, *args)

        monkeypatch.setattr(owner, name, spy)
    seen: dict[int, list[str]] = {}
    config = tiny_config(
        scene, tmp_path, upsamp_list=[3, 7, 9], update_AlphaMask_list=[3, 7, 9], n_iters=11, alpha_mask_thre=0.008
    )
    session = Session(config)
    original = session.recipe.after_step

    def after_step(iteration, batches):
        calls.clear()
        events = original(iteration, batches)
        if calls:
            seen[iteration] = list(calls)
        return events

    session.recipe.after_step = after_step
    run(session)
    assert seen == {
        3: ["refresh_occupancy", "shrink", "upsample"],
        7: ["refresh_occupancy", "keep_where", "upsample"],
        9: ["refresh_occupancy", "upsample"],
    }


def run(session: Session) -> None:
    import io

    from nerf_ssim.runs.interrupts import GracefulStop
    from nerf_ssim.runs.progress import Progress
    from nerf_ssim.training.loop import train

    with GracefulStop() as stop, session.open_log() as log:
        train(session, log, Progress(session.last_iteration, file=io.StringIO()), stop)


def test_the_tiny_run_really_shrinks_filters_and_upsamples(scene, tmp_path):
    """What the resume tests rely on."""
    session = train_session(tiny_config(scene, tmp_path))
    field = session.recipe.field
    assert not torch.allclose(field.aabb, session.scene.aabb * 1.2)
    assert session.batches.kept < PIXELS
    assert field.occupancy is not None and 0 < field.occupancy.volume.float().mean() < 0.9
    assert session.recipe.resolution == field.resolution and field.resolution[0] > 12


def test_the_box_is_scaled_about_its_centre_or_the_origin_as_asked(scene, tmp_path):
    session = Session(tiny_config(scene, tmp_path, box_about="centre"))
    torch.testing.assert_close(session.recipe.field.aabb, torch.tensor([[-1.21, -0.97, -0.73], [1.31, 1.07, 0.83]]))
    session.folder.close()
    session = Session(tiny_config(scene, tmp_path, box_about="origin", overwrite=True))
    torch.testing.assert_close(session.recipe.field.aabb, torch.tensor([[-1.0, -0.8, -0.6], [1.1, 0.9, 0.7]]) * 1.2)


def test_a_shrink_carries_the_moments_of_what_it_keeps(scene, tmp_path):
    """The published code leaves Adam with the old parameters, so that the grids stand still until the next rebuild."""
    session = train_session(tiny_config(scene, tmp_path, stop_at=3))
    recipe = session.recipe
    before = {n: (p, copy.deepcopy(recipe.optimizer.state[p])) for n, p in recipe.field.named_parameters()}
    recipe.after_step(3, session.batches)
    changed = 0
    for name, parameter in recipe.field.named_parameters():
        old, moments = before[name]
        state = recipe.optimizer.state[parameter]
        assert state["step"] == moments["step"] and state["exp_avg"].shape == parameter.shape
        if parameter is not old:
            changed += 1
            place = find_part(old.detach(), parameter.detach())
            for moment in ("exp_avg", "exp_avg_sq"):
                assert torch.equal(state[moment], moments[moment][place])
    assert changed == 12
    assert {id(p) for g in recipe.optimizer.param_groups for p in g["params"]} == set(
        map(id, recipe.field.parameters())
    )
    assert set(map(id, recipe.optimizer.state)) == set(map(id, recipe.field.parameters()))


def find_part(whole: torch.Tensor, part: torch.Tensor) -> tuple[slice, ...]:
    """Where `part` is in `whole` (both `[..., channels]`), found by looking."""
    from itertools import product

    for start in product(*(range(w - p + 1) for w, p in zip(whole.shape[:-1], part.shape[:-1], strict=True))):
        place = tuple(slice(s, s + p) for s, p in zip(start, part.shape[:-1], strict=True))
        if torch.equal(whole[place], part):
            return place
    raise AssertionError("the kept part is not in the old parameter")


def test_a_mask_keeps_its_resolution_where_the_grid_has_grown_too_fine(scene, tmp_path, monkeypatch):
    """Below 256^3 corners the mask has the grid's present resolution, else the last that was below."""
    recipe = Session(tiny_config(scene, tmp_path, alpha_mask_thre=0.0)).recipe
    first = list(recipe.resolution)
    recipe._refresh_mask(0, shrink=False)
    assert list(recipe.field.occupancy.volume.shape) == first
    monkeypatch.setattr("nerf_ssim.models.tensorf.recipe.MASK_VOXELS_MAX", 2000)
    recipe._upsample(1, 4000)
    assert recipe.resolution != first
    recipe._refresh_mask(1, shrink=False)
    assert list(recipe.field.occupancy.volume.shape) == first
    assert recipe.field.occupancy.volume.shape != tuple(recipe.field.resolution)


def test_the_masks_limit_is_256_cubed():
    from nerf_ssim.models.tensorf import recipe as tensorf_recipe

    assert tensorf_recipe.MASK_VOXELS_MAX == 16777216


def test_an_empty_mask_is_an_error_for_people(scene, tmp_path):
    with pytest.raises(TrainingError, match="iteration 3: the occupancy mask is empty"):
        train_session(tiny_config(scene, tmp_path, alpha_mask_thre=0.9))


def test_rays_that_miss_the_box_are_dropped_once_at_the_start(tmp_path):
    folder = write_tiny_scene(tmp_path / "scene", outside=True)
    session = Session(tiny_config(folder, tmp_path))
    low, high = session.recipe.field.aabb.tolist()
    rays = session.batches.rays_of(torch.arange(PIXELS))
    expected = 0
    for origin, direction in zip(rays.origins.tolist(), rays.directions.tolist(), strict=True):
        crossings = [
            sorted(((low[a] - origin[a]) / direction[a], (high[a] - origin[a]) / direction[a])) for a in range(3)
        ]
        expected += min(t[1] for t in crossings) > max(t[0] for t in crossings)
    assert session.batches.kept == expected < PIXELS


def test_training_renders_are_jittered_on_a_white_background_half_of_the_time(scene, tmp_path, monkeypatch):
    recipe = Session(tiny_config(scene, tmp_path)).recipe
    backgrounds, jitters = [], []

    def record(self, rays, *, n_samples, jitter, background, draws, with_depth):
        assert draws is None and not with_depth
        backgrounds.append(float(background))
        jitters.append(jitter)
        assert n_samples == recipe.n_samples

    monkeypatch.setattr(TensoRF, "render", record)
    rays = Rays(torch.zeros(5, 3), torch.ones(5, 3))
    for iteration in range(400):
        recipe.render(rays, iteration)
    assert set(backgrounds) == {0.0, 1.0} and 160 < sum(backgrounds) < 240
    jitter = torch.cat(jitters)
    assert jitter.shape == (2000,) and 0 <= jitter.min() and jitter.max() < 1 and jitter.unique().numel() > 1900
    assert jitter.mean().item() == pytest.approx(0.5, abs=0.03)


def test_test_renders_are_black_still_and_at_the_end_cover_the_diagonal(scene, tmp_path, monkeypatch):
    recipe = Session(tiny_config(scene, tmp_path)).recipe
    calls = []
    monkeypatch.setattr(TensoRF, "render", lambda self, rays, **options: calls.append(options))
    recipe.render_test(Rays(torch.zeros(1, 3), torch.ones(1, 3)), final=False)
    recipe.render_test(Rays(torch.zeros(1, 3), torch.ones(1, 3)), final=True)
    still = {"background": 0.0, "draws": None}
    assert calls == [{"n_samples": recipe.n_samples, **still}, {"n_samples": None, **still}]


def test_the_seed_decides_the_initial_weights(scene, tmp_path):
    first, again, other = (weights_of(Session(tiny_config(scene, tmp_path, seed=s))) for s in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["density_grid.planes.0"], other["density_grid.planes.0"])


def test_a_run_has_the_random_generators_that_it_draws_from(scene, tmp_path):
    session = Session(tiny_config(scene, tmp_path))
    assert set(session.generators) == {"pixels", "monitor", "jitter", "background", "init"}
