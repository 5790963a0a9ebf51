"""Checkpoints of the published TensoRF (`.th`): TensorVMSplit and TensorCP, with or without an alpha mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from nerf_ssim.models.config import Config
from nerf_ssim.models.imported import ForeignModel, ForeignRecord
from nerf_ssim.models.tensorf.recipe import TensorfRecipe
from nerf_ssim.rays.batches import PixelBatches

__all__ = ["ForeignTensorf", "read"]

_NAMES = {  # of an option here, in the published checkpoint
    "data_dim_color": "app_dim",
    "density_shift": "density_shift",
    "alpha_mask_thre": "alphaMask_thres",
    "distance_scale": "distance_scale",
    "rayMarch_weight_thres": "rayMarch_weight_thres",
    "step_ratio": "step_ratio",
    "pos_pe": "pos_pe",
    "view_pe": "view_pe",
    "fea_pe": "fea_pe",
    "featureC": "featureC",
}


@dataclass(frozen=True)
class ForeignTensorf(ForeignModel):
    """A published TensoRF. Its file has neither an optimiser nor a number of updates.

    Attributes:
        field: the state of the field here, as `TensoRF.state` gives it.
    """

    program: ClassVar[str] = "TensoRF"
    field: Mapping[str, Any]

    def iteration(self, config: Config[Any]) -> int | None:
        """None: the file does not say."""
        return None

    def fitted(self, config: Config[Any]) -> Config[Any]:
        """The configuration with this checkpoint's field."""
        return config.replace(**self.options)

    def install(self, recipe: TensorfRecipe, batches: PixelBatches | None, iteration: int) -> None:
        """The field, a fresh optimiser, and the place in the schedule after `iteration` updates."""
        recipe.take_over(dict(self.field), iteration, batches)


def read(record: ForeignRecord) -> ForeignTensorf | None:
    """The TensoRF in a record, or None where it is no TensoRF.

    Raises:
        CheckpointError: a damaged record, or one of the TensorVM model, which is not here.
    """
    if not record.has("kwargs", "state_dict"):
        return None
    kwargs, weights = record.group("kwargs"), record.group("state_dict")
    if weights.has("plane_coef"):
        raise record.refuse(
            "is a TensorVM, whose planes and lines lie in one tensor each; TensorVMSplit and TensorCP are read"
        )
    is_vm = any(name.startswith("density_plane.") for name in weights.values)
    options: dict[str, Any] = {"model": "tensorf", "grid": "vm" if is_vm else "cp"}
    options |= {option: kwargs.number(name) for option, name in _NAMES.items()}
    options |= {name: kwargs.get(name, str) for name in ("shadingMode", "fea2denseAct")}
    n_comp = "n_lamb_sigma", "density_n_comp"
    for option, name in (n_comp, ("n_lamb_sh", "appearance_n_comp")):
        options[option] = kwargs.get(name, (list, tuple))
    aabb = kwargs.tensor("aabb", 2, 3).float()
    near, far = kwargs.get("near_far", (list, tuple))
    field: dict[str, Any] = {
        "aabb": aabb,
        "resolution": list(kwargs.get("gridSize", (list, tuple))),
        "near": float(near),
        "far": float(far),
        "weights": _grids(weights, is_vm) | _decoder(weights),
        "occupancy": _occupancy(record) if record.has("alphaMask.mask") else None,
    }
    return ForeignTensorf(
        path=record.path,
        options=options,
        aabb=aabb,
        near=float(near),
        far=float(far),
        resolution=tuple(field["resolution"]),
        trained=None,
        field=field,
    )


def _grids(weights: ForeignRecord, is_vm: bool) -> dict[str, Tensor]:
    """Planes `[1, C, v, u]` and lines `[1, C, n, 1]` with their channels last, and the basis."""
    grids: dict[str, Tensor] = {"basis.weight": weights.tensor("basis_mat.weight", None, None)}
    for ours, theirs in (("density_grid", "density"), ("appearance_grid", "app")):
        for m in range(3):
            if is_vm:
                plane = weights.tensor(f"{theirs}_plane.{m}", 1, None, None, None)[0]
                grids[f"{ours}.planes.{m}"] = plane.permute(1, 2, 0).contiguous()
            line = weights.tensor(f"{theirs}_line.{m}", 1, None, None, 1)[0, :, :, 0].T.contiguous()
            # Published lines are along z, y and x; those of a CP grid here are along x, y and z.
            grids[f"{ours}.lines.{m if is_vm else 2 - m}"] = line
    return grids


def _decoder(weights: ForeignRecord) -> dict[str, Tensor]:
    """The layers of the colour network, which are every second module of a published one; none for SH and RGB."""
    layers = {}
    for name in weights.values:
        if name.startswith("renderModule.mlp."):
            index, _, kind = name.removeprefix("renderModule.mlp.").partition(".")
            axes = (None, None) if kind == "weight" else (None,)
            layers[f"decoder.layers.{int(index) // 2}.{kind}"] = weights.tensor(name, *axes)
    return layers


def _occupancy(record: ForeignRecord) -> dict[str, Tensor]:
    """The alpha mask: bits packed in the order z, y, x."""
    shape = record.get("alphaMask.shape", (tuple, list))
    bits = record.tensor("alphaMask.mask", None)
    sides = [int(side) for side in shape[-3:]]
    count = sides[0] * sides[1] * sides[2] if len(sides) == 3 else 0
    if bits.dtype != torch.uint8 or not 0 < count <= 8 * bits.numel() < count + 8:
        raise record.refuse(f"alphaMask.mask has {bits.numel()} bytes, which do not fill a mask of {tuple(shape)}")
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8)
    volume = ((bits[:, None] >> shifts) & 1).view(-1)[:count].view(sides).bool()
    return {"volume": volume.permute(2, 1, 0).contiguous(), "aabb": record.tensor("alphaMask.aabb", 2, 3).float()}
