"""Checkpoints of the published DVGO (`.tar`): the coarse and the fine bounded model, and the contracted one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from nerf_ssim.models.config import Config
from nerf_ssim.models.dvgo.recipe import DvgoRecipe
from nerf_ssim.models.dvgo.stages import Stage, coarse_stage, fine_stage
from nerf_ssim.models.imported import ForeignModel, ForeignRecord
from nerf_ssim.rays.batches import PixelBatches

__all__ = ["ForeignDvgo", "read"]

UNKNOWN_FAR = 100.0  # a box says where it ends; its file does not say the scene's far
Moments = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class ForeignDvgo(ForeignModel):
    """A published DVGO.

    Attributes:
        is_coarse: whether it is of a bounded run's coarse stage.
        num_voxels: of its grid, which may have scalings before it.
        threshold: the opacity from which its samples counted last.
        field: the state of the field here, as `VoxelField.state` gives it.
        moments: of the optimiser, by the name of the parameter here.
    """

    program: ClassVar[str] = "DVGO"
    is_coarse: bool
    num_voxels: int
    threshold: float
    field: Mapping[str, Any]
    moments: Moments

    @property
    def bundled_config(self) -> str | None:
        """The bounded model's options; the contracted one's are the defaults."""
        return None if self.options["unbounded_inward"] else "dvgo_bounded.txt"

    def iteration(self, config: Config[Any]) -> int | None:
        """The stage's own updates, and those of the stage before it."""
        return None if self.trained is None else self._stage(config).starts_at + self.trained

    def fitted(self, config: Config[Any]) -> Config[Any]:
        """The configuration with this checkpoint's field; a schedule that never has its grid ends with this grid."""
        fitted = config.replace(**self.options)
        if self._scalings_done(fitted) is not None:
            return fitted
        if self.is_coarse:
            return fitted.replace(coarse_num_voxels=self.num_voxels)
        return fitted.replace(num_voxels=self.num_voxels, pg_scale=())

    def install(self, recipe: DvgoRecipe, batches: PixelBatches | None, iteration: int) -> None:
        """The field, its optimiser's moments, and the place in the schedule after `iteration` updates."""
        scalings = self._scalings_done(recipe.config)
        assert scalings is not None
        stage = 0 if self.is_coarse else len(recipe.stages) - 1
        recipe.take_over(dict(self.field), stage, scalings, iteration, batches)
        recipe.threshold = self.threshold
        parameters = dict(recipe.field.named_parameters())
        for name, state in self.moments.items():
            parameter = parameters[name]
            recipe.optimizer.state[parameter].update({key: value.to(parameter.device) for key, value in state.items()})

    def _stage(self, config: Config[Any]) -> Stage:
        return coarse_stage(config.model) if self.is_coarse else fine_stage(config.model)

    def _scalings_done(self, config: Config[Any]) -> int | None:
        stage = self._stage(config)
        counts = [stage.voxels_from(done) for done in range(len(stage.scalings) + 1)]
        return counts.index(self.num_voxels) if self.num_voxels in counts else None


def read(record: ForeignRecord) -> ForeignDvgo | None:
    """The DVGO in a record, or None where it is no DVGO.

    Raises:
        CheckpointError: a damaged record, or a variant of the model that is not here.
    """
    if not record.has("model_kwargs", "model_state_dict"):
        return None
    kwargs, weights = record.group("model_kwargs"), record.group("model_state_dict")
    _refuse_variants(kwargs)
    is_contracted = weights.has("scene_center", "scene_radius")
    density = weights.tensor("density.grid", 1, 1, None, None, None)
    features = weights.tensor("k0.grid", 1, None, None, None, None)
    has_network = any(name.startswith("rgbnet.") for name in weights.values)
    is_direct = bool(kwargs.get("rgbnet_direct", bool, True))
    is_coarse = not is_contracted and not has_network
    grids = {"density.values": _channels_last(density), "k0.values": _channels_last(features)}
    parameters = _parameters(weights, is_direct)
    low, high = weights.tensor("xyz_min", 3), weights.tensor("xyz_max", 3)
    aabb = torch.stack([low, high])
    options: dict[str, Any] = {"model": "dvgo", "grid": "dense", "unbounded_inward": is_contracted}
    if is_contracted:
        centre, radius = weights.tensor("scene_center", 3), weights.tensor("scene_radius", 3)
        aabb = torch.stack([centre - radius, centre + radius])
        options["bg_len"] = round(float(high[0]) - 1, 6)  # in single precision there
    num_voxels, threshold = kwargs.get("num_voxels", int), kwargs.number("fast_color_thres")
    alpha_init = kwargs.number("alpha_init")
    if is_coarse:
        options |= {"coarse_alpha_init": alpha_init}
    else:
        options |= {"alpha_init": alpha_init, "num_voxels_base": kwargs.get("num_voxels_base", int)}
        options |= {"rgbnet_dim": features.shape[1] if has_network else 0, "rgbnet_direct": is_direct}
    if has_network:
        options |= {"rgbnet_depth": kwargs.get("rgbnet_depth", int), "rgbnet_width": kwargs.get("rgbnet_width", int)}
        options["viewbase_pe"] = kwargs.get("viewbase_pe", int, 4)
    field = {
        "aabb": aabb,
        "num_voxels": num_voxels,
        "shift": weights.number("act_shift"),
        "weights": grids | {name: tensor for name, tensor in parameters.items()},
        "occupancy": {"volume": _mask(weights, low, high), "aabb": aabb},
    }
    trained = record.get("global_step", int) if record.has("global_step") else None
    moments = _moments(record, {"density.values": density, "k0.values": features} | parameters)
    return ForeignDvgo(
        path=record.path,
        options=options,
        aabb=aabb,
        near=0.0,
        far=UNKNOWN_FAR,
        resolution=tuple(density.shape[2:]),
        trained=trained,
        is_coarse=is_coarse,
        num_voxels=num_voxels,
        threshold=threshold,
        field=field,
        moments=moments,
    )


def _refuse_variants(kwargs: ForeignRecord) -> None:
    """Refuses what is not the model here, by the name of its setting."""
    wanted = {
        "density_type": "DenseGrid",
        "k0_type": "DenseGrid",
        "contracted_norm": "l2",
        "rgbnet_full_implicit": False,
    }
    for name, value in wanted.items():
        if kwargs.values.get(name, value) != value:
            raise kwargs.refuse(f"model_kwargs.{name} is {kwargs.values[name]!r}, and {value!r} is read here")
    if kwargs.has("mpi_depth") and not kwargs.has("num_voxels_base"):
        raise kwargs.refuse("is a model of multiplane images (DMPIGO), which is not here")


def _channels_last(grid: Tensor) -> Tensor:
    """`[1, C, X, Y, Z]` as `[X, Y, Z, C]`."""
    return grid[0].permute(1, 2, 3, 0).contiguous()


def _parameters(weights: ForeignRecord, is_direct: bool) -> dict[str, Tensor]:
    """The colour network's parameters by their names here; published layers are numbered with gaps."""
    prefix = "rgbnet.layers" if is_direct else "rgbnet.network.layers"
    names = [name for name in weights.values if name.startswith("rgbnet.")]
    indices = sorted({int(name.split(".")[1]) for name in names})
    return {
        f"{prefix}.{indices.index(int(name.split('.')[1]))}.{name.rsplit('.', 1)[1]}": weights.tensor(
            name, *((None, None) if name.endswith("weight") else (None,))
        )
        for name in names
    }


def _mask(weights: ForeignRecord, low: Tensor, high: Tensor) -> Tensor:
    """The mask `[X, Y, Z]`, which must be over the grid's own box."""
    mask = weights.tensor("mask_cache.mask", None, None, None).bool()
    scale = (torch.tensor(mask.shape) - 1) / (high - low)
    given = weights.values.get("mask_cache.xyz2ijk_scale")
    rounding = torch.finfo(given.dtype).eps if isinstance(given, Tensor) and given.is_floating_point() else 0.0
    exactness = max(1e-4, 4 * rounding)  # of a checkpoint that was saved in half precision, less
    has_box = torch.allclose(weights.tensor("mask_cache.xyz2ijk_scale", 3), scale, rtol=exactness)
    shift = weights.tensor("mask_cache.xyz2ijk_shift", 3)
    if not has_box or not torch.allclose(shift, -low * scale, rtol=10 * exactness, atol=1e-3):
        raise weights.refuse("its mask is over another box than its grid, which is not read here")
    return mask


def _moments(record: ForeignRecord, parameters: Mapping[str, Tensor]) -> Moments:
    """The optimiser's state by parameter: published parameters have numbers, in the order of the groups."""
    if not record.has("optimizer_state_dict"):
        return {}
    optimizer = record.group("optimizer_state_dict")
    states = optimizer.get("state", dict)
    numbers = [n for group in optimizer.get("param_groups", list) for n in group.get("params", ())]
    moments: dict[str, dict[str, Tensor]] = {}
    waiting = list(parameters)
    for number in numbers:
        if number not in states:
            continue
        state = ForeignRecord(record.path, states[number], f"optimizer_state_dict.state.{number}.")
        shape = tuple(state.get("exp_avg", Tensor).shape)
        name = next((name for name in waiting if tuple(parameters[name].shape) == shape), None)
        if name is None:
            raise record.refuse(f"its optimiser has a parameter of shape {shape}, which its model has not")
        waiting = waiting[waiting.index(name) + 1 :]
        pair = {key: state.tensor(key, *shape) for key in ("exp_avg", "exp_avg_sq")}
        if len(shape) == 5:
            pair = {key: _channels_last(value) for key, value in pair.items()}
        moments[name] = {"step": torch.tensor(state.number("step")), **pair}
    return moments
