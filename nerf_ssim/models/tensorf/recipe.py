"""How TensoRF is trained: coarse to fine, with an occupancy mask, exactly as published (Chen et al. 2022; S3IM's fork).

The order inside an iteration is canonical: render, losses, step; then, at the iterations that the options list, mask,
shrink (first mask only), ray filter (second mask only), upsampling.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.datasets.boxes import scaled_box
from nerf_ssim.datasets.scene import Scene
from nerf_ssim.errors import HaltedTraining
from nerf_ssim.models.config import Config
from nerf_ssim.models.parts.occupancy import occupied_box
from nerf_ssim.models.parts.optimizers import (
    FusedAdam,
    crop_moments,
    decay_factor,
    make_adam,
    restore_optimizer,
    set_learning_rates,
)
from nerf_ssim.models.parts.rendering import ColorDraws, Render
from nerf_ssim.models.parts.voxel_grid import VoxelGrid
from nerf_ssim.models.tensorf.field import TensoRF, resolution_for, samples_per_ray
from nerf_ssim.models.tensorf.options import TensorfOptions
from nerf_ssim.models.tensorf.state import check_state
from nerf_ssim.ops.transfer import sent_to
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.rays.filters import all_inside, crosses_box, meets_occupied
from nerf_ssim.rays.ndc import NDC_BOX, Ndc
from nerf_ssim.runs.generators import Generators

__all__ = ["TensorfRecipe"]

MASK_VOXELS_MAX = 256**3  # a finer grid keeps the mask's last resolution below this


class TensorfRecipe:
    """A TensoRF and everything about its training that is not shared with other fields."""

    name = TensoRF.name
    terms: tuple[str, ...] = ("ortho", "l1", "tv_density", "tv_app")
    rates: tuple[str, ...] = ("lr_grids", "lr_decoder")

    def __init__(self, config: Config[TensorfOptions], scene: Scene, generators: Generators) -> None:
        self.config, self.generators = config, generators
        self.has_white_bg = config.data.white_bg or scene.white_bg
        model = config.model
        decay_iters = model.lr_decay_iters if model.lr_decay_iters > 0 else config.run.n_iters
        self.decay = decay_factor(model.lr_decay_target_ratio, decay_iters)
        ndc = Ndc.of_scene(scene) if model.ndc_ray else None
        aabb = torch.tensor(NDC_BOX) if ndc else scaled_box(scene.aabb.cpu(), model.aabb_scale, model.box_about)
        self.resolution = resolution_for(model.N_voxel_init, aabb)
        self.mask_resolution = self.resolution
        self.n_samples = samples_per_ray(self.resolution, model.step_ratio, model.nSamples)
        self.rates_start_at = 0  # the iteration from which the learning rates decay …
        self.rates_scale = 1.0  # … and the share of the initial rates that they decay from
        bounds = {"near": scene.near, "far": scene.far}
        drawn = TensoRF(model, aabb, self.resolution, **bounds, generator=generators["init"], ndc=ndc)
        # Where a checkpoint's field follows, only shapes are made.
        self.field = drawn if generators["init"].device.type == "meta" else drawn.to(config.run.device)
        self.optimizer = self.optimizer_of(self.field)
        self.voxel_counts = upsampling_steps(model.N_voxel_init, model.N_voxel_final, len(model.upsamp_list))

    def prepare(self, batches: PixelBatches) -> None:
        """Before the first iteration: drops training pixels whose ray misses the box. In NDC all stay, as published."""
        if self.field.ndc is not None:
            return
        centres = batches.views.c2w[:, :, 3]
        if not all_inside(centres, self.field.aabb):
            batches.keep_where(lambda rays: crosses_box(rays, self.field.aabb))

    def render(self, rays: Rays, iteration: int) -> Render:
        """The training render: jittered, and on a white background for a whole batch on a fair coin."""
        device = rays.origins.device
        jitter = sent_to(device, self.generators.for_rays("jitter", len(rays)))
        is_white = bool(torch.rand((), generator=self.generators["background"]) < 0.5)
        return self.field.render(
            rays,
            n_samples=self.n_samples,
            jitter=jitter,
            background=float(self.has_white_bg or is_white),
            draws=self._color_draws(jitter),
            with_depth=False,
        )

    def render_test(self, rays: Rays, *, final: bool) -> Render:
        """The test render: no jitter, black background; `final` samples the whole diagonal as the last scoring does."""
        n_samples, count = None if final else self.n_samples, self.config.model.test_color_samples
        draws = ColorDraws(count, torch.full_like(rays.origins[:, 0], 0.5)) if count > 0 else None
        return self.field.render(rays, n_samples=n_samples, background=float(self.has_white_bg), draws=draws)

    def regularizers(self, iteration: int, render: Render, target: Tensor) -> dict[str, Tensor]:
        """Weighted regularisers of the grids by name; those with weight 0 are not computed."""
        model, field = self.config.model, self.field
        has_mask = any(at < iteration for at in model.update_AlphaMask_list)
        l1_weight = model.L1_weight_rest if has_mask else model.L1_weight_inital
        tv_decay = self.decay ** (iteration + 1)  # multiplied before each use, and never reset
        terms: dict[str, Tensor] = {}
        if model.Ortho_weight > 0:
            grids = [grid for grid in (field.density_grid, field.appearance_grid) if not isinstance(grid, VoxelGrid)]
            terms["ortho"] = model.Ortho_weight * reduce(torch.add, (grid.orthogonality() for grid in grids))
        if l1_weight > 0:
            terms["l1"] = l1_weight * field.density_grid.l1()
        if model.TV_weight_density > 0:
            terms["tv_density"] = field.density_grid.total_variation(model.TV_weight_density * tv_decay)
        if model.TV_weight_app > 0:
            terms["tv_app"] = field.appearance_grid.total_variation(model.TV_weight_app * tv_decay)
        return terms

    def rays_of_terms(self, render: Render) -> dict[str, int]:
        """None: every regulariser of TensoRF depends on the grids alone."""
        return {}

    def before_batch(self, iteration: int, batches: PixelBatches) -> list[str]:
        """Nothing: every milestone of TensoRF comes after an update."""
        return []

    def before_step(self, iteration: int) -> dict[str, float]:
        """Sets the learning rates of this iteration and returns them by group."""
        set_learning_rates(self.optimizer, self.decay ** (iteration - self.rates_start_at))
        return {"lr_" + group["name"]: group["lr"] for group in self.optimizer.param_groups}

    def after_step(self, iteration: int, batches: PixelBatches) -> list[str]:
        """Mask, shrink, ray filter and upsampling where they are due; returns what was done, for people."""
        model = self.config.model
        events: list[str] = []
        if iteration in model.update_AlphaMask_list:
            occurrence = model.update_AlphaMask_list.index(iteration)
            events.append(self._refresh_mask(iteration, shrink=occurrence == 0))
            if occurrence == 1 and self.field.ndc is None:
                events.append(self._filter_rays(batches))
        if iteration in model.upsamp_list:
            events.append(self._upsample(iteration, self.voxel_counts[model.upsamp_list.index(iteration)]))
        return events

    def state_dict(self) -> dict:
        """The field, the optimiser and the place in the protocol, as tensors and plain values."""
        return {
            "field": self.field.state(),
            "optimizer": self.optimizer.state_dict(),
            "resolution": self.resolution,
            "mask_resolution": self.mask_resolution,
            "n_samples": self.n_samples,
            "rates_start_at": self.rates_start_at,
            "rates_scale": self.rates_scale,
        }

    def check_state(self, state: Any, where: str) -> None:
        """Raises `Unsound` where `load_state_dict` cannot take `state`; makes nothing."""
        check_state(self, state, where, MASK_VOXELS_MAX)

    def optimizer_of(self, field: TensoRF) -> FusedAdam:
        """A fresh optimiser of a field's parameters, with the rates that are due."""
        model, scale = self.config.model, self.rates_scale
        grids = [*field.density_grid.parameters(), *field.appearance_grid.parameters()]
        decoder = [*field.basis.parameters(), *field.decoder.parameters()]
        return make_adam([("grids", grids, model.lr_init * scale), ("decoder", decoder, model.lr_basis * scale)])

    def load_state_dict(self, state: dict) -> None:
        """Continues where `state` was taken."""
        self.field = TensoRF.restore(self.config.model, state["field"], self.config.run.device)
        self.resolution, self.mask_resolution = list(state["resolution"]), list(state["mask_resolution"])
        self.n_samples = state["n_samples"]
        self.rates_start_at, self.rates_scale = state["rates_start_at"], state["rates_scale"]
        self.optimizer = self.optimizer_of(self.field)
        restore_optimizer(self.optimizer, state["optimizer"])

    def take_over(self, field: dict, iteration: int, batches: PixelBatches | None) -> None:
        """Goes on from a field of another training after `iteration` updates, with an optimiser that starts anew.

        Args:
            field: its state, as `TensoRF.state` gives it.
            batches: the training pixels, which lose those that the second mask drops where it is past.
        """
        model, own = self.config.model, self.field.state()
        coordinates = {"ndc": own["ndc"]} if "ndc" in own else {}  # a published checkpoint doesn't say which it has
        self.field = TensoRF.restore(model, field | coordinates, self.config.run.device)
        self.resolution = self.field.resolution
        occupancy = self.field.occupancy
        self.mask_resolution = self.resolution if occupancy is None else list(occupancy.volume.shape)
        self.n_samples = samples_per_ray(self.resolution, model.step_ratio, model.nSamples)
        for upsampled_at in (at for at in model.upsamp_list if at < iteration):
            self._restart_rates(upsampled_at)
        self.optimizer = self.optimizer_of(self.field)
        if (
            batches is not None
            and occupancy is not None
            and self.field.ndc is None
            and sum(at < iteration for at in model.update_AlphaMask_list) > 1
        ):
            self._filter_rays(batches)

    def _color_draws(self, jitter: Tensor) -> ColorDraws | None:
        count = self.config.model.color_samples
        if count == 0:
            return None
        drawn = self.generators.for_rays("colors", len(jitter))
        return ColorDraws(count, sent_to(jitter.device, drawn))

    def _refresh_mask(self, iteration: int, *, shrink: bool) -> str:
        if volume_of(self.resolution) < MASK_VOXELS_MAX:
            self.mask_resolution = self.resolution
        occupancy = self.field.refresh_occupancy(self.mask_resolution)
        box = occupied_box(occupancy)
        if box is None:
            raise HaltedTraining(
                f"iteration {iteration}: the occupancy mask is empty, so there is nothing left to render",
                lower=("alpha_mask_thre",),
                anew="a later --update_AlphaMask_list",
            )
        share = occupancy.volume.float().mean().item()
        event = f"mask {'x'.join(map(str, self.mask_resolution))}: {share:.1%} occupied"
        if shrink:
            crop = self.field.shrink(box)
            crop_moments(self.optimizer, crop.replaced, crop.kept)
            event += f", box shrunk to {'x'.join(map(str, self.field.resolution))} cells"
        return event

    def _filter_rays(self, batches: PixelBatches) -> str:
        field = self.field
        march = (field.aabb, field.near, field.far, field.step_size, field.full_samples_per_ray, field.occupancy)
        share = batches.keep_where(lambda rays: meets_occupied(rays, *march))
        return f"ray filter keeps {share:.1%} of the training pixels"

    def _upsample(self, iteration: int, n_voxels: int) -> str:
        model = self.config.model
        self.resolution = resolution_for(n_voxels, self.field.aabb)
        self.n_samples = samples_per_ray(self.resolution, model.step_ratio, model.nSamples)
        self.field.upsample(self.resolution)
        self._restart_rates(iteration)
        self.optimizer = self.optimizer_of(self.field)  # moments start anew, the MLP's too
        return f"upsampled to {'x'.join(map(str, self.resolution))}, {self.n_samples} samples a ray"

    def _restart_rates(self, iteration: int) -> None:
        """Learning rates start anew after the upsampling of an iteration."""
        model = self.config.model
        if not model.lr_upsample_reset:
            self.rates_scale = model.lr_decay_target_ratio ** (iteration / self.config.run.n_iters)
        self.rates_start_at = iteration + 1


def upsampling_steps(n_init: int, n_final: int, n_steps: int) -> list[int]:
    """Voxel counts of the upsamplings: geometric from `n_init` (excluded) to `n_final`, in float32 as published."""
    # The published code takes the logarithms in float64 and the linspace and exp in float32.
    first, last = torch.tensor([n_init, n_final], dtype=torch.float64).log().tolist()
    return torch.linspace(first, last, n_steps + 1).exp().round().long().tolist()[1:]


def volume_of(resolution: list[int]) -> int:
    """Number of grid corners."""
    return resolution[0] * resolution[1] * resolution[2]
