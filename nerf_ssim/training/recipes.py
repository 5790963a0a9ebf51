"""Which recipe trains which model. A new field is a file beside this one and a line in `RECIPES`."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from nerf_ssim.config import Config
from nerf_ssim.datasets.scene import Scene
from nerf_ssim.errors import ConfigError
from nerf_ssim.fields.rendering import Render
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.training.dvgo_recipe import DvgoRecipe
from nerf_ssim.training.generators import Generators
from nerf_ssim.training.tensorf_recipe import TensorfRecipe

__all__ = ["RECIPES", "Recipe", "make_recipe"]


class Recipe(Protocol):
    """What a model brings to the shared loop: its field, its optimiser, and what happens around a step.

    `terms` and `rates` name all that `regularizers` and `before_step` may return, in the order of the log's columns.
    """

    name: str
    terms: tuple[str, ...]
    rates: tuple[str, ...]
    field: nn.Module
    optimizer: torch.optim.Optimizer

    def prepare(self, batches: PixelBatches) -> None:
        """Called once before the first iteration of a fresh run."""

    def before_batch(self, iteration: int, batches: PixelBatches) -> list[str]:
        """Milestones that come before the batch of an iteration is drawn; one line each for people."""

    def before_step(self, iteration: int) -> dict[str, float]:
        """Sets learning rates (and whatever else goes by iteration); returns the rates by column name."""

    def render(self, rays: Rays, iteration: int) -> Render:
        """The training render of a batch."""

    def regularizers(self, iteration: int, render: Render, target: Tensor) -> dict[str, Tensor]:
        """Weighted loss terms of the model's own, of its training render and the colours `[rays, 3]` it should have."""

    def after_step(self, iteration: int, batches: PixelBatches) -> list[str]:
        """Milestones (mask, shrink, filter, upsampling …) that are due after an update; one line each for people."""

    def render_test(self, rays: Rays, *, final: bool) -> Render:
        """The deterministic render of test rays."""

    def state_dict(self) -> dict:
        """Tensors and plain values from which `load_state_dict` continues bit for bit."""

    def load_state_dict(self, state: dict) -> None:
        """Continues where `state` was taken."""


RECIPES: dict[str, type] = {recipe.name: recipe for recipe in (TensorfRecipe, DvgoRecipe)}


def make_recipe(config: Config, scene: Scene, generators: Generators) -> Recipe:
    """The recipe of `config.model.model` for a scene."""
    if config.model.model not in RECIPES:
        raise ConfigError(f"--model {config.model.model} is unknown: use one of {', '.join(RECIPES)}")
    return RECIPES[config.model.model](config, scene, generators)
