"""Fields here as the published programs save theirs: TensoRF's `.th` and DVGO's `.tar`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch


def save_tensorf(field, path: Path) -> None:
    """The field of a TensoRF on a VM or a CP grid."""
    settings, weights = field.settings, {"basis_mat.weight": field.basis.weight}
    for theirs, grid in (("density", field.density_grid), ("app", field.appearance_grid)):
        lines = list(grid.lines) if settings.grid == "vm" else list(grid.lines)[::-1]
        for m, line in enumerate(lines):
            weights[f"{theirs}_line.{m}"] = line.T[None, :, :, None]
        for m, plane in enumerate(getattr(grid, "planes", ())):
            weights[f"{theirs}_plane.{m}"] = plane.permute(2, 0, 1)[None]
    for index, layer in enumerate(getattr(field.decoder, "layers", ())):
        weights[f"renderModule.mlp.{2 * index}.weight"] = layer.weight
        weights[f"renderModule.mlp.{2 * index}.bias"] = layer.bias
    kwargs = {
        "aabb": field.aabb,
        "gridSize": list(field.resolution),
        "density_n_comp": list(settings.n_lamb_sigma),
        "appearance_n_comp": list(settings.n_lamb_sh),
        "app_dim": settings.data_dim_color,
        "density_shift": settings.density_shift,
        "alphaMask_thres": settings.alpha_mask_thre,
        "distance_scale": settings.distance_scale,
        "rayMarch_weight_thres": settings.rayMarch_weight_thres,
        "fea2denseAct": settings.fea2denseAct,
        "near_far": [field.near, field.far],
        "step_ratio": settings.step_ratio,
        **{name: getattr(settings, name) for name in ("shadingMode", "pos_pe", "view_pe", "fea_pe", "featureC")},
    }
    record = {"kwargs": kwargs, "state_dict": {name: value.detach().clone() for name, value in weights.items()}}
    if field.occupancy is not None:
        volume = field.occupancy.volume.permute(2, 1, 0)[None, None].numpy()
        record["alphaMask.shape"] = volume.shape
        record["alphaMask.mask"] = np.packbits(volume.reshape(-1))
        record["alphaMask.aabb"] = field.occupancy.aabb
    torch.save(record, path)


def save_dvgo(recipe, path: Path, step: int) -> None:
    """The field and the optimiser of a DVGO's present stage, after `step` of its updates."""
    field, settings = recipe.field, recipe.field.settings
    is_contracted = hasattr(field, "bg_len")
    low, high = field.aabb
    weights = {"act_shift": torch.tensor([field.shift])}
    if is_contracted:
        weights |= {"scene_center": (low + high) / 2, "scene_radius": (high - low) / 2}
        low, high = torch.full((3,), -1.0 - field.bg_len), torch.full((3,), 1.0 + field.bg_len)
    scale = (torch.tensor(field.mask.shape) - 1) / (high - low)
    weights |= {"xyz_min": low, "xyz_max": high, "mask_cache.mask": field.mask}
    weights |= {"mask_cache.xyz2ijk_scale": scale, "mask_cache.xyz2ijk_shift": -low * scale}
    for name, grid in (("density", field.density), ("k0", field.k0)):
        weights[f"{name}.grid"] = grid.values.permute(3, 0, 1, 2)[None]
    layers = list(getattr(field.rgbnet, "layers", ()))
    for index, layer in enumerate(layers):
        middle = ".0" if 0 < index < len(layers) - 1 else ""
        place = 0 if index == 0 else index + 1
        weights[f"rgbnet.{place}{middle}.weight"], weights[f"rgbnet.{place}{middle}.bias"] = layer.weight, layer.bias
    kwargs = {
        "xyz_min": low.numpy(),
        "xyz_max": high.numpy(),
        "num_voxels": field.num_voxels,
        "num_voxels_base": settings.num_voxels_base,
        "alpha_init": settings.alpha_init,
        "fast_color_thres": recipe.threshold,
        "density_type": "DenseGrid",
        "k0_type": "DenseGrid",
        "rgbnet_dim": settings.rgbnet_dim,
        "rgbnet_depth": settings.rgbnet_depth,
        "rgbnet_width": settings.rgbnet_width,
        "viewbase_pe": settings.viewbase_pe,
    }
    states, groups, number = {}, [], 0
    for group in recipe.optimizer.param_groups:
        groups.append({"params": []})
        for parameter in group["params"]:
            state = recipe.optimizer.state.get(parameter)
            if state:
                moments = {key: state[key] for key in ("exp_avg", "exp_avg_sq")}
                if parameter.dim() == 4:
                    moments = {key: value.permute(3, 0, 1, 2)[None] for key, value in moments.items()}
                states[number] = {"step": int(state["step"]), **moments}
            groups[-1]["params"].append(number)
            number += 1
    record = {
        "global_step": step,
        "model_kwargs": kwargs,
        "model_state_dict": {name: value.detach().clone() for name, value in weights.items()},
        "optimizer_state_dict": {"state": states, "param_groups": groups},
    }
    torch.save(record, path)
