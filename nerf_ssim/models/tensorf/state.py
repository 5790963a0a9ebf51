"""What a TensoRF's state in a checkpoint must be, checked before anything is made of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from nerf_ssim.models.parts.optimizers import adam_schema
from nerf_ssim.models.tensorf.field import TensoRF, samples_per_ray
from nerf_ssim.runs import schema
from nerf_ssim.runs.generators import ShapesOnly

if TYPE_CHECKING:
    from nerf_ssim.models.tensorf.recipe import TensorfRecipe

__all__ = ["check_state"]

LARGEST_SIDE = 2**20
ROUNDING = 1e-4  # relative: other machines round what follows from box and resolution otherwise


def check_state(recipe: TensorfRecipe, state: Any, where: str, largest_mask: int) -> None:
    """Raises `Unsound` where `recipe` cannot go on from `state`, which is at `where` of a checkpoint.

    Args:
        largest_mask: voxels of the finest occupancy mask that a run makes after its first.
    """
    model = recipe.config.model
    resolution = schema.list_of(schema.whole(1, LARGEST_SIDE), 3)
    anything: schema.Schema = lambda value, place: None  # noqa: E731 - checked below, by what the others say
    schema.record(
        {
            "field": anything,
            "optimizer": anything,
            "resolution": resolution,
            "mask_resolution": resolution,
            "n_samples": schema.whole(1),
            "rates_start_at": schema.whole(0, recipe.config.run.n_iters),
            "rates_scale": schema.number(0, 1),
        }
    )(state, where)
    n_samples = samples_per_ray(state["resolution"], model.step_ratio, model.nSamples)
    schema.constant(n_samples)(state["n_samples"], schema.at(where, "n_samples"))

    occupancy = {"volume": schema.tensor(state["mask_resolution"], torch.bool), "aabb": schema.box}
    place = schema.at(where, "field")
    schema.record(
        {
            "aabb": schema.box,
            "resolution": resolution,
            "step_size": schema.number(0),
            "full_samples_per_ray": schema.whole(1),
            "near": schema.number(0),
            "far": schema.number(0),
            "weights": anything,
            "occupancy": schema.either_none_or(schema.record(occupancy)),
            "ndc": schema.record({"frame": schema.tensor((3, 4)), "tangents": schema.tensor((2,), low=1e-6)}),
        },
        # Versions before 0.2.0 did not save the first two; the last is there for scenes in NDC.
        optional=("step_size", "full_samples_per_ray", "ndc"),
    )(state["field"], place)
    saved = state["field"]
    if ("ndc" in saved) != model.ndc_ray:
        raise schema.Unsound(schema.at(place, "ndc"), f"does not go with ndc_ray {int(model.ndc_ray)}")
    field = TensoRF(
        model, saved["aabb"], saved["resolution"], near=saved["near"], far=saved["far"], generator=ShapesOnly()
    )
    _check_as_computed(saved, field, place)
    schema.weights_like(field)(saved["weights"], schema.at(place, "weights"))
    adam_schema(recipe.optimizer_of(field))(state["optimizer"], schema.at(where, "optimizer"))
    limits = {"resolution": model.N_voxel_final, "mask_resolution": max(largest_mask, model.N_voxel_final)}
    for name, limit in limits.items():
        if math.prod(state[name]) > max(limit, model.N_voxel_init, math.prod(saved["resolution"])):
            raise schema.Unsound(schema.at(where, name), f"is {list(state[name])}, finer than this run's grids")


def _check_as_computed(saved: dict, field: TensoRF, where: str) -> None:
    """Raises `Unsound` where numbers of `saved` are not those that follow from its box and its resolution."""
    schema.number(saved["near"])(saved["far"], schema.at(where, "far"))
    step, samples = field.step_size, field.full_samples_per_ray
    if "step_size" in saved:
        near_step = schema.number(step * (1 - ROUNDING), step * (1 + ROUNDING))
        near_step(saved["step_size"], schema.at(where, "step_size"))
    if "full_samples_per_ray" in saved:
        slack = 1 + int(samples * ROUNDING)
        near_samples = schema.whole(samples - slack, samples + slack)
        near_samples(saved["full_samples_per_ray"], schema.at(where, "full_samples_per_ray"))
