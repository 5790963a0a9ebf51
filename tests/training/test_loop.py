"""The loop: what the schedule changes and what it must not, and what a row holds."""

from __future__ import annotations

import io
import math

import pytest
import torch
from tiny_scene import first_grid, rows_of, tiny_config, train_session, weights_of

from nerf_ssim.models.dvgo.field import VoxelField
from nerf_ssim.models.tensorf.field import TensoRF
from nerf_ssim.runs.interrupts import GracefulStop
from nerf_ssim.runs.progress import Progress
from nerf_ssim.ssim.losses import S3IM
from nerf_ssim.training.loop import train
from nerf_ssim.training.session import Session

SCHEDULES = {
    "w/": {},
    "w/o": {"s3im_weight": 0.0},
    "remove at 3": {"ssim_remove_at": 3},
    "add at 2": {"ssim_add_at": 2},
    "auto": {
        "ssim_remove_at": "auto",
        "ssim_auto_watches": "luminance",
        "ssim_auto_patience": 1,
        "ssim_auto_tolerance": 0.9,
    },
    "w/o, unwatched": {"s3im_weight": 0.0, "luminance_every": 0},
}

LOW_MASK = {"tensorf": {"alpha_mask_thre": 0.015}, "dvgo": {}}  # the tiny field without SSIM stays thinner


@pytest.fixture()
def draws(monkeypatch):
    """What each training render was given, iteration by iteration: rays, jitter, background."""
    seen: list[tuple] = []

    def spy_on(field):
        original = field.render

        def render(self, rays, *, background=0.0, **others):
            noise = [torch.as_tensor(value) for value in (background, others.get("jitter")) if value is not None]
            seen.append((rays.origins.clone(), rays.directions.clone(), *noise))
            return original(self, rays, background=background, **others)

        monkeypatch.setattr(field, "render", render)

    spy_on(TensoRF)
    spy_on(VoxelField)
    return seen


@pytest.mark.slow
def test_the_schedule_does_not_change_what_is_drawn_before_the_ray_filter(scene, tmp_path, draws, kind):
    """Not across a mask, a shrink and an upsampling either; and the weights do differ."""
    filter_at, seen, grids = 7, {}, {}
    for name, schedule in SCHEDULES.items():
        draws.clear()
        folder = tmp_path / name.replace("/", "")
        session = train_session(tiny_config(scene, folder, kind, stop_at=filter_at + 1, **LOW_MASK[kind], **schedule))
        seen[name] = list(draws)
        grids[name] = first_grid(session)
    backgrounds = [background for _, _, background, *_ in seen["w/"]]
    assert not all(torch.equal(one, backgrounds[0]) for one in backgrounds), "they change from batch to batch"
    for name, ours in seen.items():
        assert len(ours) == filter_at + 1
        for iteration, (mine, reference) in enumerate(zip(ours, seen["w/"], strict=True)):
            for a, b in zip(mine, reference, strict=True):
                assert torch.equal(a, b), f"{name}, iteration {iteration}"
    assert grids["w/"].shape != grids["w/o"].shape or not torch.equal(grids["w/"], grids["w/o"])
    assert not torch.equal(seen["w/"][0][1], seen["w/"][1][1]), "each iteration has its own pixels"


def test_another_seed_draws_something_else(config, draws):
    train_session(config.replace(stop_at=1))
    train_session(config.replace(stop_at=1, seed=8, expname="other"))
    assert not torch.equal(draws[0][1], draws[1][1]) and not torch.equal(draws[0][-1], draws[1][-1])


@pytest.mark.slow
def test_watching_luminance_while_ssim_is_off_changes_neither_weights_nor_the_orders_of_later_ssim(
    scene, tmp_path, kind
):
    options = {"ssim_add_at": 10, **LOW_MASK[kind]}
    runs = [
        train_session(tiny_config(scene, tmp_path / str(every), kind, luminance_every=every, **options))
        for every in (0, 1)
    ]
    ours, theirs = map(weights_of, runs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({}, range(8)),
        ({"s3im_weight": 0.0}, []),
        ({"ssim_remove_at": 3}, [0, 1, 2]),
        ({"ssim_remove_at": 1}, [0]),
        ({"ssim_add_at": 2}, range(2, 8)),
        ({"ssim_add_at": 2, "ssim_remove_at": 5}, [2, 3, 4]),
    ],
)
def test_ssim_is_computed_at_exactly_the_iterations_of_the_schedule(config, monkeypatch, schedule, expected):
    iterations = []
    original = S3IM.evaluate

    def evaluate(self, rendered, *others, **named):
        iterations.append(rendered.requires_grad)
        return original(self, rendered, *others, **named)

    monkeypatch.setattr(S3IM, "evaluate", evaluate)
    # A run with SSIM must have luminance_every > 0 or a fitting patch; 0 means it is not watched while off.
    config = config.replace(luminance_every=0, log_every=1, **schedule)
    train_session(config)
    assert iterations == [True] * len(expected)
    rows = rows_of(config)
    assert [int(row["iteration"]) for row in rows] == list(range(8))
    assert [int(row["iteration"]) for row in rows if row["ssim"]] == list(expected)
    assert [int(row["iteration"]) for row in rows if float(row["ssim_weight"]) > 0] == list(expected)
    assert [int(row["iteration"]) for row in rows if row["luminance"]] == list(expected)


@pytest.mark.slow
def test_the_gradient_of_removed_ssim_is_gone_from_the_first_update_without_it(config):
    """Runs that remove at 3 and never remove are the same through three updates, and differ in the fourth."""

    def after(updates, **schedule):
        options = {"stop_at": updates, "expname": f"{updates}{len(schedule)}"}
        return first_grid(train_session(config.replace(**options, **schedule)))

    assert torch.equal(after(3), after(3, ssim_remove_at=3))
    assert not torch.equal(after(4), after(4, ssim_remove_at=3))


def test_luminance_is_logged_each_iteration_while_ssim_is_on_and_at_its_interval_while_off(config):
    config = config.replace(ssim_remove_at=3, luminance_every=2, log_every=5)
    train_session(config)
    rows = {int(row["iteration"]): row for row in rows_of(config)}
    assert sorted(rows) == [0, 1, 2, 4, 5, 6]  # 5 for its own interval, without luminance
    for iteration in (0, 1, 2, 4, 6):
        row = {name: float(rows[iteration][name]) for name in rows[iteration] if rows[iteration][name]}
        assert 0 < row["luminance"] <= 1 and abs(row["structure"]) <= 1
        assert abs(row["mean_difference"]) <= row["mean_difference_abs"] <= 1
        if iteration < 3:
            assert row["ssim"] == pytest.approx(1 - row["similarity"], rel=1e-5)
    assert rows[5]["luminance"] == "" and rows[4]["ssim"] == ""


def test_auto_removes_from_the_iteration_after_the_one_that_decided(config):
    auto = {"ssim_remove_at": "auto", "ssim_auto_watches": "luminance", "ssim_auto_patience": 1}
    config = config.replace(**auto, ssim_auto_tolerance=0.9, log_every=1)
    session = train_session(config)
    removed_at = session.schedule.removed_at
    assert removed_at is not None and 2 <= removed_at < 8, "the example must remove SSIM on the way"
    assert [bool(row["ssim"]) for row in rows_of(config)] == [i < removed_at for i in range(8)]


@pytest.mark.slow
def test_stop_at_leaves_every_schedule_laid_out_for_the_whole_run(scene, tmp_path, kind):
    long = tiny_config(scene, tmp_path, kind, log_every=1)
    short = tiny_config(scene, tmp_path, kind, log_every=1, stop_at=8, expname="short")
    train_session(long)
    session = train_session(short)
    assert session.iteration == 8
    for ours, theirs in zip(rows_of(short), rows_of(long)[:8], strict=True):
        assert {n: v for n, v in ours.items() if n != "seconds"} == {n: v for n, v in theirs.items() if n != "seconds"}


# Columns and the rates that they start from, the factor an update, and the first updates after larger grids.
RATES = {
    "tensorf": ({"lr_grids": 0.1, "lr_decoder": 1e-3}, 0.1 ** (1 / 14), (6, 10)),
    "dvgo": ({"lr_density": 0.1, "lr_k0": 0.1, "lr_rgbnet": 1e-3}, 0.1 ** (1 / 20000), (5, 9)),
}


@pytest.mark.slow
def test_logged_rates_are_the_rates_of_the_update(scene, tmp_path, kind):
    config = tiny_config(scene, tmp_path, kind, log_every=1)
    train_session(config)
    columns, decay, anew = RATES[kind]
    expected = [decay ** (iteration - max(at for at in (0, *anew) if at <= iteration)) for iteration in range(14)]
    for column, start in columns.items():
        seen = [float(row[column]) for row in rows_of(config)]
        assert seen == pytest.approx([start * rate for rate in expected], rel=1e-6), column


def test_psnr_is_of_the_mse_alone(config):
    config = config.replace(log_every=1)
    train_session(config)
    for row in rows_of(config):
        assert float(row["psnr_train"]) == pytest.approx(-10 * math.log10(float(row["mse"])), abs=1e-5)


# TensoRF masks and shrinks after 4 updates, DVGO scales after 5: with the milestone before the score, a run without it
# would score differently.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "updates", "later"),
    [("tensorf", 4, {"update_AlphaMask_list": []}), ("dvgo", 5, {"pg_scale": [12, 13]})],
)
def test_test_views_are_scored_at_their_iterations_after_the_update_and_before_the_milestones(
    scene, tmp_path, kind, updates, later
):
    config = tiny_config(scene, tmp_path, kind, N_vis=-1, vis_every=6, vis_at=[updates], stop_at=7)
    train_session(config)
    rows = {int(row["iteration"]): row["psnr_test"] for row in rows_of(config)}
    assert [iteration for iteration in rows if rows[iteration]] == [updates - 1, 5]
    pictures = sorted(path.name for path in (tmp_path / "tiny" / "progress").iterdir())
    assert pictures == [f"00000{updates}.png", "000006.png"]
    shorter = {"N_vis": -1, "vis_at": [updates], "stop_at": updates, "expname": "b"}
    without = tiny_config(scene, tmp_path, kind, **shorter, **later)
    train_session(without)
    assert {int(row["iteration"]): row["psnr_test"] for row in rows_of(without)}[updates - 1] == rows[updates - 1]


@pytest.mark.slow
def test_checkpoints_are_saved_when_they_are_asked_for_and_stay(scene, tmp_path, kind):
    config = tiny_config(scene, tmp_path, kind, save_at=[2, 5], save_every=3, stop_at=10)
    train_session(config)
    checkpoints = tmp_path / "tiny" / "checkpoints"
    assert [path.name for path in sorted(checkpoints.glob("*.pt"))] == ["000009.pt", "000010.pt"]
    assert [path.name for path in sorted(checkpoints.glob("lasting/*.pt"))] == ["000002.pt", "000005.pt"]


@pytest.mark.slow
def test_scoring_under_way_changes_nothing(scene, tmp_path, kind):
    plain = train_session(tiny_config(scene, tmp_path, kind))
    scored = train_session(tiny_config(scene, tmp_path, kind, expname="scored", N_vis=2, vis_every=3))
    ours, theirs = weights_of(plain), weights_of(scored)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_says_when_auto_has_not_decided_by_half_of_it(scene, tmp_path):
    config = tiny_config(scene, tmp_path, ssim_remove_at="auto", ssim_auto_patience=1000)
    session = Session(config)
    shown = io.StringIO()
    with GracefulStop() as stop, session.open_log() as log, Progress(14, 0, file=shown) as progress:
        train(session, log, progress, stop)
    assert shown.getvalue().count("iteration 6: SSIM has not converged in half of the run") == 1
    assert session.schedule.removed_at is None
