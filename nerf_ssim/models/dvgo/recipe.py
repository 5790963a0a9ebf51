"""How DVGO is trained (Sun et al. 2022; S3IM's fork): what its two recipes share, and the contracted one.

The order of an update is canonical: mask refresh, scaling, batch, render, losses, step. Steps count from 1 here, as in
the published code, so that step s is iteration s - 1 of its stage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from torch import Tensor

from nerf_ssim.datasets.scene import Scene
from nerf_ssim.models.config import Config
from nerf_ssim.models.dvgo.contracted import ContractedDVGO
from nerf_ssim.models.dvgo.field import VoxelField, VoxelRender
from nerf_ssim.models.dvgo.losses import distortion, point_color_error
from nerf_ssim.models.dvgo.optimizer import VoxelAdam, VoxelGroup
from nerf_ssim.models.dvgo.options import DvgoOptions
from nerf_ssim.models.dvgo.stages import Stage, fine_stage
from nerf_ssim.models.dvgo.state import check_state
from nerf_ssim.models.parts.optimizers import restore_optimizer, set_learning_rates
from nerf_ssim.models.parts.voxel_grid import VoxelGrid
from nerf_ssim.ops.ray_losses import light_entropy
from nerf_ssim.ops.transfer import sent_to
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.rays.bounds import camera_cube
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.runs.generators import Generators

__all__ = ["ContractedRecipe", "DvgoRecipe"]

NEAR_CLIP = 0.05  # the points that span the contracted model's cube are this far in front of the cameras
MASK_EVERY, MASK_FIRST = 1000, 500  # the mask is refreshed before steps 500, 1500 …
NEIGHBOURS = 6
VOXELS_PER_TV_UNIT = 128  # weights of total variation are meant for a grid of this side


class DvgoRecipe(ABC):
    """A DVGO and everything about its training that is not shared with other fields.

    A subclass says which stages there are, what box the first begins with and which field a stage has.
    """

    name = VoxelField.name
    terms: tuple[str, ...] = ("distortion", "entropy_last", "rgbper")
    rates: tuple[str, ...] = ("lr_density", "lr_k0", "lr_rgbnet")

    def __init__(self, config: Config[DvgoOptions], scene: Scene, generators: Generators) -> None:
        self.config, self.scene, self.generators = config, scene, generators
        self.white_bg = float(config.data.white_bg or scene.white_bg)
        self.stages = self._stages()
        self.stage = self.stages[0]
        self.scalings_done = 0
        self.rates_start_at = self.stage.starts_at  # the iteration from which the learning rates decay
        self.threshold = self.stage.threshold_at(0)  # of the last step, which masks are made with
        # A model that came without its data has no views, and its box comes with its state.
        self.field = self._placed_field(self._first_box() if len(scene.train) else scene.aabb)
        self.optimizer = self._make_optimizer()

    @abstractmethod
    def _stages(self) -> tuple[Stage, ...]:
        """The stages of the run, in order."""

    @abstractmethod
    def _first_box(self) -> Tensor:
        """The box `[2, 3]` that the first stage's field is about."""

    @abstractmethod
    def _make_field(self, aabb: Tensor) -> VoxelField:
        """The stage's field at its present number of voxels, its weights where they are drawn."""

    def _placed_field(self, aabb: Tensor) -> VoxelField:
        """The same where the run computes, or with shapes only where nothing is drawn."""
        field = self._make_field(aabb.cpu())
        return field if self.generators["init"].device.type == "meta" else field.to(self.config.run.device)

    @abstractmethod
    def prepare(self, batches: PixelBatches) -> None:
        """What a fresh run does before its first iteration."""

    def before_batch(self, iteration: int, batches: PixelBatches) -> list[str]:
        """Mask refresh and scaling where they are due; returns what was done, for people."""
        events: list[str] = []
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
        decay_iters = self.config.model.lrate_decay * 1000
        set_learning_rates(self.optimizer, 0.1 ** ((iteration - self.rates_start_at) / decay_iters))
        self._set_total_variation(step)
        return {"lr_" + group["name"]: group["lr"] for group in self.optimizer.param_groups}

    def render(self, rays: Rays, iteration: int) -> VoxelRender:
        """The training render: nothing is jittered; behind each ray is a random colour, or the tests' background."""
        background: Tensor | float = self.white_bg
        if self.config.model.rand_bkgd:
            drawn = self.generators.for_rays("background", len(rays), 3)
            background = sent_to(rays.origins.device, drawn)
        return self.field.render(rays, threshold=self.threshold, background=background, with_depth=False)

    def render_test(self, rays: Rays, *, final: bool) -> VoxelRender:
        """The test render, which samples as training does; colours are clamped to [0, 1]."""
        render = self.field.render(rays, threshold=self.threshold, background=self.white_bg)
        return replace(render, rgb=render.rgb.clamp(0, 1))

    def regularizers(self, iteration: int, render: VoxelRender, target: Tensor) -> dict[str, Tensor]:
        """Weighted losses of the render by name; those with weight 0 are not computed."""
        stage = self.stage
        terms: dict[str, Tensor] = {}
        if stage.distortion_weight > 0:
            terms["distortion"] = stage.distortion_weight * distortion(render)
        if stage.entropy_weight > 0:
            terms["entropy_last"] = stage.entropy_weight * light_entropy(render.background)
        if stage.point_weight > 0:
            terms["rgbper"] = stage.point_weight * point_color_error(render, target)
        return terms

    def rays_of_terms(self, render: VoxelRender) -> dict[str, int]:
        """Each is a mean over the batch's rays, of which `distortion` counts those up to the last with a colour."""
        rays, of_last = len(render.rgb), render.ray_index[-1:].tolist()
        return {"distortion": of_last[0] + 1 if of_last else 0, "entropy_last": rays, "rgbper": rays}

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

    def check_state(self, state: Any, where: str) -> None:
        """Raises `Unsound` where `load_state_dict` cannot take `state`; makes nothing that has memory."""
        check_state(self, state, where)

    def sketch(self, state: dict) -> VoxelField:
        """Takes over the stage of `state`; its field and optimiser have shapes only. Returns the field."""
        with self.generators.shapes_only():
            self._begin_from(state)
        return self.field

    def load_state_dict(self, state: dict) -> None:
        """Continues where `state` was taken."""
        self._begin_from(state)
        self.field.load_state(state["field"])
        restore_optimizer(self.optimizer, state["optimizer"])

    def _begin_from(self, state: dict) -> None:
        self.stage = self.stages[state["stage"]]
        self.scalings_done = state["scalings_done"]
        self.rates_start_at, self.threshold = state["rates_start_at"], state["threshold"]
        self.field = self._placed_field(state["field"]["aabb"])
        self.optimizer = self._make_optimizer()

    def take_over(
        self, field: dict, stage: int, scalings_done: int, iteration: int, batches: PixelBatches | None
    ) -> None:
        """Goes on from a field of another training after `iteration` updates, with an optimiser that starts anew.

        Args:
            field: its state, as `VoxelField.state` gives it.
            stage, scalings_done: where in the schedule it is.
            batches: the training pixels, which lose those that training had dropped by then; None without a scene.
        """
        self.stage, self.scalings_done = self.stages[stage], scalings_done
        last = self.stage.scalings[scalings_done - 1] - 1 if scalings_done else 0
        self.rates_start_at = self.stage.starts_at + last
        self.threshold = self.stage.threshold_at(self.stage.step_of(iteration) - 1)
        self.field = self._placed_field(field["aabb"])
        self.field.load_state(field)
        self.optimizer = self._make_optimizer()

    def _make_optimizer(self) -> VoxelAdam:
        dvgo, field, skip_zero = self.config.model, self.field, self.stage.skip_zero
        density_rate, k0_rate = self.stage.rates
        groups = [
            VoxelGroup("density", list(field.density.parameters()), density_rate, skip_zero),
            VoxelGroup("k0", list(field.k0.parameters()), k0_rate, skip_zero),
        ]
        if field.network:
            groups.append(VoxelGroup("rgbnet", field.network, dvgo.lrate_rgbnet, skip_zero=False))
        grids = [grid for grid in (field.density, field.k0) if isinstance(grid, VoxelGrid)]
        return VoxelAdam(groups, {grid.values: grid.pool for grid in grids})

    def _set_total_variation(self, step: int) -> None:
        dvgo = self.config.model
        is_on = dvgo.tv_after < step < dvgo.tv_before and step % dvgo.tv_every == 0
        scale = max(self.field.resolution) / VOXELS_PER_TV_UNIT / self.config.model.batch_size / NEIGHBOURS
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
        self.field.shift -= self.config.model.decay_after_scale
        share = self.field.mask.float().mean().item()
        return f"scaled to {'x'.join(map(str, self.field.resolution))}, mask {share:.1%} occupied"


class ContractedRecipe(DvgoRecipe):
    """DVGO around cameras that look outward, in one stage."""

    def prepare(self, batches: PixelBatches) -> None:
        """Nothing: every pixel of the views is trained on from the start."""

    def _stages(self) -> tuple[Stage, ...]:
        return (fine_stage(self.config.model),)

    def _first_box(self) -> Tensor:
        return camera_cube(self.scene.train, NEAR_CLIP)

    def _make_field(self, aabb: Tensor) -> ContractedDVGO:
        return ContractedDVGO(
            self.stage.settings,
            aabb,
            self.stage.voxels_from(self.scalings_done),
            bg_len=self.config.model.bg_len,
            generator=self.generators["init"],
        )
