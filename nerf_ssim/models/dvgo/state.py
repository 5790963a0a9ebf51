"""What a DVGO's state in a checkpoint must be, checked before anything is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nerf_ssim.models.dvgo.field import MASK_VOXELS_MAX
from nerf_ssim.models.parts.optimizers import adam_schema
from nerf_ssim.runs import schema

if TYPE_CHECKING:
    from nerf_ssim.models.dvgo.recipe import DvgoRecipe

__all__ = ["check_state"]


def check_state(recipe: DvgoRecipe, state: Any, where: str) -> None:
    """Raises `Unsound` where `recipe` cannot go on from `state`, which is at `where` of a checkpoint.

    The recipe takes over the state's stage and box, and a field of them without memory.
    """
    anything: schema.Schema = lambda value, place: None  # noqa: E731 - checked below, by what the others say
    schema.record(
        {
            "field": anything,
            "optimizer": anything,
            "stage": schema.whole(0, len(recipe.stages) - 1),
            "scalings_done": schema.whole(0),
            "rates_start_at": schema.whole(0, recipe.config.run.n_iters),
            "threshold": schema.number(0, 1),
        }
    )(state, where)
    stage = recipe.stages[state["stage"]]
    schema.whole(0, len(stage.scalings))(state["scalings_done"], schema.at(where, "scalings_done"))
    place = schema.at(where, "field")
    schema.record(
        {
            "aabb": schema.box,
            "num_voxels": schema.constant(stage.voxels_from(state["scalings_done"])),
            "shift": schema.number(),
            "weights": anything,
            "occupancy": schema.record({"volume": anything, "aabb": schema.box}),
        }
    )(state["field"], place)
    field = recipe.sketch(state)
    schema.weights_like(field)(state["field"]["weights"], schema.at(place, "weights"))
    _check_mask(state["field"]["occupancy"]["volume"], schema.at(place, "occupancy.volume"))
    adam_schema(recipe.optimizer)(state["optimizer"], schema.at(where, "optimizer"))


def _check_mask(volume: Any, where: str) -> None:
    """A mask has a resolution of its own: a fine grid keeps the one that it had, and an imported one brings its own."""
    is_volume = isinstance(volume, torch.Tensor) and volume.dim() == 3 and 0 < volume.numel() <= MASK_VOXELS_MAX
    schema.tensor(volume.shape if is_volume else (1, 1, 1), torch.bool)(volume, where)
