"""How a run ends: a bad step is named and leaves a good checkpoint; a whole run leaves its files."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_scene import NO_MILESTONES, command_line, folder_of, rows_of, tiny_config, train_session

from nerf_ssim.cli.main import main
from nerf_ssim.errors import TrainingError
from nerf_ssim.models.registry import model_options
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.runs.checkpoints import load_checkpoint
from nerf_ssim.training.session import Session

SPOILT = {"tensorf": "tv_density", "dvgo": "entropy_last"}  # a term of each model's own


def recipe_of(kind: str) -> type:
    """The class that all recipes of a model are or derive from."""
    recipe = model_options(kind)().recipe()
    return next(part for part in reversed(recipe.__mro__) if hasattr(part, "regularizers"))


def spoil(monkeypatch, iteration: int, kind: str = "tensorf", value: float = math.nan) -> None:
    """A term of that iteration, and with it every weight from then on, is not a number."""
    original = recipe_of(kind).regularizers

    def regularizers(self, now, *args):
        terms = original(self, now, *args)
        if now == iteration:
            terms[SPOILT[kind]] = terms[SPOILT[kind]] * value
        return terms

    monkeypatch.setattr(recipe_of(kind), "regularizers", regularizers)


@pytest.mark.slow
@pytest.mark.parametrize("iteration", [4, 5, 6])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_term_that_is_not_finite_stops_with_its_iteration_and_name_and_keeps_a_good_checkpoint(
    config, kind, monkeypatch, capsys, iteration, value
):
    config = config.replace(save_every=2)
    spoil(monkeypatch, iteration, kind, value=value)
    assert main(command_line(config)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nerf-ssim:")]
    assert len(lines) == 1 and f"iteration {iteration}:" in lines[0] and SPOILT[kind] in lines[0]
    checkpoint = load_checkpoint(sorted((folder_of(config) / "checkpoints").iterdir())[-1])
    assert checkpoint["iteration"] == iteration // 2 * 2
    assert all(tensor.isfinite().all() for tensor in checkpoint["recipe"]["field"]["weights"].values())
    assert int(rows_of(config)[-1]["iteration"]) < iteration
    monkeypatch.undo()
    monkeypatch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})
    assert train_session(config.replace(resume=True)).iteration == 8


@pytest.mark.parametrize("name", ["tensorf", "bounded dvgo"])
def test_a_term_that_is_not_finite_is_named_before_a_milestone_can_stumble_over_it(scene, tmp_path, monkeypatch, name):
    """After iteration 3 comes the mask or the fine stage's box; of weights that are no numbers it would be empty."""
    kind = name.split()[-1]
    spoil(monkeypatch, 3, kind)
    with pytest.raises(TrainingError, match=f"iteration 3: the loss term '{SPOILT[kind]}' is nan"):
        train_session(tiny_config(scene, tmp_path, name))


def test_a_gradient_that_is_not_finite_leaves_no_bad_checkpoint(config, kind, monkeypatch):
    """Every term may be finite and the update still spoil the weights, which only the next iteration's terms show."""
    original = recipe_of(kind).render

    def render(self, rays, iteration):
        rendered = original(self, rays, iteration)
        if iteration == 3:
            rendered.rgb.register_hook(lambda gradient: gradient * math.nan)
        return rendered

    monkeypatch.setattr(recipe_of(kind), "render", render)
    config = config.replace(save_every=2)
    with pytest.raises(TrainingError, match=r"iteration [34]"):
        train_session(config)
    newest = sorted((folder_of(config) / "checkpoints").iterdir())[-1]
    weights = load_checkpoint(newest)["recipe"]["field"]["weights"]
    assert all(tensor.isfinite().all() for tensor in weights.values()), (
        f"{newest.name} holds weights that are not numbers"
    )


def test_a_batch_without_a_sample_stops_the_run(config, kind, capsys, monkeypatch):
    original = recipe_of(kind).render

    def render(self, rays, iteration):
        if iteration == 2 and kind == "dvgo":
            self.field.mask[:] = False
        elif iteration == 2:
            self.field.occupancy = type(self.field.refresh_occupancy([3, 3, 3]))(torch.zeros(3, 3, 3), self.field.aabb)
        return original(self, rays, iteration)

    monkeypatch.setattr(recipe_of(kind), "render", render)
    assert main(command_line(config)) == 2
    assert "iteration 2: no ray of the batch has a sample" in capsys.readouterr().err


def test_too_small_a_split_for_a_batch_is_one_line(config, capsys):
    config = config.replace(batch_size=2048, s3im_patch_height=32, s3im_patch_width=64)
    assert main(command_line(config)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "1680 pixels, fewer than one batch of 2048" in lines[0]


def test_a_run_without_ssim_may_have_any_batch(config):
    session = train_session(config.replace(s3im_weight=0.0, luminance_every=0, batch_size=50, stop_at=2))
    assert session.s3im is None


def test_batches_are_the_given_size(config, monkeypatch):
    sizes = []
    original = PixelBatches.next
    monkeypatch.setattr(PixelBatches, "next", lambda self: sizes.append(len((b := original(self)).rays)) or b)
    train_session(config)
    assert sizes == [64] * 8


@pytest.mark.slow
def test_a_finished_run_leaves_its_files(scene, tmp_path, capsys, kind):
    config = tiny_config(scene, tmp_path, kind, n_iters=3, **NO_MILESTONES[kind])
    assert main(command_line(config)) == 0
    folder = tmp_path / "tiny"
    for name in ("manifest.json", "config.txt", "metrics.csv", "results.json", "checkpoints/000003.pt"):
        assert (folder / name).is_file(), name
    assert Session(config.replace(resume=True)).iteration == 3
