"""A third radiance field, registered with one line and trained by `train.py`: what adding a model takes."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_scene import write_tiny_scene
from torch import Tensor, nn

from nerf_ssim.cli.main import main
from nerf_ssim.config.options import option
from nerf_ssim.errors import ConfigError
from nerf_ssim.models.options import ModelOptions, with_default
from nerf_ssim.models.parts.rendering import Render
from nerf_ssim.models.registry import MODELS
from nerf_ssim.runs import schema
from nerf_ssim.runs.checkpoints import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ToyOptions(ModelOptions):
    """A table of colours by direction."""

    counterparts = {"N_voxel_init": "toy_bins"}
    defaults = {"seed": 3}

    model: str = with_default("model", "toy")
    toy_bins: int = option(4, "bins along each axis of direction", at_least=1)
    toy_double_at: int = option(3, "the update before which they double", at_least=1)

    streams = ("init",)

    def recipe(self) -> type[ToyRecipe]:
        return ToyRecipe

    def check(self, n_iters: int) -> None:
        super().check(n_iters)
        if self.toy_double_at >= n_iters:
            raise ConfigError(f"toy_double_at: {self.toy_double_at} would never come with n_iters {n_iters}")


class ToyField(nn.Module):
    def __init__(self, colors: Tensor) -> None:
        super().__init__()
        self.colors = nn.Parameter(colors)

    def forward(self, directions: Tensor) -> Tensor:
        place = ((directions + 1) / 2 * len(self.colors)).long().clamp(0, len(self.colors) - 1)
        return torch.sigmoid(self.colors[place[:, 0], place[:, 1], place[:, 2]])


class ToyRecipe:
    name = "toy"
    terms = ("size",)
    rates = ("lr",)

    def __init__(self, config, scene, generators) -> None:
        bins = config.model.toy_bins
        self.config = config
        self._use(torch.randn(bins, bins, bins, 3, generator=generators["init"]))

    def _use(self, colors: Tensor) -> None:
        self.field = ToyField(colors)
        self.optimizer = torch.optim.Adam(self.field.parameters(), lr=0.1)

    def prepare(self, batches) -> None: ...

    def before_batch(self, iteration, batches) -> list[str]:
        if iteration != self.config.model.toy_double_at:
            return []
        colors = self.field.colors.detach()
        for axis in range(3):
            colors = colors.repeat_interleave(2, axis)
        self._use(colors)
        return [f"{len(colors)} bins"]

    def before_step(self, iteration) -> dict[str, float]:
        return {"lr": 0.1}

    def render(self, rays, iteration) -> Render:
        rgb = self.field(rays.directions)
        return Render(rgb, torch.ones(len(rays)), torch.ones(len(rays)), len(rays), len(rays))

    def render_test(self, rays, *, final) -> Render:
        return self.render(rays, 0)

    def regularizers(self, iteration, render, target) -> dict[str, Tensor]:
        return {"size": 1e-4 * self.field.colors.square().mean()}

    def rays_of_terms(self, render) -> dict[str, int]:
        return {}

    def after_step(self, iteration, batches) -> list[str]:
        return []

    def state_dict(self) -> dict:
        return {"colors": self.field.colors, "optimizer": self.optimizer.state_dict()}

    def check_state(self, state, where) -> None:
        bins = self.config.model.toy_bins
        bins = 2 * bins if len(state["colors"]) == 2 * bins else bins
        schema.tensor((bins, bins, bins, 3))(state["colors"], schema.at(where, "colors"))

    def load_state_dict(self, state) -> None:
        self._use(state["colors"])
        self.optimizer.load_state_dict(state["optimizer"])


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The one line that a new model takes."""
    monkeypatch.setitem(MODELS, "toy", f"{__name__}:ToyOptions")


def train_py(monkeypatch, *words: str) -> int:
    """What `python train.py WORDS` exits with."""
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    return int(stopped.value.code or 0)


def test_a_model_brings_its_options_events_checkpoints_and_pictures(tmp_path, monkeypatch, capsys):
    scene = write_tiny_scene(tmp_path / "scene")
    options = ["--model", "toy", "--datadir", scene, "--basedir", tmp_path, "--n_iters", "6", "--N_vis", "0"]
    options += ["--batch_size", "64", "--s3im_patch_height", "8", "--s3im_patch_width", "8", "--save_every", "2"]
    assert train_py(monkeypatch, *options, "--expname", "whole") == 0
    assert "8 bins" in capsys.readouterr().err
    results = json.loads((tmp_path / "whole" / "results.json").read_text())
    assert (results["model"], results["seed"], results["stopped_at"]) == ("toy", 3, 6)

    assert train_py(monkeypatch, *options, "--expname", "parts", "--stop_at", "2") == 0
    assert train_py(monkeypatch, *options, "--expname", "parts", "--resume") == 0
    whole, parts = (load_checkpoint(tmp_path / name / "checkpoints" / "000006.pt") for name in ("whole", "parts"))
    assert torch.equal(whole["recipe"]["colors"], parts["recipe"]["colors"])

    assert main(["render", str(tmp_path / "whole"), "--out", str(tmp_path / "views")]) == 0
    assert list((tmp_path / "views").glob("depth_*.png"))


def test_its_options_are_in_the_help_and_are_checked(monkeypatch, capsys):
    assert train_py(monkeypatch, "--help") == 0
    help_text = capsys.readouterr().out
    assert "toy: a table of colours by direction" in help_text and "--toy_bins" in help_text
    toy = ["--model", "toy", "--datadir", "x", "--n_iters", "3"]
    assert train_py(monkeypatch, *toy) == 2
    assert "toy_double_at: 3 would never come" in capsys.readouterr().err
    assert train_py(monkeypatch, *toy, "--N_voxel_init", "64") == 2
    assert "toy has toy_bins" in capsys.readouterr().err
    assert train_py(monkeypatch, "--datadir", "x", "--toy_bins", "4") == 2
    assert "is an option of --model toy, and this run is --model tensorf" in capsys.readouterr().err
