"""What a model brings to the shared training loop."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from nerf_ssim.datasets.scene import Scene
from nerf_ssim.models.config import Config
from nerf_ssim.models.options import ModelOptions
from nerf_ssim.models.parts.rendering import Render
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.runs.generators import Generators

__all__ = ["Recipe", "continued_recipe", "make_recipe"]

R = TypeVar("R", bound=Render)


class Recipe(Protocol[R]):
    """What a model brings to the shared loop: its field, its optimiser, and what happens around a step.

    `R` is the kind of its training renders.

    `terms` and `rates` name all that `regularizers` and `before_step` may return, in the order of the log's columns.
    """

    name: str
    terms: tuple[str, ...]
    rates: tuple[str, ...]

    @property
    def field(self) -> nn.Module:
        """What is trained."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What updates it; a milestone may replace it."""

    def __init__(self, config: Config[Any], scene: Scene, generators: Generators) -> None:
        """The field and its optimiser at the start of a run."""

    def prepare(self, batches: PixelBatches) -> None:
        """Called once before the first iteration of a fresh run."""

    def before_batch(self, iteration: int, batches: PixelBatches) -> list[str]:
        """Milestones that come before the batch of an iteration is drawn; one line each for people."""

    def before_step(self, iteration: int) -> dict[str, float]:
        """Sets learning rates (and whatever else goes by iteration); returns the rates by column name."""

    def render(self, rays: Rays, iteration: int) -> R:
        """The training render of a batch."""

    def regularizers(self, iteration: int, render: R, target: Tensor) -> dict[str, Tensor]:
        """Weighted loss terms of the model's own, of its training render and the colours `[rays, 3]` it should have."""

    def rays_of_terms(self, render: R) -> dict[str, int]:
        """Of each regulariser that is a mean over rays, over how many of the render's, counted from its first.

        The others depend on the field alone. Several processes make the batch's terms from theirs by this.
        """

    def after_step(self, iteration: int, batches: PixelBatches) -> list[str]:
        """Milestones (mask, shrink, filter, upsampling …) that are due after an update; one line each for people."""

    def render_test(self, rays: Rays, *, final: bool) -> Render:
        """The deterministic render of test rays."""

    def state_dict(self) -> dict:
        """Tensors and plain values from which `load_state_dict` continues bit for bit."""

    def check_state(self, state: Any, where: str) -> None:
        """Raises `runs.schema.Unsound`, which names the key, where `load_state_dict` cannot take `state`.

        `where` is the state's own place in a checkpoint. Nothing is allocated by what `state` says: the field to
        compare with is made with generators of shapes alone (`Generators.shapes_only`).
        """

    def load_state_dict(self, state: dict) -> None:
        """Continues where `state` was taken."""


def make_recipe(config: Config[ModelOptions], scene: Scene, generators: Generators) -> Recipe:
    """The recipe that the model's options ask for, for a scene."""
    return config.model.recipe()(config, scene, generators)


def continued_recipe(config: Config[ModelOptions], scene: Scene, generators: Generators, state: dict) -> Recipe:
    """The recipe that continues where `state`, the entry `recipe` of a checkpoint, was taken.

    Raises:
        Unsound: the state does not fit the options; nothing was made of it then.
    """
    with generators.shapes_only():  # the field at the start of the run is not needed
        recipe = make_recipe(config, scene, generators)
        recipe.check_state(state, "recipe")
    recipe.load_state_dict(state)
    return recipe
