"""How DVGO is trained (Sun et al. 2022; S3IM's fork): contracted, or bounded in a coarse and then a fine stage.

The order of an update is canonical: mask refresh, scaling, batch, render, losses, step. Steps count from 1 here, as in
the published code, so that step s is iteration s - 1 of its stage.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nerf_ssim.config import Config
from nerf_ssim.datasets.scene import Scene
from nerf_ssim.fields.dvgo import VoxelField, VoxelRender
from nerf_ssim.fields.dvgo_bounded import BoundedDVGO
from nerf_ssim.fields.dvgo_contracted import ContractedDVGO
from nerf_ssim.fields.voxel_grid import VoxelGrid
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.rays.bounds import camera_cube, frustum_box
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.training.dvgo_coarse import fine_box, watch_views
from nerf_ssim.training.dvgo_losses import background_entropy, distortion, point_color_error
from nerf_ssim.training.dvgo_stages import stages_of
from nerf_ssim.training.generators import Generators
from nerf_ssim.training.optimizers import set_learning_rates
from nerf_ssim.training.voxel_optimizer import VoxelAdam, VoxelGroup

__all__ = ["DvgoRecipe"]

NEAR_CLIP = 0.05  # the points that span the contracted model's cube are this far in front of the cameras
MASK_EVERY, MASK_FIRST = 1000, 500  # the mask is refreshed before steps 500, 1500 …
NEIGHBOURS = 6
VOXELS_PER_TV_UNIT = 128  # weights of total variation are meant for a grid of this side


class DvgoRecipe:
    """A DVGO and everything about its training that is not shared with other fields."""

    name = VoxelField.name
    terms = ("distortion", "entropy_last", "rgbper")
    rates = ("lr_density", "lr_k0", "lr_rgbnet")

    def __init__(self, config: Config, scene: Scene, generators: Generators) -> None:
        self.config, self.scene, self.generators = config, scene, generators
        self.stages = stages_of(config)
        self.stage = self.stages[0]
        self.scalings_done = 0
        self.rates_start_at = self.stage.starts_at  # the iteration from which the learning rates decay
        self.threshold = self.stage.threshold_at(0)  # of the last step, which masks are made with
        if config.dvgo.unbounded_inward:
            aabb = camera_cube(scene.train, NEAR_CLIP)
        else:
            aabb = frustum_box(scene.train, scene.near, scene.far)
        self.field = self._make_field(aabb)
        self.optimizer = self._make_optimizer()

    def prepare(self, batches: PixelBatches) -> None:
        """Before the first iteration: the coarse stage looks at which voxels the cameras see."""
        if len(self.stages) == 1:
            return
        batches.draw_with_replacement()
        dvgo, views = self.config.dvgo, self.scene.train
        if dvgo.maskout_near_cam_vox:
            self.field.hide_near(views.c2w[:, :, 3], self.scene.near)
        if dvgo.pervoxel_lr:
            rates = watch_views(self.field, views)
            self.optimizer.set_rates(self.field.density.values, rates)

    def before_batch(self, iteration: int, batches: PixelBatches) -> list[str]:
        """The fine stage's start, mask refresh and scaling where they are due; returns what was done, for people."""
        events: list[str] = []
        if self.stage is not self.stages[-1] and iteration == self.stages[-1].starts_at:
            events.append(self._begin_fine_stage(iteration, batches))
        step = self.stage.step_of(iteration)
        if step % MASK_EVERY == MASK_FIRST:
            self.field.refresh_mask(self.threshold)
            events.append(f"mask: {self.field.mask.float().mean().item():.1%} occupied")
        if step in self.stage.scalings:
            events.append(self._scale(iteration, self.stage.scalings.index(step) + 1))
        return events

    def before_step(self, iteration: int) -> dict[str, float]:
        """Sets this iteration's threshold, learning rates and total variation; returns the rates by column name."""
        step = self.stage.step_of(iteration)
        self.threshold = self.stage.threshold_at(step)
        decay_iters = self.config.dvgo.lrate_decay * 1000
        set_learning_rates(self.optimizer, 0.1 ** ((iteration - self.rates_start_at) / decay_iters))
        self._set_total_variation(step)
        return {"lr_" + group["name"]: group["lr"] for group in self.optimizer.param_groups}

    def render(self, rays: Rays, iteration: int) -> VoxelRender:
        """The training render: nothing is jittered; behind each ray is a random colour, or the tests' background."""
        background: Tensor | float = float(self.config.data.white_bg)
        if self.config.dvgo.rand_bkgd:
            shape, device = (len(rays), 3), rays.origins.device
            background = torch.rand(shape, generator=self.generators["background"], device=device)
        return self.field.render(rays, threshold=self.threshold, background=background)

    def render_test(self, rays: Rays, *, final: bool) -> VoxelRender:
        """The test render, which samples as training does; colours are clamped to [0, 1]."""
        render = self.field.render(rays, threshold=self.threshold, background=float(self.config.data.white_bg))
        return replace(render, rgb=render.rgb.clamp(0, 1))

    def regularizers(self, iteration: int, render: VoxelRender, target: Tensor) -> dict[str, Tensor]:
        """Weighted losses of the render by name; those with weight 0 are not computed."""
        stage = self.stage
        terms: dict[str, Tensor] = {}
        if stage.distortion_weight > 0:
            terms["distortion"] = stage.distortion_weight * distortion(render)
        if stage.entropy_weight > 0:
            terms["entropy_last"] = stage.entropy_weight * background_entropy(render.background)
        if stage.point_weight > 0:
            terms["rgbper"] = stage.point_weight * point_color_error(render, target)
        return terms

    def after_step(self, iteration: int, batches: PixelBatches) -> list[str]:
        """Nothing: every milestone of DVGO comes before a batch."""
        return []

    def state_dict(self) -> dict:
        """The field, the optimiser and the place in the protocol, as tensors and plain values."""
        return {
            "field": self.field.state(),
            "optimizer": self.optimizer.state_dict(),
            "stage": self.stages.index(self.stage),
            "scalings_done": self.scalings_done,
            "rates_start_at": self.rates_start_at,
            "threshold": self.threshold,
        }

    def load_state_dict(self, state: dict) -> None:
        """Continues where `state` was taken."""
        self.stage = self.stages[state["stage"]]
        self.scalings_done = state["scalings_done"]
        self.rates_start_at, self.threshold = state["rates_start_at"], state["threshold"]
        self.field = self._make_field(state["field"]["aabb"].to(self.config.run.device))
        self.field.load_state(state["field"])
        self.optimizer = self._make_optimizer()
        self.optimizer.load_state_dict(state["optimizer"])

    def _make_field(self, aabb: Tensor) -> ContractedDVGO | BoundedDVGO:
        """The stage's field at its present number of voxels."""
        num_voxels, generator = self.stage.voxels_from(self.scalings_done), self.generators["init"]
        dvgo = self.config.dvgo
        if dvgo.unbounded_inward:
            return ContractedDVGO(self.stage.settings, aabb, num_voxels, bg_len=dvgo.bg_len, generator=generator)
        return BoundedDVGO(self.stage.settings, aabb, num_voxels, near=self.scene.near, generator=generator)

    def _make_optimizer(self) -> VoxelAdam:
        dvgo, field, skip_zero = self.config.dvgo, self.field, self.stage.skip_zero
        groups = [
            VoxelGroup("density", list(field.density.parameters()), dvgo.lrate_density, skip_zero),
            VoxelGroup("k0", list(field.k0.parameters()), dvgo.lrate_k0, skip_zero),
        ]
        if field.network:
            groups.append(VoxelGroup("rgbnet", field.network, dvgo.lrate_rgbnet, skip_zero=False))
        grids = [grid for grid in (field.density, field.k0) if isinstance(grid, VoxelGrid)]
        return VoxelAdam(groups, {grid.values: grid.pool for grid in grids})

    def _set_total_variation(self, step: int) -> None:
        dvgo = self.config.dvgo
        is_on = dvgo.tv_after < step < dvgo.tv_before and step % dvgo.tv_every == 0
        scale = max(self.field.resolution) / VOXELS_PER_TV_UNIT / self.config.optim.batch_size / NEIGHBOURS
        weights = {"density": dvgo.weight_tv_density, "k0": dvgo.weight_tv_k0}
        for group in self.optimizer.param_groups:
            group["tv_weight"] = is_on * scale * weights.get(group["name"], 0.0)
            group["tv_dense"] = step < dvgo.tv_dense_before

    def _scale(self, iteration: int, scalings_done: int) -> str:
        self.scalings_done = scalings_done
        self.optimizer.state.clear()  # the largest memory of all, which the larger grid now needs
        self.field.scale(self.stage.voxels_from(scalings_done), self.threshold)
        self.optimizer = self._make_optimizer()  # moments start anew, the network's too
        self.rates_start_at = iteration
        self.field.shift -= self.config.dvgo.decay_after_scale
        share = self.field.mask.float().mean().item()
        return f"scaled to {'x'.join(map(str, self.field.resolution))}, mask {share:.1%} occupied"

    def _begin_fine_stage(self, iteration: int, batches: PixelBatches) -> str:
        dvgo, coarse = self.config.dvgo, self.field
        box = fine_box(coarse, dvgo.bbox_thres, dvgo.world_bound_scale, iteration)
        self.stage, self.rates_start_at = self.stages[-1], iteration
        self.threshold = self.stage.threshold_at(0)
        self.field = self._make_field(box)
        self.field.open_where(coarse, dvgo.mask_cache_thres)
        self.optimizer = self._make_optimizer()
        share = batches.keep_where(self.field.meets_mask)
        size = "x".join(map(str, self.field.resolution))
        return f"fine stage of {size} voxels begins; its mask keeps {share:.1%} of the training pixels"
